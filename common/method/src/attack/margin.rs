//! What attacks climb, as functions of one image's logits, with their derivatives by the logits written out.

use serde::{Deserialize, Serialize};

use super::search::largest;

/// A loss of one image's logits; attacks raise it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Loss {
    /// Cross-entropy with the label.
    CrossEntropy,
    /// The difference of logits ratio: `-(z_y - max z_other) / (z_1st - z_3rd)`. Source: Croce and Hein,
    /// arXiv:2003.01690. With two classes there is no third logit, and the plain difference stands in.
    Dlr,
    /// Its targeted form: `-(z_y - z_target) / (z_1st - (z_3rd + z_4th) / 2)`. With fewer than four classes the plain
    /// difference stands in: towards the third of three, a ratio without the fourth would be constant.
    DlrTowards(usize),
    /// `z_target - z_y`.
    Difference(usize),
    /// `max z_other - z_y`: the loss of Carlini and Wagner, arXiv:1608.04644, where nothing limits it.
    Margin,
}

/// Keeps a ratio finite where the largest logits are equal, as the authors' code does.
const LEAST: f32 = 1e-12;

impl Loss {
    /// The value, and its derivative by the logits in `slope`.
    pub(super) fn at(self, logits: &[f32], label: usize, slope: &mut [f32]) -> f32 {
        slope.fill(0.0);
        match self {
            Self::CrossEntropy => {
                let top = logits[largest(logits)];
                let sum: f32 = logits.iter().map(|logit| (logit - top).exp()).sum();
                for (slope, logit) in slope.iter_mut().zip(logits) {
                    *slope = (logit - top).exp() / sum;
                }
                slope[label] -= 1.0;
                sum.ln() + top - logits[label]
            }
            Self::Difference(target) => {
                slope[target] += 1.0;
                slope[label] -= 1.0;
                logits[target] - logits[label]
            }
            Self::Margin => {
                // Of one class there is no other, and nothing to climb.
                let other = targets(logits, label, 1).first().copied();
                other.map_or(0.0, |other| Self::Difference(other).at(logits, label, slope))
            }
            Self::Dlr => {
                let order = descending(logits);
                let other = order.iter().copied().find(|&class| class != label);
                match (&order[..], other) {
                    (&[first, _, third, ..], Some(other)) => {
                        ratio(logits, label, other, first, &[third], slope)
                    }
                    _ => Self::Margin.at(logits, label, slope),
                }
            }
            Self::DlrTowards(target) => match descending(logits)[..] {
                [first, _, third, fourth, ..] => ratio(logits, label, target, first, &[third, fourth], slope),
                _ => Self::Difference(target).at(logits, label, slope),
            },
        }
    }
}

/// `(z_towards - z_label) / (z_first - mean of z_below)` and its derivative.
fn ratio(
    logits: &[f32],
    label: usize,
    towards: usize,
    first: usize,
    below: &[usize],
    slope: &mut [f32],
) -> f32 {
    let share = 1.0 / below.len() as f32;
    let mean: f32 = below.iter().map(|&class| share * logits[class]).sum();
    let (above, under) = (logits[towards] - logits[label], logits[first] - mean + LEAST);
    let value = above / under;
    slope[towards] += 1.0 / under;
    slope[label] -= 1.0 / under;
    slope[first] -= value / under;
    for &class in below {
        slope[class] += share * value / under;
    }
    value
}

/// Classes by falling logit; of equals the first comes first.
pub(super) fn descending(logits: &[f32]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
    order
}

/// The other classes by falling logit, at most `count`: what targeted attacks aim at, the likeliest first.
pub(super) fn targets(logits: &[f32], label: usize, count: usize) -> Vec<usize> {
    descending(logits).into_iter().filter(|&class| class != label).take(count).collect()
}

/// What to say where there are fewer other classes than an attack would aim at.
pub(super) fn fewer_targets(name: &str, targets: usize, classes: usize) -> Option<String> {
    let others = classes.saturating_sub(1);
    (others < targets)
        .then(|| format!("{name} aims at {targets} other classes: of {classes} classes that is all {others}"))
}

/// What to say where there are too few classes for the difference of logits ratio, which is in need of this many.
pub(super) fn short_ratio(name: &str, needed: usize, classes: usize) -> Option<String> {
    let stand_in = match classes {
        _ if classes >= needed => return None,
        0 | 1 => "there is none to aim at",
        _ => "the plain difference of logits stands in for it",
    };
    Some(format!("{name} climbs a ratio of {needed} logits: of {classes} classes {stand_in}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PyTorch 2.15 in f64, by autograd.
    #[test]
    fn values_and_slopes_are_pytorchs() {
        const LOGITS: [f32; 5] = [2.0, -1.0, 0.5, 3.25, 4.0];
        type Case<'a> = (Loss, &'a [f32], usize, f32, &'a [f32]);
        let cases: [Case; 6] = [
            (Loss::Margin, &LOGITS, 3, 0.75, &[0.0, 0.0, 0.0, -1.0, 1.0]),
            (
                Loss::CrossEntropy,
                &LOGITS,
                4,
                0.497_519_8,
                &[0.082_288_84, 0.004_096_92, 0.018_361_122, 0.287_216_27, -0.391_963_15],
            ),
            (Loss::Dlr, &LOGITS, 4, -0.375, &[-0.1875, 0.0, 0.0, 0.5, -0.3125]),
            (Loss::Dlr, &LOGITS, 3, 0.375, &[0.1875, 0.0, 0.0, -0.5, 0.3125]),
            (
                Loss::DlrTowards(0),
                &LOGITS,
                4,
                -0.727_272_7,
                &[0.231_404_96, 0.0, -0.132_231_4, 0.0, -0.099_173_55],
            ),
            (
                Loss::DlrTowards(1),
                &LOGITS,
                4,
                -1.818_181_8,
                &[-0.330_578_5, 0.363_636_36, -0.330_578_5, 0.0, 0.297_520_66],
            ),
        ];
        for (loss, logits, label, value, slopes) in cases {
            let mut slope = vec![9.0; logits.len()];
            let found = loss.at(logits, label, &mut slope);
            assert!((found - value).abs() < 1e-6, "{loss:?}: {found}, not {value}");
            for (found, wanted) in slope.iter().zip(slopes) {
                assert!((found - wanted).abs() < 1e-6, "{loss:?}: {slope:?}, not {slopes:?}");
            }
        }
    }

    #[test]
    fn towards_any_of_three_classes_there_is_a_slope_and_of_one_class_nothing_to_climb() {
        let logits = [2.0, 1.0, -1.0];
        for target in [1, 2] {
            let mut slope = [0.0; 3];
            let value = Loss::DlrTowards(target).at(&logits, 0, &mut slope);
            assert!((value - (logits[target] - 2.0)).abs() < 1e-6);
            assert!((slope[target] - 1.0).abs() < 1e-6 && (slope[0] + 1.0).abs() < 1e-6, "{slope:?}");
        }
        for loss in [Loss::Margin, Loss::Dlr, Loss::CrossEntropy] {
            let mut slope = [9.0];
            assert_eq!((loss.at(&[3.0], 0, &mut slope), slope), (0.0, [0.0]), "{loss:?}");
        }
    }

    #[test]
    fn with_two_classes_the_ratios_are_the_plain_difference() {
        for loss in [Loss::Dlr, Loss::DlrTowards(1)] {
            let mut slope = [0.0; 2];
            assert_eq!((loss.at(&[3.0, 1.0], 0, &mut slope), slope), (-2.0, [-1.0, 1.0]));
        }
    }

    #[test]
    fn targets_are_the_likeliest_other_classes() {
        assert_eq!(targets(&[0.5, 3.0, -1.0, 2.0], 1, 9), [3, 0, 2]);
        assert_eq!(targets(&[0.5, 3.0, -1.0, 2.0], 0, 2), [1, 3]);
    }
}
