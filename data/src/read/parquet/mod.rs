//! Parquet as the Hugging Face hub serves images: a column of encoded images, a column of labels, class names aside.
//!
//! The image column is `img` or `image`, a struct with `bytes`, or plain binary; the label column is `label`,
//! `fine_label` or `labels`, any integer; either may be a dictionary. Class names come from the `huggingface` entry of
//! the file's metadata and must number the classes alike in all files, also in those of the other part.

mod classes;
mod column;
mod file;
mod shards;

use std::path::{Path, PathBuf};

pub(crate) use shards::file_names;

use super::encoded::{Pixels, Places};
use crate::dataset::{MOST_CLASSES, Rows, checked_label};
use crate::{DataError, Split};
use ::parquet::file::reader::ChunkReader;
use classes::Classes;
use file::File;

/// The split's rows in a folder; none where it has no file of the split.
///
/// `known` is the number of classes, where the dataset's name says it. Where it does not, and no file names the classes,
/// they are those that occur in either part. `side` is the size to bring all images to, where one is asked for.
pub(crate) fn read_split(
    root: &Path,
    split: Split,
    known: Option<usize>,
    side: Option<usize>,
) -> Result<Option<Rows>, DataError> {
    let Some(paths) = shards::shards(root, split)? else { return Ok(None) };
    let mut reader = Reader { known, pixels: Pixels::of_side(side), ..Reader::default() };
    for path in &paths {
        reader.read(File::open(path)?)?;
    }
    // Whoever asks for the other part hears what is wrong with it; here only what can be read of it counts.
    for path in shards::shards(root, split.other()).ok().flatten().unwrap_or_default() {
        if let Ok(file) = File::open(&path) {
            reader.compare(file)?;
        }
    }
    Ok(Some(reader.finish(root.to_owned())))
}

/// Reads one file that is already in memory; `path` stands in errors.
pub(crate) fn read_bytes(file: bytes::Bytes, path: &Path, classes: usize) -> Result<Rows, DataError> {
    let mut reader = Reader { known: Some(classes), ..Reader::default() };
    reader.read(File::of(file, path)?)?;
    Ok(reader.finish(path.to_owned()))
}

#[derive(Default)]
struct Reader {
    pixels: Pixels,
    labels: Vec<i32>,
    known: Option<usize>,
    classes: Classes,
}

impl Reader {
    fn read<R: ChunkReader + 'static>(&mut self, file: File<R>) -> Result<(), DataError> {
        let columns = file.columns()?;
        self.classes.add(file.class_names(columns.label), file.path())?;
        // If these are not the classes of the dataset's name, that is the better message than a label out of range.
        let classes = self.classes.count().or(self.known).unwrap_or(MOST_CLASSES);
        let path = file.path().to_owned();
        let mut row = 0;
        file.each_batch(&[columns.image, columns.label], |batch| {
            for (at, value) in column::labels(batch, columns.label, &path, row)?.into_iter().enumerate() {
                self.labels.push(checked_label(&path, row + at, value, classes)?);
            }
            column::images(batch, columns.image, &path, row, |encoded| {
                self.pixels.append(encoded, Places::Rows(&path, row))
            })?;
            row += batch.num_rows();
            Ok(())
        })
    }

    /// Holds a file of the other part against this one.
    fn compare<R: ChunkReader + 'static>(&mut self, file: File<R>) -> Result<(), DataError> {
        let Ok(columns) = file.columns() else { return Ok(()) };
        let names = file.class_names(columns.label);
        let counted = names.is_none() && self.known.is_none();
        self.classes.add(names, file.path())?;
        if counted {
            let path = file.path().to_owned();
            let classes = &mut self.classes;
            let seen = file.each_batch(&[columns.label], |batch| {
                classes.note(column::labels(batch, columns.label, &path, 0)?);
                Ok(())
            });
            drop(seen);
        }
        Ok(())
    }

    fn finish(mut self, origin: PathBuf) -> Rows {
        self.classes.note(self.labels.iter().map(|&label| i64::from(label)));
        let class_names = self.classes.finish(self.known.is_none());
        let notes = self.pixels.note().into_iter().collect();
        let (shape, images) = self.pixels.finish();
        Rows { shape, images, labels: self.labels, class_names, origin, notes }
    }
}
