//! The command line: raw flags in, typed settings out.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use engine::Kind;
use method::threat::Fraction;
use method::{attack, model, objective};

use crate::bench::Mode;
use crate::config::{Config, ConfigError, Layers, PRESETS, SETTINGS};
use crate::evaluate::Examination;

/// Trains small robust students from a teacher's soft labels, and judges them.
#[derive(Parser)]
#[command(name = "distill", version, max_term_width = 100, after_long_help = tables())]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    /// Train a student; run the same command again to go on where it stopped
    #[command(after_long_help = format!("{}\n\n{}", settings_help(), tables()))]
    Train(Box<TrainArgs>),
    /// Measure a student's clean and robust accuracy
    #[command(after_long_help = tables())]
    Eval(Box<EvalArgs>),
    /// Time a student on this machine
    #[command(after_long_help = tables())]
    Bench(Box<BenchArgs>),
}

/// Flags of `distill train`.
#[derive(Args)]
pub struct TrainArgs {
    /// Data set: sample, cifar10:FOLDER, cifar100:FOLDER, mnist:FOLDER, parquet:FOLDER or npz:FILE
    #[arg(long)]
    data: Option<String>,
    /// Architecture of the student
    #[arg(long)]
    student: Option<String>,
    /// What the student learns: rslad, trades, sat or natural
    #[arg(long)]
    objective: Option<String>,
    /// Folder for everything the run leaves
    #[arg(long)]
    pub out: PathBuf,
    /// Label set to learn from
    #[arg(long, value_name = "DIR")]
    labels: Option<String>,
    /// Weights of a teacher to run online in place of a label set
    #[arg(long, value_name = "WEIGHTS")]
    teacher: Option<String>,
    /// Architecture of the teacher, where its file does not say
    #[arg(long, value_name = "NAME")]
    arch: Option<String>,
    /// Named group of settings to begin with
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// TOML file of settings, laid over the preset
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One setting, laid over the file; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Passes over the training images [default: 300]
    #[arg(long, value_name = "N")]
    epochs: Option<String>,
    /// Images per step [default: 128]
    #[arg(long, value_name = "N")]
    batch: Option<String>,
    /// Radius of the attack [default: 8/255]
    #[arg(long, value_name = "FRACTION")]
    eps: Option<String>,
    /// Change of a pixel per attack step [default: eps / 4]
    #[arg(long, value_name = "FRACTION")]
    step_size: Option<String>,
    /// Attack steps [default: 10]
    #[arg(long, value_name = "N")]
    steps: Option<String>,
    /// Keys everything random [default: 0]
    #[arg(long, value_name = "S")]
    seed: Option<String>,
    /// Only the first N images of the training split
    #[arg(long, value_name = "N")]
    limit: Option<String>,
    /// Images held out to select the best epoch [default: 1000 of at least 5000, else 0]
    #[arg(long, value_name = "N")]
    holdout: Option<String>,
    /// Select the best epoch on the test split, as the paper did; the summary says so
    #[arg(long)]
    paper_selection: bool,
    /// Augmentation of a run without a label set, such as crop4+flip
    #[arg(long, value_name = "NAME")]
    augment: Option<String>,
    /// Weights to start from
    #[arg(long, value_name = "FILE")]
    init: Option<String>,
    /// What runs the networks: cpu, or reference, the slow oracle [default: cpu]
    #[arg(long, value_name = "NAME")]
    engine: Option<String>,
    /// No fast convolution that rounds more than a plain sum
    #[arg(long)]
    exact_conv: bool,
    /// Threads; changes no result [default: all processors]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Whether to go on with a run that is in the folder
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub resume: Resume,
}

/// Whether to go on with a run that is there.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Resume {
    /// Go on where its last checkpoint is
    Auto,
    /// Refuse a folder that holds a run
    Never,
}

impl TrainArgs {
    /// Defaults, preset, file, `--set`, flags: each over the ones before.
    pub fn config(&self) -> Result<Config, ConfigError> {
        let mut layers = Layers::defaults();
        if let Some(preset) = &self.preset {
            layers.preset(preset)?;
        }
        if let Some(file) = &self.config {
            layers.file(file)?;
        }
        for assignment in &self.set {
            layers.set(assignment)?;
        }
        let flags = [
            ("data", &self.data),
            ("student", &self.student),
            ("objective", &self.objective),
            ("labels", &self.labels),
            ("teacher", &self.teacher),
            ("arch", &self.arch),
            ("epochs", &self.epochs),
            ("batch", &self.batch),
            ("eps", &self.eps),
            ("step-size", &self.step_size),
            ("steps", &self.steps),
            ("seed", &self.seed),
            ("limit", &self.limit),
            ("holdout", &self.holdout),
            ("augment", &self.augment),
            ("init", &self.init),
            ("engine", &self.engine),
        ];
        for (key, value) in flags {
            if let Some(value) = value {
                layers.put(&format!("--{key}"), key, value)?;
            }
        }
        if self.paper_selection {
            layers.put("--paper-selection", "paper-selection", "true")?;
        }
        if self.exact_conv {
            layers.put("--exact-conv", "exact-conv", "true")?;
        }
        layers.resolve()
    }
}

/// Flags of `distill eval`.
#[derive(Args)]
pub struct EvalArgs {
    /// Weights of the student
    #[arg(long, value_name = "FILE")]
    student: PathBuf,
    /// Architecture, where the file does not say
    #[arg(long, value_name = "NAME")]
    arch: Option<String>,
    /// Data set: sample, cifar10:FOLDER, cifar100:FOLDER, mnist:FOLDER, parquet:FOLDER or npz:FILE
    #[arg(long)]
    data: String,
    /// Part of the data set: train or test
    #[arg(long, default_value = "test")]
    split: data::Split,
    /// Attacks, separated by commas; clean accuracy is always measured
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "clean,fgsm,pgd20")]
    attack: Vec<String>,
    /// Radius of the attack
    #[arg(long, value_name = "FRACTION", default_value = "8/255")]
    eps: Fraction,
    /// Change of a pixel per step of an iterated attack [default: eps / 4]
    #[arg(long, value_name = "FRACTION")]
    step_size: Option<Fraction>,
    /// Runs of each attack from different starts; an image must withstand all
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=1000))]
    restarts: u32,
    /// Only the first N images
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// Images run together; changes no result
    #[arg(long, value_name = "N", default_value = "128", value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// Keys the attacks' starts
    #[arg(long, value_name = "S", default_value = "0")]
    seed: u64,
    /// What runs the student: cpu, or reference, the slow oracle
    #[arg(long, value_name = "NAME", default_value_t)]
    pub engine: Kind,
    /// No fast convolution that rounds more than a plain sum
    #[arg(long)]
    pub exact_conv: bool,
    /// Threads; changes no result [default: all processors]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Also write the result as JSON to this file, or to standard output for `-`
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

impl EvalArgs {
    /// What is to be judged.
    pub fn examination(&self) -> Examination {
        Examination {
            student: self.student.clone(),
            arch: self.arch.clone(),
            data: self.data.clone(),
            split: self.split,
            attacks: self.attack.clone(),
            eps: self.eps.clone(),
            step_size: self.step_size.clone(),
            restarts: self.restarts as usize,
            limit: self.limit.map(|limit| limit as usize),
            batch: self.batch as usize,
            seed: self.seed,
        }
    }
}

/// Flags of `distill bench`.
#[derive(Args)]
pub struct BenchArgs {
    /// Architecture
    #[arg(long, value_name = "NAME")]
    pub student: String,
    /// Images at a time
    #[arg(long, value_name = "N", default_value = "128", value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub batch: u32,
    /// What is timed
    #[arg(long, value_name = "MODE", default_value = "step")]
    pub mode: Mode,
    /// Timed repetitions, after two to warm up
    #[arg(long, value_name = "N", default_value = "7", value_parser = clap::value_parser!(u32).range(1..))]
    pub repetitions: u32,
    /// Channels, height and width of an image
    #[arg(long, value_name = "CxHxW", default_value = "3x32x32")]
    pub input: ImageSize,
    /// Classes
    #[arg(long, value_name = "K", default_value = "10", value_parser = clap::value_parser!(u32).range(2..=65536))]
    pub classes: u32,
    /// What runs it: cpu, or reference, the slow oracle
    #[arg(long, value_name = "NAME", default_value_t)]
    pub engine: Kind,
    /// No fast convolution that rounds more than a plain sum
    #[arg(long)]
    pub exact_conv: bool,
    /// Threads [default: all processors]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Channels, height and width, as `3x32x32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageSize(pub [usize; 3]);

impl std::str::FromStr for ImageSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let sizes: Option<Vec<usize>> =
            text.split('x').map(|size| size.parse().ok().filter(|size| (1..=4096).contains(size))).collect();
        match sizes.as_deref() {
            Some(&[channels, height, width]) => Ok(Self([channels, height, width])),
            _ => Err("wanted channels, height and width, as 3x32x32".into()),
        }
    }
}

/// The names that flags take, from the tables that know them.
fn tables() -> String {
    let section = |title: &str, rows: Vec<(&str, &str)>| {
        let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let rows: Vec<String> =
            rows.iter().map(|(name, summary)| format!("  {name:width$}  {summary}")).collect();
        format!("{title}:\n{}", rows.join("\n"))
    };
    [
        section("Objectives", objective::OBJECTIVES.iter().map(|row| (row.name, row.summary)).collect()),
        section("Architectures", model::ZOO.iter().map(|row| (row.name, row.summary)).collect()),
        section("Attacks", attack::ATTACKS.iter().map(|row| (row.name, row.summary)).collect()),
        section("Presets", PRESETS.iter().map(|row| (row.name, row.summary)).collect()),
        format!("Data sets:\n{}", data::help()),
        EXIT_CODES.to_string(),
    ]
    .join("\n\n")
}

fn settings_help() -> String {
    let width = SETTINGS.iter().map(|setting| setting.key.len()).max().unwrap_or(0);
    let rows = SETTINGS.iter().map(|setting| {
        let default = setting.default.map_or_else(String::new, |default| format!(" [{default}]"));
        format!("  {:width$}  {}{default}", setting.key, setting.help)
    });
    format!("Settings for --set and --config:\n{}", rows.collect::<Vec<_>>().join("\n"))
}

const EXIT_CODES: &str = "Exit codes: 0 done; 1 a check failed (the loss is not finite); 2 bad usage or input; 74 disk; \
75 interrupted, run the same command again; 101 our bug";
