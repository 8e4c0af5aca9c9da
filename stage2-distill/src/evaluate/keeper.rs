//! Who watches an evaluation: says how far it is, keeps what it found, and stops it when asked to.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cli::{Progress, Stop, Unchanged};
use data::Dataset;
use method::attack::Chain;
use method::eval::{EvalError, Evidence, Exam, Moment, Order, Outcome, Setting, Stage, Watch};
use tempfile::TempDir;

use super::kept::{Kept, StateFolder};
use super::spool::{Spool, passing_folder};
use super::{Examination, Judged};
use crate::error::RunError;

/// Time between two keepings at least, and in units of what the last one took.
const PAUSE: (Duration, u32) = (Duration::from_millis(200), 50);

/// Watches one evaluation, suite after suite.
pub(super) struct Keeper<'a> {
    dataset: &'a Dataset,
    /// Indices into the data set of the images judged.
    places: &'a [usize],
    stop: &'a Stop,
    folder: Option<StateFolder>,
    spool: Option<Spool>,
    /// Where a spool lies that nobody resumes.
    _passing: Option<TempDir>,
    /// What is known; its stage is that of the last keeping.
    kept: Kept,
    /// The suite under way.
    suite: usize,
    /// The attack under way and its progress.
    progress: Option<(String, Progress)>,
    last: Instant,
    pause: Duration,
}

impl<'a> Keeper<'a> {
    /// At the beginning, or where an earlier process stopped.
    pub fn new(
        exam: &Examination,
        chains: &[Chain],
        dataset: &'a Dataset,
        places: &'a [usize],
        evidence: &Evidence,
        stop: &'a Stop,
    ) -> Result<Self, RunError> {
        let names = |chain: &Chain| chain.attacks.iter().map(|attack| attack.name()).collect();
        let anew = Kept {
            setting: evidence.setting.clone(),
            part: evidence.part,
            suites: chains.iter().map(|chain| (chain.name.clone(), names(chain))).collect(),
            done: Vec::new(),
            stage: None,
            found: exam.adversarial.as_ref().map(|_| Vec::new()),
        };
        let folder = exam.state.as_deref().map(StateFolder::open).transpose()?;
        let earlier = folder.as_ref().map(StateFolder::read).transpose()?.flatten();
        let kept = match (earlier, &folder) {
            (Some(earlier), Some(folder)) => earlier.goes_on(anew, folder.path(), exam.anew)?,
            _ => anew,
        };
        let input = dataset.shape().input();
        let (mut spool, mut passing) = (None, None);
        if let (Some(rows), Some(file)) = (&kept.found, &exam.adversarial) {
            let place = if let Some(folder) = &folder {
                folder.path().to_owned()
            } else {
                let made = passing_folder(file).map_err(cli::Error::io("write beside", file))?;
                passing.insert(made).path().to_owned()
            };
            let opened = Spool::open(&place, input, rows.clone());
            spool = Some(opened.map_err(cli::Error::io("keep adversarial images in", &place))?);
        }
        let (last, pause) = (Instant::now(), PAUSE.0);
        Ok(Self {
            dataset,
            places,
            stop,
            folder,
            spool,
            _passing: passing,
            kept,
            suite: 0,
            progress: None,
            last,
            pause,
        })
    }

    /// Suites that an earlier process finished.
    pub fn done(&self) -> usize {
        self.kept.done.len()
    }

    /// Begins a suite; gives how far an earlier process came with it.
    pub fn enter(&mut self, suite: usize) -> Option<Stage> {
        self.suite = suite;
        self.progress = None;
        self.kept.stage.take()
    }

    /// Ends the suite under way.
    pub fn leave(&mut self, outcome: Outcome) -> Result<(), EvalError> {
        self.progress = None;
        self.kept.stage = None;
        self.kept.done.push(outcome);
        self.write()
    }

    /// Gives what every suite did, and writes the adversarial images where they were asked for.
    pub fn finish(self, exam: &Examination, setting: &Setting) -> Judged<Vec<Outcome>> {
        let mut written = Ok(());
        if let (Some(spool), Some(file)) = (self.spool, &exam.adversarial) {
            let attacks: Vec<String> = self
                .kept
                .suites
                .iter()
                .flat_map(|(suite, attacks)| attacks.iter().map(move |attack| full_name(suite, attack)))
                .collect();
            let text = |value: &Option<String>| value.clone().unwrap_or_default();
            let metadata = BTreeMap::from([
                ("architecture", setting.architecture.clone()),
                ("weights_blake3", setting.weights_blake3.clone()),
                ("data", setting.data.clone()),
                ("data_blake3", setting.data_blake3.clone()),
                ("split", setting.split.clone()),
                ("norm", setting.norm.map_or_else(String::new, |norm| norm.to_string())),
                ("eps", text(&setting.eps)),
                ("seed", setting.seed.to_string()),
            ]);
            let tidied = if self.folder.is_some() { disk::sweep_beside(file).map(drop) } else { Ok(()) };
            let finished = tidied.and_then(|()| spool.finish(file, &attacks, metadata));
            written = finished.map_err(cli::Error::io("write", file)).map_err(Into::into);
        }
        (self.kept.done, written)
    }

    /// Hears how far the clean images are; false stops.
    pub fn heard_clean(&mut self, done: usize, images: usize) -> bool {
        self.show("clean", "clean", done as u64, images as u64);
        !self.stop.requested()
    }

    fn show(&mut self, name: &str, about: &str, done: u64, images: u64) {
        if self.progress.as_ref().is_none_or(|(known, _)| known != name) {
            // The former leaves the terminal before the next one comes.
            self.progress = None;
            let mut progress = Progress::on_stderr("images");
            progress.about(name);
            progress.begin_at(done, images);
            self.progress = Some((name.into(), progress));
        }
        if let Some((_, progress)) = &mut self.progress {
            progress.of(images);
            progress.set(done, about);
        }
    }

    fn write(&mut self) -> Result<(), EvalError> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let begun = Instant::now();
        if let Some(spool) = &self.spool {
            spool.sync()?;
            self.kept.found = Some(spool.rows().into());
        }
        folder.write(&self.kept)?;
        self.last = Instant::now();
        self.pause = PAUSE.0.max((self.last - begun) * PAUSE.1);
        Ok(())
    }
}

/// The name under which an attack of a suite is reported.
fn full_name(suite: &str, attack: &str) -> String {
    if suite == attack { attack.into() } else { format!("{suite}/{attack}") }
}

impl Watch for Keeper<'_> {
    fn tell(&mut self, Moment { attack, done, images, standing }: Moment) -> Order {
        let name = full_name(&self.kept.suites[self.suite].0, attack);
        self.show(&name, &format!("{name}, {standing} stand"), done as u64, images as u64);
        if self.stop.requested() {
            Order::Stop
        } else if self.folder.is_some() && self.last.elapsed() >= self.pause {
            Order::Keep
        } else {
            Order::Go
        }
    }

    fn keep(&mut self, stage: &Stage) -> Result<(), EvalError> {
        if self.folder.is_some() {
            self.kept.stage = Some(stage.clone());
            self.write()?;
        }
        Ok(())
    }

    fn found(&mut self, index: usize, by: usize, pixels: &[f32]) -> Result<(), EvalError> {
        let Some(spool) = &mut self.spool else { return Ok(()) };
        let place = self.places[index];
        let before: usize = self.kept.suites[..self.suite].iter().map(|(_, attacks)| attacks.len()).sum();
        let of = (place as u32, self.dataset.labels()[place], (before + by) as u32);
        let image = Unchanged(self.dataset).images(&[place])?.flatten_all()?.to_vec1::<f32>()?;
        Ok(spool.push(of, &image, pixels)?)
    }
}
