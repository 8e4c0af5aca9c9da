//! One shard's file looked at whole: hashed, then its rows read, in little memory and without a mapping.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::error::{Error, Result};
use crate::folder::manifest::Manifest;
use crate::folder::plain::open_sized;
use crate::folder::records::{FileRecord, RightAnswers};
use crate::row::dataset::{identity, is_label};
use crate::row::digest::Hex;
use crate::row::dtype::Form;
use crate::row::lost::Lost;
use crate::shard::content::ShardContent;
use crate::shard::rows::Shard;
use crate::shard::stream::Reading;
use crate::shard::window::Window;
use crate::shard::{parquet, stream};

/// Bytes read together: what stays in a processor's second cache.
const BLOCK: usize = 1 << 18;

/// What a shard brings to the sums over its form.
pub(crate) struct Findings {
    pub content: ShardContent,
    /// Hashes and labels of its images.
    pub images: Vec<u8>,
    pub right: RightAnswers,
    pub lost: Lost,
}

/// Who looks on while a shard is looked at.
pub(crate) trait Onlooker {
    /// So many bytes more are hashed. Refuses to go on once nobody waits for the rest.
    fn hashed(&self, bytes: u64) -> Result<()>;
    /// Refuses in the same way.
    fn go_on(&self) -> Result<()>;
}

/// Hashes a file that must have the record's length and BLAKE3; gives it open.
pub(crate) fn hash(
    dir: &Path,
    record: &FileRecord,
    block: &mut Vec<u8>,
    onlooker: &impl Onlooker,
) -> Result<File> {
    let path = dir.join(&record.path);
    let mut file = open_sized(&path, record.bytes)?;
    let (mut hasher, mut bytes) = (blake3::Hasher::new(), 0);
    block.resize(BLOCK, 0);
    loop {
        let read = match file.read(block) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            read => read.map_err(Error::io("read", &path))?,
        };
        if read == 0 {
            break;
        }
        hasher.update(&block[..read]);
        bytes += read as u64;
        onlooker.hashed(read as u64)?;
    }
    if bytes != record.bytes {
        return Err(Error::FileSize { path, wanted: record.bytes, found: bytes });
    }
    let found = Hex(hasher.finalize().into());
    if found == record.blake3 {
        return Ok(file);
    }
    let (wanted, found) = (record.blake3.to_string(), found.to_string());
    Err(Error::FileHash { path, wanted, found })
}

/// Reads every row of a shard, validates it, and counts it. Between rows, which may wait for what they follow, it asks
/// whether to go on: then it may be given that.
pub(crate) fn read(
    dir: &Path,
    manifest: &Manifest,
    (form, record): (Form, &FileRecord),
    file: File,
    between_rows: impl Fn(&mut ShardContent) -> Result<()>,
) -> Result<Findings> {
    let path = dir.join(&record.path);
    let place = manifest.layout(record);
    let Manifest { augment, views, .. } = *manifest;
    let mut rows = Rows {
        classes: manifest.dataset.classes,
        content: ShardContent::apart(place.0),
        right: RightAnswers::none(manifest.dataset.classes),
        lost: Lost::default(),
        bad_logit: None,
        bad_row: None,
        bad_feature: None,
    };
    let mut take = |window: &Window| {
        rows.add(window);
        between_rows(&mut rows.content)
    };
    let heads = match form {
        Form::Parquet => {
            let heads = parquet::stream(&path, (file, record.bytes), place, augment, &mut take)?;
            heads.validate(&path, augment, views)?;
            heads
        }
        Form::Safetensors | Form::Both => {
            let reading = Reading::open(&path, (&file, record.bytes), place.1)?;
            stream::stream(reading, place.0, (augment, views), &mut take)?
        }
    };
    rows.refuse_bad(&path, manifest, &heads)?;
    let images = identity(heads.hashes(), heads.labels());
    Ok(Findings { content: rows.content, images, right: rows.right, lost: rows.lost })
}

/// Whether a Parquet shard has the record's hash and the rows of its safetensors twin, whatever these are. What is wrong
/// with one that does not, [`hash`] and [`read`] say.
pub(crate) fn is_twin(
    dir: &Path,
    manifest: &Manifest,
    [parquet, safetensors]: [&FileRecord; 2],
    block: &mut Vec<u8>,
    onlooker: &impl Onlooker,
) -> Result<bool> {
    let file = hash(dir, parquet, block, onlooker)?;
    let twin_path = dir.join(&safetensors.path);
    let twin = open_sized(&twin_path, safetensors.bytes)?;
    let Manifest { augment, views, .. } = *manifest;
    let (first_image, layout) = manifest.layout(safetensors);
    let open = || {
        let twin = Reading::open(&twin_path, (&twin, safetensors.bytes), layout)?;
        Ok((twin.heads(first_image, augment, views)?, twin))
    };
    let path = dir.join(&parquet.path);
    parquet::is_twin(&path, (file, parquet.bytes), (layout, augment), open, || onlooker.go_on())
}

/// What is gathered of a shard's rows.
struct Rows {
    classes: usize,
    content: ShardContent,
    right: RightAnswers,
    lost: Lost,
    bad_logit: Option<(usize, usize, f32)>,
    bad_row: Option<(usize, [String; 3])>,
    bad_feature: Option<(usize, usize, f32)>,
}

impl Rows {
    fn add(&mut self, window: &Window) {
        self.bad_logit = self.bad_logit.or_else(|| window.bad_logit());
        self.bad_row = self.bad_row.take().or_else(|| window.bad_row());
        self.bad_feature = self.bad_feature.or_else(|| window.bad_feature());
        self.content.add(window);
        let coded = !window.layout.is_plain();
        for (row, head) in window.heads.iter().enumerate() {
            // Of the Parquet form, labels are validated once all rows are there.
            if is_label(head.label, self.classes) {
                self.right.add(head.label, window.answer(row));
            }
            if coded && let Some((nanonats, turned)) = window.answer_row(row).lost() {
                self.lost.add(nanonats, turned);
            }
        }
    }

    /// Refuses what [`Shard::check_answers`] refuses.
    fn refuse_bad(&mut self, path: &Path, manifest: &Manifest, heads: &Shard) -> Result<()> {
        if let Some((row, problem)) = self.bad_row.take() {
            return Err(heads.bad_row(path, row, problem));
        }
        let bad = match (self.bad_logit, self.bad_feature) {
            (Some((row, class, found)), _) => heads.bad_logit(path, row, class, found),
            (None, Some((row, value, found))) => {
                let features = manifest.features.as_ref().expect("a set with maps says which");
                heads.bad_feature(path, features, row, value, found)
            }
            (None, None) => return Ok(()),
        };
        Err(bad)
    }
}
