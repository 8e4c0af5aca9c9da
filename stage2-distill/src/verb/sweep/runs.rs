//! The runs of a file, trained and judged one after another: which is next, and which is done.

use std::path::{Path, PathBuf};

use cli::{Exit, Exits, Machine, Stop, Verdicts, note, say};
use method::eval::lesser_precision;

use super::file::{Planned, SweepFile};
use super::outcome::{Figures, Trained};
use super::table::{Row, Table};
use crate::error::RunError;
use crate::folder::RunFolder;
use crate::ranks::Alone;
use crate::train::{self, Surroundings};
use crate::verb::train::refuse_inside_labels;

/// A sweep, and what it needs besides its file; none of that changes a student.
pub(super) struct Sweep<'a> {
    /// What is to be done.
    pub file: &'a SweepFile,
    /// Where each run has its folder.
    pub out: &'a Path,
    /// The machine; a run's own settings choose the engine.
    pub machine: Machine,
    /// Set when the user asks to stop.
    pub stop: &'a Stop,
    /// The command line, for the records of the runs.
    pub command: String,
}

impl Sweep<'_> {
    /// Does what is not done of all runs, or of one of them. A run that fails does not keep the others; one that is
    /// interrupted ends it.
    pub fn run(&self, only: Option<usize>) -> Result<Table, RunError> {
        let count = self.file.runs.len();
        let mut rows = Vec::new();
        for (number, planned) in self.file.runs.iter().enumerate() {
            if only.is_some_and(|only| only != number) {
                continue;
            }
            if self.stop.requested() {
                return Err(RunError::Paused);
            }
            note(format_args!("run {} of {count}: {}", number + 1, planned.name));
            let found = self.trained(planned).and_then(|trained| self.judged(planned, trained));
            match found {
                Err(error) if error.exit() == Exit::Interrupted => return Err(error),
                found => {
                    if let Err(error) = &found {
                        say(format_args!("{}: {error}", planned.name));
                    }
                    rows.push(Row::of(planned, &self.folder(planned), found));
                }
            }
        }
        Ok(Table::of(rows))
    }

    fn folder(&self, planned: &Planned) -> PathBuf {
        self.out.join(&planned.name)
    }

    /// Trains the run's student, or goes on with it. A run that is done is opened again only where the file names other
    /// places than before: whether the same lies there is for the training to say.
    fn trained(&self, planned: &Planned) -> Result<Trained, RunError> {
        let (config, folder) = (&planned.config, self.folder(planned));
        let known = RunFolder::peek(&folder)?;
        let same = known.is_some_and(|known| Planned::reads_the_same(&known, config));
        if let Some(trained) = Trained::read(&folder)?.filter(|_| same) {
            return Ok(trained);
        }
        refuse_inside_labels(config, &folder)?;
        let machine = Machine {
            engine: config.engine,
            precision: config.precision,
            recompute: config.recompute,
            ..self.machine
        };
        let engine = machine.start(config.exact_conv)?;
        let summary = train::train(
            config,
            &Surroundings {
                out: &folder,
                resume: true,
                engine: engine.as_ref(),
                threads: machine.threads,
                stop: self.stop,
                collective: &Alone,
                command: self.command.clone(),
            },
        )?;
        let trained = Trained::of(&summary, config, &folder)?;
        trained.write(&folder)?;
        Ok(trained)
    }

    /// Judges the run's student as the file says, or goes on with that, or reads what was found. Verdicts of a lesser
    /// precision than this machine's are found anew: in one table with others they would flatter their runs.
    fn judged(&self, planned: &Planned, trained: Trained) -> Result<Figures, RunError> {
        let folder = self.folder(planned);
        let judged = folder.join(&self.file.judged);
        let report = judged.join("report.json");
        let earlier = report.exists().then(|| Figures::read(&report, trained.clone())).transpose()?;
        if let Some(figures) = earlier.as_ref().filter(|figures| figures.precision.is_none()) {
            return Ok(figures.clone());
        }
        // The precision is the training's: nobody chose one for the verdicts.
        let machine = Machine { engine: planned.config.engine, precision: None, ..self.machine };
        let (exam, engine) = (&self.file.exam, self.file.exam.engine(machine)?);
        if let Some(figures) = earlier {
            let attacked = exam.verdicts()? == Verdicts::Attacked;
            let finest = lesser_precision(engine.name(), engine.hardware().precision, attacked);
            if finest == figures.precision.as_deref() {
                return Ok(figures);
            }
            let before = figures.precision.unwrap_or_default();
            note(format_args!("{}: judged in {before} before, and anew now", planned.name));
        }
        let found =
            exam.judge(&folder, &judged.join("state"), (engine.as_ref(), machine.threads), self.stop)?;
        disk::publish(&report, disk::Existing::Replace, |out| {
            std::io::Write::write_all(out, cli::json(&found).as_bytes())
        })
        .map_err(cli::Error::io("write", &report))?;
        Figures::read(&report, trained)
    }
}
