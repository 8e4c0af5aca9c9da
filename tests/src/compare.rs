//! Comparing with golden values. Whatever is not a number counts as infinitely far.

/// The largest difference found, and where.
#[derive(Clone, Debug, PartialEq)]
pub struct Worst {
    /// Relative to the scale of the tensor it was found in.
    pub difference: f64,
    /// The tensor, and what of it.
    pub place: String,
}

impl Worst {
    /// Panics where the difference is above `bound`.
    pub fn at_most(&self, bound: f64, what: &str) {
        assert!(
            self.difference <= bound,
            "{what}: {} is off by {:.2e}, {bound:.0e} is allowed",
            self.place,
            self.difference
        );
    }
}

/// Compares whole tensors, `(name, row-major values)`, with one summary each.
///
/// A summary is `[norm, sum, v[0], v[s], v[2s], ..]`. Norm and entries count relative to the summary's norm, the sum relative to
/// that times the square root of the number of values. A norm counts as at least 1e-5 of the largest one: some true gradients are
/// zero, and what is left of them is rounding.
pub fn summaries(found: &[(String, Vec<f64>)], wanted: &[&[f64]]) -> Worst {
    assert_eq!(found.len(), wanted.len(), "one summary per tensor");
    let largest = wanted.iter().map(|row| row[0]).fold(0.0, f64::max);
    let mut worst = Worst { difference: 0.0, place: "nothing".into() };
    for ((name, values), wanted) in found.iter().zip(wanted) {
        let (scale, count) = (wanted[0].max(1e-5 * largest), values.len() as f64);
        let entries = wanted.len() - 2;
        let sum = values.iter().sum::<f64>();
        let mut note = |what: String, found: f64, wanted: f64, scale: f64| {
            let difference = ratio((found - wanted).abs(), scale);
            if difference > worst.difference {
                worst = Worst { difference, place: format!("{name}, {what}") };
            }
        };
        note("norm".into(), norm(values), wanted[0], scale);
        note("sum".into(), sum, wanted[1], scale * count.sqrt());
        for (entry, &wanted) in wanted[2..].iter().enumerate() {
            let at = entry * (values.len() / entries);
            note(format!("value {at}"), values[at], wanted, scale);
        }
    }
    worst
}

/// The largest difference of two values, relative to the largest value wanted.
pub fn relative(found: &[f64], wanted: &[f64]) -> f64 {
    assert_eq!(found.len(), wanted.len(), "as many values as wanted");
    let scale = wanted.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
    found.iter().zip(wanted).fold(0.0, |worst: f64, (found, wanted)| {
        let apart = (found - wanted).abs();
        worst.max(ratio(apart, scale))
    })
}

/// The norm of the difference over the norm of what is wanted, over all pairs of tensors together.
pub fn distance<'a>(pairs: impl IntoIterator<Item = (&'a [f64], &'a [f64])>) -> f64 {
    let (mut apart, mut whole) = (0.0, 0.0);
    for (found, wanted) in pairs {
        assert_eq!(found.len(), wanted.len(), "as many values as wanted");
        apart += found.iter().zip(wanted).map(|(f, w)| (f - w) * (f - w)).sum::<f64>();
        whole += wanted.iter().map(|w| w * w).sum::<f64>();
    }
    ratio(apart.sqrt(), whole.sqrt())
}

fn norm(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum::<f64>().sqrt()
}

fn ratio(apart: f64, scale: f64) -> f64 {
    if apart == 0.0 {
        return 0.0;
    }
    let ratio = apart / scale;
    if ratio.is_nan() { f64::INFINITY } else { ratio }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp)] // Small whole results of exact arithmetic.

    use super::*;

    fn tensors() -> Vec<(String, Vec<f64>)> {
        vec![("large".into(), vec![3.0, 4.0, 0.0, 0.0]), ("zero".into(), vec![1e-9, 0.0])]
    }

    #[test]
    fn a_tensor_agrees_with_its_own_summary() {
        let worst = summaries(&tensors(), &[&[5.0, 7.0, 3.0, 0.0], &[1e-9, 1e-9, 1e-9, 0.0]]);
        assert_eq!(worst.difference, 0.0, "{worst:?}");
    }

    #[test]
    fn each_part_of_a_summary_is_compared() {
        let right: [&[f64]; 2] = [&[5.0, 7.0, 3.0, 0.0], &[0.0, 0.0, 0.0, 0.0]];
        // A norm that should be zero counts as 5e-5, so 1e-9 is 2e-5 of it.
        assert!((summaries(&tensors(), &right).difference - 2e-5).abs() < 1e-12);
        for (at, place) in
            [(0, "large, norm"), (1, "large, sum"), (2, "large, value 0"), (3, "large, value 2")]
        {
            let mut wrong = right[0].to_vec();
            wrong[at] += 0.5;
            let worst = summaries(&tensors(), &[&wrong, right[1]]);
            assert_eq!(worst.place, place);
            assert!(worst.difference > 0.04, "{worst:?}");
        }
    }

    #[test]
    fn what_is_not_a_number_is_infinitely_far() {
        assert_eq!(relative(&[f64::NAN, 1.0], &[1.0, 1.0]), f64::INFINITY);
        assert_eq!(distance([([f64::NAN].as_slice(), [1.0].as_slice())]), f64::INFINITY);
        let worst = summaries(&[("t".into(), vec![f64::NAN])], &[&[1.0, 1.0, 1.0]]);
        assert_eq!(worst.difference, f64::INFINITY);
    }

    #[test]
    fn differences_are_relative_to_what_is_wanted() {
        assert_eq!(relative(&[2.0, 0.5], &[2.0, 0.0]), 0.25);
        assert_eq!(relative(&[0.0], &[0.0]), 0.0);
        assert_eq!(distance([([3.0, 4.0].as_slice(), [0.0, 4.0].as_slice()), (&[3.0], &[3.0])]), 0.6);
    }
}
