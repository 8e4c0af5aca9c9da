//! The answers to one shard's rows as they come, kept in `.work` so that a writer that dies loses the last of them alone.
//!
//! A shard may be hours of a teacher's work, and its file can only be written whole. Until then its answers lie in a
//! file of records: number of rows (u32), the first 16 bytes of BLAKE3 over the place of the first row (u64), the number
//! and the values, then the values (f32), the logits and feature maps of each row; all little-endian. Reading stops at the first record that does not hold:
//! whatever a crash left behind it is cut off.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// The most that a power cut may take.
const BETWEEN_SYNCS: Duration = Duration::from_mins(1);
/// Number of rows and check.
const HEAD: usize = 4 + 16;

/// The answers that are there of a shard; [`Session::answers`](crate::Session::answers) gives those that an earlier
/// writer kept.
#[derive(Debug)]
pub struct Answers {
    path: PathBuf,
    /// Made with the first answers.
    file: Option<File>,
    /// Numbers of a row.
    width: usize,
    /// Rows of the shard.
    wanted: usize,
    values: Vec<f32>,
    synced: Instant,
}

impl Answers {
    /// The answers in a file, or none yet where there is no file.
    pub(crate) fn open(path: PathBuf, wanted: usize, width: usize) -> Result<Answers> {
        let (file, values) = match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(mut file) => {
                let values = recover(&mut file, wanted, width).map_err(Error::io("read", &path))?;
                (Some(file), values)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => (None, Vec::new()),
            Err(error) => return Err(Error::io("open", &path)(error)),
        };
        Ok(Answers { path, file, width, wanted, values, synced: Instant::now() })
    }

    /// Rows that are answered: the first so many of the shard.
    pub fn rows(&self) -> usize {
        self.values.len() / self.width
    }

    /// The answers so far, (rows, K + F), row after row as [`Session::write`](crate::Session::write) takes them.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Keeps the answers to the next rows. They survive the process from now on, and a power cut within a minute.
    pub fn add(&mut self, values: &[f32]) -> Result<()> {
        let rows = values.len() / self.width;
        if rows * self.width != values.len() || rows > self.wanted - self.rows() {
            let wanted =
                format!("whole rows of {} values, at most {}", self.width, self.wanted - self.rows());
            return Err(Error::unusable("number of values", wanted, values.len()));
        }
        if rows == 0 {
            return Ok(());
        }
        let record = record(self.rows(), rows, values);
        let io = |error| Error::io("write", &self.path)(error);
        if self.file.is_none() {
            self.file = Some(create(&self.path).map_err(io)?);
        }
        let file = self.file.as_mut().expect("it was made above");
        disk::crash_point("answer", &self.path);
        file.write_all(&record).map_err(io)?;
        self.values.extend_from_slice(values);
        if self.synced.elapsed() >= BETWEEN_SYNCS {
            self.sync()?;
        }
        Ok(())
    }

    /// Brings what was kept to the disk.
    pub fn sync(&mut self) -> Result<()> {
        if let Some(file) = &self.file {
            file.sync_data().map_err(Error::io("sync", &self.path))?;
        }
        self.synced = Instant::now();
        Ok(())
    }
}

fn create(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
    disk::sync_folder(path.parent().expect("answers lie in a folder"))?;
    Ok(file)
}

fn record(first: usize, rows: usize, values: &[f32]) -> Vec<u8> {
    let values: &[u8] = bytemuck::cast_slice(values);
    let rows = rows as u32;
    let mut record = Vec::with_capacity(HEAD + values.len());
    record.extend_from_slice(&rows.to_le_bytes());
    record.extend_from_slice(&check(first, rows, values));
    record.extend_from_slice(values);
    record
}

fn check(first: usize, rows: u32, values: &[u8]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(first as u64).to_le_bytes()).update(&rows.to_le_bytes()).update(values);
    let mut check = [0; 16];
    check.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    check
}

/// The answers of the records that hold, from the beginning; cuts the file off behind them.
fn recover(file: &mut File, wanted: usize, width: usize) -> io::Result<Vec<f32>> {
    let mut values: Vec<f32> = Vec::new();
    let mut whole = 0;
    let length = file.metadata()?.len();
    let mut reader = BufReader::with_capacity(1 << 20, &mut *file);
    loop {
        let first = values.len() / width;
        let Some(head) = next::<HEAD>(&mut reader)? else { break };
        let rows = u32::from_le_bytes(head[..4].try_into().expect("four bytes"));
        let bytes = u64::from(rows) * width as u64 * 4;
        let fits = rows > 0 && rows as usize <= wanted - first && whole + HEAD as u64 + bytes <= length;
        if !fits {
            break;
        }
        let mut answers = vec![0f32; rows as usize * width];
        reader.read_exact(bytemuck::cast_slice_mut(&mut answers))?;
        if head[4..] != check(first, rows, bytemuck::cast_slice(&answers)) {
            break;
        }
        values.extend_from_slice(&answers);
        whole += HEAD as u64 + bytes;
    }
    file.set_len(whole)?;
    file.seek(SeekFrom::End(0))?;
    Ok(values)
}

/// The next bytes; none where the file ends before.
fn next<const N: usize>(reader: &mut impl Read) -> io::Result<Option<[u8; N]>> {
    let mut bytes = [0; N];
    match reader.read_exact(&mut bytes) {
        Ok(()) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const ROWS: usize = 6;
    const CLASSES: usize = 2;

    /// Records of one, three and two rows: 28, 44 and 36 bytes.
    fn kept(folder: &Path) -> (PathBuf, Vec<f32>) {
        let path = folder.join("answers");
        let logits: Vec<f32> = (0..ROWS * CLASSES).map(|value| value as f32 / 3.0 - 1.0).collect();
        let mut answers = Answers::open(path.clone(), ROWS, CLASSES).unwrap();
        for rows in [0..2, 2..8, 8..12] {
            answers.add(&logits[rows]).unwrap();
        }
        (path, logits)
    }

    /// Rows whose record ends at or before a byte of the file.
    fn whole_rows(bytes: usize) -> usize {
        [(108, 6), (72, 4), (28, 1)].into_iter().find(|&(end, _)| end <= bytes).map_or(0, |(_, rows)| rows)
    }

    #[test]
    fn a_file_cut_at_any_byte_gives_the_records_before_and_goes_on_from_there() {
        let folder = tempfile::tempdir().unwrap();
        let (path, logits) = kept(folder.path());
        let bytes = fs::read(&path).unwrap();
        assert_eq!(bytes.len(), 108);
        for length in 0..=bytes.len() {
            // A crash may leave zeros where the data did not reach the disk.
            for zeros in [0, 1, 50] {
                let mut torn = bytes[..length].to_vec();
                torn.resize(length + zeros, 0);
                fs::write(&path, torn).unwrap();
                let mut answers = Answers::open(path.clone(), ROWS, CLASSES).unwrap();
                let rows = answers.rows();
                assert_eq!(rows, whole_rows(length), "{length} bytes and {zeros} zeros");
                assert_eq!(answers.values(), &logits[..rows * CLASSES]);
                answers.add(&logits[rows * CLASSES..]).unwrap();
                drop(answers);
                assert_eq!(Answers::open(path.clone(), ROWS, CLASSES).unwrap().values(), logits);
            }
        }
    }

    #[test]
    fn a_flipped_bit_costs_its_record_and_those_behind_it() {
        let folder = tempfile::tempdir().unwrap();
        let (path, logits) = kept(folder.path());
        let bytes = fs::read(&path).unwrap();
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            fs::write(&path, flipped).unwrap();
            let answers = Answers::open(path.clone(), ROWS, CLASSES).unwrap();
            assert_eq!(answers.rows(), whole_rows(at), "byte {at}");
            assert_eq!(answers.values(), &logits[..answers.values().len()]);
        }
    }

    #[test]
    fn records_out_of_their_place_are_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let (path, _) = kept(folder.path());
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, [&bytes[..28], &bytes[72..]].concat()).unwrap();
        assert_eq!(Answers::open(path.clone(), ROWS, CLASSES).unwrap().rows(), 1);
        // A number of rows that the shard does not have allocates nothing.
        let mut forged = bytes[..28].to_vec();
        forged.extend([0xff; 20]);
        fs::write(&path, forged).unwrap();
        assert_eq!(Answers::open(path, ROWS, CLASSES).unwrap().rows(), 1);
    }

    #[test]
    fn more_rows_than_the_shard_has_and_parts_of_rows_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("answers");
        let mut answers = Answers::open(path.clone(), ROWS, CLASSES).unwrap();
        answers.add(&[]).unwrap();
        assert!(!path.exists(), "nothing is made for nothing");
        assert!(answers.add(&[0.0; 3]).is_err());
        assert!(answers.add(&[0.0; 14]).is_err());
        answers.add(&[0.0; 12]).unwrap();
        assert!(answers.add(&[0.0; 2]).is_err());
        assert_eq!(answers.rows(), ROWS);
    }
}
