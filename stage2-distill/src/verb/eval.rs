//! Flags of `distill eval`.

mod place;

use std::fmt::Display;
use std::path::{Path, PathBuf};

use clap::{Args, Parser};
use cli::{Interruptible, Machine, MachineArgs, NetworkArgs, Stop, Verdicts, json, show, whole};
use data::DatasetSpec;
use engine::Engine;
use labels::Part;
use method::attack;
use method::eval::{Evidence, Report, Summary};
use method::threat::{Fraction, Norm, Threat};
use serde::Serialize;

use self::place::{is_stream, refuse_place, refuse_place_of_images, target, write_report};
use crate::error::RunError;
use crate::evaluate::{Chosen, Examination, Reach, evaluate, say_doubts};
use crate::trained::{self, Trained};

/// Flags of `distill eval`.
#[derive(Args)]
pub struct EvalArgs {
    /// A run's folder, for its best student (its last one where it selected none), or a student's weights; several, of one
    /// kind and of different seeds, for mean and standard deviation
    #[arg(id = "run", value_name = "RUN", required_unless_present_any = ["student", "merge"])]
    runs: Vec<PathBuf>,
    /// The same: weights of the student, or its run's folder
    #[arg(long, value_name = "FILE", conflicts_with = "run")]
    student: Option<PathBuf>,
    #[command(flatten)]
    network: NetworkArgs,
    /// Data set: `sample`, or like `cifar10:FOLDER`; the names are below [default: the run's]
    #[arg(long, value_name = "DATASET")]
    data: Option<String>,
    /// Bring every image to N x N pixels, as `@N` behind the dataset's place does
    #[arg(long, value_name = "N", value_parser = cli::whole::<1, 1024>)]
    size: Option<u32>,
    /// Part of the data set: train or test
    #[arg(long, default_value = "test", value_name = "SPLIT")]
    split: data::Split,
    /// Attacks, separated by commas; clean accuracy is always measured
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "clean,fgsm,pgd20")]
    attack: Vec<String>,
    /// How attacks measure distance: linf or l2
    #[arg(long, value_name = "NORM", default_value = "linf")]
    norm: Norm,
    /// Radius of the attack, such as 8/255 in linf or 0.5 in l2 [default: the run's]
    #[arg(long, value_name = "FRACTION", value_parser = Fraction::of_any_size)]
    eps: Option<Fraction>,
    /// Change of a pixel per step of an iterated attack [default: the run's, or eps / 4 where --eps is given]
    #[arg(long, value_name = "FRACTION", value_parser = Fraction::of_any_size)]
    step_size: Option<Fraction>,
    /// Runs of each attack from different starts; an image must withstand all
    #[arg(long, value_name = "N", default_value = "1", value_parser = whole::<1, 1000>)]
    restarts: u32,
    /// Black box: attack this network, and judge the student by the images that it is fooled by
    #[arg(long, value_name = "FILE")]
    surrogate: Option<PathBuf>,
    /// Only the first N images
    #[arg(long, value_name = "N", value_parser = whole::<1, { u32::MAX }>)]
    limit: Option<u32>,
    /// Images run together; changes no result [default: 128; 512 on a GPU]
    #[arg(long, value_name = "N", value_parser = whole::<1, 65536>)]
    batch: Option<u32>,
    /// Keys the attacks' starts
    #[arg(long, value_name = "S", default_value = "0")]
    seed: u64,
    /// No fast convolution that rounds more than a plain sum
    #[arg(long)]
    exact_conv: bool,
    /// Also write the result as JSON to this file, or to standard output for `-`
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Keep in this folder how far it is, so that the same command goes on after a crash
    #[arg(long, value_name = "FOLDER")]
    state: Option<PathBuf>,
    /// Write the adversarial images to this safetensors file
    #[arg(long, value_name = "FILE")]
    save_adversarial: Option<PathBuf>,
    /// Judge part I of N of the images, from 0: for several machines, whose reports --merge makes one. auto, auto/N: as the
    /// SLURM array or step, or the Kubernetes Indexed Job, says
    #[arg(long, value_name = "I/N", value_parser = cli::part)]
    part: Option<Part>,
    /// Make one report of the reports of all parts, and judge nothing
    #[arg(long, value_name = "REPORT", num_args = 1.., conflicts_with_all = ["run", "student", "part", "state", "save_adversarial", "attack", "eps", "step_size", "surrogate", "limit", "data", "size"])]
    merge: Vec<PathBuf>,
}

/// The flags without a command before them.
#[derive(Parser)]
#[command(no_binary_name = true)]
struct Words {
    #[command(flatten)]
    args: EvalArgs,
}

impl EvalArgs {
    /// The flags as a file gives them, each with its value, for students that are not trained yet. Attacks are looked up.
    pub(crate) fn of_words(flags: impl Iterator<Item = String>) -> Result<Self, String> {
        // A switch takes no value on a command line.
        let words = flags.filter(|word| !word.ends_with("=false"));
        let words = words.map(|word| word.strip_suffix("=true").map(str::to_owned).unwrap_or(word));
        let parsed =
            Words::try_parse_from(std::iter::once("run".to_owned()).chain(words)).map_err(|error| {
                let text = error.to_string();
                let why = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
                format!("{why}\nhint: its keys are the flags of `distill eval`")
            })?;
        attack::chains(&parsed.args.attack).map_err(|error| error.to_string())?;
        Ok(parsed.args)
    }

    /// What a student that is exported is judged with: clean images, and PGD of 20 steps where a radius is known.
    pub(crate) fn for_export(
        path: &Path,
        network: &NetworkArgs,
        data: Option<String>,
        eps: Option<Fraction>,
        limit: u32,
    ) -> Result<Examination, RunError> {
        let usual = Words::try_parse_from(["run"]).expect("a run is all that is needed").args;
        let is_known = eps.is_some() || trained::find(path)?.run.is_some();
        let attack = ["clean", "pgd20"].iter().take(1 + usize::from(is_known));
        let attack = attack.map(|name| (*name).to_owned()).collect();
        let args = Self { network: network.clone(), data, eps, limit: Some(limit), attack, ..usual };
        args.examination(path)
    }

    /// Judges the student of a run's folder with these flags, and keeps how far it is in `state`.
    pub(crate) fn judge(
        &self,
        run: &Path,
        state: &Path,
        (engine, threads): (&dyn Engine, usize),
        stop: &Stop,
    ) -> Result<Report, RunError> {
        let exam = Examination { state: Some(state.into()), anew: true, ..self.examination(run)? };
        let (report, images) = evaluate(&exam, engine, threads, stop)?;
        images.map(|()| report)
    }

    /// The engine that judges with these flags.
    pub(crate) fn engine(&self, machine: Machine) -> Result<Box<dyn Engine>, RunError> {
        Ok(machine.start_for_judging(self.exact_conv, self.verdicts()?)?)
    }

    /// Whether anything attacks.
    pub(crate) fn verdicts(&self) -> Result<Verdicts, RunError> {
        let attacks = !attack::chains(&self.attack)?.is_empty();
        Ok(if attacks { Verdicts::Attacked } else { Verdicts::Clean })
    }

    /// What is to be judged, with what is not given taken from the run.
    fn examination(&self, path: &Path) -> Result<Examination, RunError> {
        let attacking = self.verdicts()? == Verdicts::Attacked;
        if let Some(eps) = &self.eps {
            // What is wrong on the command line is said before any file is looked for.
            self.threat(eps)?;
        }
        let trained = trained::find(path)?;
        let student = trained.student.clone();
        let shown = student.display();
        let run = trained.run.as_ref();
        let data = self.data.clone().or_else(|| run.map(|run| run.config.data.clone())).ok_or_else(|| {
            RunError::Refused(format!(
                "{shown}: no run's folder says on which data to judge it\nhint: add --data, as in --data cifar10:FOLDER"
            ))
        })?;
        let data = match self.size {
            Some(_) => data.parse::<DatasetSpec>()?.sized(self.size)?.to_string(),
            None => data,
        };
        Ok(Examination {
            said: self.network.foreign()?,
            data,
            split: self.split,
            attacks: self.attack.clone(),
            reach: if attacking { Some(self.reach(&trained)?) } else { None },
            trained_eps: run.map(|run| run.config.eps.clone()),
            restarts: self.restarts as usize,
            limit: self.limit.map(|limit| limit as usize),
            batch: self.batch.map(|batch| batch as usize),
            seed: self.seed,
            surrogate: self
                .surrogate
                .as_ref()
                .map(|path| trained::find(path))
                .transpose()?
                .map(|found| found.student),
            exact_conv: self.exact_conv,
            part: self.part,
            state: self.state.clone(),
            anew: false,
            adversarial: self.save_adversarial.clone(),
            student,
        })
    }

    /// The ball of a radius.
    fn threat(&self, eps: &Fraction) -> Result<Threat, RunError> {
        Threat::new(self.norm, eps).map_err(|error| RunError::Refused(format!("--eps: {error}")))
    }

    /// How far attacks may go: as given, else as the run trained. No constant is right for every student.
    fn reach(&self, trained: &Trained) -> Result<Reach, RunError> {
        let given = |value: &Fraction| Chosen { value: value.clone(), from: "given".into() };
        let quarter = |eps: &Fraction| Chosen { value: eps.usual_step(), from: "eps / 4".into() };
        let reach = |eps: Chosen, step_size: Chosen| {
            let threat = self.threat(&eps.value)?;
            Ok(Reach { threat, eps, step_size })
        };
        if let Some(eps) = &self.eps {
            let step_size = self.step_size.as_ref().map_or_else(|| quarter(eps), given);
            return reach(given(eps), step_size);
        }
        let shown = trained.student.display();
        if self.norm != Norm::Linf {
            return Err(RunError::Refused(format!(
                "{shown}: students train in linf balls, whose eps says nothing about {}\nhint: add --eps, as in --eps 0.5 for CIFAR",
                self.norm
            )));
        }
        let Some(run) = &trained.run else {
            return Err(RunError::Refused(format!(
                "{shown}: no run's folder says for which eps it was trained\nhint: add --eps, as in --eps 8/255 for CIFAR or --eps 0.3 for MNIST"
            )));
        };
        let of_run = |value: Fraction| Chosen { value, from: run.record.display().to_string() };
        let step_size = self.step_size.as_ref().map_or_else(|| of_run(run.config.step_size()), given);
        reach(of_run(run.config.eps.clone()), step_size)
    }

    pub(super) fn run(&self, machine: MachineArgs) -> Result<(), RunError> {
        if !self.merge.is_empty() {
            self.check_places(&self.merge)?;
            let parts = self.merge.iter().map(|path| read_part(path)).collect::<Result<_, _>>()?;
            let merged =
                Report::merge(parts).map_err(|error| RunError::Refused(format!("--merge: {error}")))?;
            say_doubts(&merged);
            return self.publish(&merged);
        }
        let paths: Vec<&Path> = self.student.iter().chain(&self.runs).map(PathBuf::as_path).collect();
        let mut exams = paths.iter().map(|path| self.examination(path)).collect::<Result<Vec<_>, _>>()?;
        self.check_places(&exams.iter().map(|exam| exam.student.clone()).collect::<Vec<_>>())?;
        if exams.len() > 1 {
            self.refuse_several(&exams)?;
            for (number, exam) in (1..).zip(&mut exams) {
                exam.state = exam.state.take().map(|folder| folder.join(number.to_string()));
            }
        }
        let stop = Stop::on_signals_after("this pass")?;
        let machine = machine.machine();
        let engine = self.engine(machine)?;
        let interruptible = Interruptible::new(engine.as_ref(), &stop);
        // What is kept should be kept up to the last pass; of what is not, nobody waits for the end of a batch.
        let engine = if self.state.is_some() { engine.as_ref() } else { &interruptible };
        let reports = exams.iter().map(|exam| evaluate(exam, engine, machine.threads, &stop));
        let mut reports = reports.collect::<Result<Vec<_>, _>>()?;
        if reports.len() == 1 {
            let (report, images) = reports.remove(0);
            self.publish(&report)?;
            return images;
        }
        let reports: Vec<Report> = reports.into_iter().map(|(report, _)| report).collect();
        refuse_unlike(&reports)?;
        self.publish(&Summary::of(reports))
    }

    /// Several students answer one question, or none.
    fn refuse_several(&self, exams: &[Examination]) -> Result<(), RunError> {
        if self.part.is_some() || self.save_adversarial.is_some() {
            return Err(RunError::Refused(
                "--part and --save-adversarial are for one student\nhint: evaluate one after the other"
                    .into(),
            ));
        }
        let asked = |exam: &Examination| {
            let eps = exam.reach.as_ref().map(|reach| reach.eps.value.to_string());
            let step = exam.reach.as_ref().map(|reach| reach.step_size.value.to_string());
            (exam.data.clone(), eps, step)
        };
        match exams.iter().find(|exam| asked(exam) != asked(&exams[0])) {
            None => Ok(()),
            Some(other) => Err(RunError::Refused(format!(
                "{} and {} were trained on other data or for another eps: they have no mean\nhint: add --data, --eps and --step-size, or evaluate one after the other",
                exams[0].student.display(),
                other.student.display()
            ))),
        }
    }

    /// The file for the JSON, if it is not standard output.
    fn file(&self) -> Option<&Path> {
        self.json.as_deref().filter(|path| path.as_os_str() != "-")
    }

    /// An evaluation may take hours, and what it finds must have somewhere to go.
    fn check_places(&self, read: &[PathBuf]) -> Result<(), RunError> {
        for path in self.file().into_iter().filter(|path| !is_stream(path)) {
            for input in read {
                refuse_place(path, input)?;
            }
            disk::probe(&target(path)).map_err(cli::Error::io("write", path))?;
        }
        if let Some(path) = &self.save_adversarial {
            refuse_place_of_images(path, self.file(), self.state.as_deref())?;
            disk::probe(path).map_err(cli::Error::io("write", path))?;
        }
        Ok(())
    }

    fn publish<R: Display + Serialize>(&self, report: &R) -> Result<(), RunError> {
        show(report, self.json.is_some() && self.file().is_none())?;
        if let Some(path) = self.file() {
            if self.state.is_some() && !is_stream(path) {
                // What an earlier process of this evaluation began to write, and was killed.
                disk::sweep_beside(&target(path)).map_err(cli::Error::io("tidy beside", path))?;
            }
            write_report(path, &json(report)).map_err(cli::Error::io("write", path))?;
        }
        Ok(())
    }
}

/// A mean is of one kind of student, each once.
fn refuse_unlike(reports: &[Report]) -> Result<(), RunError> {
    let of = |report: &Report| {
        let setting = &report.evidence.setting;
        (setting.architecture.clone(), setting.weights_blake3.clone())
    };
    let first = of(&reports[0]);
    let what = if reports.iter().any(|report| of(report).0 != first.0) {
        "are of several architectures"
    } else if (1..reports.len()).any(|at| reports[..at].iter().any(|other| of(other) == of(&reports[at]))) {
        "are the same student twice"
    } else {
        return Ok(());
    };
    Err(RunError::Refused(format!("these {what}: they have no mean\nhint: evaluate one after the other")))
}

/// The figures of a report that was written before.
pub(crate) fn read_report(path: &Path) -> Result<Report, RunError> {
    let evidence = read_part(path)?;
    evidence.check().map_err(|what| {
        let path = path.display();
        RunError::Refused(format!("{path}: damaged: {what}\nhint: move it away and judge again"))
    })?;
    Ok(Report::of(evidence))
}

/// What a report measured.
fn read_part(path: &Path) -> Result<Evidence, RunError> {
    let text = std::fs::read(path).map_err(cli::Error::io("read", path))?;
    serde_json::from_slice(&text).map_err(|error| {
        RunError::Refused(format!(
            "{}: no report of this version's `distill eval`: {error}\nhint: parts are made with --part I/N --json FILE",
            path.display()
        ))
    })
}
