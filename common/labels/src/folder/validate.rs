//! Whether a manifest agrees with itself, and names its files as the format does.

use std::path::Path;

use crate::error::{Error, Result};
use crate::folder::answered::totals;
use crate::folder::manifest::Manifest;
use crate::folder::names::{CARD, shard_path};
use crate::folder::parameters::Parameters;
use crate::folder::records::{ClassCount, DatasetRecord, FileRecord};
use crate::row::coding::Coding;
use crate::row::dataset::is_split_name;
use crate::row::dtype::Form;
use crate::row::features::Features;

/// The most engines, devices and builds that answer one label set: more than any run moves between, few enough to list.
const MOST_ANSWERERS: usize = 1000;

/// More than any disk holds.
const MOST_BYTES: u64 = 1 << 60;

impl Manifest {
    /// Refuses a manifest that contradicts itself or names files by other paths than the format's.
    pub(crate) fn validate(&self, path: &Path) -> Result<()> {
        let check = Checker { path };
        for file in &self.files {
            if !is_plain_path(&file.path) {
                return Err(Error::UnsafePath { path: path.into(), entry: file.path.clone() });
            }
        }
        check.dataset(&self.dataset, self.shard_images)?;
        self.validate_features(&check)?;
        self.validate_files(&check)?;
        self.validate_answered(&check)?;
        self.validate_right(&check)
    }

    fn validate_features(&self, check: &Checker) -> Result<()> {
        check.coding(self.coding(), self.features.as_ref())?;
        let wanted = self.coding().version();
        check.that(self.format_version == wanted, "format_version", wanted, self.format_version)?;
        let coded = !self.coding().is_plain();
        let said = |there: bool| if there { "what was lost" } else { "nothing" };
        check.that(self.lost.is_some() == coded, "lost", said(coded), said(!coded))?;
        let Some(lost) = self.lost else { return Ok(()) };
        check.that(
            lost.is_of(self.rows),
            "lost",
            format!("what {} rows lose", self.rows),
            format!("{lost:?}"),
        )
    }

    fn validate_files(&self, check: &Checker) -> Result<()> {
        let forms = u64::from(self.form.has_parquet()) + u64::from(self.form.has_safetensors());
        let files = 1 + forms * self.dataset.images.div_ceil(self.shard_images);
        check.that(self.files.len() as u64 == files, "number of files", files, self.files.len())?;
        // Sums of some of them fit then, too.
        let bytes = self.files.iter().try_fold(0u64, |sum, file| sum.checked_add(file.bytes));
        let bytes = bytes.filter(|&bytes| bytes <= MOST_BYTES);
        check.that(bytes.is_some(), "bytes of all files", format!("at most {MOST_BYTES}"), "more")?;
        let card = self.card();
        check.that(card.path == CARD, "path of the first file", CARD, &card.path)?;
        let bare = card.rows.is_none() && card.images.is_none();
        check.that(bare, "rows of the card", "null", "a number")?;
        self.validate_shards(check, Form::Parquet, self.parquet_files())?;
        self.validate_shards(check, Form::Safetensors, self.safetensors_files())?;
        for (table, twin) in self.parquet_files().iter().zip(self.safetensors_files()) {
            let (wanted, found) = (format!("{:?}", table.rows), format!("{:?}", twin.rows));
            check.that(table.rows == twin.rows, &format!("rows of {}", twin.path), wanted, found)?;
        }
        Ok(())
    }

    fn validate_shards(&self, check: &Checker, form: Form, records: &[FileRecord]) -> Result<()> {
        let data = &self.dataset;
        let shards = data.images.div_ceil(self.shard_images) as usize;
        let mut rows = 0u64;
        for (index, file) in records.iter().enumerate() {
            let wanted = shard_path(form, &data.split, index, shards);
            check.that(file.path == wanted, "path of a shard", &wanted, &file.path)?;
            let first = index as u64 * self.shard_images;
            let images = [first, (first + self.shard_images.min(data.images)).min(data.images)];
            let (wanted, found) = (format!("{images:?}"), format!("{:?}", file.images));
            check.that(file.images == Some(images), &format!("images of {}", file.path), wanted, found)?;
            let most = (images[1] - images[0]).saturating_mul(u64::from(self.augment.views()));
            let (field, found) = (format!("rows of {}", file.path), file.rows.unwrap_or(0));
            check.that((1..=most).contains(&found), &field, format!("1 to {most}"), found)?;
            rows = rows.saturating_add(found);
        }
        let agree = records.is_empty() || rows == self.rows;
        check.that(agree, "rows", format!("{rows}, the sum over {form} shards"), self.rows)
    }

    /// Ranges of rows that cover all of them, in order, each by another one than the one before.
    fn validate_answered(&self, check: &Checker) -> Result<()> {
        let Some(first) = self.answered.first() else { return Ok(()) };
        check.that(self.answered.len() > 1, "number of answered", "at least 2", 1)?;
        let mut start = 0;
        for (place, one) in self.answered.iter().enumerate() {
            let (field, found) = (format!("answered[{place}].rows"), format!("{:?}", one.rows));
            check.that(
                one.rows[0] == start && one.rows[1] > start,
                &field,
                format!("{start} and more"),
                found,
            )?;
            start = one.rows[1];
            let [engine, device] = [("engine", Some(&one.by.engine)), ("device", Some(&one.by.device))];
            for (name, text) in [engine, device, ("build", one.by.build.as_ref())] {
                let named = text.is_none_or(|text| is_name(text));
                let field = format!("answered[{place}].by.{name}");
                check.that(
                    named,
                    &field,
                    "1 to 256 characters, none of them control",
                    format!("{text:?}"),
                )?;
            }
        }
        let several = totals(&self.answered).len();
        let field = "engines, devices and builds of answered";
        check.that(several <= MOST_ANSWERERS, field, format!("at most {MOST_ANSWERERS}"), several)?;
        check.that(start == self.rows, "end of answered", self.rows, start)?;
        let alike = self.answered.windows(2).position(|pair| pair[0].by == pair[1].by);
        let place = alike.map_or(0, |place| place + 1);
        check.that(alike.is_none(), &format!("answered[{place}].by"), "another than before", &first.by)?;
        let one_build = self.answered.windows(2).all(|pair| pair[0].by.build == pair[1].by.build);
        let bare = !one_build || first.by.build.is_none();
        check.that(bare, "answered[0].by.build", "none, for all are of one", "a build")?;
        let (engine, device) = (&self.teacher.engine, &self.teacher.device);
        check.that(first.by.engine == *engine, "answered[0].by.engine", engine, &first.by.engine)?;
        check.that(first.by.device == *device, "answered[0].by.device", device, &first.by.device)
    }

    fn validate_right(&self, check: &Checker) -> Result<()> {
        let (right, classes) = (&self.right, self.dataset.classes);
        check.that(right.rows == self.rows, "right.rows", self.rows, right.rows)?;
        let found = right.per_class.len();
        check.that(found == classes, "number of right.per_class", classes, found)?;
        let sum =
            |count: fn(&ClassCount) -> u64| right.per_class.iter().map(count).fold(0u64, u64::saturating_add);
        let sums = (sum(|class| class.rows), sum(|class| class.right));
        check.that(sums.0 == right.rows, "rows over right.per_class", right.rows, sums.0)?;
        check.that(sums.1 == right.right, "right answers over right.per_class", right.right, sums.1)?;
        let Some(robust) = &self.robust else { return Ok(()) };
        check.that(robust.clean <= robust.images, "robust.clean", robust.images, robust.clean)?;
        check.that(robust.right <= robust.clean, "robust.right", robust.clean, robust.right)
    }
}

impl Parameters {
    /// Refuses parameters that no writer can have begun with, before a path is made of them.
    pub(crate) fn validate(&self, path: &Path) -> Result<()> {
        let check = Checker { path };
        check.dataset(&self.dataset, self.shard_images)?;
        check.coding(self.coding(), self.features.as_ref())
    }
}

/// Says of which manifest a field is wrong.
struct Checker<'a> {
    path: &'a Path,
}

impl Checker<'_> {
    fn coding(&self, coding: Coding, features: Option<&Features>) -> Result<()> {
        let problem = features.and_then(|features| features.problem(coding.dtype()));
        let problem = coding.problem().or(problem);
        problem.map_or(Ok(()), |[field, wanted, found]| self.that(false, &field, wanted, found))
    }

    fn dataset(&self, data: &DatasetRecord, shard_images: u64) -> Result<()> {
        self.that(is_split_name(&data.split), "dataset.split", "letters, digits or `_`", &data.split)?;
        self.that((1..=1 << 48).contains(&data.images), "dataset.images", "1 to 2^48", data.images)?;
        self.that((1..=65536).contains(&data.classes), "dataset.classes", "1 to 65536", data.classes)?;
        let names = data.class_names.len();
        let complete = names == 0 || names == data.classes;
        self.that(complete, "number of dataset.class_names", data.classes, names)?;
        self.that(shard_images > 0, "shard_images", "at least 1", shard_images)
    }

    #[allow(clippy::needless_pass_by_value, reason = "callers pass texts and numbers alike")]
    fn that(&self, right: bool, field: &str, wanted: impl ToString, found: impl ToString) -> Result<()> {
        if right {
            return Ok(());
        }
        Err(Error::ManifestField {
            path: self.path.into(),
            field: field.into(),
            wanted: wanted.to_string(),
            found: found.to_string(),
        })
    }
}

/// Whether a text may name an engine, a device or a build.
fn is_name(text: &str) -> bool {
    !text.trim().is_empty() && text.chars().count() <= 256 && !text.chars().any(char::is_control)
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
