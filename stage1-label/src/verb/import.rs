//! `label import`: a foreign teacher's answers become a label set like any other.

use std::path::PathBuf;

use clap::Args;
use cli::{MachineArgs, Progress, Stop, say, warn};
use data::DatasetSpec;
use labels::{Hex, RightAnswers};
use method::view::ViewPlan;
use weights::blake3_of_file;
use zoo::{Inputs, LoadError};

use crate::args::{OutArgs, row_table};
use crate::npy::NpyLogits;
use crate::rows_file::{Header, RowsFile};
use crate::squashed::{Finding, Squashed};
use crate::storing::{Storing, refuse_needless};
use crate::teacher::{FOREIGN, RowId};
use crate::write::{Order, Written, label_set};
use crate::{Error, Result};

/// Rows checked together.
const CHUNK: usize = 4096;

/// Flags of `label import`.
#[derive(Debug, Clone, Args)]
pub struct ImportArgs {
    /// The rows that were answered, written by `label plan`
    #[arg(long, value_name = "ROWS.parquet")]
    pub rows: PathBuf,
    /// The answers: a NumPy array (rows, classes) of float16, float32 or float64
    #[arg(long, value_name = "FILE.npy")]
    pub logits: PathBuf,
    /// The dataset that the rows were planned for
    #[arg(long, value_name = "DATASET")]
    pub data: DatasetSpec,
    /// Bring every image to N x N pixels, as `@N` behind the dataset's place does
    #[arg(long, value_name = "N", value_parser = cli::whole::<1, 1024>)]
    pub size: Option<u32>,
    /// Who answered, like a RobustBench model's name
    #[arg(long, value_name = "NAME")]
    pub teacher_name: String,
    /// The teacher's weights file, to record its hash
    #[arg(long, value_name = "FILE")]
    pub teacher_weights: Option<PathBuf>,
    /// Mean of each channel that the teacher's images had taken away, to record it
    #[arg(long, value_name = "A,B,C", requires = "std", conflicts_with = "normalize")]
    pub mean: Option<String>,
    /// What each channel was then divided by, to record it
    #[arg(long, value_name = "A,B,C", requires = "mean", conflicts_with = "normalize")]
    pub std: Option<String>,
    /// The same by name: cifar10, imagenet .. or none [default: unknown]
    #[arg(long, value_name = "NAME")]
    pub normalize: Option<String>,
    /// What is written.
    #[command(flatten)]
    pub out: OutArgs,
}

impl ImportArgs {
    pub(super) fn run(&self, machine: MachineArgs) -> Result<()> {
        let stop = Stop::on_signals()?;
        let written = run(self, machine.threads(), &stop, &mut Progress::on_stderr("rows"))?;
        written.say(&self.out.out);
        Ok(())
    }
}

/// Checks rows and logits against the dataset, then writes a label set as `run` does.
///
/// Every logit is looked at before the folder is touched. The manifest records the logits file's BLAKE3 with the engine,
/// so that other answers never go on in a folder that these began.
pub fn run(args: &ImportArgs, threads: usize, stop: &Stop, progress: &mut Progress) -> Result<Written> {
    let inputs = Inputs::parse(args.mean.as_deref(), args.std.as_deref(), args.normalize.as_deref());
    let inputs = inputs.map_err(LoadError::from)?;
    let file = RowsFile::open(&args.rows)?;
    let split = file.header.split.parse()?;
    let dataset = cli::images(&args.data.clone().sized(args.size)?, split)?.limit(file.header.images);
    let plan = ViewPlan { augment: file.header.augment, views: file.header.views };
    let table = row_table(plan, dataset.len())?;
    let header = Header::new(&dataset, plan, table.len());
    file.check(&header, &table)?;

    let classes = dataset.classes();
    refuse_needless(classes, args.out.dtype, args.out.top_k)?;
    let storing = Storing::new(classes, args.out.dtype, args.out.top_k, None);
    let mut logits = NpyLogits::open(&args.logits, table.len(), classes)?;
    if let Some((key, wanted, found)) = header.difference(&logits.said().plan) {
        let hint = "these are answers to another plan; pass its rows, or let the teacher answer these";
        return Err(Error::input(&args.logits, format!("{key} of the answered plan"), wanted, found, hint));
    }
    let rows: Vec<RowId> = (0..dataset.len())
        .flat_map(|image| table.views_of(image).iter().map(move |&view| (image, view)))
        .collect();
    let mut right = RightAnswers::none(classes);
    let mut squashed = Squashed::of(logits.precision());
    for rows in rows.chunks(CHUNK) {
        let answers = logits.read(rows.len())?;
        storing.check(&answers, rows).map_err(|error| match error {
            // What a file holds is input, not the outcome of a run.
            Error::Common(cli::Error::Labels(error @ labels::Error::TeacherNotFinite { .. })) => {
                Error::Usage {
                    what: format!("{}: {}", args.logits.display(), first_line(&error)),
                    hint: "check the teacher's weights and the input's range".into(),
                }
            }
            error => error,
        })?;
        for (&(image, _), answer) in rows.iter().zip(answers.chunks_exact(classes)) {
            right.add(dataset.labels()[image], cli::largest(answer));
            squashed.watch(answer);
        }
    }
    drop(rows);
    let named = |what: &str| format!("{}: {what}", args.logits.display());
    match squashed.finding() {
        Some(Finding::Refused { what, hint }) => return Err(Error::Usage { what: named(&what), hint }),
        Some(Finding::Doubted(doubt)) => warn(named(&doubt)),
        None => {}
    }
    if let Some(doubt) = cli::doubt(&right, dataset.len() as u64, &dataset.record().name) {
        say(doubt);
    }

    let digest = blake3_of_file(&args.logits)?.to_hex();
    let weights = args.teacher_weights.as_deref().map(blake3_of_file).transpose()?;
    let mut teacher = labels::Teacher::named(&args.teacher_name);
    teacher.weights_blake3 = weights.map(|hash| Hex(*hash.as_bytes()));
    teacher.origin.clone_from(&args.out.origin);
    teacher.precision = logits.said().precision.clone().unwrap_or_else(|| logits.precision().into());
    teacher.engine = format!("foreign (logits BLAKE3 {digest})");
    teacher.device = logits.said().device.clone().unwrap_or_else(|| FOREIGN.into());
    match inputs.as_ref().map(Inputs::constants) {
        None => teacher.normalisation = Some("unknown".into()),
        Some(None) => {}
        Some(Some((mean, std))) => {
            let text = |values: &[f64]| values.iter().map(f64::to_string).collect();
            (teacher.mean, teacher.std) = (text(mean), text(std));
        }
    }
    let spec = args.out.spec(table, &dataset, plan, teacher);
    label_set(
        Order {
            out: &args.out.out,
            spec,
            part: None,
            batch: CHUNK,
            threads,
            stop,
            robust: None,
            whose: None,
        },
        progress,
        |first, rows| {
            logits.seek(first)?;
            Ok(storing.keep(&logits.read(rows.len())?, rows)?.into_owned())
        },
    )
}

fn first_line(error: &labels::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}
