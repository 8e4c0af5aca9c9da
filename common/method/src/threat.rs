//! What an adversary may do: change every pixel by at most eps, within [0, 1].

use std::fmt;
use std::str::FromStr;

use candle_core::Tensor;

/// A number written as a fraction or a decimal, remembered as written: `8/255` stays `8/255` in every file.
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

    /// The step size of attacks in a ball of this radius where nobody chooses one: a quarter of it.
    #[must_use]
    pub fn usual_step(&self) -> Self {
        self.divided_by(4)
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

/// Whoever counts in levels of 8-bit pixels is told how that is written.
fn levels(text: &str) -> String {
    match text.parse::<u8>() {
        Ok(levels @ 2..) => format!("; {levels} levels of 255 are {levels}/255"),
        _ => String::new(),
    }
}

impl FromStr for Fraction {
    type Err = NotAFraction;

    fn from_str(text: &str) -> Result<Self, NotAFraction> {
        let bad = || NotAFraction { text: text.into() };
        let number = |part: &str| part.trim().parse::<f64>().map_err(|_| bad());
        let value = match text.split_once('/') {
            Some((numerator, denominator)) => number(numerator)? / number(denominator)?,
            None => number(text)?,
        };
        if (0.0..=1.0).contains(&value) { Ok(Self { text: text.trim().into(), value }) } else { Err(bad()) }
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

/// The l-infinity ball of radius `eps` around each image, cut to the pixel range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Threat {
    /// Largest change of a pixel, in units of the pixel range [0, 1].
    pub eps: f64,
}

/// An image that left its ball: a defect of the attack that made it.
#[derive(Debug, thiserror::Error)]
pub enum ThreatError {
    /// Further from its image than eps.
    #[error("adversarial image {image}: a pixel moved by {moved}, eps is {eps}")]
    OutsideBall {
        /// Index in the batch.
        image: usize,
        /// The largest change.
        moved: f64,
        /// The radius.
        eps: f64,
    },
    /// Outside the pixel range, or not a number.
    #[error("adversarial image {image}: a pixel is {pixel}, outside [0, 1]")]
    OutsideRange {
        /// Index in the batch.
        image: usize,
        /// The pixel.
        pixel: f64,
    },
    /// A tensor operation failed.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

impl Threat {
    /// The nearest point of the ball to `adversarial`: first the ball, then [0, 1]. All are `(N, C, H, W)`.
    pub fn project(&self, images: &Tensor, adversarial: &Tensor) -> candle_core::Result<Tensor> {
        adversarial.maximum(&(images - self.eps)?)?.minimum(&(images + self.eps)?)?.clamp(0.0, 1.0)
    }

    /// Checks a finished attack from outside. The slack is one rounding of a pixel near 1 in the images' precision.
    pub fn check(&self, images: &Tensor, adversarial: &Tensor) -> Result<(), ThreatError> {
        let slack =
            if images.dtype() == candle_core::DType::F64 { f64::EPSILON } else { f64::from(f32::EPSILON) };
        let values = |t: &Tensor| t.flatten_from(1)?.to_dtype(candle_core::DType::F64)?.to_vec2::<f64>();
        for (image, (clean, moved)) in values(images)?.iter().zip(values(adversarial)?).enumerate() {
            for (clean, pixel) in clean.iter().zip(moved) {
                if !(0.0..=1.0).contains(&pixel) {
                    return Err(ThreatError::OutsideRange { image, pixel });
                }
                let moved = (pixel - clean).abs();
                if moved > self.eps + slack {
                    return Err(ThreatError::OutsideBall { image, moved, eps: self.eps });
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn fractions_keep_their_spelling() {
        let eps: Fraction = "8/255".parse().unwrap();
        assert_eq!((eps.to_string().as_str(), eps.value()), ("8/255", 8.0 / 255.0));
        assert_eq!(eps.divided_by(4).to_string(), "2/255");
        assert_eq!("1/255".parse::<Fraction>().unwrap().divided_by(4).to_string(), "1/1020");
        assert_eq!("0.3".parse::<Fraction>().unwrap().divided_by(4).to_string(), "0.075");
        for bad in ["8", "", "8/0", "-1/255", "a/b", "1/2/3", "nan"] {
            assert!(bad.parse::<Fraction>().is_err(), "{bad}");
        }
        let levels = "16".parse::<Fraction>().unwrap_err().to_string();
        assert!(levels.ends_with("; 16 levels of 255 are 16/255"), "{levels}");
    }

    #[test]
    fn projection_goes_to_the_ball_then_to_the_pixel_range() {
        let threat = Threat { eps: 0.1 };
        let clean = Tensor::new(&[[[[0.05f64, 0.5, 0.95]]]], &Device::Cpu).unwrap();
        let far = Tensor::new(&[[[[-1.0f64, 0.9, 2.0]]]], &Device::Cpu).unwrap();
        let near = threat.project(&clean, &far).unwrap();
        assert_eq!(near.flatten_all().unwrap().to_vec1::<f64>().unwrap(), [0.0, 0.6, 1.0]);
        threat.check(&clean, &near).unwrap();
        let error = threat.check(&clean, &(near + 0.01).unwrap()).unwrap_err();
        assert!(matches!(
            error,
            ThreatError::OutsideBall { image: 0, .. } | ThreatError::OutsideRange { .. }
        ));
    }
}
