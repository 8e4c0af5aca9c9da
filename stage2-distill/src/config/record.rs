//! A configuration as a record: what `config.toml` holds, and how two of them differ.

use std::collections::BTreeSet;

use data::DatasetSpec;
use method::objective::{ADDITIONS, Choice, OBJECTIVES};
use method::schedule::Milestones;
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::fields::Config;
use super::setting::{SETTINGS, Setting};

/// The numbers that an objective lets its user choose; none of one that there is not.
pub(crate) fn own_choices(objective: &str) -> &'static [Choice] {
    names::find(OBJECTIVES, objective).map_or(&[][..], |row| row.options)
}

/// The numbers that an objective, and what is added to it, let their user choose; of an objective that there is not only
/// the latter.
pub(crate) fn choices(objective: &str) -> impl Iterator<Item = &'static Choice> {
    own_choices(objective).iter().chain(ADDITIONS.iter().flat_map(|addition| addition.options))
}

impl Config {
    /// The value of a setting as TOML; none where nothing was chosen.
    pub fn value(&self, setting: &Setting) -> Option<toml::Value> {
        // A row knows its field for writing; a copy spares each of them a second way in.
        setting.field(&mut self.clone()).toml()
    }

    /// What a setting's value means; equal for equal values, however they were written.
    fn meaning(&self, setting: &Setting) -> Option<toml::Value> {
        setting.field(&mut self.clone()).meaning()
    }

    /// The augmentation of a run that names none.
    fn usual_augment(&self) -> Option<String> {
        let spec: DatasetSpec = self.data.parse().ok()?;
        Some(spec.default_augment().into())
    }

    /// The settings in which `other` differs and that change the result, as `key: this, other`.
    ///
    /// Places are left out: what lies there is compared by digest, and what ran there has its part in the record.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        // A label set's augmentation is its own, and compared by its content.
        let is_labelled = self.labels.is_some() || other.labels.is_some();
        // What was left out is the same as its default written out.
        let resolved = |config: &Self| Self {
            step_size: Some(config.step_size()),
            augment: config.augment.clone().or_else(|| config.usual_augment().filter(|_| !is_labelled)),
            milestones: config.milestones.filter(|given| *given != Milestones::of(config.epochs)),
            ..config.clone()
        };
        let (ours, theirs) = (resolved(self), resolved(other));
        let show =
            |value: Option<toml::Value>| value.map_or_else(|| "not set".into(), |value| value.to_string());
        let settings = SETTINGS
            .iter()
            .filter(|setting| !setting.is_place && ours.meaning(setting) != theirs.meaning(setting))
            .map(|setting| (setting.key, show(ours.value(setting)), show(theirs.value(setting))));
        let option = |config: &Self, key: &str| {
            let usual =
                || choices(&config.objective).find(|choice| choice.key == key).map(|choice| choice.default);
            show(config.options.get(key).copied().or_else(usual).map(Into::into))
        };
        let keys: BTreeSet<&str> =
            ours.options.keys().chain(theirs.options.keys()).map(String::as_str).collect();
        let options = keys.into_iter().map(|key| (key, option(&ours, key), option(&theirs, key)));
        settings
            .chain(options)
            .filter(|(_, here, there)| here != there)
            .map(|(key, here, there)| format!("{key}: {here}, {there}"))
            .collect()
    }
}

/// As `config.toml` holds it: the settings in the table's order, then `[options]`.
impl Serialize for Config {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for setting in SETTINGS {
            if let Some(value) = self.value(setting) {
                map.serialize_entry(setting.key, &value)?;
            }
        }
        if !self.options.is_empty() {
            map.serialize_entry("options", &self.options)?;
        }
        map.end()
    }
}
