//! `label subset`: some rows of a label set as a label set of their own, or all of them in another form. No teacher is asked.

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;

use clap::Args;
use cli::{Progress, Stop};
use labels::{Dtype, Form, Spec, Views};
use method::view::ViewPlan;

use crate::args::row_table;
use crate::reuse::Reused;
use crate::storing::{Storing, refuse_needless};
use crate::teacher::RowId;
use crate::write::{Order, Written, label_set};
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
    /// The rows: all, plan:EPOCHS@SEED, plan:EPOCHS@FIRST-LAST or random:K@SEED [default: those that are there]
    #[arg(long, value_name = "SPEC")]
    pub views: Option<Views>,
    /// Take the first N images
    #[arg(long, value_name = "N")]
    pub limit: Option<NonZeroUsize>,
    /// Stored type of the logits: u8 or f16, or f32 where they are f32 [default: as they are]
    #[arg(long, value_name = "TYPE")]
    pub dtype: Option<Dtype>,
    /// Store the N largest logits of each row alone, and what the others weigh together; for 1,000 classes and more
    #[arg(long, value_name = "N")]
    pub top_k: Option<NonZeroU32>,
    /// Files to write: both, safetensors or parquet [default: as they are]
    #[arg(long, value_name = "FORM")]
    pub format: Option<Form>,
    /// Images per shard [default: about 64 MiB]
    #[arg(long, value_name = "N")]
    pub shard_images: Option<NonZeroUsize>,
    /// Leave the feature maps out
    #[arg(long)]
    pub no_taps: bool,
}

/// Rows copied between two looks at the signals.
const CHUNK: usize = 1 << 14;

impl SubsetArgs {
    pub(super) fn run(&self) -> Result<()> {
        let stop = Stop::on_signals_after("this batch")?;
        run(self, &stop, &mut Progress::on_stderr("rows"))?.say(&self.out);
        Ok(())
    }
}

/// Copies the rows and publishes the label set. What it records of the teacher is what the first one does.
pub fn run(args: &SubsetArgs, stop: &Stop, progress: &mut Progress) -> Result<Written> {
    let reused = Reused::open(std::slice::from_ref(&args.labels))?;
    let [set] = reused.sets() else { unreachable!("one folder was opened") };
    let manifest = set.manifest();
    let mut dataset = set.dataset();
    if let Some(limit) = args.limit {
        dataset.hashes.truncate(limit.get());
        dataset.labels.truncate(limit.get());
    }
    let plan = ViewPlan { augment: manifest.augment, views: args.views.unwrap_or(manifest.views) };
    let rows = row_table(plan, dataset.len())?;
    let mut spec = Spec::new(dataset, plan.augment, plan.views, rows, manifest.teacher.clone());
    spec.dtype = args.dtype.unwrap_or(manifest.dtype);
    spec.top_k = args.top_k.or(manifest.top_k);
    if spec.coding() != manifest.coding() {
        refuse_needless(manifest.dataset.classes, spec.dtype, spec.top_k)?;
    }
    spec.form = args.format.unwrap_or(manifest.form);
    spec.shard_images = args.shard_images.map(NonZeroUsize::get);
    spec.features = manifest.features.clone().filter(|_| !args.no_taps);
    if let Some(features) = &mut spec.features
        && spec.dtype == Dtype::F16
    {
        // Maps are no wider than logits.
        features.dtype = Dtype::F16;
    }
    spec.license.clone_from(&manifest.license);
    spec.author.clone_from(&manifest.author);
    if let Some((image, view)) = reused.enter(&mut spec)? {
        return Err(Error::Usage {
            what: format!(
                "{}: it holds {}, and not view {view} of image {image}, which {} has",
                args.labels.display(),
                manifest.views,
                plan.views
            ),
            hint: "`label append` asks the teacher for what is missing".into(),
        });
    }
    let storing = Storing::of(&spec);
    let order = Order { out: &args.out, spec, part: None, batch: CHUNK, stop, robust: None };
    let never = |_: &[RowId]| unreachable!("every row is there");
    label_set(order, progress, |_, rows| reused.answers(rows, &storing, never))
}
