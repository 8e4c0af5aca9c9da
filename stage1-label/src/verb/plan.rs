//! `label plan`: the rows that a foreign teacher has to answer, as a file for `tools/label_with_pytorch.py` or your own.

use std::io;
use std::path::PathBuf;

use clap::Args;
use cli::note;
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
}

impl PlanArgs {
    pub(super) fn run(&self) -> Result<()> {
        let header = run(self)?;
        note(format_args!("{}: {} rows of {} images", self.out.display(), header.rows, header.images));
        Ok(())
    }
}

/// Writes the file of rows and returns its header.
pub fn run(args: &PlanArgs) -> Result<Header> {
    let dataset = args.data.load()?;
    let plan = args.views.plan(&args.data.data);
    let table = row_table(plan, dataset.len())?;
    let header = Header::new(&dataset, plan, table.len());
    let path = &args.out;
    disk::publish(path, Existing::RefuseOther, |out| write(out, &header, &table).map(drop)).map_err(
        |error| match error.kind() {
            io::ErrorKind::AlreadyExists => Error::Usage {
                what: format!("{}: wanted no file, found one with other content", path.display()),
                hint: "choose another --out, or move what is there".into(),
            },
            _ => Error::io("write", path)(error),
        },
    )?;
    Ok(header)
}
