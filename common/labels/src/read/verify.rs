//! `verify`: everything a label set promises, and all of what is wrong with it rather than the first.

use std::path::Path;

use crate::error::{Error, Result};
use crate::folder::manifest::Manifest;
use crate::folder::names::{CARD, MANIFEST};
use crate::folder::records::RightAnswers;
use crate::read::beside::{check_card, check_sums};
use crate::read::forms::Forms;
use crate::read::note::Note;
use crate::read::open::{check_dataset, check_file, load_manifest, read_shard, with_absent};
use crate::read::strangers::strangers;
use crate::row::dataset::IdentityHasher;
use crate::row::digest::Hex;
use crate::row::dtype::Form;
use crate::shard::content::ContentHasher;
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
    /// What is other than it was written and wrong with nothing: an edited card, a form that did not travel.
    pub notes: Vec<Note>,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Checks every byte and every row of a label set in all the forms that are there, a shard at a time.
///
/// An error means that the manifest itself cannot be believed; what is wrong with the files is in [`Report::problems`].
pub fn verify(dir: &Path) -> Result<Report> {
    let (manifest, bytes_of_manifest) = load_manifest(dir)?;
    let mut notes = Vec::new();
    let forms = Forms::of(dir, &manifest, &mut notes);
    for (form, _) in forms.each() {
        form.require_compiled(|| format!("verifying every row of label set {}", dir.display()))?;
    }
    let mut problems = strangers(dir, &manifest)?;
    let card = check_card(dir, &manifest, &mut notes)?;
    let (mut files, mut bytes) = card.map_or((0, 0), |card| (1, card.bytes));
    let mut digests = vec![(CARD.into(), card)];
    let mut read: Vec<(Form, Option<Tally>)> = Vec::new();
    for (form, records) in forms.each() {
        // Rows in order have a hash; a form with a damaged shard has none.
        let mut tally = Some(Tally::new(&manifest));
        for file in records {
            let (storage, digest) = match check_file(dir, file, true) {
                Ok(checked) => checked,
                Err(problem) => {
                    problems.push(problem);
                    tally = None;
                    continue;
                }
            };
            (files, bytes) = (files + 1, bytes + file.bytes);
            digests.push((file.path.clone(), digest));
            let shard = read_shard(dir, &manifest, form, file, storage).and_then(|shard| {
                shard.check_finite(&dir.join(&file.path), manifest.features.as_ref())?;
                Ok(shard)
            });
            match shard {
                Ok(shard) => {
                    if let Some(tally) = &mut tally {
                        tally.add(&shard);
                    }
                }
                Err(problem) => {
                    problems.push(problem);
                    tally = None;
                }
            }
        }
        read.push((form, tally));
    }
    check_sums(dir, &bytes_of_manifest, &with_absent(&manifest, digests), &mut notes)?;
    let mut content = Vec::new();
    for (form, tally) in read {
        let Some(Tally { content: rows, images, right }) = tally else { continue };
        let hash = rows.finish();
        content.push((form, hash));
        if hash != manifest.content_hash {
            problems.push(Error::ContentHash {
                dir: dir.into(),
                rows: if form == Form::Parquet { "the Parquet" } else { "the safetensors" },
                wanted: manifest.content_hash.to_string(),
                found: hash.to_string(),
            });
        }
        problems.extend(check_dataset(dir, &manifest, images.finish()).err());
        problems.extend(check_right(dir, &manifest, &right).err());
    }
    Ok(Report { manifest, files, bytes, content, problems, notes })
}

/// What the rows of a form add up to.
struct Tally {
    content: ContentHasher,
    images: IdentityHasher,
    right: RightAnswers,
}

impl Tally {
    fn new(manifest: &Manifest) -> Tally {
        let classes = manifest.dataset.classes;
        Tally {
            content: ContentHasher::new(manifest.dtype, classes, manifest.features.as_ref()),
            images: IdentityHasher::new(manifest.dataset.images),
            right: RightAnswers::none(classes),
        }
    }

    /// Adds the next shard.
    fn add(&mut self, shard: &Shard) {
        self.content.add(shard);
        self.images.add(shard.hashes(), shard.labels());
        for (row, _, _, label) in shard.rows() {
            self.right.add(label, shard.logits(row..row + 1).argmax());
        }
    }
}

/// The right answers as they were counted again.
fn check_right(dir: &Path, manifest: &Manifest, found: &RightAnswers) -> Result<()> {
    if *found == manifest.right {
        return Ok(());
    }
    Err(Error::ManifestField {
        path: dir.join(MANIFEST),
        field: "right".into(),
        wanted: format!("{} of {} rows, as counted", found.right, found.rows),
        found: format!("{} of {} rows, or other counts per class", manifest.right.right, manifest.right.rows),
    })
}
