//! `label pull`: a label set from a place where somebody pushed or put it.

use std::num::NonZero;
use std::path::PathBuf;

use clap::Args;
use cli::{Stop, note, with_commas};
use labels::{Form, Hex};
use share::{Location, Pulled, Wanted};

use crate::Result;

/// Flags of `label pull`.
#[derive(Debug, Clone, Args)]
pub struct PullArgs {
    /// Where it lies: `s3://BUCKET/PATH`, gs://, az://, https://, `hf://datasets/ORG/NAME` or `file:///PATH`
    #[arg(value_name = "URL")]
    pub url: String,
    /// The folder it goes to: empty, absent, or begun by the same command
    #[arg(value_name = "LABELS")]
    pub labels: PathBuf,
    /// Fetch one of its two forms, half of it: safetensors or parquet
    #[arg(long, value_name = "FORM")]
    pub form: Option<Form>,
    /// Refuse any label set but the one with this content hash
    #[arg(long, value_name = "HASH")]
    pub expect: Option<Hex>,
    /// Shards that are fetched at once
    #[arg(long, value_name = "N", default_value = "4")]
    pub jobs: NonZero<u8>,
}

impl PullArgs {
    pub(super) fn run(&self) -> Result<()> {
        let location = Location::parse(&self.url)?;
        let stop = Stop::on_signals_after("what is under way")?;
        let wanted = Wanted { form: self.form, content_hash: self.expect, jobs: self.jobs.get().into() };
        let Pulled { manifest, fetched, fetched_bytes, kept, absent } =
            share::pull(&location, &self.labels, wanted, &cli::onlooker(&stop))?;
        if let Some(form) = absent {
            note(format_args!("{location}: its {form} form is not there; the other one suffices"));
        }
        note(format_args!(
            "{}: {fetched} shards fetched ({} bytes), {kept} were there; content_hash {}",
            self.labels.display(),
            with_commas(fetched_bytes),
            manifest.content_hash
        ));
        Ok(())
    }
}
