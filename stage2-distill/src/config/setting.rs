//! The table of settings: name, type and range, default, meaning.

use method::schedule::Schedule;
use method::threat::Fraction;

/// A setting of a run.
pub struct Setting {
    /// Its name in files and `--set`.
    pub key: &'static str,
    /// What it may be.
    pub kind: Kind,
    /// Its default as text; none where it is optional or must be given.
    pub default: Option<&'static str>,
    /// Whether it only says where something lies.
    pub is_path: bool,
    /// What it means, in a line.
    pub help: &'static str,
}

/// What a setting may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// A whole number of at least this.
    Count(usize),
    /// A whole number that fits 63 bits.
    Seed,
    /// A finite number of at least 0.
    Number,
    /// A fraction such as 8/255 between 0 and 1.
    Fraction,
    /// true or false.
    Switch,
    /// The name of a schedule.
    Schedule,
    /// The name of an engine.
    Engine,
}

const fn setting(
    key: &'static str,
    kind: Kind,
    default: Option<&'static str>,
    help: &'static str,
) -> Setting {
    Setting { key, kind, default, is_path: false, help }
}

const fn path(key: &'static str, help: &'static str) -> Setting {
    Setting { key, kind: Kind::Text, default: None, is_path: true, help }
}

/// Every setting, in the order of `config.toml`.
pub const SETTINGS: &[Setting] = &[
    path("data", "data set, such as cifar10:FOLDER"),
    setting("student", Kind::Text, None, "the student's architecture"),
    setting("objective", Kind::Text, None, "what the student learns"),
    path("labels", "folder of a label set"),
    path("teacher", "weights of a teacher to run online"),
    setting("arch", Kind::Text, None, "the teacher's architecture, where its file does not say"),
    path("init", "weights to start from"),
    setting("augment", Kind::Text, None, "augmentation of a run without a label set"),
    setting("limit", Kind::Count(1), None, "only the first images of the training split"),
    setting("holdout", Kind::Count(0), None, "images held out to select the best epoch"),
    setting(
        "paper-selection",
        Kind::Switch,
        Some("false"),
        "select the best epoch on the test split, as the paper",
    ),
    setting("epochs", Kind::Count(1), Some("300"), "passes over the training images"),
    setting("batch", Kind::Count(1), Some("128"), "images per step"),
    setting("seed", Kind::Seed, Some("0"), "keys initial values, order, views and attack starts"),
    setting("eps", Kind::Fraction, Some("8/255"), "radius of the attack"),
    setting("step-size", Kind::Fraction, None, "change of a pixel per attack step (default: eps / 4)"),
    setting("steps", Kind::Count(1), Some("10"), "attack steps"),
    setting("lr", Kind::Number, Some("0.1"), "base learning rate"),
    setting("momentum", Kind::Number, Some("0.9"), "share of the old velocity that is kept"),
    setting("weight-decay", Kind::Number, Some("0.0002"), "pull of all parameters towards zero"),
    setting("schedule", Kind::Schedule, Some("multistep"), "multistep or cosine"),
    setting(
        "engine",
        Kind::Engine,
        Some("cpu"),
        "what runs the networks: cpu, or reference, the slow oracle",
    ),
    setting(
        "exact-conv",
        Kind::Switch,
        Some("false"),
        "no fast convolution that rounds more than a plain sum",
    ),
];

impl Kind {
    /// The value as TOML, or what is wrong with the text.
    pub(super) fn parse(self, text: &str) -> Result<toml::Value, String> {
        match self {
            Self::Text if text.is_empty() => Err("wanted a text".into()),
            Self::Text => Ok(text.into()),
            Self::Count(least) => match text.parse::<u32>() {
                Ok(count) if count as usize >= least => Ok(i64::from(count).into()),
                _ => Err(format!("wanted a whole number from {least} to {}", u32::MAX)),
            },
            Self::Seed => match text.parse::<i64>() {
                Ok(seed) if seed >= 0 => Ok(seed.into()),
                _ => Err("wanted a whole number from 0 to 2^63 - 1".into()),
            },
            Self::Number => match text.parse::<f64>() {
                Ok(number) if number.is_finite() && number >= 0.0 => Ok(number.into()),
                _ => Err("wanted a number of at least 0".into()),
            },
            Self::Fraction => match text.parse::<Fraction>() {
                Ok(fraction) => Ok(fraction.to_string().into()),
                Err(error) => Err(error.to_string()),
            },
            Self::Switch => text.parse::<bool>().map(Into::into).map_err(|_| "wanted true or false".into()),
            Self::Schedule => {
                let known: Result<Schedule, _> = toml::Value::from(text).try_into();
                known.map(|_| text.into()).map_err(|_| "wanted multistep or cosine".into())
            }
            Self::Engine => match text.parse::<engine::Kind>() {
                Ok(kind) => Ok(kind.name().into()),
                Err(error) => Err(error.to_string()),
            },
        }
    }
}
