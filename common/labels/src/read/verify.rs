//! `verify`: everything a label set promises, and all of what is wrong with it rather than the first.

use std::path::Path;

use crate::error::{Error, Result};
use crate::folder::manifest::Manifest;
use crate::folder::names::MANIFEST;
use crate::folder::records::RightAnswers;
use crate::read::open::{
    check_card, check_dataset, check_file, check_sums, content_hash, form_of, load_manifest, read_shard,
};
use crate::read::strangers::strangers;
use crate::row::digest::Hex;
use crate::row::dtype::Form;
use crate::shard::rows::Shard;

/// What [`verify`] found.
#[derive(Debug)]
pub struct Report {
    /// The manifest, whose id holds.
    pub manifest: Manifest,
    /// Files that were hashed.
    pub files: usize,
    /// Bytes that were hashed.
    pub bytes: u64,
    /// Content hash of each form, computed from its rows; only of forms whose shards could all be read.
    pub content: Vec<(Form, Hex)>,
    /// Everything that is wrong; none for a sound label set.
    pub problems: Vec<Error>,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Checks every byte and every row of a label set in all its forms.
///
/// An error means that the manifest itself cannot be believed; what is wrong with the files is in [`Report::problems`].
pub fn verify(dir: &Path) -> Result<Report> {
    let manifest = load_manifest(dir)?;
    manifest.form.require_compiled(|| format!("verifying every row of label set {}", dir.display()))?;
    let mut problems = strangers(dir, &manifest)?;
    let mut forms: [(Form, Vec<Shard>); 2] = [(Form::Parquet, vec![]), (Form::Safetensors, vec![])];
    let (mut digests, mut files, mut bytes) = (Vec::new(), 0, 0);
    for file in &manifest.files {
        let (storage, digest) = match check_file(dir, file, true) {
            Ok(checked) => checked,
            Err(problem) => {
                problems.push(problem);
                digests.push((file.path.clone(), None));
                continue;
            }
        };
        (files, bytes) = (files + 1, bytes + file.bytes);
        digests.push((file.path.clone(), digest));
        let Some(form) = form_of(&manifest, file) else {
            problems.extend(check_card(dir, &manifest, &storage).err());
            continue;
        };
        let shard = read_shard(dir, &manifest, file, storage).and_then(|shard| {
            shard.check_finite(&dir.join(&file.path))?;
            Ok(shard)
        });
        match shard {
            Ok(shard) => forms[usize::from(form == Form::Safetensors)].1.push(shard),
            Err(problem) => problems.push(problem),
        }
    }
    problems.extend(check_sums(dir, &digests).err());
    let mut content = Vec::new();
    for (form, shards) in &forms {
        // Rows in order have a hash; a form with a damaged shard has been reported above.
        if shards.is_empty() || shards.len() < manifest.shards() {
            continue;
        }
        let hash = content_hash(&manifest, shards);
        content.push((*form, hash));
        if hash != manifest.content_hash {
            problems.push(Error::ContentHash {
                dir: dir.into(),
                rows: if *form == Form::Parquet { "the Parquet" } else { "the safetensors" },
                wanted: manifest.content_hash.to_string(),
                found: hash.to_string(),
            });
        }
        problems.extend(check_dataset(dir, &manifest, shards).err());
        problems.extend(check_right(dir, &manifest, shards).err());
    }
    Ok(Report { manifest, files, bytes, content, problems })
}

/// Counts the right answers again.
fn check_right(dir: &Path, manifest: &Manifest, shards: &[Shard]) -> Result<()> {
    let mut found = RightAnswers::none(manifest.dataset.classes);
    for shard in shards {
        for (row, _, _, label) in shard.rows() {
            found.add(label, shard.logits(row..row + 1).argmax());
        }
    }
    if found == manifest.right {
        return Ok(());
    }
    Err(Error::ManifestField {
        path: dir.join(MANIFEST),
        field: "right".into(),
        wanted: format!("{} of {} rows, as counted", found.right, found.rows),
        found: format!("{} of {} rows, or other counts per class", manifest.right.right, manifest.right.rows),
    })
}
