//! `label run`: the teacher answers to every row, and a label set is published.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use cli::{Machine, MachineArgs, Progress, Stop, Verdicts, detail, note, warn, with_commas};

use engine::Storage;
use labels::Part;
use method::attack::Victim;

use crate::args::{DataArgs, OutArgs, TeacherArgs, ViewArgs, row_table, task};
use crate::reuse::Reused;
use crate::robust::RobustArgs;
use crate::storing::{Storing, refuse_needless};
use crate::taps::{TapArgs, refuse_heavy, weight};
use crate::teacher::{RowId, Teacher};
use crate::verb::inspect::bytes;
use crate::write::{Order, Written, label_set};
use crate::{Error, Result};

/// Flags of `label run`.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Who answers.
    #[command(flatten)]
    pub teacher: TeacherArgs,
    /// Which images.
    #[command(flatten)]
    pub data: DataArgs,
    /// Which views of them.
    #[command(flatten)]
    pub views: ViewArgs,
    /// What is written.
    #[command(flatten)]
    pub out: OutArgs,
    /// Which feature maps are kept.
    #[command(flatten)]
    pub taps: TapArgs,
    /// Write more than 16 GiB of feature maps
    #[arg(long, requires = "taps")]
    pub yes: bool,
    /// How the teacher does under attack.
    #[command(flatten)]
    pub robust: RobustArgs,
    /// Take over the answers of this label set, of the same teacher, and ask for what it lacks alone
    #[arg(long, value_name = "LABELS")]
    pub reuse: Vec<PathBuf>,
    /// Write part I of N, from 0, beside processes that write the others into the same folder, on this machine or on others;
    /// `label finalize` then publishes it. auto, auto/N: as the SLURM array or step, or the Kubernetes Indexed Job, says
    #[arg(long, value_name = "I/N", value_parser = cli::part, conflicts_with = "robust")]
    pub part: Option<Part>,
    /// Refuse a label set that another engine, device or build began or answered rows of; else the manifest says which rows are whose
    #[arg(long)]
    pub same_engine: bool,
    /// The most rows run together; changes no result [default: 64 per thread, at least 128; 512 on a GPU]
    #[arg(long, value_name = "N", value_parser = cli::one_to::<1_000_000>)]
    pub batch: Option<NonZeroUsize>,
}

impl RunArgs {
    pub(super) fn run(&self, machine: MachineArgs) -> Result<()> {
        let stop = Stop::on_signals_after("this batch")?;
        let written = run(self, machine.machine(), &stop, &mut Progress::on_stderr("rows"))?;
        written.say(&self.out.out);
        Ok(())
    }
}

/// Bytes of pixels that are cut out together, and of feature maps that are brought together, whatever the batch.
const MOST_TOGETHER: usize = 256 << 20;

/// Runs the teacher over the rows that are not on the disk yet and publishes the label set, or ends with its part.
///
/// The folder's bytes depend on the flags but --batch, on the files they name and on the engine, not on threads, time or
/// interruptions. Stopped between two batches, it leaves what was answered.
pub fn run(args: &RunArgs, machine: Machine, stop: &Stop, progress: &mut Progress) -> Result<Written> {
    args.taps.refuse_wider(args.out.dtype)?;
    let reading = Progress::busy("reading data and teacher");
    let data = args.data.spec()?;
    let dataset = args.data.load()?;
    refuse_needless(dataset.classes(), args.out.dtype, args.out.top_k)?;
    let TeacherArgs { teacher, network } = &args.teacher;
    let teacher = Teacher::load(teacher, &network.foreign()?, task(&dataset), machine)?;
    let tapped = args.taps.find(teacher.network())?;
    let features = tapped.as_ref().map(|tapped| &tapped.features);
    let judgement = args.robust.prepare(&data)?;
    let reused = Reused::open(&args.reuse)?;
    drop(reading);
    let plan = args.views.plan(&data);
    let batch = teacher.batch(args.batch.map(NonZeroUsize::get), (64 * machine.threads).max(128))?;
    let pixels = 4 * task(&dataset).input.into_iter().product::<usize>();
    let maps = features.map_or(0, |features| 4 * features.values());
    let batch = batch.min(MOST_TOGETHER / pixels.max(maps).max(1)).max(1);
    let OutArgs { dtype, top_k, .. } = args.out;
    let storing = Storing::new(dataset.classes(), dtype, top_k, features);
    let rows = row_table(plan, dataset.len())?;
    if let Some(features) = features {
        refuse_heavy(features, rows.len() as u64, args.out.format, args.yes)?;
    }
    let record = teacher.record(&args.out.origin);
    let digest = record.weights_blake3.as_ref().map(ToString::to_string);
    let count = rows.len() as u64;
    // Not before the folder is known to take them.
    let announce = || {
        note(format_args!(
            "{} answers to {} images of {} {}, into {}\n{} rows, views {} of {}, on {}",
            teacher.architecture(),
            with_commas(dataset.len() as u64),
            data,
            args.data.split.name(),
            args.out.out.display(),
            with_commas(count),
            plan.views,
            plan.augment,
            teacher.whereabouts(machine.threads)
        ));
        if let Some(features) = features {
            let weight = bytes(weight(features, count, args.out.format));
            note(format_args!("with feature maps of {features} in {}, {weight}", features.dtype));
        }
        detail(format_args!("{data}: identity {}", dataset.record().hash()));
        if let Some(digest) = &digest {
            detail(format_args!("{}: BLAKE3 {digest}", args.teacher.teacher.display()));
        }
    };
    let mut is_new = true;
    // Labels may be coarse; what is quoted of the teacher is found and judged in f32.
    let coarse = machine.precision.is_some_and(|precision| precision != Storage::F32);
    let fine = Machine { precision: None, ..machine };
    let judging = coarse && judgement.is_some();
    let judging = judging.then(|| fine.start_for_judging(true, Verdicts::Attacked)).transpose()?;
    let victim = Victim { engine: judging.as_deref().unwrap_or(teacher.victim().engine), ..teacher.victim() };
    let judge = judgement.as_ref().map(|judgement| || judgement.of(victim, stop));
    let robust = judge.as_ref().map(|judge| judge as &dyn Fn() -> _);
    let mut spec = args.out.spec(rows, &dataset, plan, record);
    spec.features = features.cloned();
    spec.build = cli::build::commit().map(String::from);
    spec.any_engine = !args.same_engine;
    let same = |old: &PathBuf| std::fs::canonicalize(old).ok() == std::fs::canonicalize(&args.out.out).ok();
    if let Some(old) = args.reuse.iter().find(|old| same(old)) {
        return Err(Error::Usage {
            what: format!("{}: it is the label set whose answers are taken over", old.display()),
            hint: "write to another --out; a published label set is never changed".into(),
        });
    }
    reused.enter(&mut spec)?;
    reused.refuse_rounded(&storing)?;
    let (out, part, threads) = (&args.out.out, args.part, machine.threads);
    let order = Order { out, spec, part, batch, threads, stop, robust, whose: None };
    let mut ask = |rows: &[RowId]| {
        if std::mem::take(&mut is_new) {
            announce();
            let (labels, name) = (dataset.labels(), &dataset.record().name);
            let doubt = cli::first_look(labels, dataset.classes(), name, batch, |places| {
                let rows: Vec<RowId> = places.iter().map(|&image| (image, plan.rows(image)[0])).collect();
                let answer = || teacher.logits(&dataset, plan.augment, &rows);
                (!stop.requested()).then(answer).transpose()
            })?;
            if let Some(doubt) = doubt {
                warn(doubt);
            }
        }
        let answers = teacher.answers(&dataset, plan.augment, rows, tapped.as_ref())?;
        storing.check(&answers, rows)?;
        Ok(answers)
    };
    label_set(order, progress, |_, rows| reused.answers(rows, &storing, &mut ask))
}
