//! `label plan`: the rows that a foreign teacher has to answer, as a file for `tools/label_with_pytorch.py` or your own.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::args::{DataArgs, ViewArgs, row_table};
use crate::rows_file::{Header, write};
use crate::{Error, Result};

/// Flags of `label plan`.
#[derive(Debug, Clone, Args)]
pub struct PlanArgs {
    /// Which images.
    #[command(flatten)]
    pub data: DataArgs,
    /// Which views of them.
    #[command(flatten)]
    pub views: ViewArgs,
    /// The file to write; an existing one is not replaced
    #[arg(long, value_name = "ROWS.parquet")]
    pub out: PathBuf,
}

/// Writes the file of rows and returns its header.
pub fn run(args: &PlanArgs) -> Result<Header> {
    let dataset = args.data.load()?;
    let plan = args.views.plan(&args.data.data);
    let table = row_table(plan, dataset.len())?;
    let header = Header::new(&dataset, plan, table.len());
    publish(&args.out, |out| write(out, &header, &table))?;
    Ok(header)
}

/// Writes a file beside its place and moves it there whole. What stands there stays, unless it has the same bytes.
fn publish(path: &Path, write: impl FnOnce(BufWriter<File>) -> io::Result<BufWriter<File>>) -> Result<()> {
    let Some(name) = path.file_name() else {
        return Err(Error::io("write", path)(io::ErrorKind::IsADirectory.into()));
    };
    let partial = path.with_file_name(format!(".{}.partial", name.to_string_lossy()));
    let written = File::create(&partial).and_then(|file| {
        let mut out = write(BufWriter::new(file))?;
        out.flush()?;
        out.get_ref().sync_all()
    });
    let placed = written.and_then(|()| match fs::hard_link(&partial, path) {
        // A link never replaces; a file system without links has no such promise to give.
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => fs::rename(&partial, path),
        linked => linked,
    });
    let result = match placed {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => same_bytes(&partial, path),
        placed => placed.map_err(Error::io("write", path)),
    };
    // After a link the second name goes; after a failure the disk gets its space back.
    let _ = fs::remove_file(&partial);
    result
}

fn same_bytes(new: &Path, old: &Path) -> Result<()> {
    let read = |path: &Path| fs::read(path).map_err(Error::io("read", path));
    if read(new)? == read(old)? {
        return Ok(());
    }
    Err(Error::Usage {
        what: format!("{}: wanted no file, found one with other content", old.display()),
        hint: "choose another --out, or move what is there".into(),
    })
}
