//! What a network's images are normalised with, as people say it: by numbers, or by the name of a data set.

use std::fmt;

use names::{Row, Table};

/// What is taken from each channel's pixels, which lie in [0, 1], and what they are then divided by.
#[derive(Clone, Debug, PartialEq)]
pub struct Normalisation {
    /// One mean a channel.
    pub mean: Vec<f64>,
    /// One deviation a channel.
    pub std: Vec<f64>,
}

/// What a network gets to see.
#[derive(Clone, Debug, PartialEq)]
pub enum Inputs {
    /// Pixels in [0, 1].
    Plain,
    /// Normalised pixels.
    Normalised(Normalisation),
}

/// Constants that have a name.
#[derive(Debug)]
pub struct Constants {
    name: &'static str,
    summary: &'static str,
    /// Mean and deviation; none for pixels as they are.
    by: Option<[&'static [f64]; 2]>,
}

impl Row for Constants {
    const WHAT: &'static str = "normalisation";

    fn name(&self) -> &'static str {
        self.name
    }

    fn summary(&self) -> &'static str {
        self.summary
    }
}

/// No data set's pixels deviate less: a quarter of the step from one grey to the next.
const LEAST_DEVIATION: f64 = 0.001;

const CIFAR10_MEAN: &[f64] = &[0.4914, 0.4822, 0.4465];

/// Every named normalisation.
pub static NORMALISATIONS: &Table<Constants> = &[
    &Constants { name: "none", summary: "pixels in [0, 1] as they are", by: None },
    &Constants {
        name: "cifar10",
        summary: "mean .4914 .4822 .4465, std .2471 .2435 .2616",
        by: Some([CIFAR10_MEAN, &[0.2471, 0.2435, 0.2616]]),
    },
    // The deviations of an average image, which spread with a much copied repository.
    &Constants {
        name: "cifar10-kuangliu",
        summary: "mean .4914 .4822 .4465, std .2023 .1994 .2010",
        by: Some([CIFAR10_MEAN, &[0.2023, 0.1994, 0.2010]]),
    },
    &Constants {
        name: "cifar100",
        summary: "mean .5071 .4865 .4409, std .2673 .2564 .2762",
        by: Some([&[0.5071, 0.4865, 0.4409], &[0.2673, 0.2564, 0.2762]]),
    },
    &Constants {
        name: "imagenet",
        summary: "mean .485 .456 .406, std .229 .224 .225",
        by: Some([&[0.485, 0.456, 0.406], &[0.229, 0.224, 0.225]]),
    },
    &Constants { name: "mnist", summary: "mean .1307, std .3081", by: Some([&[0.1307], &[0.3081]]) },
];

/// What is wrong with what was said of a normalisation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}\nhint: {hint}")]
pub struct NormalisationError {
    what: String,
    hint: String,
}

impl NormalisationError {
    fn new(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { what: what.into(), hint: hint.into() }
    }
}

impl Inputs {
    /// What three flags say together: `--mean A,B,C` with `--std A,B,C`, or `--normalize NAME`; none where none is given.
    pub fn parse(
        mean: Option<&str>,
        std: Option<&str>,
        name: Option<&str>,
    ) -> Result<Option<Self>, NormalisationError> {
        match (mean, std, name) {
            (None, None, None) => Ok(None),
            (None, None, Some(name)) => Self::named(name).map(Some),
            (Some(mean), Some(std), None) => {
                let (mean, std) = (numbers("mean", mean)?, numbers("std", std)?);
                Normalisation::new(mean, std).map(|by| Some(Self::Normalised(by)))
            }
            (_, _, Some(name)) => Err(NormalisationError::new(
                format!("--normalize {name} and --mean or --std say the same thing twice"),
                "give a name or the numbers",
            )),
            _ => Err(NormalisationError::new(
                "--mean and --std go together",
                "give both, a number for each channel: --mean 0.4914,0.4822,0.4465 --std 0.2471,0.2435,0.2616",
            )),
        }
    }

    fn named(name: &str) -> Result<Self, NormalisationError> {
        let row = names::find(NORMALISATIONS, name).map_err(|unknown| {
            let text = unknown.to_string();
            let (what, hint) = text.split_once("\nhint: ").unwrap_or((&text, ""));
            NormalisationError::new(what, format!("{hint}; or --mean and --std with numbers"))
        })?;
        Ok(match row.by {
            None => Self::Plain,
            Some([mean, std]) => Self::Normalised(Normalisation { mean: mean.into(), std: std.into() }),
        })
    }

    /// Mean and deviation; none for plain pixels.
    pub fn constants(&self) -> Option<(&[f64], &[f64])> {
        match self {
            Self::Plain => None,
            Self::Normalised(by) => Some((&by.mean, &by.std)),
        }
    }
}

impl Normalisation {
    /// A normalisation of pixels in [0, 1], refused where the numbers cannot be one.
    pub fn new(mean: Vec<f64>, std: Vec<f64>) -> Result<Self, NormalisationError> {
        if mean.len() != std.len() {
            let what = format!("there are {} means and {} deviations", mean.len(), std.len());
            return Err(NormalisationError::new(what, "give one of each for every channel"));
        }
        if let Some(mean) = mean.iter().find(|mean| !(0.0..=1.0).contains(*mean)) {
            return Err(NormalisationError::new(
                format!("the mean {mean:?} is none of pixels in [0, 1]"),
                "divide constants for pixels up to 255 by 255",
            ));
        }
        // Below a quarter of a step of 255 all pixels of a channel are the same; what is divided by it may overflow.
        if let Some(std) = std.iter().find(|std| !(LEAST_DEVIATION..=10.0).contains(*std)) {
            return Err(NormalisationError::new(
                format!("the deviation {std:?} is none of pixels in [0, 1]"),
                "give positive numbers of at least 0.001, and divide constants for pixels up to 255 by 255",
            ));
        }
        Ok(Self { mean, std })
    }

    /// The numbers of a file, which are f32: as the shortest decimals that mean them, so that what is written down is
    /// what is computed with.
    pub fn of_file(mean: &[f32], std: &[f32]) -> Result<Self, NormalisationError> {
        let Self { mean, std } = Self::as_in_file(mean, std);
        Self::new(mean, std)
    }

    /// The same, to be shown and not to be computed with: whatever the file holds.
    pub fn as_in_file(mean: &[f32], std: &[f32]) -> Self {
        let decimal = |value: &f32| value.to_string().parse().expect("a number's text is a number");
        Self { mean: mean.iter().map(decimal).collect(), std: std.iter().map(decimal).collect() }
    }
}

impl fmt::Display for Normalisation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |values: &[f64]| values.iter().map(f64::to_string).collect::<Vec<_>>().join(",");
        write!(f, "mean {}, std {}", list(&self.mean), list(&self.std))
    }
}

impl fmt::Display for Inputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain => f.write_str("no normalisation"),
            Self::Normalised(by) => by.fmt(f),
        }
    }
}

/// Numbers with commas between, each a decimal or a fraction such as `125.3/255`.
fn numbers(what: &str, text: &str) -> Result<Vec<f64>, NormalisationError> {
    let number = |text: &str| -> Option<f64> {
        let (above, below) = text.split_once('/').unwrap_or((text, "1"));
        let (above, below): (f64, f64) = (above.trim().parse().ok()?, below.trim().parse().ok()?);
        Some(above / below).filter(|number| number.is_finite())
    };
    let all: Option<Vec<f64>> = text.trim_matches(['[', ']', '(', ')']).split(',').map(number).collect();
    all.ok_or_else(|| {
        NormalisationError::new(
            format!("--{what} {text} is not a list of numbers"),
            format!("write one number for each channel with commas between: --{what} 0.4914,0.4822,0.4465"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(mean: &str, std: &str) -> Result<String, String> {
        let inputs = Inputs::parse(Some(mean), Some(std), None);
        inputs.map(|inputs| inputs.unwrap().to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn constants_are_numbers_fractions_or_the_name_of_a_data_set() {
        assert_eq!(parsed("0.5, 0.25", "(.5,1)").unwrap(), "mean 0.5,0.25, std 0.5,1");
        assert_eq!(parsed("51/255", "102/255").unwrap(), "mean 0.2, std 0.4");
        let named = |name| Inputs::parse(None, None, Some(name)).map(Option::unwrap);
        assert_eq!(named("none"), Ok(Inputs::Plain));
        // torchvision's constants for ImageNet.
        assert_eq!(named("imagenet").unwrap().to_string(), "mean 0.485,0.456,0.406, std 0.229,0.224,0.225");
        assert_eq!(Inputs::parse(None, None, None), Ok(None));
        for row in NORMALISATIONS {
            let again = named(row.name).unwrap();
            let Some((mean, std)) = again.constants() else { continue };
            assert!(Normalisation::new(mean.into(), std.into()).is_ok(), "{}", row.name);
        }
    }

    #[test]
    fn what_cannot_be_a_normalisation_says_why() {
        assert!(parsed("125.3,123,113.9", "63,62.1,66.7").unwrap_err().contains("divide constants"));
        assert!(parsed("0.5", "63").unwrap_err().contains("deviation 63"));
        for too_small in ["0", "1e-45", "0.0009"] {
            assert!(parsed("0.5", too_small).unwrap_err().contains("positive"), "{too_small}");
        }
        assert!(parsed("0.5,0.5", "1").unwrap_err().contains("2 means and 1"));
        assert!(parsed("half", "1").unwrap_err().contains("--mean half is not"));
        assert!(parsed("1/0", "1").unwrap_err().contains("not a list"));
        let text = |mean, std, name| Inputs::parse(mean, std, name).unwrap_err().to_string();
        assert!(text(Some("0.5"), None, None).contains("go together"));
        assert!(text(Some("0.5"), Some("0.5"), Some("cifar10")).contains("twice"));
        let unknown = text(None, None, Some("cifar"));
        assert!(
            unknown.contains("unknown normalisation `cifar`") && unknown.contains("cifar10"),
            "{unknown}"
        );
    }

    #[test]
    fn numbers_of_a_file_are_written_as_they_were_typed() {
        let by = Normalisation::of_file(&[0.4914], &[0.2471]).unwrap();
        assert_eq!(
            (by.mean[0].to_bits(), by.to_string().as_str()),
            (0.4914_f64.to_bits(), "mean 0.4914, std 0.2471")
        );
    }
}
