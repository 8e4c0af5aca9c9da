//! Flags that several subcommands share, typed as they are parsed.

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;

use clap::Args;
use cli::NetworkArgs;
use data::{Dataset, DatasetSpec, Split};
use labels::{Augment, Dtype, Form, LabelSet, Manifest, RowTable, Spec, Teacher, Views};
use method::view::ViewPlan;
use zoo::Task;

use crate::{Error, Result};

/// Which images.
#[derive(Debug, Clone, Args)]
pub struct DataArgs {
    /// The dataset: `sample`, or like `cifar10:FOLDER`; --help lists the names
    #[arg(long, value_name = "DATASET")]
    pub data: DatasetSpec,
    /// Bring every image to N x N pixels, as `@N` behind the dataset's place does
    #[arg(long, value_name = "N", value_parser = cli::whole::<1, 1024>)]
    pub size: Option<u32>,
    /// The part of the dataset: train or test
    #[arg(long, default_value = "train", value_name = "SPLIT")]
    pub split: Split,
    /// Use the first N images of the part, in file order
    #[arg(long, value_name = "N")]
    pub limit: Option<NonZeroUsize>,
}

impl DataArgs {
    /// The dataset in the size that is asked for.
    pub fn spec(&self) -> Result<DatasetSpec> {
        Ok(self.data.clone().sized(self.size)?)
    }

    /// Reads the images.
    pub fn load(&self) -> Result<Dataset> {
        let dataset = cli::images(&self.spec()?, self.split)?;
        Ok(match self.limit {
            Some(limit) => cli::limited(dataset, &self.data, limit.get()),
            None => dataset,
        })
    }
}

/// Which views of each image.
#[derive(Debug, Clone, Args)]
pub struct ViewArgs {
    /// The augmentation: none, flip, cropP or cropP+flip with P pixels of padding [default: the dataset's]
    #[arg(long, value_name = "NAME")]
    pub augment: Option<Augment>,
    /// The rows: all, plan:EPOCHS@SEED, plan:EPOCHS@FIRST-LAST for several seeds, or random:K@SEED
    #[arg(long, value_name = "SPEC")]
    pub views: Views,
}

impl ViewArgs {
    /// The plan, with the dataset's own augmentation where none is named.
    pub fn plan(&self, data: &DatasetSpec) -> ViewPlan {
        let default = || data.default_augment().parse().expect("the table of datasets names augmentations");
        ViewPlan { augment: self.augment.unwrap_or_else(default), views: self.views }
    }
}

/// Who answers.
#[derive(Debug, Clone, Args)]
pub struct TeacherArgs {
    /// The teacher's weights: .safetensors, .pt or .pth; nothing in it is executed
    #[arg(long, value_name = "WEIGHTS")]
    pub teacher: PathBuf,
    /// What is said of its file.
    #[command(flatten)]
    pub network: NetworkArgs,
}

/// The label set to write.
#[derive(Debug, Clone, Args)]
pub struct OutArgs {
    /// The label set's folder: empty, absent, or begun by the same command
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Stored type of the logits: f16, f32, or u8 for codes of eight bits, which loses some of them
    #[arg(long, default_value = "f16", value_name = "TYPE")]
    pub dtype: Dtype,
    /// Store the N largest logits of each row alone, and what the others weigh together; for 1,000 classes and more
    #[arg(long, value_name = "N")]
    pub top_k: Option<NonZeroU32>,
    /// Files to write: both, safetensors or parquet
    #[arg(long, default_value = "both", value_name = "FORM")]
    pub format: Form,
    /// Images per shard [default: about 64 MiB]
    #[arg(long, value_name = "N")]
    pub shard_images: Option<NonZeroUsize>,
    /// Licence of the label set, for its card
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    pub license: String,
    /// Where the teacher's weights come from, for the card
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    pub origin: String,
    /// Who made the label set, for the card
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    pub author: String,
}

impl OutArgs {
    /// What is to be written: these rows of these images, answered by this teacher.
    pub fn spec(&self, rows: RowTable, dataset: &Dataset, plan: ViewPlan, teacher: Teacher) -> Spec {
        let mut spec = Spec::new(dataset.record(), plan.augment, plan.views, rows, teacher);
        (spec.dtype, spec.top_k) = (self.dtype, self.top_k);
        spec.form = self.format;
        spec.shard_images = self.shard_images.map(NonZeroUsize::get);
        spec.license.clone_from(&self.license);
        spec.author.clone_from(&self.author);
        spec
    }
}

/// What is taken of label sets that are there, and how it is written.
#[derive(Debug, Clone, Default, Args)]
pub struct TakenArgs {
    /// The rows: all, plan:EPOCHS@SEED, plan:EPOCHS@FIRST-LAST or random:K@SEED [default: those that are there; of several, where they have a name]
    #[arg(long, value_name = "SPEC")]
    pub views: Option<Views>,
    /// Take the first N images [default: all; of several, as many as one of them has]
    #[arg(long, value_name = "N")]
    pub limit: Option<NonZeroUsize>,
    /// Stored type of the logits: u8 or f16, or f32 where they are f32 [default: as they are; of several, as the coarsest]
    #[arg(long, value_name = "TYPE")]
    pub dtype: Option<Dtype>,
    /// Files to write: both, safetensors or parquet [default: as they are; of several, as the first]
    #[arg(long, value_name = "FORM")]
    pub format: Option<Form>,
    /// Images per shard [default: about 64 MiB]
    #[arg(long, value_name = "N")]
    pub shard_images: Option<NonZeroUsize>,
}

impl TakenArgs {
    /// The first flag that was given.
    pub fn given(&self) -> Option<&'static str> {
        let flags = [
            ("--views", self.views.is_some()),
            ("--limit", self.limit.is_some()),
            ("--dtype", self.dtype.is_some()),
            ("--format", self.format.is_some()),
            ("--shard-images", self.shard_images.is_some()),
        ];
        flags.into_iter().find(|(_, given)| *given).map(|(flag, _)| flag)
    }

    /// The label set that is to be written of the images of one, with these rows and logits of this type where nobody says
    /// otherwise; the teacher, the form and the maps are those of a manifest.
    pub fn spec(&self, images: &LabelSet, rows: Views, dtype: Dtype, first: &Manifest) -> Result<Spec> {
        let mut dataset = images.dataset();
        if let Some(limit) = self.limit {
            cli::say_if_beyond(limit.get(), dataset.len(), images.dir().display());
            dataset.hashes.truncate(limit.get());
            dataset.labels.truncate(limit.get());
        }
        let plan = ViewPlan { augment: first.augment, views: self.views.unwrap_or(rows) };
        let table = row_table(plan, dataset.len())?;
        let mut spec = Spec::new(dataset, plan.augment, plan.views, table, first.teacher.clone());
        (spec.dtype, spec.top_k) = (self.dtype.unwrap_or(dtype), first.top_k);
        spec.form = self.format.unwrap_or(first.form);
        spec.shard_images = self.shard_images.map(NonZeroUsize::get);
        spec.features.clone_from(&first.features);
        if let Some(features) = &mut spec.features
            && spec.dtype == Dtype::F16
        {
            // Maps are no wider than logits.
            features.dtype = Dtype::F16;
        }
        // Whoever answered the rows: the manifest says it again.
        spec.any_engine = true;
        Ok(spec)
    }
}

/// What a network that answers to these images is built for.
pub fn task(dataset: &Dataset) -> Task {
    Task { input: dataset.shape().input(), classes: dataset.classes() }
}

/// More rows than this are no plan that anybody carries out, and their list alone would not fit in memory.
const MOST_ROWS: u64 = 1 << 31;

/// The rows that a plan has of so many images.
pub fn row_table(plan: ViewPlan, images: usize) -> Result<RowTable> {
    let each = plan.views.most_rows(plan.augment.views());
    let rows = each.saturating_mul(images as u64);
    if rows > MOST_ROWS {
        return Err(Error::Usage {
            what: format!(
                "{} of {} are up to {each} views of each of {images} images: {rows} rows, wanted at most {MOST_ROWS}",
                plan.views, plan.augment
            ),
            hint: "choose fewer: --views random:K@SEED, a smaller crop, or --limit N".into(),
        });
    }
    Ok(match plan.views {
        Views::All => RowTable::all(images, plan.augment),
        _ => RowTable::from_views((0..images).map(|image| plan.rows(image)), plan.augment)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_of_more_rows_than_a_machine_can_list_is_refused_before_any_is_drawn() {
        // 181 * 181 * 2 views of each image.
        let plan =
            |views: &str| ViewPlan { augment: "crop90+flip".parse().unwrap(), views: views.parse().unwrap() };
        for views in ["all", "plan:4294967295@0", "random:4294967295@0"] {
            let error = row_table(plan(views), 40_000).unwrap_err().to_string();
            assert!(error.contains(views) && error.contains("2620880000 rows"), "{error}");
            assert!(row_table(plan(views), usize::MAX).is_err());
        }
        assert_eq!(row_table(plan("random:3@0"), 40).unwrap().len(), 120);
    }
}
