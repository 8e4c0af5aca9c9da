//! In which settings runs differ.

use serde::Serialize;

use crate::account::Account;
use crate::config::{Config, SETTINGS, choices};

/// A setting that is not the same in all runs.
#[derive(Debug, PartialEq, Serialize)]
pub struct Difference {
    /// Its name.
    pub setting: String,
    /// What each run chose, as its record has it; none where nothing was.
    pub values: Vec<Option<String>>,
}

impl Difference {
    /// Every difference, in the order of the table of settings, then the objectives' options.
    pub fn among(accounts: &[&Account]) -> Vec<Self> {
        let written = |value: toml::Value| match value {
            toml::Value::String(text) => text,
            value => value.to_string(),
        };
        let settings = SETTINGS.iter().map(|setting| {
            let values = accounts.iter().map(|account| account.config.value(setting).map(written)).collect();
            Self { setting: setting.key.into(), values }
        });
        let mut keys: Vec<&str> =
            accounts.iter().flat_map(|account| account.config.options.keys()).map(String::as_str).collect();
        keys.sort_unstable();
        keys.dedup();
        let options = keys.into_iter().map(|key| Self {
            setting: key.into(),
            values: accounts.iter().map(|account| option(&account.config, key)).collect(),
        });
        settings.chain(options).filter(Self::is_one).collect()
    }

    fn is_one(&self) -> bool {
        self.values.iter().any(|value| *value != self.values[0])
    }
}

/// An objective's option as chosen, or its default where the objective has it.
fn option(config: &Config, key: &str) -> Option<String> {
    let usual = || choices(&config.objective).find(|choice| choice.key == key).map(|choice| choice.default);
    config.options.get(key).copied().or_else(usual).map(|value| value.to_string())
}
