//! `label plan`: the rows that a foreign teacher has to answer, as a file for `tools/label_with_pytorch.py` or your own.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use cli::note;
use data::ImageShape;
use disk::Existing;

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
    /// Also write the images as they were decoded, (N, H, W, C) uint8: no other decoder can then differ
    #[arg(long, value_name = "FILE.npy")]
    pub images: Option<PathBuf>,
}

impl PlanArgs {
    pub(super) fn run(&self) -> Result<()> {
        let header = run(self)?;
        note(format_args!("{}: {} rows of {} images", self.out.display(), header.rows, header.images));
        if let Some(path) = &self.images {
            note(format_args!("{}: the {} images, uint8", path.display(), header.images));
            note("answer the rows with tools/label_with_pytorch.py, then pass both to `label import`");
        }
        Ok(())
    }
}

/// Writes the file of rows, and before it that of the images where one is asked for; returns the rows' header.
pub fn run(args: &PlanArgs) -> Result<Header> {
    if args.images.as_ref() == Some(&args.out) {
        return Err(Error::Usage {
            what: format!("{}: rows and images would be one file", args.out.display()),
            hint: "name another file by --images, such as images.npy".into(),
        });
    }
    let dataset = args.data.load()?;
    let plan = args.views.plan(&args.data.data);
    let table = row_table(plan, dataset.len())?;
    let header = Header::new(&dataset, plan, table.len());
    if let Some(path) = &args.images {
        let ImageShape { height, width, channels } = dataset.shape();
        let head = weights::npy::head("|u1", &[dataset.len(), height, width, channels]);
        publish(path, "--images", |out| out.write_all(&head).and_then(|()| out.write_all(dataset.images())))?;
    }
    publish(&args.out, "--out", |out| write(out, &header, &table).map(drop))?;
    Ok(header)
}

/// Writes a file whole. One that is there already stays, and is as good where it has the same bytes.
fn publish(
    path: &Path,
    flag: &str,
    write: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>,
) -> Result<()> {
    disk::publish(path, Existing::RefuseOther, write).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Error::Usage {
            what: format!("{}: wanted no file, found one with other content", path.display()),
            hint: format!("choose another {flag}, or move what is there"),
        },
        _ => Error::io("write", path)(error),
    })
}
