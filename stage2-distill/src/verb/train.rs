//! Flags of `distill train`: a few of its own, and one for every setting.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, ValueEnum};
use cli::{Machine, MachineArgs, Stop, say};

use crate::config::{Config, ConfigError, Layers, SETTINGS, Setting};
use crate::error::RunError;
use crate::train::{Summary, Surroundings, train};

/// Flags of `distill train`.
#[derive(Args)]
pub struct TrainArgs {
    /// Folder for everything the run leaves
    #[arg(long, value_name = "RUN")]
    out: PathBuf,
    #[command(flatten)]
    settings: SettingArgs,
    /// Named group of settings to begin with
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// TOML file of settings, laid over the preset; keys are the flags' names
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One setting, laid over the file; may be repeated
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
            layers.put("--engine", "engine", &engine.to_string())?;
        }
        Ok(layers)
    }

    fn config(&self, machine: MachineArgs) -> Result<Config, ConfigError> {
        self.layers(machine)?.resolve()
    }

    pub(super) fn run(&self, machine: MachineArgs) -> Result<(), RunError> {
        let config = self.config(machine)?;
        let stop = Stop::on_signals()?;
        let machine = Machine { engine: config.engine, ..machine.machine() };
        let engine = machine.start(config.exact_conv)?;
        let words = std::env::args_os().map(|word| quoted(&word.to_string_lossy()));
        let summary = train(
            &config,
            &Surroundings {
                out: &self.out,
                resume: self.resume == Resume::Auto,
                engine: engine.as_ref(),
                threads: machine.threads,
                stop: &stop,
                command: words.collect::<Vec<_>>().join(" "),
            },
        )?;
        self.say(&summary);
        Ok(())
    }

    fn say(&self, summary: &Summary) {
        let out = self.out.display();
        if summary.was_done {
            say(format_args!("{out}: the run is at its end already"));
        }
        say(format_args!(
            "{out}/student.safetensors: after {} epochs of {} images",
            summary.epochs, summary.train_images
        ));
        if let Some(best) = summary.best {
            let on = if summary.selected_on_test {
                "test images (selected on them, as the paper did)"
            } else {
                "held-out images"
            };
            say(format_args!(
                "{out}/best.safetensors: epoch {}, clean {:.2} %, pgd20 {:.2} % of {} {on}",
                best.epoch,
                best.clean_percent(),
                best.robust_percent(),
                best.images
            ));
        }
    }
}

/// A word as a shell reads it back.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.into();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// The settings that were given as flags: [`SETTINGS`] is their only list.
#[derive(Clone, Default)]
struct SettingArgs(Vec<(&'static Setting, String)>);

/// Rows that make a flag of `train`; the engine's is every command's.
fn flags() -> impl Iterator<Item = &'static Setting> {
    SETTINGS.iter().copied().filter(|setting| setting.key != "engine")
}

fn flag(setting: &'static Setting) -> Arg {
    let default = setting.default.filter(|_| !setting.is_switch());
    let default = default.map_or_else(String::new, |default| format!(" [default: {default}]"));
    let arg = Arg::new(setting.key).long(setting.key).help(format!("{}{default}", setting.help));
    if setting.is_switch() {
        return arg.action(ArgAction::SetTrue);
    }
    arg.value_name(setting.value)
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
            let value = if setting.is_switch() {
                matches.get_flag(setting.key).then(|| "true".into())
            } else {
                matches.get_one::<String>(setting.key).cloned()
            };
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
        ["7", "0.25", "1/255", "true", "cosine", "reference"].iter().find(takes).expect("some value is another")
    }

    #[test]
    fn every_setting_is_set_by_its_flag_by_set_and_by_a_file_alike() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("settings.toml");
        for setting in SETTINGS {
            let (key, value) = (setting.key, other_value(setting));
            let mut flag = vec![format!("--{key}")];
            if !setting.is_switch() {
                flag.push(value.into());
            }
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
    fn words_are_quoted_as_a_shell_reads_them() {
        assert_eq!(quoted("--eps=8/255"), "--eps=8/255");
        assert_eq!(quoted("it's here"), "'it'\\''s here'");
        assert_eq!(quoted(""), "''");
    }
}
