//! How answers are stored: which logits of a row, in which type; and refusing what cannot be stored, or should not.

use std::borrow::Cow;
use std::num::NonZeroU32;

use labels::{Coding, Dtype, Features, LabelSet, Spec, Unkept};

use crate::teacher::RowId;
use crate::{Error, Result};

/// The fewest classes of which the largest logits may be kept alone: a row of fewer takes little, and robust teachers are
/// soft: much of their mass lies beyond the first few.
const FEWEST_CLASSES: usize = 1000;

/// How answers are to be stored.
#[derive(Debug, Clone)]
pub struct Storing {
    /// What is kept of them.
    pub coding: Coding,
    /// The feature maps behind the logits.
    pub features: Option<Features>,
}

impl Storing {
    /// As a label set of this spec stores them.
    pub fn of(spec: &Spec) -> Self {
        Self { coding: spec.coding(), features: spec.features.clone() }
    }

    /// Of K classes in this type, all of their logits or the largest, with these feature maps.
    pub fn new(classes: usize, dtype: Dtype, top_k: Option<NonZeroU32>, features: Option<&Features>) -> Self {
        Self { coding: Coding::new(classes, dtype, top_k, features), features: features.cloned() }
    }

    /// Answers (N, K + F) as they are kept, and refuses those that cannot be.
    pub fn keep<'a>(&self, answers: &'a [f32], rows: &[RowId]) -> Result<Cow<'a, [f32]>> {
        self.coding
            .keep(answers)
            .map_err(|Unkept { row, class, value }| self.unstorable(rows[row], class, value))
    }

    /// What a label set holds of a row, as it is kept. Panics where it does not hold the row.
    pub fn take(&self, set: &LabelSet, (image, view): RowId, out: &mut [f32]) -> Result<()> {
        let found = set.manifest().coding();
        let same = (found.dtype(), found.top_k()) == (self.coding.dtype(), self.coding.top_k());
        let there = if self.coding.is_plain() {
            set.answer(image, view, out)
        } else if same {
            set.kept(image, view, out)
        } else {
            let mut answer = vec![0.0; self.coding.given()];
            let there = set.answer(image, view, &mut answer);
            out.copy_from_slice(&self.keep(&answer, &[(image, view)])?);
            there
        };
        assert!(there, "the row was looked up");
        Ok(())
    }

    /// Refuses answers (N, K + F) that a label set of these types cannot hold, naming the row.
    ///
    /// The writer checks too, but only when a shard is complete: a teacher that overflows should not be run for hours.
    pub fn check(&self, answers: &[f32], rows: &[RowId]) -> Result<()> {
        let (dtype, width) = (self.coding.dtype(), self.coding.given());
        let classes = width - self.features.as_ref().map_or(0, Features::values);
        let of_maps = self.features.as_ref().map_or(dtype, |features| features.dtype);
        for (&row, answer) in rows.iter().zip(answers.chunks_exact(width)) {
            let (logits, maps) = answer.split_at(classes);
            let wrong = |values: &[f32], dtype: Dtype| values.iter().position(|&value| !dtype.holds(value));
            let place = wrong(logits, dtype).or_else(|| wrong(maps, of_maps).map(|place| classes + place));
            if let Some(place) = place {
                return Err(self.unstorable(row, place, answer[place]));
            }
        }
        Ok(())
    }

    fn unstorable(&self, (image, view): RowId, place: usize, value: f32) -> Error {
        labels::Error::of_answer(self.features.as_ref(), &self.coding, place, (image as u64, view), value)
            .into()
    }
}

/// Refuses to leave anything out where that is not worth it.
pub fn refuse_needless(classes: usize, dtype: Dtype, top_k: Option<NonZeroU32>) -> Result<()> {
    let coding = Coding::new(classes, dtype, top_k, None);
    let floats = if dtype == Dtype::U8 { Dtype::F16 } else { dtype };
    let all = Coding::new(classes, floats, None, None).row_bytes();
    let usage = |what: String, hint: &str| Err(Error::Usage { what, hint: hint.into() });
    if let Some(top) = top_k {
        if dtype == Dtype::U8 {
            return usage(
                format!("--top-k {top}: it keeps logits as floats, and --dtype u8 codes of all"),
                "choose one of the two",
            );
        }
        if classes < FEWEST_CLASSES {
            return usage(
                format!(
                    "--top-k {top}: the data has {classes} classes, wanted at least {FEWEST_CLASSES}: all logits of a row are {all} bytes in {floats}, and a robust teacher's mass is not in the largest few"
                ),
                "leave it out",
            );
        }
    }
    if coding.is_plain() || coding.row_bytes() < all {
        return Ok(());
    }
    let flag = top_k.map_or_else(|| format!("--dtype {dtype}"), |top| format!("--top-k {top}"));
    usage(
        format!(
            "{flag}: of {classes} classes it takes {} bytes a row, and all logits in {floats} take {all}",
            coding.row_bytes()
        ),
        "leave it out, or keep fewer",
    )
}

#[cfg(test)]
mod tests {
    use cli::{Exit, Exits};
    use labels::FeatureMap;

    use super::*;

    fn storing(dtype: Dtype) -> Storing {
        Storing::new(2, dtype, None, None)
    }

    #[test]
    fn logits_that_cannot_be_stored_name_their_row() {
        let rows = [(3, 0), (3, 7), (9, 1)];
        let mut logits = [0.5; 6];
        assert!(storing(Dtype::F16).check(&logits, &rows).is_ok());
        logits[3] = 65520.0;
        assert!(storing(Dtype::F32).check(&logits, &rows).is_ok());
        let error = storing(Dtype::F16).check(&logits, &rows).unwrap_err();
        assert!(error.to_string().contains("image 3, view 7: class 1 is 65520"), "{error}");
        assert_eq!(error.exit(), Exit::Refused);
        logits[4] = f32::NAN;
        let error = storing(Dtype::F32).check(&logits, &rows).unwrap_err();
        assert!(error.to_string().contains("image 9, view 1: class 0 is NaN"), "{error}");
        assert_eq!(error.exit(), Exit::Failed);
    }

    #[test]
    fn maps_that_cannot_be_stored_name_their_module() {
        let map = |module: &str| FeatureMap { module: module.into(), shape: [1, 1, 2] };
        let features = Features { dtype: Dtype::F16, maps: vec![map("a"), map("b")] };
        let storing = Storing::new(2, Dtype::F32, None, Some(&features));
        let mut answers = [0.5; 12];
        answers[1] = 1e6;
        assert!(storing.check(&answers, &[(3, 0), (3, 7)]).is_ok(), "a logit may be what no map may");
        answers[6 + 4] = 1e6;
        let error = storing.check(&answers, &[(3, 0), (3, 7)]).unwrap_err();
        assert!(error.to_string().contains("module `b` of image 3, view 7: value 0 is 1000000"), "{error}");
        assert_eq!(error.exit(), Exit::Refused);
        answers[6 + 3] = f32::INFINITY;
        let error = storing.check(&answers, &[(3, 0), (3, 7)]).unwrap_err();
        assert!(error.to_string().contains("module `a` of image 3, view 7: value 1 is inf"), "{error}");
        assert_eq!(error.exit(), Exit::Failed);
    }

    #[test]
    fn what_saves_nothing_or_too_much_is_refused_with_the_reason() {
        let refused = |classes, dtype, top: u32| {
            refuse_needless(classes, dtype, NonZeroU32::new(top)).err().map(|error| error.to_string())
        };
        for (classes, dtype, top) in [(10, Dtype::F16, 0), (1000, Dtype::F16, 64), (1000, Dtype::F32, 64)] {
            assert_eq!(refused(classes, dtype, top), None);
        }
        // 13 bytes a row beside the codes.
        assert_eq!([refused(14, Dtype::U8, 0), refused(1000, Dtype::U8, 0)], [None, None]);
        for (classes, dtype, top, words) in [
            (
                13,
                Dtype::U8,
                0,
                "--dtype u8: of 13 classes it takes 26 bytes a row, and all logits in f16 take 26",
            ),
            (999, Dtype::F16, 64, "the data has 999 classes, wanted at least 1000"),
            (1000, Dtype::U8, 64, "choose one of the two"),
            (1000, Dtype::F16, 498, "it takes 2001 bytes a row, and all logits in f16 take 2000"),
            (1000, Dtype::F32, 1000, "of 1000 classes it takes 6009 bytes a row"),
        ] {
            let error = refused(classes, dtype, top).unwrap_or_default();
            assert!(error.contains(words) && error.contains("\nhint: "), "{error}");
        }
    }
}
