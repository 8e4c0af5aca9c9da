//! `manifest.json`: what the label set is, and every file that belongs to it. Its presence is the commit.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::folder::names::{CARD, shard_path};
use crate::folder::teacher::Teacher;
use crate::row::augment::Augment;
use crate::row::dataset::{Dataset, is_split_name};
use crate::row::digest::Hex;
use crate::row::dtype::{Dtype, Form};
use crate::row::views::Views;
use crate::shard::layout::Layout;

const FORMAT: &str = "rslad-labels";
const VERSION: u32 = 1;

/// The manifest of a label set. Its JSON has these keys in this order, no floats, and nothing about when or where it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Always `rslad-labels`.
    pub format: String,
    /// Always 1.
    pub format_version: u32,
    /// BLAKE3 of the file's own bytes with these 64 digits as zeros.
    pub id: Hex,
    /// BLAKE3 over the rows, the same for both forms: `rslad-labels-1`, dtype, K, then image, view, label and logits of each row.
    pub content_hash: Hex,
    /// The labelled images.
    pub dataset: DatasetRecord,
    /// The augmentation whose views are labelled.
    pub augment: Augment,
    /// Which views of each image are there.
    pub views: Views,
    /// Number of rows.
    pub rows: u64,
    /// Stored type of the logits.
    pub dtype: Dtype,
    /// Which files hold the rows.
    pub form: Form,
    /// Images of every shard but the last, which may have fewer.
    pub shard_images: u64,
    /// Who answered.
    pub teacher: Teacher,
    /// How often the teacher is right on these rows.
    pub right: RightAnswers,
    /// Licence of the label set, as its author wrote it.
    pub license: String,
    /// Author of the label set.
    pub author: String,
    /// Every file but the manifest and SHA256SUMS: card, Parquet shards, safetensors shards.
    pub files: Vec<FileRecord>,
}

/// The labelled dataset. The hash identifies it; names only inform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetRecord {
    /// Name, like `cifar10`.
    pub name: String,
    /// Split, like `train`.
    pub split: String,
    /// [`Dataset::hash`] over image hashes and labels.
    pub hash: Hex,
    /// Number of images.
    pub images: u64,
    /// Height in pixels.
    pub height: u32,
    /// Width in pixels.
    pub width: u32,
    /// Channels.
    pub channels: u32,
    /// Number of classes K.
    pub classes: usize,
    /// Name of each class, or none.
    pub class_names: Vec<String>,
}

/// How often the teacher's largest logit is that of the label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RightAnswers {
    /// Rows.
    pub rows: u64,
    /// Rows answered right.
    pub right: u64,
    /// The same for each class.
    pub per_class: Vec<ClassCount>,
}

/// Rows of one class and how many of them are answered right.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassCount {
    /// Rows whose label is this class.
    pub rows: u64,
    /// Those answered right.
    pub right: u64,
}

/// One file of a label set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileRecord {
    /// Path inside the folder, with `/`.
    pub path: String,
    /// Rows of a shard; none for the card.
    pub rows: Option<u64>,
    /// First image of a shard and the one after its last; none for the card.
    pub images: Option<[u64; 2]>,
    /// Length in bytes.
    pub bytes: u64,
    /// BLAKE3 of the bytes.
    pub blake3: Hex,
}

impl DatasetRecord {
    pub(crate) fn of(dataset: &Dataset) -> DatasetRecord {
        let [height, width, channels] = dataset.shape;
        DatasetRecord {
            name: dataset.name.clone(),
            split: dataset.split.clone(),
            hash: dataset.hash(),
            images: dataset.len() as u64,
            height,
            width,
            channels,
            classes: dataset.classes,
            class_names: dataset.class_names.clone(),
        }
    }
}

impl RightAnswers {
    /// No rows of K classes yet.
    pub fn none(classes: usize) -> RightAnswers {
        RightAnswers { rows: 0, right: 0, per_class: vec![ClassCount::default(); classes] }
    }

    /// Counts one row. Panics unless the label is a class.
    pub fn add(&mut self, label: i32, answer: usize) {
        let class = label as usize;
        let right = u64::from(class == answer);
        self.rows += 1;
        self.right += right;
        self.per_class[class].rows += 1;
        self.per_class[class].right += right;
    }
}

/// The keys that are read before anything else is believed.
#[derive(Deserialize)]
struct Head {
    format: Option<serde_json::Value>,
    format_version: Option<serde_json::Value>,
    id: Option<Hex>,
}

impl Manifest {
    pub(crate) fn format() -> (String, u32) {
        (FORMAT.into(), VERSION)
    }

    /// The file's bytes. `id` is computed, whatever it was.
    pub(crate) fn seal(&mut self) -> Vec<u8> {
        self.id = Hex([0; 32]);
        self.id = Hex::blake3(&self.to_bytes());
        self.to_bytes()
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("a manifest is plain data");
        bytes.push(b'\n');
        bytes
    }

    /// Reads a manifest file: its version first, then its id, then everything else.
    pub(crate) fn parse(path: &Path, bytes: &[u8]) -> Result<Manifest> {
        let syntax = |detail: String| Error::ManifestSyntax { path: path.into(), detail };
        let shown =
            |value: Option<serde_json::Value>| value.map_or("nothing".into(), |value| value.to_string());
        let head: Head = serde_json::from_slice(bytes).map_err(|error| syntax(error.to_string()))?;
        if head.format != Some(FORMAT.into()) {
            let found = shown(head.format);
            return Err(syntax(format!("wanted format \"{FORMAT}\", found {found}")));
        }
        if head.format_version != Some(VERSION.into()) {
            return Err(Error::UnknownVersion {
                path: path.into(),
                wanted: VERSION.to_string(),
                found: shown(head.format_version),
            });
        }
        let id = head.id.ok_or_else(|| syntax("it has no id".into()))?;
        let computed = id_of(bytes, &id.to_string());
        if computed != Some(id) {
            return Err(Error::ManifestId {
                path: path.into(),
                wanted: computed
                    .map_or("nothing, as it has its id more than once".into(), |id| id.to_string()),
                found: id.to_string(),
            });
        }
        let manifest: Manifest = serde_json::from_slice(bytes).map_err(|error| syntax(error.to_string()))?;
        manifest.validate(path)?;
        Ok(manifest)
    }

    /// Number of shards of each form.
    pub fn shards(&self) -> usize {
        self.dataset.images.div_ceil(self.shard_images) as usize
    }

    /// The card's record.
    pub(crate) fn card(&self) -> &FileRecord {
        &self.files[0]
    }

    /// The records of the Parquet shards, none where there are none.
    pub(crate) fn parquet_files(&self) -> &[FileRecord] {
        let shards = if self.form.has_parquet() { self.shards() } else { 0 };
        &self.files[1..=shards]
    }

    /// The records of the safetensors shards, none where there are none.
    pub(crate) fn safetensors_files(&self) -> &[FileRecord] {
        &self.files[1 + self.parquet_files().len()..]
    }

    /// First image and layout of a shard's record.
    pub(crate) fn layout(&self, record: &FileRecord) -> (u64, Layout) {
        let [first, end] = record.images.expect("validated: shards have images");
        let layout = Layout {
            images: (end - first) as usize,
            rows: record.rows.expect("validated: shards have rows") as usize,
            classes: self.dataset.classes,
            dtype: self.dtype,
        };
        (first, layout)
    }

    /// Refuses a manifest that contradicts itself or names files by other paths than the format's.
    fn validate(&self, path: &Path) -> Result<()> {
        let check = |right: bool, field: &str, wanted: &dyn ToString, found: &dyn ToString| {
            if right {
                return Ok(());
            }
            Err(Error::ManifestField {
                path: path.into(),
                field: field.into(),
                wanted: wanted.to_string(),
                found: found.to_string(),
            })
        };
        for file in &self.files {
            if !is_plain_path(&file.path) {
                return Err(Error::UnsafePath { path: path.into(), entry: file.path.clone() });
            }
        }
        let data = &self.dataset;
        check(is_split_name(&data.split), "dataset.split", &"letters, digits or `_`", &data.split)?;
        check((1..=1 << 48).contains(&data.images), "dataset.images", &"1 to 2^48", &data.images)?;
        check((1..=65536).contains(&data.classes), "dataset.classes", &"1 to 65536", &data.classes)?;
        let names = data.class_names.len();
        check(names == 0 || names == data.classes, "number of dataset.class_names", &data.classes, &names)?;
        check(self.shard_images > 0, "shard_images", &"at least 1", &self.shard_images)?;

        let forms = u64::from(self.form.has_parquet()) + u64::from(self.form.has_safetensors());
        let shards = data.images.div_ceil(self.shard_images);
        let files = 1 + forms * shards;
        check(self.files.len() as u64 == files, "number of files", &files, &self.files.len())?;
        let card = self.card();
        check(card.path == CARD, "path of the first file", &CARD, &card.path)?;
        check(card.rows.is_none() && card.images.is_none(), "rows of the card", &"null", &"a number")?;
        for (form, records) in
            [(Form::Parquet, self.parquet_files()), (Form::Safetensors, self.safetensors_files())]
        {
            let mut rows = 0u64;
            for (index, file) in records.iter().enumerate() {
                let wanted = shard_path(form, &data.split, index, shards as usize);
                check(file.path == wanted, "path of a shard", &wanted, &file.path)?;
                let first = index as u64 * self.shard_images;
                let images = [first, (first + self.shard_images.min(data.images)).min(data.images)];
                let field = format!("images of {}", file.path);
                check(
                    file.images == Some(images),
                    &field,
                    &format!("{images:?}"),
                    &format!("{:?}", file.images),
                )?;
                let most = (images[1] - images[0]).saturating_mul(u64::from(self.augment.views()));
                let field = format!("rows of {}", file.path);
                let found = file.rows.unwrap_or(0);
                check((1..=most).contains(&found), &field, &format!("1 to {most}"), &found)?;
                rows = rows.saturating_add(found);
            }
            check(
                records.is_empty() || rows == self.rows,
                "rows",
                &format!("{rows}, the sum over {form} shards"),
                &self.rows,
            )?;
        }
        for (table, twin) in self.parquet_files().iter().zip(self.safetensors_files()) {
            let field = format!("rows of {}", twin.path);
            check(
                table.rows == twin.rows,
                &field,
                &format!("{:?}", table.rows),
                &format!("{:?}", twin.rows),
            )?;
        }

        let right = &self.right;
        check(right.rows == self.rows, "right.rows", &self.rows, &right.rows)?;
        check(
            right.per_class.len() == data.classes,
            "number of right.per_class",
            &data.classes,
            &right.per_class.len(),
        )?;
        let sum =
            |count: fn(&ClassCount) -> u64| right.per_class.iter().map(count).fold(0u64, u64::saturating_add);
        let sums = (sum(|class| class.rows), sum(|class| class.right));
        check(sums.0 == right.rows, "rows over right.per_class", &right.rows, &sums.0)?;
        check(sums.1 == right.right, "right answers over right.per_class", &right.right, &sums.1)
    }
}

/// Hash of the bytes with the id's digits as zeros; `None` unless the digits occur exactly once.
fn id_of(bytes: &[u8], id: &str) -> Option<Hex> {
    let mut places = bytes.windows(id.len()).enumerate().filter(|(_, window)| *window == id.as_bytes());
    let (start, _) = places.next()?;
    if places.next().is_some() {
        return None;
    }
    let mut zeroed = bytes.to_vec();
    zeroed[start..start + id.len()].fill(b'0');
    Some(Hex::blake3(&zeroed))
}

/// Whether a path stays inside its folder on every system: plain names joined by `/`.
fn is_plain_path(path: &str) -> bool {
    path.len() <= 256
        && path.split('/').all(|name| {
            !name.is_empty()
                && name != "."
                && name != ".."
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        })
}

#[cfg(test)]
mod tests {
    use super::is_plain_path;

    #[test]
    fn paths_that_leave_the_folder_are_not_plain() {
        for path in
            ["", "/etc/passwd", "../x", "a/../../b", "a//b", ".", "C:\\x", "a\\b", "a\0b", "a/", "é", "C:x"]
        {
            assert!(!is_plain_path(path), "{path:?}");
        }
        assert!(is_plain_path("shards/train-00000-of-00064.safetensors"));
    }
}
