//! `label repair`: brings lost and damaged shards back, to the very bytes they had.

use std::path::PathBuf;

use clap::Args;
use cli::{MachineArgs, NetworkArgs, Progress, Stop, note, warn};
use data::DatasetSpec;
use labels::{Answerer, Repair, Spec};
use method::view::ViewPlan;

use crate::args::{row_table, task};
use crate::recompute::{as_recorded, weights_of};
use crate::taps::Tapped;
use crate::teacher::{RowId, Teacher, started};
use crate::{Error, Result};

/// Flags of `label repair`.
#[derive(Debug, Clone, Args)]
pub struct RepairArgs {
    /// The label set's folder
    #[arg(value_name = "LABELS")]
    pub labels: PathBuf,
    /// Bring back a form of which no file is there, too
    #[arg(long)]
    pub absent: bool,
    /// The teacher's weights, asked where a shard is whole in neither form
    #[arg(long, value_name = "WEIGHTS", requires = "data")]
    pub teacher: Option<PathBuf>,
    /// What is said of its file; what the label set records where nothing is.
    #[command(flatten)]
    pub network: NetworkArgs,
    /// The labelled dataset
    #[arg(long, value_name = "DATASET", requires = "teacher")]
    pub data: Option<DatasetSpec>,
    /// Bring every image to N x N pixels, as `@N` behind the dataset's place does
    #[arg(long, value_name = "N", value_parser = cli::whole::<1, 1024>, requires = "data")]
    pub size: Option<u32>,
}

/// Rows asked together.
const BATCH: usize = 256;

impl RepairArgs {
    pub(super) fn run(&self, machine: MachineArgs) -> Result<()> {
        let stop = Stop::on_signals_after("this shard or batch")?;
        let mut repair = Repair::open(&self.labels, self.absent)?;
        let dir = self.labels.display();
        let broken = repair.broken();
        let mut lost = Vec::new();
        for &shard in &broken {
            if stop.requested() {
                return Err(self.interrupted(&repair));
            }
            if repair.from_other_form(shard)? {
                note(format_args!("{dir}: shard {shard} is whole again, from its other form"));
            } else {
                lost.push(shard);
            }
        }
        if !lost.is_empty() {
            self.ask(&mut repair, &lost, machine, &stop)?;
        }
        match (broken.len(), repair.absent()) {
            (0, None) => note(format_args!("{dir}: every shard is as it was published")),
            (0, Some(form)) => note(format_args!(
                "{dir}: every shard that is there is as it was published; its {form} form is not there, --absent brings it back"
            )),
            (count, _) => note(format_args!("{dir}: {count} shard(s) brought back")),
        }
        Ok(())
    }

    /// Says of the first shard that this teacher will hardly bring back why it will not.
    fn say_others(&self, repair: &Repair, lost: &[usize], now: &labels::Teacher) {
        let is_now = |by: &Answerer| by.engine == now.engine && by.device == now.device;
        let (labels, manifest) = (self.labels.display(), repair.manifest());
        let other =
            lost.iter().map(|&shard| (shard, repair.answerers(shard))).find(|(_, by)| !by.iter().all(is_now));
        let strangers: Vec<String> =
            manifest.elsewhere().into_iter().filter(|by| !is_now(by)).map(|by| by.to_string()).collect();
        let what = match other {
            Some((shard, by)) => {
                let by: Vec<String> = by.iter().map(ToString::to_string).collect();
                format!("shard {shard} was answered by {}", by.join(" and by "))
            }
            None if strangers.is_empty() => return,
            None => format!("rows were taken over, which may be by {}", strangers.join(" or by ")),
        };
        let labels::Teacher { engine, device, .. } = now;
        warn(format_args!(
            "{labels}: {what}, and this is {engine}, {device}: what differs in a bit is refused"
        ));
    }

    fn interrupted(&self, repair: &Repair) -> Error {
        Error::RepairInterrupted { dir: self.labels.clone(), left: repair.broken().len() }
    }

    /// Asks the teacher for the rows of the shards that are lost.
    fn ask(&self, repair: &mut Repair, lost: &[usize], machine: MachineArgs, stop: &Stop) -> Result<()> {
        let (Some(weights), Some(data)) = (&self.teacher, &self.data) else {
            let shards: Vec<String> = lost.iter().map(ToString::to_string).collect();
            return Err(Error::Usage {
                what: format!("{}: no form has shards {} whole", self.labels.display(), shards.join(", ")),
                hint: "pass --teacher and --data, and they are answered again".into(),
            });
        };
        let manifest = repair.manifest().clone();
        let weights = weights_of(&manifest, weights)?;
        let dataset = cli::images(&data.clone().sized(self.size)?, manifest.dataset.split.parse()?)?;
        let dataset = dataset.limit(usize::try_from(manifest.dataset.images).unwrap_or(usize::MAX));
        let record = dataset.record();
        if record.hash() != manifest.dataset.hash {
            return Err(Error::Usage {
                what: format!("{data}: other images than those that {} answers to", self.labels.display()),
                hint: "pass the dataset that was labelled".into(),
            });
        }
        let said = as_recorded(&self.network.foreign()?, &manifest.teacher);
        let engine = started(machine.machine())?;
        let teacher = Teacher::from_file(&weights, &said, task(&dataset), engine)?;
        self.say_others(repair, lost, &teacher.record(""));
        let features = manifest.features.as_ref();
        let tapped = features.map(|features| Tapped::of(features, teacher.network())).transpose()?;
        let plan = ViewPlan { augment: manifest.augment, views: manifest.views };
        let table = row_table(plan, dataset.len())?;
        let mut spec = Spec::new(record, plan.augment, plan.views, table, manifest.teacher.clone());
        (spec.dtype, spec.top_k) = (manifest.dtype, manifest.top_k);
        spec.features.clone_from(&manifest.features);
        let jobs: Vec<_> = lost.iter().map(|&shard| repair.job(shard, &spec)).collect();
        let mut progress = Progress::on_stderr("rows");
        progress.begin(0, jobs.iter().map(|job| job.rows.len() as u64).sum());
        for job in jobs {
            let rows = job
                .images
                .clone()
                .flat_map(|image| spec.rows.views_of(image).iter().map(move |&view| (image, view)));
            let rows: Vec<RowId> = rows.collect();
            let mut answers = Vec::with_capacity(rows.len() * spec.coding().given());
            for some in rows.chunks(BATCH) {
                if stop.requested() {
                    return Err(self.interrupted(repair));
                }
                answers.extend(teacher.answers(&dataset, plan.augment, some, tapped.as_ref())?);
                progress.add(some.len() as u64);
            }
            repair.from_answers(&spec, &job, &answers)?;
        }
        Ok(())
    }
}
