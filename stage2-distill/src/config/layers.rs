//! Layers of settings, later ones over earlier ones.

use std::collections::BTreeSet;
use std::path::Path;

use data::DatasetSpec;
use method::objective::{self, OBJECTIVES};
use method::schedule::{SWING, Schedule};
use names::Unknown;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, listed};
use super::fields::Config;
use super::place;
use super::preset::PRESETS;
use super::record::choices;
use super::setting::{SETTINGS, Setting};

/// What takes a setting of a lower layer back: its default, or nothing where it has none.
const UNSET: &str = "unset";

/// Settings as far as they are laid.
#[derive(Debug)]
pub struct Layers {
    config: Config,
}

impl Layers {
    /// The defaults: the paper's settings.
    pub fn defaults() -> Self {
        let mut layers = Self { config: Config::default() };
        for setting in SETTINGS {
            if let Some(default) = setting.default {
                layers.put("default", setting.key, default).expect("a row admits its own default");
            }
        }
        layers
    }

    /// Lays a preset over.
    pub fn preset(&mut self, name: &str) -> Result<(), ConfigError> {
        let preset = names::find(PRESETS, name)?;
        for (key, value) in preset.settings {
            self.put(&format!("preset {name}"), key, value)?;
        }
        Ok(())
    }

    /// Lays a TOML file over.
    pub fn file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: shown.clone(), source })?;
        let table = DeTable::parse(&text).map_err(|error| ConfigError::Toml {
            path: shown.clone(),
            what: place::pointed_at(&text, &error),
        })?;
        let origin = |at: usize| format!("{shown} line {}", place::line(&text, at));
        for (key, value) in table.get_ref() {
            let line = origin(key.span().start);
            match value.get_ref() {
                DeValue::Table(options) if key.get_ref() == "options" => {
                    for (key, value) in options {
                        let line = format!("{} [options]", origin(key.span().start));
                        self.put_option(&line, key.get_ref(), &as_written(value.get_ref()))?;
                    }
                }
                value => self.put(&line, key.get_ref(), &as_written(value))?,
            }
        }
        Ok(())
    }

    /// Lays one `key=value` over.
    pub fn set(&mut self, assignment: &str) -> Result<(), ConfigError> {
        let (key, value) =
            assignment.split_once('=').ok_or_else(|| ConfigError::NoEquals(assignment.into()))?;
        self.put("--set", key.trim(), value.trim())
    }

    /// Lays one setting, or one option of an objective, over; a setting is checked against its row.
    pub fn put(&mut self, origin: &str, key: &str, value: &str) -> Result<(), ConfigError> {
        let Ok(setting) = names::find(SETTINGS, key) else {
            return self.put_option(origin, key, value);
        };
        let value = match (value == UNSET, setting.default) {
            (true, Some(default)) => default,
            (true, None) => {
                setting.field(&mut self.config).clear();
                return Ok(());
            }
            (false, _) => value,
        };
        let spelled = (setting.spelling)(value);
        let field = setting.field(&mut self.config);
        let taken = field.take(spelled.as_deref().unwrap_or(value), setting.least).and_then(|()| {
            let number = field.toml().and_then(|number| number.as_float());
            match setting.below.filter(|below| number.is_some_and(|number| number >= *below)) {
                Some(below) => Err(format!("wanted a number from 0 to less than {below}")),
                None => Ok(()),
            }
        });
        taken.map_err(|why| ConfigError::Value {
            origin: origin.into(),
            key: setting.key,
            value: value.into(),
            why,
            help: setting.help,
        })
    }

    /// Options belong to objectives, and a later layer may choose another one: whose it is waits for `resolve`, and its
    /// range for the objective that takes it.
    pub(crate) fn put_option(&mut self, origin: &str, key: &str, value: &str) -> Result<(), ConfigError> {
        let all = || OBJECTIVES.iter().flat_map(|row| row.options);
        let plain = names::plain(key);
        let Some(choice) = choices(&self.config.objective).chain(all()).find(|choice| choice.key == plain)
        else {
            let settings = SETTINGS.iter().map(|setting| setting.key);
            let unknown = Unknown::among(SETTINGS, key);
            let hint = if unknown.way().is_some() {
                unknown.hint().into()
            } else if settings.clone().any(|setting| setting == key) {
                "hint: it is a setting: write it above [options]".into()
            } else {
                // Several objectives may have an option of one name.
                let options: BTreeSet<&str> = all().map(|choice| choice.key).collect();
                let help = "`distill train --help` lists every setting and option";
                match names::nearest(key, settings.chain(options)) {
                    Some(near) => format!("hint: did you mean `{near}`? {help}"),
                    None => format!("hint: {help}"),
                }
            };
            return Err(ConfigError::Unknown { origin: origin.into(), key: key.into(), hint });
        };
        if value == UNSET {
            self.config.options.remove(choice.key);
            return Ok(());
        }
        let number = value.parse().map_err(|_| ConfigError::Value {
            origin: origin.into(),
            key: choice.key,
            value: value.into(),
            why: "wanted a number".into(),
            help: choice.help,
        })?;
        self.config.options.insert(choice.key.into(), number);
        Ok(())
    }

    /// The value of a setting so far, as TOML; none where nothing was chosen.
    pub fn value(&self, setting: &Setting) -> Option<toml::Value> {
        self.config.value(setting)
    }

    /// An option that only other objectives have is answered with theirs.
    fn refuse_options_of_others(&self) -> Result<(), ConfigError> {
        let objective = objective::find(&self.config.objective)?;
        let has = |row: &objective::Row, key: &str| row.options.iter().any(|choice| choice.key == key);
        let owners = |key: &String| -> Vec<&str> {
            OBJECTIVES.iter().filter(|row| has(row, key)).map(|row| row.name).collect()
        };
        let keys = self.config.options.keys().filter(|key| !has(objective, key));
        let Some((key, owners)) = keys.map(|key| (key, owners(key))).find(|(_, owners)| !owners.is_empty())
        else {
            return Ok(());
        };
        Err(ConfigError::OfOthers {
            objective: objective.name,
            key: key.clone(),
            owners: listed(&owners, ""),
        })
    }

    /// Settings that have no default and were not given.
    pub fn missing(&mut self) -> Vec<&'static str> {
        let missing = SETTINGS.iter().filter(|setting| setting.field(&mut self.config).is_missing());
        missing.map(|setting| setting.key).collect()
    }

    /// The whole configuration, checked for what must be there and what excludes each other.
    pub fn resolve(mut self) -> Result<Config, ConfigError> {
        let missing = self.missing();
        if !missing.is_empty() {
            return Err(ConfigError::Missing { keys: missing });
        }
        self.refuse_options_of_others()?;
        self.config.objective()?;
        let mut config = self.config;
        if let Some(size) = config.size.take() {
            // One way to write it: what reads the record knows of no other.
            let data: DatasetSpec = config.data.parse()?;
            config.data = data.sized(Some(u32::try_from(size).unwrap_or(u32::MAX)))?.to_string();
        }
        let conflicts = [
            (
                (config.labels.is_some() || config.second_labels.is_some()) && config.augment.is_some(),
                "both labels and augment were given\nhint: a run's augmentation is its label set's",
            ),
            (
                config.labels_hash.is_some() && config.labels.is_none(),
                "labels-hash was given without labels\nhint: it is the content_hash that the label set must have",
            ),
            (
                config.arch.is_some() && config.teacher.is_none(),
                "arch was given without teacher\nhint: arch names the teacher's architecture; the student's is --student",
            ),
            (
                config.paper_selection && config.holdout.is_some_and(|holdout| holdout > 0),
                "both paper-selection and holdout were given\nhint: selection is on the test split or on held-out images",
            ),
            (
                config.soften.is_some() != config.soften_temperature.is_some(),
                "one of soften and soften-temperature was given without the other\nhint: pass --soften FILE, a list of images, and --soften-temperature X, such as 4",
            ),
            (
                config.milestones.is_some() && config.schedule != Schedule::Multistep,
                "milestones were given to a schedule that has none\nhint: drop them, or choose --schedule multistep",
            ),
            (
                config.nesterov && config.momentum == 0.0,
                "nesterov was given to a momentum of 0, along which nothing moves\nhint: give a momentum, such as 0.9, or drop nesterov",
            ),
            (
                config.ema.is_some() && config.swa.is_some(),
                "both ema and swa were given\nhint: one average is judged and published: drop one of them",
            ),
            (
                config.parts.is_some() && config.awp.is_some(),
                "both parts and awp were given\nhint: awp climbs the loss of a whole batch: drop one of them",
            ),
            (
                config.parts.is_some_and(|parts| parts > config.batch),
                "parts is more than the images of a batch\nhint: lower --parts, or raise --batch",
            ),
            (
                config.awp_warmup.is_some() && config.awp.is_none(),
                "awp-warmup was given without awp\nhint: add --awp 0.005, or drop it",
            ),
            (
                config.schedule == Schedule::OneCycle && !(SWING..1.0 - SWING).contains(&config.momentum),
                "schedule onecycle moves the momentum 0.05 up and down, out of what a momentum can be\nhint: choose --momentum from 0.05 to below 0.95",
            ),
        ];
        match conflicts.into_iter().find(|(found, _)| *found) {
            Some((_, text)) => Err(ConfigError::Conflict(text)),
            None => Ok(config),
        }
    }
}

/// A TOML value as `--set` would have it; lists have commas between their parts.
pub fn as_written(value: &DeValue) -> String {
    match value {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(truth) => truth.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(parts) => {
            parts.iter().map(|part| as_written(part.get_ref())).collect::<Vec<_>>().join(",")
        }
        DeValue::Table(_) => "a table".into(),
    }
}
