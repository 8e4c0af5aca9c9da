//! Bytes of a shard: mapped from a file, or aligned in memory. The one module that maps files.

use std::fs::File;
use std::io;
use std::ops::Deref;

use memmap2::Mmap;

/// Bytes whose start is aligned to 8 or more.
pub(crate) enum Storage {
    /// A file, mapped: page-aligned.
    Mapped(Mmap),
    /// Memory of our own; the second value is the number of bytes in use.
    Owned(Vec<u64>, usize),
}

impl Storage {
    /// Maps a file that has exactly `bytes` bytes, or says how many it has.
    ///
    /// The caller must hold an open file whose length it has just checked: mapping past the end of a file kills the
    /// process at the first access, and no check afterwards can catch that.
    pub fn map(file: &File, bytes: u64) -> io::Result<Result<Storage, u64>> {
        let found = file.metadata()?.len();
        if found != bytes {
            return Ok(Err(found));
        }
        if bytes == 0 {
            return Ok(Ok(Storage::zeroed(0)));
        }
        // SAFETY: the mapping is read-only and private, and covers exactly the length just checked. Published shards
        // are never written again; a foreign process that truncates one under us causes SIGBUS, not a wrong value,
        // and one that overwrites it is the same accident as overwriting it before we opened it.
        #[allow(unsafe_code)]
        let map = unsafe { Mmap::map(file)? };
        Ok(Ok(Storage::Mapped(map)))
    }

    /// Zeroed memory of `bytes` bytes.
    pub fn zeroed(bytes: usize) -> Storage {
        Storage::Owned(vec![0; bytes.div_ceil(8)], bytes)
    }

    /// The bytes for writing; only memory of our own has them.
    pub fn owned_mut(&mut self) -> &mut [u8] {
        match self {
            Storage::Mapped(_) => unreachable!("mapped shards are read-only"),
            Storage::Owned(words, bytes) => &mut bytemuck::cast_slice_mut(words)[..*bytes],
        }
    }
}

impl Deref for Storage {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Storage::Mapped(map) => map,
            Storage::Owned(words, bytes) => &bytemuck::cast_slice(words)[..*bytes],
        }
    }
}

// For decoders that want an owner of bytes.
impl AsRef<[u8]> for Storage {
    fn as_ref(&self) -> &[u8] {
        self
    }
}
