//! Slopes by one image's logits of the losses that an attack climbs with a label. Of equal logits the first counts.
//!
//! They are computed in the logits' precision, as PyTorch does: in f32 the ratio of a label that is third is constant to the
//! last bit and moves nothing; computed finer, what is left of 1e-12 would choose a direction.

use crate::params::Float;

/// Keeps a ratio finite where the largest logits are equal, as the authors' code does.
const LEAST: f64 = 1e-12;

/// The class of the largest logit among those that `admit` admits; none where it admits none.
fn largest<T: Float>(logits: &[T], admit: impl Fn(usize) -> bool) -> Option<usize> {
    let classes = (0..logits.len()).filter(|&class| admit(class));
    classes.reduce(|best, class| if logits[class] > logits[best] { class } else { best })
}

/// Of `max z_other - z_label` into `slope`, all zeros before.
pub(super) fn margin<T: Float>(logits: &[T], label: usize, slope: &mut [T]) {
    if let Some(other) = largest(logits, |class| class != label) {
        slope[other] = T::from_f64(1.0);
        slope[label] = T::from_f64(-1.0);
    }
}

/// Of `(max z_other - z_label) / (z_1st - z_3rd + 1e-12)`, likewise; with fewer than three classes the margin's.
pub(super) fn dlr<T: Float>(logits: &[T], label: usize, slope: &mut [T]) {
    let first = largest(logits, |_| true);
    let second = largest(logits, |class| Some(class) != first);
    let third = largest(logits, |class| ![first, second].contains(&Some(class)));
    let (Some(first), Some(third), Some(other)) = (first, third, largest(logits, |class| class != label))
    else {
        return margin(logits, label, slope);
    };
    // Of two f32 the quotient in f64, rounded, is the quotient in f32.
    let quotient = |a: T, b: T| T::from_f64(a.to_f64() / b.to_f64());
    let under = logits[first] - logits[third] + T::from_f64(LEAST);
    let value = quotient(logits[other] - logits[label], under);
    let one = quotient(T::from_f64(1.0), under);
    slope[other] += one;
    slope[label] = slope[label] - one;
    slope[first] = slope[first] - quotient(value, under);
    slope[third] += quotient(value, under);
}

#[cfg(test)]
mod tests {
    use super::*;

    type Slope = fn(&[f64], usize, &mut [f64]);

    const LOGITS: [[f64; 5]; 3] =
        [[2.0, -1.0, 0.5, 3.25, 4.0], [0.25, 1.5, -2.0, 1.25, 0.75], [-0.5, -3.0, 2.5, 2.25, 1.0]];
    const LABELS: [usize; 3] = [4, 2, 2];

    /// PyTorch 2.15 in f64, by autograd.
    #[test]
    fn slopes_are_pytorchs() {
        let margins = [[0.0, 0.0, 0.0, 1.0, -1.0], [0.0, 1.0, -1.0, 0.0, 0.0], [0.0, 0.0, -1.0, 1.0, 0.0]];
        let ratios = [
            [-0.1875, 0.0, 0.0, 0.5, -0.3125],
            [0.0, -4.888_888_888_888_889, -1.333_333_333_333_333_3, 0.0, 6.222_222_222_222_222],
            [0.0, 0.0, -0.555_555_555_555_555_6, 0.666_666_666_666_666_6, -0.111_111_111_111_111_1],
        ];
        for (what, slope, wanted) in [("margin", margin as Slope, margins), ("ratio", dlr as Slope, ratios)] {
            for ((logits, label), wanted) in LOGITS.iter().zip(LABELS).zip(wanted) {
                let mut found = [0.0; 5];
                slope(logits, label, &mut found);
                let apart = found.iter().zip(wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                assert!(apart < 1e-9, "{what} at {logits:?}: {found:?}, not {wanted:?}");
            }
        }
    }

    /// As `torch.sort(stable=True, descending=True)` ranks them, by hand.
    #[test]
    fn of_equals_the_first_counts_and_of_few_classes_the_margin_stands_in() {
        let found = |slope: fn(&[f64], usize, &mut [f64]), logits: &[f64]| {
            let mut found = vec![0.0; logits.len()];
            slope(logits, 0, &mut found);
            found
        };
        assert_eq!(found(margin, &[1.0, 1.0, 1.0, 0.0]), [-1.0, 1.0, 0.0, 0.0]);
        assert_eq!(found(dlr, &[3.0, 1.0]), [-1.0, 1.0]);
        assert_eq!((found(dlr, &[3.0]), found(margin, &[3.0])), (vec![0.0], vec![0.0]));
    }

    /// PyTorch 2.15 by autograd gives zeros in f32.
    #[test]
    fn the_ratio_of_a_label_that_is_third_moves_nothing() {
        let mut slope = [0.0f32; 4];
        dlr(&[3.0, 1.5, 0.25, -1.0], 2, &mut slope);
        assert!(slope.iter().all(|&slope| slope == 0.0), "{slope:?}");
    }
}
