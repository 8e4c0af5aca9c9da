//! What a row stores beside what the teacher answers now, value by value.

use half::f16;
use labels::{Coding, Dtype, Logits, Unkept};

use crate::{Error, Result};

/// What a row stores and what the teacher answers now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part<'a> {
    pub(super) of: Of<'a>,
    pub(super) unit: Unit,
    pub(super) stored: &'a [f32],
    pub(super) found: &'a [f32],
}

/// What a part's values are.
#[derive(Debug, Clone, Copy)]
pub(super) enum Of<'a> {
    /// Logits of all classes, or of these.
    Logits(Option<&'a [u16]>),
    /// The logit of every other class.
    Rest,
    /// The feature map of a module.
    Map(&'a str),
}

impl Of<'_> {
    pub(super) fn is_map(&self) -> bool {
        matches!(self, Self::Map(_))
    }

    pub(super) fn place(&self, place: usize) -> Place {
        match self {
            Self::Logits(None) => Place::Logit(place),
            Self::Logits(Some(classes)) => Place::Logit(usize::from(classes[place])),
            Self::Rest => Place::Rest,
            Self::Map(module) => Place::Map { module: (*module).to_owned(), place },
        }
    }
}

/// How close two values that are alike lie as they are stored.
#[derive(Debug, Clone, Copy)]
pub(super) enum Unit {
    /// Floats of this type.
    Of(Dtype),
    /// Codes on a scale: found ones were rounded to a scale of their own.
    Steps(f32),
}

impl Unit {
    /// A value as it would be stored.
    pub(super) fn round(self, value: f32) -> f32 {
        match self {
            Self::Of(Dtype::F16) => f16::from_f32(value).to_f32(),
            Self::Of(_) | Self::Steps(_) => value,
        }
    }

    /// How far a value may be from the stored one by being stored.
    pub(super) fn at(self, stored: f32) -> f64 {
        match self {
            Self::Of(dtype) => unit(stored, dtype),
            // Half a step for each rounding, and one where a code made way for the class that comes first.
            Self::Steps(scale) => 2.0 * f64::from(scale),
        }
    }
}

/// What is stored of a row's logits, and what would be stored of those that the teacher answers now.
#[derive(Debug, Default)]
pub(super) struct Beside {
    stored: Vec<f32>,
    found: Vec<f32>,
    /// Whether another class comes first now.
    pub(super) turned: bool,
    /// The classes of the logits, where they are not all.
    classes: Option<Vec<u16>>,
    /// The logit of each class that is not kept, stored and now.
    rest: Option<[[f32; 1]; 2]>,
    scale: Option<f32>,
}

impl Beside {
    pub(super) fn of(stored: Logits, coding: &Coding, found: &[f32]) -> Result<Self> {
        // Without the maps, which lie behind them.
        let coding = Coding::new(found.len(), coding.dtype(), coding.top_k(), None);
        let kept = || {
            coding.keep(found).map_err(|Unkept { class, value, .. }| Error::Usage {
                what: format!("the teacher's logit of class {class} is {value} now"),
                hint: "check the teacher's weights".into(),
            })
        };
        let beside = match stored {
            Logits::Plain(logits) => Self { stored: logits.to_vec(), found: found.into(), ..Self::default() },
            Logits::Codes { codes, scale, .. } => {
                let kept = kept()?;
                let (low, its) = (kept[codes.len()], kept[codes.len() + 1]);
                let found = kept[..codes.len()].iter().map(|code| low + its * code).collect();
                Self { stored: stored.to_vec(), found, scale: Some(scale), ..Self::default() }
            }
            // Where two classes are as good as equal, another engine may keep the other one.
            Logits::Top { logits, classes, rest, .. } => Self {
                stored: logits.to_vec(),
                found: classes.iter().filter_map(|&class| found.get(usize::from(class)).copied()).collect(),
                rest: Some([[rest], [kept()?[2 * classes.len()]]]),
                classes: Some(classes.to_vec()),
                ..Self::default()
            },
        };
        Ok(Self { turned: stored.argmax() != cli::largest(found), ..beside })
    }

    pub(super) fn parts(&self, dtype: Dtype) -> Vec<Part<'_>> {
        let unit = self.scale.map_or(Unit::Of(dtype), Unit::Steps);
        let logits = Of::Logits(self.classes.as_deref());
        let mut parts = vec![Part { of: logits, unit, stored: &self.stored, found: &self.found }];
        if let Some([stored, found]) = &self.rest {
            parts.push(Part { of: Of::Rest, unit: Unit::Of(Dtype::F32), stored, found });
        }
        parts
    }
}

/// A value of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The logit of this class.
    Logit(usize),
    /// The logit of each class that is not kept.
    Rest,
    /// A value of the feature map of a module.
    Map {
        /// The module.
        module: String,
        /// The value's place in the map.
        place: usize,
    },
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Logit(class) => write!(f, "logit {class}"),
            Self::Rest => f.write_str("the logit of the classes that are not kept"),
            Self::Map { module, place } => write!(f, "value {place} of the map at {module}"),
        }
    }
}

/// The distance to the next larger magnitude that the type can hold.
pub(super) fn unit(value: f32, dtype: Dtype) -> f64 {
    match dtype {
        Dtype::F16 => {
            let bits = f16::from_f32(value.abs()).to_bits().min(f16::MAX.to_bits() - 1);
            f16::from_bits(bits + 1).to_f64() - f16::from_bits(bits).to_f64()
        }
        Dtype::F32 | Dtype::U8 => {
            let bits = value.abs().to_bits().min(f32::MAX.to_bits() - 1);
            f64::from(f32::from_bits(bits + 1)) - f64::from(f32::from_bits(bits))
        }
    }
}
