//! Layers of settings, later ones over earlier ones.

use std::collections::BTreeSet;
use std::path::Path;

use method::objective::{self, OBJECTIVES, Options};
use names::Unknown;

use super::error::ConfigError;
use super::fields::Config;
use super::preset::PRESETS;
use super::record::choices;
use super::setting::{SETTINGS, Setting};

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
        let table: toml::Table = text.parse().map_err(|e: toml::de::Error| ConfigError::Toml {
            path: shown.clone(),
            why: e.message().into(),
        })?;
        for (key, value) in table {
            match value {
                toml::Value::Table(options) if key == "options" => {
                    let shown = format!("{shown} [options]");
                    for (key, value) in options {
                        self.put_option(&shown, &key, &as_written(&value))?;
                    }
                }
                value => self.put(&shown, &key, &as_written(&value))?,
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
        let Some(setting) = SETTINGS.iter().find(|setting| setting.key == key) else {
            return self.put_option(origin, key, value);
        };
        let taken = setting.field(&mut self.config).take(value, setting.least);
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
    fn put_option(&mut self, origin: &str, key: &str, value: &str) -> Result<(), ConfigError> {
        let all = || OBJECTIVES.iter().flat_map(|row| row.options);
        let Some(choice) = choices(&self.config.objective).chain(all()).find(|choice| choice.key == key)
        else {
            let settings = SETTINGS.iter().map(|setting| setting.key);
            let hint = if settings.clone().any(|setting| setting == key) {
                "hint: it is a setting: write it above [options]".into()
            } else {
                // Several objectives may have an option of one name.
                let options: BTreeSet<&str> = all().map(|choice| choice.key).collect();
                Unknown::new("setting", key, settings.chain(options)).hint().into()
            };
            return Err(ConfigError::Unknown { origin: origin.into(), key: key.into(), hint });
        };
        let number = value.parse().map_err(|_| ConfigError::Value {
            origin: origin.into(),
            key: choice.key,
            value: value.into(),
            why: "wanted a number".into(),
            help: choice.help,
        })?;
        self.config.options.insert(key.into(), number);
        Ok(())
    }

    /// The value of a setting so far, as TOML; none where nothing was chosen.
    pub fn value(&self, setting: &Setting) -> Option<toml::Value> {
        self.config.value(setting)
    }

    /// The whole configuration, checked for what must be there and what excludes each other.
    pub fn resolve(mut self) -> Result<Config, ConfigError> {
        let missing = SETTINGS.iter().find(|setting| setting.field(&mut self.config).is_missing());
        if let Some(setting) = missing {
            return Err(ConfigError::Missing { key: setting.key });
        }
        if !self.config.options.is_empty() {
            Options::of(objective::find(&self.config.objective)?, &self.config.options)?;
        }
        let config = self.config;
        let conflicts = [
            (
                config.labels.is_some() && config.teacher.is_some(),
                "both labels and teacher were given\nhint: a run reads a label set or runs a teacher, not both",
            ),
            (
                config.labels.is_some() && config.augment.is_some(),
                "both labels and augment were given\nhint: a run's augmentation is its label set's",
            ),
            (
                config.arch.is_some() && config.teacher.is_none(),
                "arch was given without teacher\nhint: arch names the teacher's architecture; the student's is --student",
            ),
            (
                config.paper_selection && config.holdout.is_some_and(|holdout| holdout > 0),
                "both paper-selection and holdout were given\nhint: selection is on the test split or on held-out images",
            ),
        ];
        match conflicts.into_iter().find(|(found, _)| *found) {
            Some((_, text)) => Err(ConfigError::Conflict(text)),
            None => Ok(config),
        }
    }
}

/// A TOML value as `--set` would have it.
fn as_written(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
