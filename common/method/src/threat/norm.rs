//! How far two images are apart.

use std::fmt;
use std::str::FromStr;

use engine::Ball;
use names::{Table, Unknown};

/// A way of measuring how far an image moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Norm {
    /// The largest change of a pixel.
    #[default]
    Linf,
    /// The square root of the sum of the squared changes.
    L2,
}

impl Norm {
    /// `linf` or `l2`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Linf => "linf",
            Self::L2 => "l2",
        }
    }

    /// The length of a move.
    pub fn length(self, moves: impl Iterator<Item = f64>) -> f64 {
        match self {
            Self::Linf => moves.map(f64::abs).fold(0.0, f64::max),
            Self::L2 => moves.map(|moved| moved * moved).sum::<f64>().sqrt(),
        }
    }

    /// How far two images are apart.
    pub fn between(self, image: &[f32], other: &[f32]) -> f64 {
        self.length(image.iter().zip(other).map(|(a, b)| f64::from(b - a)))
    }

    /// What lies within this radius.
    pub fn ball(self, eps: f64) -> Ball {
        match self {
            Self::Linf => Ball::Linf(eps),
            Self::L2 => Ball::L2(eps),
        }
    }

    /// Moves a point by a length to where a function with this gradient rises most, as [`Ball::climb`] does.
    pub fn climb(self, length: f32, gradient: &[f32], point: &mut [f32]) {
        // Only the norm counts here.
        self.ball(0.0).climb(length, gradient, point);
    }

    /// How much a linear function with this gradient gains at most on a move of length 1: the dual norm.
    pub fn steepness(self, gradient: &[f32]) -> f64 {
        let slopes = gradient.iter().map(|slope| f64::from(slope.abs()));
        match self {
            Self::Linf => slopes.sum(),
            Self::L2 => self.length(slopes),
        }
    }
}

impl fmt::Display for Norm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Norm {
    type Err = Unknown;

    /// In whatever case: RobustBench writes `Linf` and `L2`.
    fn from_str(name: &str) -> Result<Self, Unknown> {
        names::find(NORMS, name).map(|row| row.norm)
    }
}

/// A norm as people choose it.
#[derive(Debug)]
pub struct NormRow {
    norm: Norm,
    summary: &'static str,
}

/// Every norm, the usual one first.
pub const NORMS: &Table<NormRow> = &[
    &NormRow { norm: Norm::Linf, summary: "the largest change of a pixel" },
    &NormRow { norm: Norm::L2, summary: "the root of the summed squares of all changes" },
];

impl names::Row for NormRow {
    const WHAT: &'static str = "norm";

    fn name(&self) -> &'static str {
        self.norm.name()
    }

    fn summary(&self) -> &'static str {
        self.summary
    }

    const ALIASES: &'static [(&'static str, &'static str)] =
        &[("l-inf", "linf"), ("inf", "linf"), ("linfty", "linf"), ("l-2", "l2"), ("2", "l2")];

    const SIGNPOSTS: &'static [(&'static str, &'static str)] = &[
        ("l1", "l1 is not here; linf and l2 are"),
        ("l0", "l0 is not here; linf and l2 are"),
        ("corruptions", "that is a data set of its own and no ball around an image"),
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn norms_are_spelled_as_robustbench_spells_them_in_whatever_case() {
        for (text, norm) in
            [("linf", Norm::Linf), ("Linf", Norm::Linf), ("L2", Norm::L2), ("l_inf", Norm::Linf)]
        {
            assert_eq!(text.parse::<Norm>().unwrap(), norm);
            assert_eq!(norm.to_string().parse::<Norm>().unwrap(), norm);
        }
        let json = serde_json::to_string(&[Norm::Linf, Norm::L2]).unwrap();
        assert_eq!(json, r#"["linf","l2"]"#);
        let error = "l3".parse::<Norm>().unwrap_err().to_string();
        assert_eq!(error, "unknown norm `l3`\nhint: did you mean `l2`? known: linf, l2");
    }

    /// numpy.linalg.norm with ord inf, 2 and 1.
    #[test]
    fn lengths_and_dual_norms_are_numpys() {
        let (image, other) = ([0.5f32, 0.25, 1.0], [0.25f32, 0.25, 0.5]);
        assert!((Norm::Linf.between(&image, &other) - 0.5).abs() < 1e-12);
        assert!((Norm::L2.between(&image, &other) - 0.559_016_994_374_947_4).abs() < 1e-12);
        let gradient = [0.5f32, -2.0, 1.5];
        assert!((Norm::Linf.steepness(&gradient) - 4.0).abs() < 1e-12);
        assert!((Norm::L2.steepness(&gradient) - 2.549_509_756_796_392_5).abs() < 1e-12);
    }

    #[test]
    fn a_climb_goes_its_length_and_nowhere_without_a_slope() {
        let climbed = |norm: Norm, gradient: [f32; 3]| {
            let mut point = [0.5; 3];
            norm.climb(0.25, &gradient, &mut point);
            point
        };
        let bits = |point: [f32; 3]| point.map(f32::to_bits);
        assert_eq!(bits(climbed(Norm::Linf, [3e-30, -4.0, 0.0])), bits([0.75, 0.25, 0.5]));
        for scale in [1.0, 1e-25, 1e25] {
            let found = climbed(Norm::L2, [3.0 * scale, -4.0 * scale, 0.0]);
            assert!(found.iter().zip([0.65, 0.3, 0.5]).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?}");
        }
        for nothing in [[0.0; 3], [f32::NAN; 3], [f32::INFINITY, 1.0, 0.0]] {
            assert_eq!(bits(climbed(Norm::L2, nothing)), bits([0.5; 3]));
        }
    }
}
