//! `verify`: everything a label set promises, and all of what is wrong with it rather than the first.

use std::path::Path;

use crate::error::{Error, Result};
use crate::folder::manifest::Manifest;
use crate::folder::names::MANIFEST;
use crate::folder::records::RightAnswers;
use crate::read::beside::{check_card, check_sums};
use crate::read::forms::Forms;
use crate::read::note::Note;
use crate::read::open::{check_dataset, load_manifest};
use crate::read::strangers::strangers;
use crate::read::team::{Looked, look};
use crate::row::dataset::IdentityHasher;
use crate::row::digest::Hex;
use crate::row::dtype::Form;
use crate::row::lost::Lost;
use crate::shard::content::ContentHasher;

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

/// Who waits for a verification.
pub trait Watch: Sync {
    /// So many bytes are about to be hashed. Said again where a form that is not as the other is looked at alone.
    fn begin(&self, total: u64);
    /// So many more are.
    fn hashed(&self, bytes: u64);
    /// Whether nobody waits any more.
    fn stop(&self) -> bool;
}

/// Nobody in particular.
pub(crate) struct Unwatched;

impl Watch for Unwatched {
    fn begin(&self, _: u64) {}
    fn hashed(&self, _: u64) {}
    fn stop(&self) -> bool {
        false
    }
}

/// Checks every byte and every row of a label set in all the forms that are there, on all processors.
///
/// An error means that the manifest itself cannot be believed; what is wrong with the files is in [`Report::problems`].
pub fn verify(dir: &Path) -> Result<Report> {
    let report = verify_watched(dir, processors(), &Unwatched)?;
    Ok(report.expect("nobody stopped it"))
}

/// As many threads as there are processors.
pub(crate) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// What a published label set is, and what is other than it was written, if every byte and row of it is sound; none where
/// the look was stopped.
pub(crate) fn require_sound(
    dir: &Path,
    threads: usize,
    watch: &dyn Watch,
) -> Result<Option<(Manifest, Vec<Note>)>> {
    let Some(report) = verify_watched(dir, threads, watch)? else { return Ok(None) };
    match report.problems.into_iter().next() {
        Some(problem) => Err(problem),
        None => Ok(Some((report.manifest, report.notes))),
    }
}

/// [`verify`] on so many threads; none where it was stopped. What it finds does not depend on the threads.
///
/// Files are read, not mapped. A thread holds what is said of the rows of a shard beside their logits and feature maps (2
/// bytes a row, 28 an image), a megabyte of these, and a decoder's pages; with shards smaller than the 1,024 images that
/// are hashed together, rows wait as well, in 64 MiB over all threads.
pub fn verify_watched(dir: &Path, threads: usize, watch: &dyn Watch) -> Result<Option<Report>> {
    let (manifest, bytes_of_manifest) = load_manifest(dir)?;
    let mut notes = Vec::new();
    let forms = Forms::of(dir, &manifest, &mut notes);
    for (form, _) in forms.each() {
        form.require_compiled(|| format!("verifying every row of label set {}", dir.display()))?;
    }
    let mut problems = strangers(dir, &manifest)?;
    let card = check_card(dir, &manifest, &mut notes)?;
    let (mut files, mut bytes) = if card { (1, manifest.card().bytes) } else { (0, 0) };
    let Some(looked) = look(dir, &manifest, &forms, threads, watch) else { return Ok(None) };
    let mut read = Vec::new();
    for Looked { form, hashed, problems: found, tally } in looked {
        files += hashed.files;
        bytes += hashed.bytes;
        problems.extend(found);
        read.push((form, tally));
    }
    check_sums(dir, (&manifest, &bytes_of_manifest), card, &mut notes)?;
    let mut content = Vec::new();
    for (form, tally) in read {
        let Some(Tally { content: rows, images, right, lost }) = tally else { continue };
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
        problems.extend(check_lost(dir, &manifest, lost).err());
    }
    Ok(Some(Report { manifest, files, bytes, content, problems, notes }))
}

/// What the rows of a form add up to.
#[derive(Clone)]
pub(crate) struct Tally {
    pub content: ContentHasher,
    pub images: IdentityHasher,
    pub right: RightAnswers,
    pub lost: Lost,
}

impl Tally {
    pub fn new(manifest: &Manifest) -> Tally {
        Tally {
            content: ContentHasher::new(manifest.coding(), manifest.features.as_ref()),
            images: IdentityHasher::new(manifest.dataset.images),
            right: RightAnswers::none(manifest.dataset.classes),
            lost: Lost::default(),
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

/// What the rows say that storing them cost, added up again.
fn check_lost(dir: &Path, manifest: &Manifest, found: Lost) -> Result<()> {
    let said = manifest.lost.unwrap_or_default();
    if said == found {
        return Ok(());
    }
    Err(Error::ManifestField {
        path: dir.join(MANIFEST),
        field: "lost".into(),
        wanted: format!("{}, as the rows say", found.text(manifest.rows)),
        found: said.text(manifest.rows),
    })
}
