//! `label push`: a label set to a place that others can read.

use std::path::PathBuf;

use clap::Args;
use cli::{Stop, note, with_commas};
use share::{Location, Pushed};

use crate::Result;

/// Flags of `label push`.
#[derive(Debug, Clone, Args)]
pub struct PushArgs {
    /// The label set's folder
    #[arg(value_name = "LABELS")]
    pub labels: PathBuf,
    /// Where it goes: `s3://BUCKET/PATH`, gs://, az://, `hf://datasets/ORG/NAME` or `file:///PATH`
    #[arg(value_name = "URL")]
    pub url: String,
}

impl PushArgs {
    pub(super) fn run(&self) -> Result<()> {
        let location = Location::parse(&self.url)?;
        let stop = Stop::on_signals_after("what is under way")?;
        let Pushed { manifest, sent, sent_bytes, kept } =
            share::push(&self.labels, &location, &cli::onlooker(&stop))?;
        note(format_args!(
            "{location}: {sent} files sent ({} bytes), {kept} were there; content_hash {}",
            with_commas(sent_bytes),
            manifest.content_hash
        ));
        Ok(())
    }
}
