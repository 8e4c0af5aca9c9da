//! Stored values beside recomputed ones: how far they are apart, and how far they may be.

use super::beside::{Part, Place};
use crate::teacher::RowId;

/// Part of a row's largest |logit| that two engines, devices or builds may differ by where both computed in f32.
const TOLERANCE: f64 = 1e-3;

/// The same where the coarser of two precisions is another: eight of its roundings, each of half a unit in the last of
/// 11 bits, or of bf16's 8. A network adds up many, most of which cancel.
pub(super) fn tolerance(precisions: [&str; 2]) -> f64 {
    let of = |precision| match precision {
        "bf16" => 8.0 * 2f64.powi(-8),
        "f16" | "tf32" => 8.0 * 2f64.powi(-11),
        _ => TOLERANCE,
    };
    precisions.map(of).into_iter().fold(TOLERANCE, f64::max)
}

/// How the recomputed rows compare.
#[derive(Debug, Clone, Default)]
pub struct Recomputed {
    /// Rows with the stored bits.
    pub equal: usize,
    /// Rows with other bits, within the tolerance.
    pub close: usize,
    /// Rows beyond it.
    pub beyond: usize,
    /// Rows whose largest logit is of another class now.
    pub turned: usize,
    /// How far the logits are apart.
    pub logits: Apart,
    /// How far the feature maps are, where the label set has some.
    pub maps: Apart,
    /// The row that exceeds its tolerance most.
    pub worst: Option<Difference>,
    /// Part of a row's largest |logit| that may differ.
    pub tolerance: f64,
    /// Engine and build that answered now.
    pub engine: String,
    /// What that computed in, and on what.
    pub precision: String,
    /// The device likewise.
    pub device: String,
}

/// How far stored and recomputed values are apart, over all rows.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Apart {
    /// Largest |difference|.
    pub largest_difference: f64,
    /// Largest |stored value|.
    pub largest_value: f64,
    /// Sum of |difference|.
    sum: f64,
    /// How many values that were.
    values: usize,
}

impl Apart {
    /// Mean |difference|.
    pub fn mean_difference(&self) -> f64 {
        self.sum / self.values.max(1) as f64
    }
}

/// One value that differs.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// The row.
    pub row: RowId,
    /// Which of its values.
    pub place: Place,
    /// The stored value.
    pub stored: f32,
    /// What the teacher answers now.
    pub found: f32,
    /// How far they may be apart.
    pub allowed: f64,
}

impl Recomputed {
    /// Rows that were recomputed.
    pub fn rows(&self) -> usize {
        self.equal + self.close + self.beyond
    }

    /// Compares all of a row, its logits first.
    pub(super) fn compare(&mut self, row: RowId, parts: &[Part]) {
        let (mut equal, mut beyond) = (true, false);
        let most =
            |values: &[f32]| values.iter().fold(0.0, |most: f64, &value| most.max(f64::from(value.abs())));
        // What stands for many logits is one of them, however small it is.
        let logits = parts.iter().filter(|part| !part.of.is_map()).map(|part| most(part.stored));
        let of_logits = logits.fold(0.0, f64::max);
        for part in parts {
            let Part { of, unit, stored, found } = *part;
            let same = |(stored, found): (&f32, &f32)| stored.to_bits() == unit.round(*found).to_bits();
            equal &= stored.iter().zip(found).all(same);
            let largest = if of.is_map() { most(stored) } else { of_logits };
            let apart = if of.is_map() { &mut self.maps } else { &mut self.logits };
            apart.largest_value = apart.largest_value.max(largest);
            apart.values += stored.len();
            for (place, (&stored, &found)) in stored.iter().zip(found).enumerate() {
                let allowed = self.tolerance * largest + unit.at(stored);
                let difference = (f64::from(stored) - f64::from(found)).abs();
                apart.sum += difference;
                apart.largest_difference = apart.largest_difference.max(difference);
                if difference.is_nan() || difference > allowed {
                    beyond = true;
                    let difference = Difference { row, place: of.place(place), stored, found, allowed };
                    if self.worst.as_ref().is_none_or(|worst| difference.excess() > worst.excess()) {
                        self.worst = Some(difference);
                    }
                }
            }
        }
        match (equal, beyond) {
            (true, _) => self.equal += 1,
            (false, false) => self.close += 1,
            (false, true) => self.beyond += 1,
        }
    }
}

impl Difference {
    /// How many times the tolerance the two are apart; infinite where one is no number.
    fn excess(&self) -> f64 {
        let apart = (f64::from(self.stored) - f64::from(self.found)).abs();
        if apart.is_nan() { f64::INFINITY } else { apart / self.allowed }
    }
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { row: (image, view), place, stored, found, allowed } = self;
        write!(
            f,
            "image {image}, view {view}: {place} is {stored} there, {found} now, wanted at most {allowed:.2e} apart"
        )
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use labels::{Coding, Dtype, Logits, Stored};

    use super::*;
    use crate::recompute::beside::{Beside, Of, Unit, unit};

    fn logits<'a>(stored: &'a [f32], found: &'a [f32], dtype: Dtype) -> [Part<'a>; 1] {
        [Part { of: Of::Logits(None), unit: Unit::Of(dtype), stored, found }]
    }

    #[test]
    fn a_unit_is_the_gap_of_the_stored_type() {
        // binary16 has 11 significant bits, binary32 24.
        let halves = [(1.0, 2f64.powi(-10)), (-5.0, 2f64.powi(-8)), (0.0, 2f64.powi(-24)), (65504.0, 32.0)];
        for (value, wanted) in halves {
            assert_eq!(unit(value, Dtype::F16).to_bits(), wanted.to_bits(), "{value}");
        }
        for (value, wanted) in [(1.0, 2f64.powi(-23)), (-8.0, 2f64.powi(-20))] {
            assert_eq!(unit(value, Dtype::F32).to_bits(), wanted.to_bits(), "{value}");
        }
    }

    #[test]
    fn rows_are_equal_close_or_beyond() {
        let mut result = Recomputed { tolerance: TOLERANCE, ..Recomputed::default() };
        // f16 is 2^-8 apart at 5 and 2^-7 at 8: both round to the stored values.
        result.compare((0, 0), &logits(&[8.0, 5.0], &[8.003, 5.001], Dtype::F16));
        assert_eq!((result.equal, result.close, result.beyond), (1, 0, 0));
        // Allowed: 0.008 + 2^-8 = 0.0119.
        result.compare((1, 0), &logits(&[8.0, 5.0], &[8.0, 5.0118], Dtype::F16));
        assert_eq!((result.equal, result.close, result.beyond), (1, 1, 0));
        result.compare((2, 5), &logits(&[8.0, 5.0], &[8.0, 5.0122], Dtype::F16));
        assert_eq!((result.equal, result.close, result.beyond), (1, 1, 1));
        result.compare((3, 0), &logits(&[8.0, 5.0], &[f32::NAN, 5.0], Dtype::F32));
        assert_eq!((result.equal, result.close, result.beyond), (1, 1, 2));
        let worst = result.worst.unwrap();
        assert_eq!(
            (worst.row, worst.place),
            ((3, 0), Place::Logit(0)),
            "what is no number is worse than any"
        );
    }

    #[test]
    fn a_coarser_precision_on_either_side_widens_the_tolerance_and_none_narrows_it() {
        // numpy's finfo(float16).eps is 2^-10, ml_dtypes' finfo(bfloat16).eps 2^-7; a rounding errs by half of it.
        assert_eq!(tolerance(["f32", "f32"]).to_bits(), 1e-3f64.to_bits());
        assert_eq!(tolerance(["bf16", "f32"]).to_bits(), 0.031_25f64.to_bits());
        assert_eq!(tolerance(["f32", "tf32"]).to_bits(), 0.003_906_25f64.to_bits());
        assert_eq!(tolerance(["f16", "bf16"]).to_bits(), tolerance(["bf16", "bf16"]).to_bits());
        assert_eq!(tolerance(["unknown", "f32"]).to_bits(), 1e-3f64.to_bits());
    }

    #[test]
    fn what_a_precision_costs_is_counted_over_all_logits() {
        let mut result = Recomputed { tolerance: 1.0, ..Recomputed::default() };
        result.compare((0, 0), &logits(&[4.0, -8.0], &[4.5, -8.0], Dtype::F32));
        result.compare((1, 0), &logits(&[1.0, 2.0], &[2.5, 2.0], Dtype::F32));
        assert_eq!(
            (result.logits.largest_difference, result.logits.mean_difference(), result.logits.largest_value),
            (1.5, 0.5, 8.0)
        );
    }

    #[test]
    fn what_is_kept_of_many_classes_is_measured_by_the_rows_largest_and_its_first_class_by_all() {
        let (logits, classes) = (Stored::F32(&[8.0, 5.0]), [700u16, 3]);
        let stored = || Logits::Top { logits, classes: &classes, rest: 4e-5, of: 1000 };
        let coding = Coding::new(1000, Dtype::F32, NonZeroU32::new(2), None);
        // The others are alike, so that each has the logit that stands for all of them.
        let now = |rest: f32, other: f32| {
            let mut found = vec![rest; 1000];
            (found[700], found[3], found[9]) = (8.0, 5.0, other);
            Beside::of(stored(), &coding, &found).unwrap()
        };
        let mut result = Recomputed { tolerance: TOLERANCE, ..Recomputed::default() };
        let near = now(5e-5, 5e-5);
        assert!(!near.turned);
        result.compare((0, 0), &near.parts(Dtype::F32));
        // A quarter off, and a millionth of what a thousandth of 8 allows.
        assert_eq!((result.equal, result.close, result.beyond), (0, 1, 0));
        result.compare((1, 0), &now(0.02, 0.02).parts(Dtype::F32));
        assert_eq!((result.close, result.beyond), (1, 1));
        let text = result.worst.take().unwrap().to_string();
        assert!(text.starts_with("image 1, view 0: the logit of the classes that are not kept is"), "{text}");
        // A class that was not kept comes first.
        assert!(now(4e-5, 9.0).turned);

        let mut found = vec![4e-5; 1000];
        (found[700], found[3]) = (8.0, 5.5);
        result.compare((2, 0), &Beside::of(stored(), &coding, &found).unwrap().parts(Dtype::F32));
        let text = result.worst.unwrap().to_string();
        assert!(text.starts_with("image 2, view 0: logit 3 is 5 there, 5.5 now"), "{text}");
    }

    #[test]
    fn a_map_is_measured_by_its_own_size_and_makes_its_row_differ() {
        let mut result = Recomputed { tolerance: TOLERANCE, ..Recomputed::default() };
        let map = |stored, found| Part { of: Of::Map("layer3"), unit: Unit::Of(Dtype::F32), stored, found };
        let [same] = logits(&[8.0, 5.0], &[8.0, 5.0], Dtype::F16);
        result.compare((0, 0), &[same, map(&[100.0, 0.5], &[100.0, 0.55])]);
        assert_eq!((result.equal, result.close, result.beyond), (0, 1, 0));
        assert_eq!(result.logits.largest_value.to_bits(), 8f64.to_bits());
        // 0.05 is a part of 1e-3 of 100, and not of 0.5.
        result.compare((4, 2), &[same, map(&[100.0, 0.5], &[100.0, 0.5]), map(&[0.5, 0.5], &[0.5, 0.55])]);
        assert_eq!((result.equal, result.close, result.beyond), (0, 1, 1));
        let text = result.worst.unwrap().to_string();
        assert!(text.starts_with("image 4, view 2: value 1 of the map at layer3 is 0.5 there"), "{text}");
    }
}
