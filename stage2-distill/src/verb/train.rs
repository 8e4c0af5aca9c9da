//! Flags of `distill train`: a few of its own, and one for every setting.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, ValueEnum};
use cli::{Machine, MachineArgs, Stop, mute, note, quoted, warn};
use engine::Engine;
use method::objective;

use crate::config::{Config, ConfigError, Layers, PRESETS, SETTINGS, Setting, listed};
use crate::error::RunError;
use crate::ranks;
use crate::train::{Summary, Surroundings, train};

/// Flags of `distill train`.
#[derive(Args)]
pub struct TrainArgs {
    /// Folder for everything the run leaves
    #[arg(long, value_name = "RUN")]
    out: Option<PathBuf>,
    #[command(flatten)]
    settings: SettingArgs,
    /// Named group of settings to begin with
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// TOML file of settings, laid over the preset; keys are the flags' names
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One setting, laid over the file; may be repeated; KEY=unset takes back what a preset or file says
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Whether to go on with a run that is in the folder: auto, or never
    #[arg(long, value_name = "WHEN", default_value = "auto", hide_possible_values = true)]
    resume: Resume,
}

/// Whether to go on with a run that is there.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Resume {
    /// Go on where its last checkpoint is.
    Auto,
    /// Refuse a folder that holds a run.
    Never,
}

impl TrainArgs {
    /// Defaults, preset, file, `--set`, flags: each over the ones before.
    fn layers(&self, machine: MachineArgs) -> Result<Layers, ConfigError> {
        let mut layers = Layers::defaults();
        if let Some(parts) = ranks::usual_parts() {
            layers.put("mpirun", "parts", &parts.to_string())?;
        }
        if let Some(preset) = &self.preset {
            layers.preset(preset)?;
        }
        if let Some(file) = &self.config {
            layers.file(file)?;
        }
        for assignment in &self.set {
            layers.set(assignment)?;
        }
        for (setting, value) in &self.settings.0 {
            layers.put(&format!("--{}", setting.key), setting.key, value)?;
        }
        if let Some(engine) = machine.engine {
            layers.put("--device", "engine", &engine.to_string())?;
        }
        if let Some(precision) = machine.precision {
            layers.put("--precision", "precision", precision.name())?;
        }
        Ok(layers)
    }

    /// The whole configuration and the folder; all that is missing of both is said at once.
    fn config(&self, machine: MachineArgs) -> Result<(Config, &Path), RunError> {
        let mut layers = self.layers(machine)?;
        let mut missing = layers.missing();
        let out = self.out.as_deref();
        if out.is_none() {
            missing.push("out");
        }
        match out.filter(|_| missing.is_empty()) {
            Some(out) => Ok((layers.resolve()?, out)),
            None => Err(RunError::Refused(incomplete(&layers, &missing))),
        }
    }

    pub(super) fn run(&self, machine: MachineArgs) -> Result<(), RunError> {
        let collective = ranks::world()?;
        let collective = collective.as_ref();
        if collective.rank() > 0 {
            mute();
        }
        let share = ranks::share_of_cores(collective, machine.machine().threads);
        let threads = machine.threads.map_or(share, NonZeroUsize::get);
        let ready = match ranks::all_did(collective, self.prepare(machine, threads)) {
            Ok(ready) => ready,
            Err(error) => {
                collective.leave();
                return Err(error);
            }
        };
        let Ready { config, out, engine, stop } = ready;
        let words = std::env::args().map(|word| quoted(&word));
        let summary = train(
            &config,
            &Surroundings {
                out,
                resume: self.resume == Resume::Auto,
                engine: engine.as_ref(),
                threads,
                stop: &stop,
                collective,
                command: words.collect::<Vec<_>>().join(" "),
            },
        )?;
        tell(&summary, out);
        Ok(())
    }

    /// All that can be refused before anything is read.
    fn prepare(&self, machine: MachineArgs, threads: usize) -> Result<Ready<'_>, RunError> {
        let (config, out) = self.config(machine)?;
        refuse_inside_labels(&config, out)?;
        let preset = self.preset.as_deref().and_then(|name| names::find(PRESETS, name).ok());
        if let Some(said) = preset.and_then(|preset| preset.beside(&config.data)) {
            warn(said);
        }
        let stop = Stop::on_signals_after("this step")?;
        let machine = Machine {
            engine: config.engine,
            precision: config.precision,
            recompute: config.recompute,
            threads,
            ..machine.machine()
        };
        let engine = machine.start(config.exact_conv)?;
        Ok(Ready { config, out, engine, stop })
    }
}

/// What a run begins with.
struct Ready<'a> {
    config: Config,
    out: &'a Path,
    engine: Box<dyn Engine>,
    stop: Stop,
}

/// Says what came of a run.
fn tell(summary: &Summary, out: &Path) {
    let out = out.display();
    if summary.was_done {
        note(format_args!("{out}: the run is at its end already"));
    }
    note(format_args!(
        "{out}/student.safetensors: after {} epochs of {} images",
        summary.epochs, summary.train_images
    ));
    if let Some(best) = summary.best {
        let on = if summary.selected_on_test {
            "test images (selected on them, as the paper did)"
        } else {
            "held-out images"
        };
        note(format_args!(
            "{out}/best.safetensors: epoch {}, clean {:.2} %, pgd20 {:.2} % of {} {on}",
            best.epoch,
            best.clean_percent(),
            best.robust_percent(),
            best.images
        ));
    }
}

/// Says which settings are missing, and the command that was given with something for each of them.
fn incomplete(layers: &Layers, missing: &[&'static str]) -> String {
    let value = |key: &str| {
        let setting = SETTINGS.iter().find(|setting| setting.key == key)?;
        layers.value(setting)?.as_str().map(str::to_owned).filter(|text| !text.is_empty())
    };
    let words = || std::env::args().skip(1);
    let preset = words().skip_while(|word| word != "--preset").nth(1);
    let preset = preset.and_then(|name| names::find(PRESETS, &name).ok());
    let data = match preset.map(|preset| preset.data) {
        None | Some("sample") => "sample".to_owned(),
        Some(data) => format!("{data}:{data}"),
    };
    let digits = value("data").is_none_or(|data| data == "sample" || data.starts_with("mnist"));
    let taught = value("labels").or_else(|| value("teacher")).is_some();
    let needs = value("objective").and_then(|name| {
        let row = objective::find(&name).ok()?;
        Some(objective::compose(row, &std::collections::BTreeMap::new(), false).ok()?.needs())
    });
    let mut wanted = missing.to_vec();
    match needs {
        Some(needs) if needs.teacher.is_live() && value("teacher").is_none() => wanted.push("teacher"),
        Some(needs) if !needs.teacher.is_nothing() && !taught => wanted.push("labels"),
        _ => {}
    }
    let mut words: Vec<String> = words().map(|word| quoted(&word)).collect();
    for key in &wanted {
        let example = match *key {
            "data" => data.as_str(),
            "student" if digits => "tiny-cnn",
            "student" => "resnet18",
            "objective" if taught => "rslad",
            "objective" => "sat",
            "labels" => "labels",
            "teacher" => "teacher.safetensors",
            _ => "run",
        };
        words.push(format!("--{key} {example}"));
    }
    let was = if wanted.len() == 1 { "was" } else { "were" };
    format!(
        "no {} {was} given\nhint: pass {}, for example `distill {}`",
        listed(&wanted, ""),
        listed(&wanted, "--"),
        words.join(" ")
    )
}

/// A run's files among a label set's would make the label set one that is refused.
pub(crate) fn refuse_inside_labels(config: &Config, out: &Path) -> Result<(), RunError> {
    let Some(labels) = config.labels.as_ref().and_then(|labels| std::fs::canonicalize(labels).ok()) else {
        return Ok(());
    };
    // What is there of --out; the rest of it is still to be made.
    let Ok(absolute) = std::path::absolute(out) else { return Ok(()) };
    let there = absolute.ancestors().find_map(|part| std::fs::canonicalize(part).ok());
    if there.is_some_and(|there| there.starts_with(&labels)) {
        return Err(RunError::Refused(format!(
            "--out {} lies inside the label set {}, and a run's files there would spoil it\nhint: choose an --out beside it",
            out.display(),
            labels.display()
        )));
    }
    Ok(())
}

/// The settings that were given as flags: [`SETTINGS`] is their only list.
#[derive(Clone, Default)]
struct SettingArgs(Vec<(&'static Setting, String)>);

/// Rows that make a flag of `train`; the engine's is every command's.
fn flags() -> impl Iterator<Item = &'static Setting> {
    SETTINGS.iter().copied().filter(|setting| !["engine", "precision"].contains(&setting.key))
}

fn flag(setting: &'static Setting) -> Arg {
    let default = setting.default.filter(|&default| !setting.is_switch() || default == "true");
    let default = default.map_or_else(String::new, |default| format!(" [default: {default}]"));
    let arg = Arg::new(setting.key).long(setting.key).help(format!("{}{default}", setting.help));
    // A number below zero is a value that is refused, no flag.
    let arg = arg.value_name(setting.value).allow_negative_numbers(true);
    // What it was called before: people's scripts, and the commands in older folders.
    let arg = if setting.key == "ema" { arg.alias("average") } else { arg };
    if setting.is_switch() {
        // Alone it says true; `--flag=false` takes back what a preset or a file says.
        return arg.num_args(0..=1).require_equals(true).default_missing_value("true");
    }
    arg
}

impl Args for SettingArgs {
    fn augment_args(command: Command) -> Command {
        command.args(flags().map(flag))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for SettingArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = flags().filter_map(|setting| {
            let value = matches.get_one::<String>(setting.key).cloned();
            value.map(|value| (setting, value))
        });
        Ok(Self(given.collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Train {
        #[command(flatten)]
        machine: MachineArgs,
        #[command(flatten)]
        args: TrainArgs,
    }

    fn layers(words: &[&str]) -> Result<Layers, ConfigError> {
        let train = Train::try_parse_from(["train", "--out", "run"].iter().chain(words)).unwrap();
        train.args.layers(train.machine)
    }

    /// A value that the setting takes and that is not its default.
    fn other_value(setting: &Setting) -> &'static str {
        let usual = Layers::defaults();
        let takes = |value: &&&str| {
            let mut layers = Layers::defaults();
            layers.put("test", setting.key, value).is_ok() && layers.value(setting) != usual.value(setting)
        };
        ["7", "0.25", "1/255", "true", "false", "cosine", "reference", "f16", "from:0.5"]
            .iter()
            .find(takes)
            .expect("some value is another")
    }

    #[test]
    fn every_setting_is_set_by_its_flag_by_set_and_by_a_file_alike() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("settings.toml");
        for setting in SETTINGS {
            let (key, value) = (setting.key, other_value(setting));
            let flag = match (setting.is_switch(), value) {
                (true, "true") => vec![format!("--{key}")],
                (true, _) => vec![format!("--{key}={value}")],
                (false, _) => vec![format!("--{key}"), value.into()],
            };
            let by_flag = layers(&flag.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
            let by_set = layers(&["--set", &format!("{key}={value}")]).unwrap();
            std::fs::write(&file, format!("{key} = \"{value}\"\n")).unwrap();
            let by_file = layers(&["--config", file.to_str().unwrap()]).unwrap();
            let found = by_flag.value(setting).unwrap();
            assert_eq!(found.to_string().trim_matches('"').trim_end_matches(".0"), value, "{key}");
            assert_eq!(by_set.value(setting), Some(found.clone()), "{key}");
            assert_eq!(by_file.value(setting), Some(found), "{key}");
            let usual = Layers::defaults();
            let others = SETTINGS.iter().filter(|other| other.key != key);
            assert!(
                others.into_iter().all(|other| by_flag.value(other) == usual.value(other)),
                "{key} alone"
            );
        }
    }

    #[test]
    fn flags_are_laid_over_set_and_set_over_the_file_and_the_preset() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("settings.toml");
        std::fs::write(&file, "epochs = 5\nbatch = 5\nsteps = 5\n").unwrap();
        let file = file.to_str().unwrap();
        let words = ["--preset", "quickstart", "--config", file, "--set", "batch=6", "--set", "steps=6"];
        let config = layers(&words).unwrap();
        let config = [config, layers(&[&words[..], &["--steps", "7"]].concat()).unwrap()];
        let [set, flag] = config.map(|layers| layers.resolve().unwrap());
        assert_eq!((set.epochs, set.batch, set.steps, set.lr), (5, 6, 6, 3.0));
        assert_eq!((flag.epochs, flag.batch, flag.steps), (5, 6, 7));
    }

    #[test]
    fn whatever_a_lower_layer_says_a_higher_one_can_take_back() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("settings.toml");
        let file = |text: &str| {
            std::fs::write(&file, text).unwrap();
            file.to_str().unwrap().to_owned()
        };
        for setting in SETTINGS {
            let (key, value) = (setting.key, other_value(setting));
            let file = file(&format!("{key} = \"{value}\"\n"));
            let words = ["--config", &file, "--set", &format!("{key}=unset")];
            assert_eq!(layers(&words).unwrap().value(setting), Layers::defaults().value(setting), "{key}");
        }
        let file = file("paper-selection = true\nobjective = \"trades\"\n[options]\nbeta = 3\n");
        let words = ["--preset", "quickstart", "--config", &file];
        let config = layers(&words).unwrap().resolve().unwrap();
        assert_eq!((config.paper_selection, config.options.len()), (true, 1));
        let back = ["--paper-selection=false", "--set", "beta=unset", "--limit", "unset"];
        let config = layers(&[&words[..], &back].concat()).unwrap().resolve().unwrap();
        assert_eq!((config.paper_selection, config.options.len(), config.limit), (false, 0, None));
    }
}
