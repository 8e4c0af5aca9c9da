//! What people want to know of a label set, in words: for pages of both binaries.

use labels::{Manifest, Robust};

use crate::with_commas;

/// Names and values, in the order in which they inform.
pub fn label_set_facts(manifest: &Manifest) -> Vec<(&'static str, String)> {
    let Manifest { dataset, teacher, right, .. } = manifest;
    let or_unknown = |text: &str| if text.is_empty() { "not recorded".into() } else { text.to_owned() };
    let shape = format!("{}x{}x{}", dataset.height, dataset.width, dataset.channels);
    let normalisation = match &teacher.normalisation {
        Some(said) => said.clone(),
        None if teacher.mean.is_empty() => "none".into(),
        None => format!("mean {}, std {}", teacher.mean.join(" "), teacher.std.join(" ")),
    };
    let share = 100.0 * right.right as f64 / right.rows.max(1) as f64;
    let mut facts = vec![
        ("teacher", teacher.architecture.clone()),
        ("right answers", format!("{share:.2} % of {} rows", with_commas(right.rows))),
    ];
    if let Some(Robust { attack, norm, eps, images, clean, right, .. }) = &manifest.robust {
        let said = format!("{right} of {images} by {attack}, {norm} {eps}; {clean} without an attack");
        facts.push(("under attack", said));
    }
    facts.extend([
        ("images", format!("{} {}, {} of {shape}", dataset.name, dataset.split, with_commas(dataset.images))),
        ("classes", dataset.classes.to_string()),
        ("views", format!("{} of {}", manifest.views, manifest.augment)),
        ("stored as", format!("{}, {}, {} shards", manifest.coding(), manifest.form, manifest.shards())),
        ("normalisation", normalisation),
        ("origin", or_unknown(&teacher.origin)),
        ("weights", teacher.weights_blake3.map_or_else(|| "not recorded".into(), |hash| hash.to_string())),
        ("computed by", manifest.computed_by()),
        ("licence", or_unknown(&manifest.license)),
        ("author", or_unknown(&manifest.author)),
        ("dataset hash", dataset.hash.to_string()),
        ("content hash", manifest.content_hash.to_string()),
    ]);
    if let Some(lost) = &manifest.lost {
        facts.push(("lost by storing", lost.text(manifest.rows)));
    }
    if let Some(features) = &manifest.features {
        facts.push(("feature maps", format!("{features}; {}", features.dtype)));
    }
    if let Some(key) = &teacher.weights_key {
        facts.push(("part of the file", key.clone()));
    }
    facts
}
