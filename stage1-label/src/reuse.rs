//! Answers that other label sets have: taken over in place of asking the teacher.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use cli::{Progress, Stop, detail, warn, with_commas};
use half::f16;
use labels::{Answerer, Check, Dtype, Features, LabelSet, Parent, Spec};

use crate::storing::Storing;
use crate::teacher::RowId;
use crate::write::{Order, Written, label_set};
use crate::{Error, Result};

/// Rows copied between two looks at the signals.
const CHUNK: usize = 1 << 14;
/// The most ranges of rows by one engine each that a manifest is given: each is a few lines of it.
const MOST_RANGES: usize = 1 << 16;

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
        let storing = Storing::of(spec);
        let width = storing.coding.kept();
        let of_maps = spec.features.as_ref().map_or(spec.dtype, |features| features.dtype);
        let maps = width - spec.features.as_ref().map_or(0, Features::values);
        let stored = |place: usize, value: f32| match if place < maps { spec.dtype } else { of_maps } {
            // What was kept of the largest logits is rounded, and beside it are classes.
            Dtype::F16 if place >= maps || spec.top_k.is_none() => f16::from_f32(value).to_f32().to_bits(),
            _ => value.to_bits(),
        };
        let (mut one, mut other) = (vec![0.0; width], vec![0.0; width]);
        let rows = (0..spec.dataset.len())
            .flat_map(|image| spec.rows.views_of(image).iter().map(move |&view| (image, view)));
        for (image, view) in rows {
            let mut holders = self.0.iter().filter(|set| set.logits(image, view).is_some());
            let Some(first) = holders.next() else { continue };
            for second in holders {
                storing.take(first, (image, view), &mut one)?;
                storing.take(second, (image, view), &mut other)?;
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
                        of_parts: false,
                    }
                    .into());
                }
            }
        }
        Ok(())
    }

    /// Refuses label sets whose logits are rounded to f16, where those that are asked for would be stored otherwise and from what
    /// the teacher says itself.
    pub fn refuse_rounded(&self, storing: &Storing) -> Result<()> {
        let rounded =
            |set: &&LabelSet| set.manifest().coding().is_plain() && set.manifest().dtype == Dtype::F16;
        match self.0.iter().find(rounded) {
            Some(set) if !storing.coding.is_plain() => Err(Error::Usage {
                what: format!(
                    "{}: it is stored as f16, this run stores {}: its answers are rounded, and those that are asked for would not be",
                    set.dir().display(),
                    storing.coding
                ),
                hint: "`label subset` stores it in that form".into(),
            }),
            _ => Ok(()),
        }
    }

    /// Writes the label set of this spec, all of whose rows are there, on so many threads.
    pub fn copy(
        &self,
        out: &Path,
        spec: Spec,
        (threads, stop): (usize, &Stop),
        progress: &mut Progress,
    ) -> Result<Written> {
        let storing = Storing::of(&spec);
        let ranges = (0..spec.dataset.len()).fold((0, None), |so_far, image| {
            let views = spec.rows.views_of(image).iter();
            views.fold(so_far, |(count, last), &view| {
                let by = self.answerer((image, view));
                (count + usize::from(last != Some(by)), Some(by))
            })
        });
        let whose = |rows: &[RowId]| self.whose(rows);
        let named = ranges.0 <= MOST_RANGES;
        if !named {
            warn(format_args!(
                "{}: {} ranges of rows are by another engine, device or build than the row before: the manifest names them among the parents, and not row by row",
                out.display(),
                with_commas(ranges.0 as u64)
            ));
        }
        let whose = named.then_some(&whose as &crate::write::Whose);
        let order = Order { out, spec, part: None, batch: CHUNK, threads, stop, robust: None, whose };
        let never = |_: &[RowId]| unreachable!("every row is there");
        label_set(order, progress, |_, rows| self.answers(rows, &storing, never))
    }

    /// Who answered to a row that is there.
    fn answerer(&self, (image, view): RowId) -> &Answerer {
        let by = self.0.iter().find_map(|set| set.answerer(image, view));
        by.expect("every row is there")
    }

    /// Who answered to these rows, with the number of rows that each did.
    fn whose(&self, rows: &[RowId]) -> Vec<(usize, Answerer)> {
        let by = |&row: &RowId| self.answerer(row);
        rows.chunk_by(|one, next| by(one) == by(next))
            .map(|some| (some.len(), by(&some[0]).clone()))
            .collect()
    }

    /// The answers to some rows as they are kept: those that are there, and the others as `ask` gives them together.
    pub fn answers(
        &self,
        rows: &[RowId],
        storing: &Storing,
        ask: impl FnOnce(&[RowId]) -> Result<Vec<f32>>,
    ) -> Result<Vec<f32>> {
        let width = storing.coding.kept();
        let mut answers = vec![0.0; rows.len() * width];
        let mut asked = Vec::new();
        for (place, &(image, view)) in rows.iter().enumerate() {
            let out = &mut answers[place * width..][..width];
            match self.0.iter().find(|set| set.logits(image, view).is_some()) {
                Some(set) => storing.take(set, (image, view), out)?,
                None => asked.push(place),
            }
        }
        if !asked.is_empty() {
            let unknown: Vec<RowId> = asked.iter().map(|&place| rows[place]).collect();
            let given = ask(&unknown)?;
            let kept = storing.keep(&given, &unknown)?;
            for (place, answer) in asked.into_iter().zip(kept.chunks_exact(width)) {
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
        let storing = Storing::new(2, Dtype::F32, None, None);
        let mut asked = Vec::new();
        let answers = reused.answers(&rows, &storing, |missing| {
            asked.extend_from_slice(missing);
            Ok(missing.iter().flat_map(|_| [-1.0, -2.0]).collect())
        });
        assert_eq!(asked, [(2, 1), (2, 4)]);
        let wanted = [[-1.0, -2.0], answer(0, 8), answer(1, 3), [-1.0, -2.0], answer(0, 0)];
        assert_eq!(answers.unwrap(), wanted.as_flattened());
        let never = |_: &[RowId]| panic!("all are there");
        assert_eq!(reused.answers(&rows[1..3], &storing, never).unwrap(), wanted[1..3].as_flattened());
    }
}
