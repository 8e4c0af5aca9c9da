//! `label estimate`: what a label set costs and saves, before anything runs.
//!
//! A step of RSLAD with 10 attack steps costs, per image, one teacher forward T and 26 student forwards F: 10 forwards with
//! image gradients (2 F each) and 2 forwards with all gradients (3 F each). A label set takes T out of every step. What
//! another objective asks about images that its attack makes stays in every step: [`Passes`] counts both.

mod size;
mod text;

use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroUsize};

use clap::Args;
use cli::{Machine, MachineArgs};
use engine::{Footprint, Network, Storage, Work, cost};
use labels::{Coding, Dtype, Features, Views};
use method::objective::{self, Epoch, Passes};
use method::schedule::Schedule;
use method::view::ViewPlan;
use serde::Serialize;
use zoo::Task;

use crate::args::{DataArgs, ViewArgs, task};
use crate::storing::refuse_needless;
use crate::taps::TapArgs;
use crate::{Error, Result};
use size::sizes;

pub use size::{FormSizes, Sizes, TopSizes, Weight};

/// Flags of `label estimate`.
#[derive(Debug, Clone, Args)]
pub struct EstimateArgs {
    /// The teacher's architecture
    #[arg(long, value_name = "NAME")]
    pub teacher_arch: String,
    /// The student's architecture
    #[arg(long, value_name = "NAME")]
    pub student: String,
    /// Which images.
    #[command(flatten)]
    pub data: DataArgs,
    /// Assume so many images and read none; for datasets whose image size is known by name
    #[arg(long, value_name = "N", conflicts_with = "limit", value_parser = cli::one_to::<1_000_000_000>)]
    pub images: Option<NonZeroUsize>,
    /// Which views of them.
    #[command(flatten)]
    pub views: ViewArgs,
    /// Which feature maps are kept beside the logits.
    #[command(flatten)]
    pub taps: TapArgs,
    /// Also weigh a label set of the N largest logits of each row alone
    #[arg(long, value_name = "N")]
    pub top_k: Option<NonZeroU32>,
    /// Epochs of a student's training
    #[arg(long, value_name = "E", value_parser = cli::one_to::<1_000_000_000>)]
    pub epochs: NonZeroUsize,
    /// What the student learns, which says what a step asks of teachers; `distill train --help` lists them
    #[arg(long, value_name = "NAME", default_value = "rslad")]
    pub objective: String,
    /// An option of the objective or an addition, as in --set igdm=0.9; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = assignment)]
    pub set: Vec<(String, f64)>,
    /// Gradient steps of the attack
    #[arg(long, value_name = "N", default_value = "10", value_parser = cli::one_to::<10_000>)]
    pub steps: NonZeroUsize,
    /// Rows that label at a time on a GPU, for the memory that --device cuda needs
    #[arg(long, value_name = "N", default_value = "512", value_parser = cli::one_to::<1_000_000>)]
    pub batch: NonZeroUsize,
    /// Images of a student's training step, likewise
    #[arg(long, value_name = "N", default_value = "128", value_parser = cli::one_to::<1_000_000>)]
    pub student_batch: NonZeroUsize,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `KEY=VALUE`, a number.
fn assignment(text: &str) -> std::result::Result<(String, f64), String> {
    let (key, value) = text.split_once('=').ok_or("wanted key=value, as in igdm=0.9")?;
    let value = value.trim().parse().map_err(|_| format!("`{}` is not a number", value.trim()))?;
    Ok((key.trim().into(), value))
}

impl EstimateArgs {
    pub(super) fn run(&self, machine: MachineArgs) -> Result<()> {
        let chosen = machine.machine().engine;
        if let Some(precision) =
            machine.precision.filter(|&one| one != Storage::F32 && !chosen.has_precisions())
        {
            return Err(Error::Usage {
                what: format!(
                    "precision {} is for GPUs, and the device is {}",
                    precision.name(),
                    chosen.name()
                ),
                hint: "leave it out, or choose --device cuda".into(),
            });
        }
        Ok(cli::show(&run(self, &machine.machine())?, self.json)?)
    }
}

/// What a GPU's memory has to hold, in bytes; what the driver itself takes comes on top.
#[derive(Debug, Serialize)]
pub struct OnGpu {
    /// Of labelling.
    pub label: Memory,
    /// Of a step of the student's training from the label set.
    pub train: Memory,
}

/// Memory of one network at work.
#[derive(Debug, Serialize)]
pub struct Memory {
    /// How maps are stored.
    pub precision: &'static str,
    /// Images at a time.
    pub batch: usize,
    /// Bytes in all.
    pub bytes: u64,
}

/// What labelling costs beside running the teacher online. Shares are in percent.
#[derive(Debug, Serialize)]
pub struct Estimate {
    /// Number of images.
    pub images: u64,
    /// Name of the augmentation.
    pub augment: String,
    /// The choice of views.
    pub views: String,
    /// Epochs of a training run.
    pub epochs: u64,
    /// Rows of the label set, each one forward of the teacher.
    pub rows: u64,
    /// Teacher forwards of one online run that a label set answers: images x epochs x those of a step.
    pub online_forwards: u64,
    /// Rows as a share of the online forwards.
    pub share_of_online: f64,
    /// Epochs of training, over all runs, from which labelling costs fewer teacher forwards.
    pub break_even_epochs: u64,
    /// Whether the label set holds every view that a run of so many epochs asks for.
    pub serves_all_epochs: bool,
    /// Bytes by stored type and form, feature maps included.
    pub bytes: Sizes,
    /// The feature maps that are kept beside the logits, where some are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub features: Option<Weight>,
    /// Multiply-accumulates of a teacher forward.
    pub teacher_macs: u64,
    /// Multiply-accumulates of a student forward.
    pub student_macs: u64,
    /// What the student learns, with what is added to it.
    pub objective: String,
    /// What a step asks, in the run's last epoch.
    pub step: Step,
    /// Share of an online step that a label set takes away.
    pub teacher_share: f64,
    /// Share of an online step that a live teacher has all the same.
    pub live_share: f64,
    /// Share of the compute that a first run saves, labelling included; negative where it costs more.
    pub saved_in_first_run: f64,
    /// Share of the compute that every later run saves.
    pub saved_in_later_runs: f64,
    /// Memory on a GPU, where one was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu: Option<OnGpu>,
}

/// What a step costs for each image, a second teacher's part included; it is taken to be as large as the first.
#[derive(Debug, Serialize)]
pub struct Step {
    /// Gradient steps of the attack.
    pub attack_steps: usize,
    /// Teacher forwards that a label set answers.
    pub cached_forwards: usize,
    /// Teacher forwards about images that the step makes.
    pub live_forwards: usize,
    /// Forwards of the teacher with image gradients.
    pub live_gradients: usize,
    /// The student's part, in its forwards.
    pub student_forwards: usize,
    /// In words.
    pub needs: String,
}

/// The step of the run's last epoch, by which all that begins in a run has begun; and whether it reads feature maps that the
/// label set would hold.
fn step(args: &EstimateArgs) -> Result<(Step, bool)> {
    let usage = |what: String| {
        let (what, hint) = what.split_once("\nhint: ").unwrap_or((&what, "see `distill train --help`"));
        Error::Usage { what: what.into(), hint: hint.into() }
    };
    let row = objective::find(&args.objective).map_err(|error| usage(error.to_string()))?;
    let given: BTreeMap<String, f64> = args.set.iter().cloned().collect();
    let made = objective::compose(row, &given, false).map_err(|error| usage(error.to_string()))?;
    let epochs = args.epochs.get();
    let last = Epoch { number: epochs - 1, of: epochs, schedule: Schedule::default() };
    let mut passes = Passes::of(&*made, last, args.steps.get());
    if args.taps.taps.is_some() {
        passes = passes.with_held_maps();
    }
    let Passes { teacher, second, .. } = passes;
    let step = Step {
        attack_steps: passes.attack,
        cached_forwards: teacher.answered() + second.answered(),
        live_forwards: teacher.live + second.live,
        live_gradients: teacher.climbed + second.climbed,
        student_forwards: passes.student(),
        needs: passes.to_string(),
    };
    Ok((step, teacher.held > 0))
}

/// Counts rows by the function that chooses them, exactly for any data set of today, and weighs the two networks.
///
/// Where the machine is a GPU, the memory that it needs is computed from the networks' plans; there need not be one.
pub fn run(args: &EstimateArgs, machine: &Machine) -> Result<Estimate> {
    let (images, task) = images_and_task(args)?;
    let build = |name: &str| Ok::<_, Error>(zoo::build(name, task)?.1);
    let (teacher, student) = (build(&args.teacher_arch)?, build(&args.student)?);
    let (teacher_macs, student_macs) = (cost::network(&teacher).macs, cost::network(&student).macs);
    let gpu = machine.engine.has_precisions().then(|| OnGpu {
        label: memory(&teacher, Work::Forward, machine.precision, args.batch.get()),
        train: memory(&student, Work::Training, machine.precision, args.student_batch.get()),
    });
    let plan = args.views.plan(&args.data.data);
    let rows = count_rows(plan, images as u64);
    let (images, epochs) = (images as u64, args.epochs.get() as u64);
    let (step, are_read) = step(args)?;
    let features = args.taps.find(&teacher)?.map(|tapped| tapped.features);
    let online_forwards = images * epochs * step.cached_forwards as u64;
    let cached = step.cached_forwards as f64 * teacher_macs as f64;
    let live = (step.live_forwards + 2 * step.live_gradients) as f64 * teacher_macs as f64;
    let whole = cached + live + step.student_forwards as f64 * student_macs as f64;
    let (share, live_share) = (cached / whole, live / whole);
    // An objective that a label set does not serve has no forwards to save: the rows are all a loss.
    let spent = rows as f64 * teacher_macs as f64 / ((images * epochs) as f64 * whole);
    let of_online = rows as f64 / (images * epochs) as f64 / step.cached_forwards.max(1) as f64;
    let named = args.set.iter().map(|(key, value)| format!(" {key}={value}"));
    let objective = args.objective.clone() + &named.collect::<String>();
    let serves = match plan.views {
        Views::Plan { epochs: planned, .. } | Views::Plans { epochs: planned, .. } => {
            epochs <= u64::from(planned)
        }
        // A run draws among the views that `random` holds.
        Views::All | Views::Random { .. } => true,
    };
    let bytes = weighed(images, rows, task.classes, args.top_k, features.as_ref())?;
    Ok(Estimate {
        images,
        augment: plan.augment.to_string(),
        views: plan.views.to_string(),
        epochs,
        rows,
        online_forwards,
        share_of_online: 100.0 * of_online,
        break_even_epochs: rows.div_ceil(images * step.cached_forwards.max(1) as u64),
        serves_all_epochs: serves,
        bytes,
        features: features.map(|features| Weight::of(features, rows, are_read)),
        teacher_macs,
        student_macs,
        objective,
        step,
        teacher_share: 100.0 * share,
        live_share: 100.0 * live_share,
        saved_in_first_run: 100.0 * (share - spent),
        saved_in_later_runs: 100.0 * share,
        gpu,
    })
}

/// What the label set takes, by how its logits are stored.
fn weighed(
    images: u64,
    rows: u64,
    classes: usize,
    top_k: Option<NonZeroU32>,
    features: Option<&Features>,
) -> Result<Sizes> {
    refuse_needless(classes, Dtype::F16, top_k)?;
    let coding = |dtype, top_k| Coding::new(classes, dtype, top_k, features);
    let sizes = |dtype, top_k| sizes(images, rows, coding(dtype, top_k));
    // Halves do not stand before wider maps.
    let halves = features.is_none_or(|features| features.dtype == Dtype::F16);
    let codes = refuse_needless(classes, Dtype::U8, None).is_ok();
    let largest = |n: NonZeroU32| TopSizes {
        n: n.get(),
        bytes_per_row: Coding::new(classes, Dtype::F16, top_k, None).row_bytes() as u64,
        f16: sizes(Dtype::F16, top_k),
        f32: sizes(Dtype::F32, top_k),
    };
    Ok(Sizes {
        f16: halves.then(|| sizes(Dtype::F16, None)),
        f32: sizes(Dtype::F32, None),
        u8: codes.then(|| sizes(Dtype::U8, None)),
        top_k: top_k.map(largest),
    })
}

/// The memory of a network at work, in the usual precision where none was chosen.
fn memory(network: &Network, work: Work, precision: Option<Storage>, batch: usize) -> Memory {
    let usual = if work == Work::Forward { Storage::F32 } else { Storage::Bf16 };
    let working = precision.unwrap_or(usual);
    // Labels are made in what was asked for, students judged in f32 whatever they are trained in.
    let judged = if work == Work::Forward { working } else { Storage::F32 };
    let bytes = Footprint::usual(judged, working).bytes(&[(network, work)], batch) as u64;
    Memory { precision: working.name(), batch, bytes }
}

/// Views that are drawn to count rows: a second's work. Where a plan asks for more, its first images stand for all.
const DRAWS: u64 = 200_000_000;

fn count_rows(plan: ViewPlan, images: u64) -> u64 {
    let all = u64::from(plan.augment.views());
    match plan.views {
        Views::All => images * all,
        Views::Random { k, .. } => images * all.min(k.into()),
        Views::Plan { epochs, .. } | Views::Plans { epochs, .. } => {
            let seeds = match plan.views {
                Views::Plans { first, last, .. } => (last - first).saturating_add(1),
                _ => 1,
            };
            // No image is drawn for much longer than it takes to see all its views.
            let each = u64::from(epochs).saturating_mul(seeds).min(16 * all);
            let counted = images.min(DRAWS / each).max(1);
            let rows: u64 = (0..counted).map(|image| plan.rows(image as usize).len() as u64).sum();
            (u128::from(rows) * u128::from(images) / u128::from(counted)) as u64
        }
    }
}

fn images_and_task(args: &EstimateArgs) -> Result<(usize, Task)> {
    let Some(images) = args.images else {
        let dataset = args.data.load()?;
        return Ok((dataset.len(), task(&dataset)));
    };
    let row = args.data.data.row();
    let Some(shape) = row.shape else {
        return Err(Error::Usage {
            what: format!("--images: the name `{}` does not say how large an image is", row.name),
            hint: "leave out --images, so that the data is read".into(),
        });
    };
    let input = [shape.channels, shape.height, shape.width];
    Ok((images.get(), Task { input, classes: row.class_names.len() }))
}

#[cfg(test)]
mod tests;
