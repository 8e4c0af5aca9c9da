//! A file that the decoder asks for piece by piece. The library's own reader of files moves one position that all pieces
//! share.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

pub(super) struct Pieces {
    pub file: Arc<File>,
    pub bytes: u64,
}

/// Reads on from a place of its own.
pub(super) struct Piece {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Length for Pieces {
    fn len(&self) -> u64 {
        self.bytes
    }
}

impl ChunkReader for Pieces {
    type T = BufReader<Piece>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        if start > self.bytes {
            return Err(beyond(start, 0, self.bytes));
        }
        Ok(BufReader::new(Piece { file: self.file.clone(), at: start, end: self.bytes }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        if start.checked_add(length as u64).is_none_or(|end| end > self.bytes) {
            return Err(beyond(start, length, self.bytes));
        }
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, start)?;
        Ok(bytes.into())
    }
}

/// In the words of the library about bytes in memory.
fn beyond(start: u64, length: usize, bytes: u64) -> ParquetError {
    let asked = if length == 0 { String::new() } else { format!("{length} bytes ") };
    ParquetError::EOF(format!("Expected to read {asked}at offset {start}, while file has length {bytes}"))
}

impl Read for Piece {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let most = out.len().min(usize::try_from(self.end - self.at).unwrap_or(usize::MAX));
        let taken = self.file.read_at(&mut out[..most], self.at)?;
        self.at += taken as u64;
        Ok(taken)
    }
}
