//! What a field of a configuration can hold: how it is read from a text, checked, and written as TOML.

use engine::{Kind, Storage};
use method::schedule::{Milestones, Schedule};
use method::threat::Fraction;
use names::Unknown;

/// A field of a configuration, whatever its type.
pub trait Value {
    /// Takes a text, or says what was wanted. `least` bounds whole numbers.
    fn take(&mut self, text: &str, least: u32) -> Result<(), String>;

    /// Forgets what was taken.
    fn clear(&mut self);

    /// As TOML; none where nothing was chosen.
    fn toml(&self) -> Option<toml::Value>;

    /// What the value means, to be compared: 1/10 is 0.1.
    fn meaning(&self) -> Option<toml::Value>;

    /// Whether its flag alone says everything.
    fn is_switch(&self) -> bool {
        false
    }

    /// Whether it must be given and was not.
    fn is_missing(&self) -> bool {
        false
    }
}

/// A type that a text can name.
trait Named: Sized {
    fn read(text: &str, least: u32) -> Result<Self, String>;
    fn write(&self) -> toml::Value;

    /// Equal for equal values, however they were written.
    fn meaning(&self) -> toml::Value {
        self.write()
    }
}

impl<T: Named> Value for Option<T> {
    fn take(&mut self, text: &str, least: u32) -> Result<(), String> {
        *self = Some(T::read(text, least)?);
        Ok(())
    }

    fn clear(&mut self) {
        *self = None;
    }

    fn toml(&self) -> Option<toml::Value> {
        self.as_ref().map(T::write)
    }

    fn meaning(&self) -> Option<toml::Value> {
        self.as_ref().map(T::meaning)
    }
}

/// Fields that always hold a value.
macro_rules! always {
    ($($kind:ty $({ $($more:tt)* })?),* $(,)?) => {
        $(impl Value for $kind {
            fn take(&mut self, text: &str, least: u32) -> Result<(), String> {
                *self = Self::read(text, least)?;
                Ok(())
            }

            fn clear(&mut self) {
                *self = Self::default();
            }

            fn toml(&self) -> Option<toml::Value> {
                Some(self.write())
            }

            fn meaning(&self) -> Option<toml::Value> {
                Some(Named::meaning(self))
            }

            $($($more)*)?
        })*
    };
}

always!(
    usize,
    u64,
    f64,
    Fraction,
    Schedule,
    Kind,
    Temperature,
    String { fn is_missing(&self) -> bool { self.is_empty() } },
    bool { fn is_switch(&self) -> bool { true } },
);

impl Named for String {
    fn read(text: &str, _: u32) -> Result<Self, String> {
        if text.is_empty() { Err("wanted a text".into()) } else { Ok(text.into()) }
    }

    fn write(&self) -> toml::Value {
        self.as_str().into()
    }
}

/// A count.
impl Named for usize {
    fn read(text: &str, least: u32) -> Result<Self, String> {
        let count = text.parse::<u32>().ok().filter(|&count| count >= least);
        let wanted = || match text.parse::<u64>() {
            Ok(large) if large > u64::from(u32::MAX) => {
                format!("wanted a whole number of at most {}", u32::MAX)
            }
            _ => format!("wanted a whole number of at least {least}, in digits"),
        };
        count.map(|count| count as usize).ok_or_else(wanted)
    }

    fn write(&self) -> toml::Value {
        (*self as i64).into()
    }
}

/// A seed, as in a label set's plan.
impl Named for u64 {
    fn read(text: &str, _: u32) -> Result<Self, String> {
        text.parse().map_err(|_| "wanted a whole number from 0 to 2^64 - 1".into())
    }

    /// TOML's whole numbers have 63 bits and a sign: larger ones are written as text.
    fn write(&self) -> toml::Value {
        i64::try_from(*self).map_or_else(|_| self.to_string().into(), Into::into)
    }
}

impl Named for f64 {
    fn read(text: &str, _: u32) -> Result<Self, String> {
        let number = text.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0);
        number.ok_or_else(|| "wanted a number of at least 0".into())
    }

    fn write(&self) -> toml::Value {
        (*self).into()
    }
}

/// A share of something: from 0 to below 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Share(pub f64);

impl Named for Share {
    fn read(text: &str, _: u32) -> Result<Self, String> {
        let share = text.parse().ok().filter(|share| (0.0..1.0).contains(share));
        share.map(Self).ok_or_else(|| "wanted a number from 0 to below 1".into())
    }

    fn write(&self) -> toml::Value {
        self.0.into()
    }
}

/// What logits are divided by: above 0, and 1 where nobody chooses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Temperature(pub f64);

impl Default for Temperature {
    fn default() -> Self {
        Self(1.0)
    }
}

impl Named for Temperature {
    fn read(text: &str, _: u32) -> Result<Self, String> {
        // What is smaller or larger makes logits of ordinary size infinite, or zeros.
        let number = text.parse().ok().filter(|number| (1e-3..=1e3).contains(number));
        number.map(Self).ok_or_else(|| "wanted a number from 0.001 to 1000".into())
    }

    fn write(&self) -> toml::Value {
        self.0.into()
    }
}

/// The last part of a run: from this share of it on.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tail(pub f64);

impl Named for Tail {
    fn read(text: &str, least: u32) -> Result<Self, String> {
        let share = text.strip_prefix("from:").and_then(|share| Share::read(share.trim(), least).ok());
        share
            .map(|share| Self(share.0))
            .ok_or_else(|| "wanted from:X with X from 0 to below 1, as in from:0.5".into())
    }

    fn write(&self) -> toml::Value {
        format!("from:{}", self.0).into()
    }
}

impl Named for bool {
    fn read(text: &str, _: u32) -> Result<Self, String> {
        text.parse().map_err(|_| "wanted true or false".into())
    }

    fn write(&self) -> toml::Value {
        (*self).into()
    }
}

impl Named for Fraction {
    fn read(text: &str, _: u32) -> Result<Self, String> {
        text.parse().map_err(|error| format!("{error}"))
    }

    fn write(&self) -> toml::Value {
        self.to_string().into()
    }

    fn meaning(&self) -> toml::Value {
        self.value().into()
    }
}

impl Named for Schedule {
    fn read(text: &str, _: u32) -> Result<Self, String> {
        toml::Value::from(text).try_into().map_err(|_| "wanted multistep, cosine or onecycle".into())
    }

    fn write(&self) -> toml::Value {
        toml::Value::try_from(self).expect("a schedule is its name")
    }
}

impl Named for Milestones {
    fn read(text: &str, _: u32) -> Result<Self, String> {
        text.parse().map_err(|error| format!("{error}"))
    }

    fn write(&self) -> toml::Value {
        self.to_string().into()
    }
}

impl Named for Storage {
    fn read(text: &str, _: u32) -> Result<Self, String> {
        text.parse().map_err(|_| format!("wanted {}", Self::ALL.map(Self::name).join(", ")))
    }

    fn write(&self) -> toml::Value {
        self.name().into()
    }
}

impl Named for Kind {
    fn read(text: &str, _: u32) -> Result<Self, String> {
        let known = || Kind::all().map(Kind::name).collect::<Vec<_>>().join(" or ");
        text.parse().map_err(|unknown: Unknown| match unknown.way() {
            Some(way) => format!("wanted {}; {way}", known()),
            None => format!("wanted {}", known()),
        })
    }

    fn write(&self) -> toml::Value {
        self.to_string().into()
    }
}
