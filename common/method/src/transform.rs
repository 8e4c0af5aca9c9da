//! What may be done to a teacher's clean logits between where they come from and what learns from them.
//!
//! A label set holds what the teacher said; a run may read it otherwise, without another label set. Any objective that reads
//! clean labels learns, and attacks, with what these leave; a teacher's answers to adversarial images stay as they are.

use std::collections::BTreeSet;

use names::Table;

/// What a run chose; by default nothing is changed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Transforms {
    /// Whether a wrong teacher's two logits are swapped.
    pub swap: bool,
    /// Divisor of all logits.
    pub temperature: Option<f64>,
    /// A further divisor of the logits of some images.
    pub soften: Option<Softening>,
}

/// Images whose labels are to be softer.
#[derive(Clone, Debug, PartialEq)]
pub struct Softening {
    /// Their indices in the data set.
    pub images: BTreeSet<usize>,
    /// Divisor of their logits.
    pub temperature: f64,
}

/// The image whose logits are changed.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    /// Its index in the data set.
    pub image: usize,
    /// Its class, where it is known.
    pub label: Option<usize>,
}

/// A way to change the logits of an image.
pub struct Row {
    /// Its name: that of the setting that chooses it.
    pub name: &'static str,
    /// What it does, in a line.
    pub summary: &'static str,
    change: fn(&Transforms, Subject, &mut [f32]),
    is_chosen: fn(&Transforms) -> bool,
}

impl names::Row for Row {
    const WHAT: &'static str = "transform";

    fn name(&self) -> &'static str {
        self.name
    }

    fn summary(&self) -> &'static str {
        self.summary
    }
}

/// Every transform, in the order in which they are done.
pub const TRANSFORMS: &Table<Row> = &[&SWAP, &TEMPERATURE, &SOFTEN];

/// Source: the error-corrective label swapping of Park and Min, ECCV 2024; kunsaram01/DGAD a0329c8, `main.py`, on clean
/// images. Where several classes are the largest, the first of them is meant.
static SWAP: Row = Row {
    name: "label-swap",
    summary: "where the teacher is wrong, its logits of the label and of its own class change places",
    change: |_, subject, logits| {
        let Some(label) = subject.label else { return };
        let mut largest = 0;
        for (class, logit) in logits.iter().enumerate() {
            if *logit > logits[largest] {
                largest = class;
            }
        }
        logits.swap(largest, label);
    },
    is_chosen: |transforms| transforms.swap,
};

/// Source: Hinton et al., 2015, arXiv:1503.02531, of the teacher alone: low temperatures of a teacher are what LTD
/// (arXiv:2111.02331) trains with.
static TEMPERATURE: Row = Row {
    name: "label-temperature",
    summary: "the teacher's logits are divided by it, the student's are not",
    change: |transforms, _, logits| divide(logits, transforms.temperature),
    is_chosen: |transforms| transforms.temperature.is_some(),
};

/// Source: "Why Robust Teachers Fail", arXiv:2605.21999: confident labels on images that no student of a size learns drive
/// robust overfitting. Its code (HongsinLee/why-robust-teachers-fail) makes the list and softens nothing itself.
static SOFTEN: Row = Row {
    name: "soften",
    summary: "the teacher's logits on listed images are divided by a temperature of their own",
    change: |transforms, subject, logits| {
        let softening =
            transforms.soften.as_ref().filter(|softening| softening.images.contains(&subject.image));
        divide(logits, softening.map(|softening| softening.temperature));
    },
    is_chosen: |transforms| transforms.soften.is_some(),
};

/// Divided in f64 and rounded once.
fn divide(logits: &mut [f32], by: Option<f64>) {
    if let Some(by) = by {
        for logit in logits {
            *logit = (f64::from(*logit) / by) as f32;
        }
    }
}

impl Transforms {
    /// The names of those that were chosen.
    pub fn chosen(&self) -> impl Iterator<Item = &'static str> {
        TRANSFORMS.iter().filter(|row| (row.is_chosen)(self)).map(|row| row.name)
    }

    /// Changes an image's logits, one per class, as chosen.
    pub fn change(&self, subject: Subject, logits: &mut [f32]) {
        for row in TRANSFORMS.iter().filter(|row| (row.is_chosen)(self)) {
            (row.change)(self, subject, logits);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGITS: [f32; 4] = [0.7, 2.9, -1.3, 2.2];

    fn changed(transforms: &Transforms, image: usize, label: usize) -> [f32; 4] {
        let mut logits = LOGITS;
        transforms.change(Subject { image, label: Some(label) }, &mut logits);
        logits
    }

    #[test]
    fn where_nothing_is_chosen_labels_stay_as_they_are() {
        assert_eq!(changed(&Transforms::default(), 3, 0)[..], LOGITS[..]);
        assert_eq!(Transforms::default().chosen().count(), 0);
    }

    #[test]
    fn a_wrong_teachers_two_logits_change_places_and_a_right_teachers_stay() {
        let swap = Transforms { swap: true, ..Transforms::default() };
        assert_eq!(changed(&swap, 0, 2)[..], [0.7, -1.3, 2.9, 2.2][..]);
        assert_eq!(changed(&swap, 0, 1)[..], LOGITS[..]);
        // torch.max finds the first of equal logits on the CPU; where the label is one of them, nothing is wrong.
        for (label, wanted) in [(0, [5.0, 1.0, 5.0]), (1, [1.0, 5.0, 5.0]), (2, [1.0, 5.0, 5.0])] {
            let mut logits = [1.0, 5.0, 5.0];
            swap.change(Subject { image: 0, label: Some(label) }, &mut logits);
            assert_eq!(logits[..], wanted[..], "{label}");
        }
        let mut hidden = LOGITS;
        swap.change(Subject { image: 0, label: None }, &mut hidden);
        assert_eq!(hidden[..], LOGITS[..], "nobody knows whether the teacher is wrong");
    }

    /// By numpy: `numpy.float32(numpy.float64(numpy.float32([0.7, 2.9, -1.3, 2.2])) / 3)`, and the same of that by 1.5.
    #[test]
    fn temperatures_divide_all_logits_and_once_more_those_of_listed_images() {
        let soften = Some(Softening { images: BTreeSet::from([4, 9]), temperature: 1.5 });
        let warm = Transforms { temperature: Some(3.0), soften, ..Transforms::default() };
        assert_eq!(warm.chosen().collect::<Vec<_>>(), ["label-temperature", "soften"]);
        let bits = |logits: [f32; 4]| logits.map(f32::to_bits);
        assert_eq!(bits(changed(&warm, 5, 0)), [0x3e6e_eeef, 0x3f77_7778, 0xbedd_dddd, 0x3f3b_bbbc]);
        assert_eq!(bits(changed(&warm, 9, 0)), [0x3e1f_49f5, 0x3f24_fa50, 0xbe93_e93e, 0x3efa_4fa5]);
    }
}
