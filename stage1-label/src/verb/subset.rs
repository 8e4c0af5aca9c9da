//! `label subset`: some rows of a label set as a label set of their own, or all of them in another form. No teacher is asked.

use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::Args;
use cli::{MachineArgs, Progress, Stop};

use crate::args::TakenArgs;
use crate::reuse::Reused;
use crate::storing::refuse_needless;
use crate::write::Written;
use crate::{Error, Result};

/// Flags of `label subset`.
#[derive(Debug, Clone, Args)]
pub struct SubsetArgs {
    /// The label set to take from
    #[arg(value_name = "LABELS")]
    pub labels: PathBuf,
    /// The folder of the new one: empty, absent, or begun by the same command
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// What is taken, and how it is written.
    #[command(flatten)]
    pub taken: TakenArgs,
    /// Store the N largest logits of each row alone, and what the others weigh together; for 1,000 classes and more
    #[arg(long, value_name = "N")]
    pub top_k: Option<NonZeroU32>,
    /// Leave the feature maps out
    #[arg(long)]
    pub no_taps: bool,
}

impl SubsetArgs {
    pub(super) fn run(&self, machine: MachineArgs) -> Result<()> {
        let stop = Stop::on_signals_after("this batch")?;
        run(self, machine.threads(), &stop, &mut Progress::on_stderr("rows"))?.say(&self.out);
        Ok(())
    }
}

/// Copies the rows and publishes the label set. What it records of the teacher is what the first one does.
pub fn run(args: &SubsetArgs, threads: usize, stop: &Stop, progress: &mut Progress) -> Result<Written> {
    let reused = Reused::open(std::slice::from_ref(&args.labels))?;
    let [set] = reused.sets() else { unreachable!("one folder was opened") };
    let manifest = set.manifest();
    let mut spec = args.taken.spec(set, manifest.views, manifest.dtype, manifest)?;
    spec.top_k = args.top_k.or(manifest.top_k);
    if spec.coding() != manifest.coding() {
        refuse_needless(manifest.dataset.classes, spec.dtype, spec.top_k)?;
    }
    spec.features = spec.features.filter(|_| !args.no_taps);
    spec.license.clone_from(&manifest.license);
    spec.author.clone_from(&manifest.author);
    if let Some((image, view)) = reused.enter(&mut spec)? {
        return Err(Error::Usage {
            what: format!(
                "{}: it holds {}, and not view {view} of image {image}, which {} has",
                args.labels.display(),
                manifest.views,
                spec.views
            ),
            hint: "`label append` asks the teacher for what is missing".into(),
        });
    }
    reused.copy(&args.out, spec, (threads, stop), progress)
}
