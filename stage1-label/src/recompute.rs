//! `label verify --recompute`: the teacher answers to some rows again, and its answers are compared with those stored.

mod beside;
mod comparison;

use std::collections::BTreeSet;
use std::path::Path;

use cli::Stop;
use data::DatasetSpec;
use engine::Engine;
use labels::{Features, Hex, LabelSet, Manifest, Wanted};
use weights::WeightsFile;
use zoo::{Foreign, Inputs, Normalisation};

use crate::args::task;
use crate::taps::Tapped;
use crate::teacher::{FOREIGN, RowId, Teacher};
use crate::{Error, Result};
use beside::{Beside, Of, Part, Unit};
use comparison::tolerance;

pub use beside::Place;
pub use comparison::{Apart, Difference, Recomputed};

/// Rows run together on a processor.
const BATCH: usize = 256;
/// The most values of their answers, where feature maps are among these: 256 MiB.
const MOST_VALUES: usize = 64 << 20;

/// What to recompute, and with what.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Rows; all where there are fewer.
    pub rows: usize,
    /// The teacher's weights.
    pub weights: &'a Path,
    /// What is said of its file; where nothing is, what the label set records.
    pub said: &'a Foreign,
    /// The labelled dataset.
    pub data: &'a DatasetSpec,
    /// Asked between batches.
    pub stop: &'a Stop,
}

/// Runs the teacher, on this engine, on rows of the label set that its content hash draws.
///
/// Weights other than those that the manifest records are refused before anything in them is read, or run, a dataset other than
/// the labelled one before anything is run. A stored logit may differ by 1e-3 of its row's largest |logit| plus one unit
/// of the stored type; by 0.4 % where tf32 or f16 computed, then or now, and by 3 % where bf16 did. Likewise a value of a
/// feature map, by its row's largest in that map.
pub fn recompute(set: &LabelSet, request: &Request, engine: Box<dyn Engine>) -> Result<Recomputed> {
    let manifest = set.manifest();
    let weights = weights_of(manifest, request.weights)?;
    let dataset = cli::images(request.data, manifest.dataset.split.parse()?)?.limit(set.images());
    set.check_against(&Wanted { dataset: &dataset.record(), augment: None, plan: None })?;
    let said = as_recorded(request.said, &manifest.teacher);
    let teacher = Teacher::from_file(&weights, &said, task(&dataset), engine)?;
    let features = manifest.features.as_ref();
    let tapped = features.map(|features| Tapped::of(features, teacher.network())).transpose()?;

    let now = teacher.record("");
    let mut result = Recomputed {
        tolerance: tolerance([&manifest.teacher.precision, &now.precision]),
        engine: now.engine,
        precision: now.precision,
        device: now.device,
        ..Recomputed::default()
    };
    let classes = set.classes();
    let width = classes + features.map_or(0, Features::values);
    let mut stored = vec![0.0; width - classes];
    let batch = teacher.batch(None, BATCH)?.min(MOST_VALUES / width).max(1);
    for rows in drawn_rows(set, request.rows).chunks(batch) {
        if request.stop.requested() {
            return Err(Error::VerifyInterrupted { dir: set.dir().into() });
        }
        let answers = teacher.answers(&dataset, manifest.augment, rows, tapped.as_ref())?;
        for (&(image, view), found) in rows.iter().zip(answers.chunks_exact(width)) {
            let logits = set.logits(image, view).expect("the rows were listed by the label set");
            if let Some(held) = set.features(image, view) {
                held.copy_to(&mut stored);
            }
            let (found, maps) = found.split_at(classes);
            let beside = Beside::of(logits, &manifest.coding(), found)?;
            let mut parts = beside.parts(manifest.dtype);
            parts.extend(map_parts(manifest, &stored, maps));
            result.turned += usize::from(beside.turned);
            result.compare((image, view), &parts);
        }
    }
    Ok(result)
}

/// Each feature map of a row.
fn map_parts<'a>(
    manifest: &'a Manifest,
    stored: &'a [f32],
    found: &'a [f32],
) -> impl Iterator<Item = Part<'a>> {
    let maps =
        |features: &'a Features| features.maps.iter().enumerate().map(move |(at, map)| (features, at, map));
    manifest.features.iter().flat_map(maps).map(move |(features, at, map)| Part {
        of: Of::Map(&map.module),
        unit: Unit::Of(features.dtype),
        stored: &stored[features.places(at)],
        found: &found[features.places(at)],
    })
}

/// The weights of a label set's teacher. Others than those that the manifest records are refused before anything in them is read.
pub(crate) fn weights_of(manifest: &Manifest, path: &Path) -> Result<WeightsFile> {
    let weights = WeightsFile::read(path)?;
    let found = Hex(*weights.blake3().as_bytes());
    match manifest.teacher.weights_blake3 {
        Some(wanted) if wanted != found => Err(Error::WrongTeacher {
            path: path.into(),
            wanted: wanted.to_string(),
            found: found.to_string(),
        }),
        _ => Ok(weights),
    }
}

/// What is said of the teacher's file, and where nothing is, what the label set records of it.
pub(crate) fn as_recorded(said: &Foreign, recorded: &labels::Teacher) -> Foreign {
    let numbers = |texts: &[String]| texts.iter().map(|text| text.parse().ok()).collect::<Option<Vec<f64>>>();
    let constants = numbers(&recorded.mean).zip(numbers(&recorded.std));
    let inputs = match constants {
        // Of answers from elsewhere, none may mean that nobody said.
        Some((mean, _)) if mean.is_empty() && recorded.device == FOREIGN => None,
        Some((mean, _)) if mean.is_empty() => Some(Inputs::Plain),
        Some((mean, std)) => Normalisation::new(mean, std).ok().map(Inputs::Normalised),
        None => None,
    };
    Foreign {
        architecture: said.architecture.clone().or_else(|| Some(recorded.architecture.clone())),
        weights_key: said.weights_key.clone().or_else(|| recorded.weights_key.clone()),
        inputs: said.inputs.clone().or(inputs),
    }
}

/// `count` different rows, or all where there are fewer, in order. The content hash draws them: the same set, the same rows.
fn drawn_rows(set: &LabelSet, count: usize) -> Vec<RowId> {
    let rows = set.manifest().rows;
    let drawn = drawn_indices(&set.manifest().content_hash.0, rows, (count as u64).min(rows));
    let mut drawn = drawn.into_iter().peekable();
    let (mut first, mut found) = (0, Vec::with_capacity(count.min(rows as usize)));
    for image in 0..set.images() {
        let views = set.views_of(image);
        while let Some(row) = drawn.next_if(|&row| row < first + views.len() as u64) {
            found.push((image, views[(row - first) as usize]));
        }
        first += views.len() as u64;
    }
    found
}

fn drawn_indices(seed: &[u8; 32], rows: u64, count: u64) -> BTreeSet<u64> {
    if count == rows {
        return (0..rows).collect();
    }
    let mut draws = blake3::Hasher::new().update(b"recompute").update(seed).finalize_xof();
    let mut drawn = BTreeSet::new();
    while (drawn.len() as u64) < count {
        let mut draw = [0; 8];
        draws.fill(&mut draw);
        drawn.insert(method::rng::below(u64::from_le_bytes(draw), rows as usize) as u64);
    }
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_distinct_and_repeatable() {
        let seed = [7; 32];
        let drawn = drawn_indices(&seed, 1000, 64);
        assert_eq!(drawn.len(), 64);
        assert!(drawn.iter().all(|&row| row < 1000));
        assert_eq!(drawn, drawn_indices(&seed, 1000, 64));
        assert_ne!(drawn, drawn_indices(&[8; 32], 1000, 64));
        assert_eq!(drawn_indices(&seed, 5, 5).into_iter().collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    }
}
