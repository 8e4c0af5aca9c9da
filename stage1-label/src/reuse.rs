//! Answers that other label sets have: taken over in place of asking the teacher.

use std::collections::HashSet;
use std::path::PathBuf;

use cli::{detail, with_commas};
use half::f16;
use labels::{Check, Dtype, LabelSet, Parent, Spec};

use crate::Result;
use crate::teacher::RowId;

/// Label sets whose answers are taken over.
pub(crate) struct Reused(Vec<LabelSet>);

impl Reused {
    /// Opens them, every byte of what is read hashed.
    pub fn open(folders: &[PathBuf]) -> Result<Self> {
        let sets = folders.iter().map(|folder| LabelSet::open(folder, Check::Used));
        Ok(Self(sets.collect::<labels::Result<_>>()?))
    }

    /// The label sets, in the order of their folders.
    pub fn sets(&self) -> &[LabelSet] {
        &self.0
    }

    /// Refuses label sets that answer to something else than this spec asks. Names those that some row is taken over from as its
    /// parents, and gives the first row that is in none.
    pub fn enter(&self, spec: &mut Spec) -> Result<Option<RowId>> {
        for set in &self.0 {
            set.check_reusable(spec)?;
        }
        let mut used = vec![0u64; self.0.len()];
        let mut missing = None;
        for image in 0..spec.dataset.len() {
            for &view in spec.rows.views_of(image) {
                match self.0.iter().position(|set| set.logits(image, view).is_some()) {
                    Some(set) => used[set] += 1,
                    None => missing = missing.or(Some((image, view))),
                }
            }
        }
        let mut known: HashSet<Parent> = spec.parents.iter().cloned().collect();
        for (set, _) in self.0.iter().zip(&used).filter(|(_, rows)| **rows > 0) {
            for parent in set.as_parents() {
                if known.insert(parent.clone()) {
                    spec.parents.push(parent);
                }
            }
        }
        if !self.0.is_empty() {
            let (there, all) = (used.iter().sum::<u64>(), spec.rows.len() as u64);
            detail(format_args!("{} of {} rows are taken over", with_commas(there), with_commas(all)));
        }
        Ok(missing)
    }

    /// Refuses label sets that do not answer alike to a row of this spec that several of them have, as far as it is stored.
    pub fn refuse_contradictions(&self, spec: &Spec) -> Result<()> {
        let (classes, width) = (spec.dataset.classes, spec.width());
        let of_maps = spec.features.as_ref().map_or(spec.dtype, |features| features.dtype);
        let stored = |place: usize, value: f32| match if place < classes { spec.dtype } else { of_maps } {
            Dtype::F16 => f16::from_f32(value).to_f32().to_bits(),
            Dtype::F32 => value.to_bits(),
        };
        let (mut one, mut other) = (vec![0.0; width], vec![0.0; width]);
        let rows = (0..spec.dataset.len())
            .flat_map(|image| spec.rows.views_of(image).iter().map(move |&view| (image, view)));
        for (image, view) in rows {
            let mut holders = self.0.iter().filter(|set| set.logits(image, view).is_some());
            let Some(first) = holders.next() else { continue };
            for second in holders {
                first.answer(image, view, &mut one);
                second.answer(image, view, &mut other);
                let differs = |&place: &usize| stored(place, one[place]) != stored(place, other[place]);
                if let Some(place) = (0..width).find(differs) {
                    let (first, second) = (first.dir().to_path_buf(), second.dir().to_path_buf());
                    let (image, one, other) = (image as u64, one[place], other[place]);
                    return Err(labels::Error::Contradiction {
                        first,
                        second,
                        image,
                        view,
                        place,
                        one,
                        other,
                    }
                    .into());
                }
            }
        }
        Ok(())
    }

    /// The answers to some rows, each of so many values: those that are there, and the others as `ask` gives them together.
    pub fn answers(
        &self,
        rows: &[RowId],
        width: usize,
        ask: impl FnOnce(&[RowId]) -> Result<Vec<f32>>,
    ) -> Result<Vec<f32>> {
        let mut answers = vec![0.0; rows.len() * width];
        let mut asked = Vec::new();
        for (place, &(image, view)) in rows.iter().enumerate() {
            let out = &mut answers[place * width..][..width];
            if !self.0.iter().any(|set| set.answer(image, view, out)) {
                asked.push(place);
            }
        }
        if !asked.is_empty() {
            let given = ask(&asked.iter().map(|&place| rows[place]).collect::<Vec<_>>())?;
            for (place, answer) in asked.into_iter().zip(given.chunks_exact(width)) {
                answers[place * width..][..width].copy_from_slice(answer);
            }
        }
        Ok(answers)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use labels::{Augment, Dataset, RowTable, Session, Teacher, Views, image_hash};

    use super::*;

    /// The first so many of three images, all nine views, answered by ten times the image plus the view, and by a hundred times it.
    fn written(dir: &Path, images: usize) -> LabelSet {
        let augment: Augment = "crop1".parse().unwrap();
        let dataset = Dataset {
            name: "pixels".into(),
            split: "train".into(),
            shape: [1, 1, 1],
            class_names: Vec::new(),
            classes: 2,
            hashes: (0..images).map(|image| image_hash(1, 1, 1, &[image as u8])).collect(),
            labels: vec![0; images],
        };
        let rows = RowTable::all(images, augment);
        let spec = Spec::new(dataset, augment, Views::All, rows, Teacher::named("by hand"));
        let mut session = Session::open(dir, spec).unwrap();
        for job in session.pending() {
            let answers: Vec<f32> = job.rows.clone().flat_map(|row| answer(row / 9, row % 9)).collect();
            session.write(&job, &answers).unwrap();
        }
        session.finish().unwrap();
        LabelSet::open(dir, Check::Used).unwrap()
    }

    fn answer(image: usize, view: usize) -> [f32; 2] {
        let value = (10 * image + view) as f32;
        [value, 100.0 * value]
    }

    #[test]
    fn only_what_no_set_has_is_asked_for_and_every_answer_has_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let reused = Reused(vec![written(&folder.path().join("a"), 1), written(&folder.path().join("b"), 2)]);
        let rows: [RowId; 5] = [(2, 1), (0, 8), (1, 3), (2, 4), (0, 0)];
        let mut asked = Vec::new();
        let answers = reused.answers(&rows, 2, |missing| {
            asked.extend_from_slice(missing);
            Ok(missing.iter().flat_map(|_| [-1.0, -2.0]).collect())
        });
        assert_eq!(asked, [(2, 1), (2, 4)]);
        let wanted = [[-1.0, -2.0], answer(0, 8), answer(1, 3), [-1.0, -2.0], answer(0, 0)];
        assert_eq!(answers.unwrap(), wanted.as_flattened());
        let never = |_: &[RowId]| panic!("all are there");
        assert_eq!(reused.answers(&rows[1..3], 2, never).unwrap(), wanted[1..3].as_flattened());
    }
}
