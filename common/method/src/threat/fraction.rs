//! Numbers that stay as they were written.

use std::fmt;
use std::str::FromStr;

/// A number written as a fraction or a decimal, remembered as written: `8/255` stays `8/255` in every file.
///
/// Parsed and read from files it lies in [0, 1], as every change of a pixel does. [`Fraction::of_any_size`] also takes
/// the larger radii that an l2 ball may have.
#[derive(Clone, Debug, PartialEq)]
pub struct Fraction {
    text: String,
    value: f64,
}

impl Fraction {
    /// The value as f64.
    pub fn value(&self) -> f64 {
        self.value
    }

    /// Reads a number of at least 0 without an upper bound: the radius of an l2 ball, and steps in it.
    pub fn of_any_size(text: &str) -> Result<Self, NotANumber> {
        match read(text) {
            Some(value) if value >= 0.0 && value.is_finite() => Ok(Self { text: text.trim().into(), value }),
            _ => Err(NotANumber { text: text.into() }),
        }
    }

    /// The step size of attacks in a ball of this radius where nobody chooses one: a quarter of it.
    #[must_use]
    pub fn usual_step(&self) -> Self {
        self.divided_by(4)
    }

    /// So many quarters of this, written as it is: 6 quarters of 8/255 are 12/255. Decimals are rounded to ten places.
    #[must_use]
    pub fn quarters(&self, count: u32) -> Self {
        let fraction = self.text.split_once('/').and_then(|(numerator, denominator)| {
            let quarters = numerator.trim().parse::<u64>().ok()?.checked_mul(u64::from(count))?;
            let denominator = denominator.trim().parse::<u64>().ok()?;
            Some(match quarters % 4 {
                0 => format!("{}/{denominator}", quarters / 4),
                _ => format!("{quarters}/{}", denominator.checked_mul(4)?),
            })
        });
        let decimal = || format!("{:.10}", self.value * f64::from(count) / 4.0);
        let text = fraction.unwrap_or_else(|| decimal().trim_end_matches('0').trim_end_matches('.').into());
        let value = read(&text).expect("a number was written");
        Self { text, value }
    }

    /// This divided by a whole number, written out where the numerator divides evenly.
    #[must_use]
    pub fn divided_by(&self, by: u32) -> Self {
        let whole = self.text.split_once('/').and_then(|(numerator, denominator)| {
            let (numerator, denominator): (u64, u64) = (numerator.parse().ok()?, denominator.parse().ok()?);
            let by = u64::from(by);
            Some(if numerator % by == 0 {
                format!("{}/{denominator}", numerator / by)
            } else {
                format!("{numerator}/{}", denominator.checked_mul(by)?)
            })
        });
        let text = whole.unwrap_or_else(|| format!("{}", self.value / f64::from(by)));
        Self { text, value: self.value / f64::from(by) }
    }
}

/// Zero.
impl Default for Fraction {
    fn default() -> Self {
        Self { text: "0".into(), value: 0.0 }
    }
}

impl fmt::Display for Fraction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A text that is not a fraction between 0 and 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a fraction such as 8/255 or a number such as 0.03, between 0 and 1{}", levels(.text))]
pub struct NotAFraction {
    text: String,
}

/// A text that is not a number of at least 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a fraction such as 128/255 or a number such as 0.5, of at least 0")]
pub struct NotANumber {
    text: String,
}

/// Whoever counts in levels of 8-bit pixels is told how that is written.
pub(super) fn levels(text: &str) -> String {
    match text.parse::<u8>() {
        Ok(levels @ 2..) => format!("; {levels} levels of 255 are {levels}/255"),
        _ => String::new(),
    }
}

impl FromStr for Fraction {
    type Err = NotAFraction;

    fn from_str(text: &str) -> Result<Self, NotAFraction> {
        match read(text) {
            Some(value) if (0.0..=1.0).contains(&value) => Ok(Self { text: text.trim().into(), value }),
            _ => Err(NotAFraction { text: text.into() }),
        }
    }
}

/// The value of `A/B` or of a decimal.
fn read(text: &str) -> Option<f64> {
    let number = |part: &str| part.trim().parse::<f64>().ok();
    match text.split_once('/') {
        Some((numerator, denominator)) => Some(number(numerator)? / number(denominator)?),
        None => number(text),
    }
}

impl serde::Serialize for Fraction {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> serde::Deserialize<'de> for Fraction {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_keep_their_spelling() {
        let eps: Fraction = "8/255".parse().unwrap();
        assert_eq!((eps.to_string().as_str(), eps.value()), ("8/255", 8.0 / 255.0));
        assert_eq!(eps.divided_by(4).to_string(), "2/255");
        assert_eq!("1/255".parse::<Fraction>().unwrap().divided_by(4).to_string(), "1/1020");
        assert_eq!("0.3".parse::<Fraction>().unwrap().divided_by(4).to_string(), "0.075");
        let quarters = |text: &str, count| text.parse::<Fraction>().unwrap().quarters(count).to_string();
        assert_eq!(
            [1, 2, 6, 8].map(|count| quarters("8/255", count)),
            ["2/255", "4/255", "12/255", "16/255"]
        );
        assert_eq!([1, 6].map(|count| quarters("0.3", count)), ["0.075", "0.45"]);
        assert_eq!([quarters("3/255", 2), quarters("1", 6)], ["6/1020", "1.5"]);
        for bad in ["8", "", "8/0", "-1/255", "a/b", "1/2/3", "nan"] {
            assert!(bad.parse::<Fraction>().is_err(), "{bad}");
        }
        let levels = "16".parse::<Fraction>().unwrap_err().to_string();
        assert!(levels.ends_with("; 16 levels of 255 are 16/255"), "{levels}");
    }

    #[test]
    fn a_number_of_any_size_keeps_its_spelling_too_and_is_finite() {
        for (text, value) in
            [("3", 3.0), ("128/255", 128.0 / 255.0), (" 2.5 ", 2.5), ("300/255", 300.0 / 255.0)]
        {
            let number = Fraction::of_any_size(text).unwrap();
            assert_eq!((number.to_string().as_str(), number.value()), (text.trim(), value));
        }
        for bad in ["", "-1", "1/0", "0/0", "inf", "nan", "-0.5/255"] {
            assert!(Fraction::of_any_size(bad).is_err(), "{bad}");
        }
    }
}
