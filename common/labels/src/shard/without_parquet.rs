//! What stands in for the Parquet form where it was compiled out: both ways through it are closed.

use std::fs::File;
use std::io;
use std::path::Path;

use crate::error::{Error, Result};
use crate::row::augment::Augment;
use crate::shard::layout::Layout;
use crate::shard::rows::Shard;
use crate::shard::storage::Storage;
use crate::shard::stream::Reading;
use crate::shard::window::Take;

/// Refuses. A session does not come here: it was refused when it was opened.
pub(crate) fn write<W>(_: &Shard, _: Augment, _: W) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Refuses, naming the file.
pub(crate) fn read(path: &Path, _: Storage, _: Layout, _: u64, _: Augment) -> Result<Shard> {
    Err(Error::WithoutParquet { what: format!("shard {}", path.display()) })
}

/// Refuses, naming the file.
pub(crate) fn stream(path: &Path, _: (File, u64), _: (u64, Layout), _: Augment, _: Take) -> Result<Shard> {
    Err(Error::WithoutParquet { what: format!("shard {}", path.display()) })
}

/// Refuses, naming the file.
pub(crate) fn is_twin<'a>(
    path: &Path,
    _: (File, u64),
    _: (Layout, Augment),
    _: impl FnOnce() -> Result<(Shard, Reading<'a>)>,
    _: impl Fn() -> Result<()>,
) -> Result<bool> {
    Err(Error::WithoutParquet { what: format!("shard {}", path.display()) })
}
