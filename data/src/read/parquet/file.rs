//! One Parquet file: what its footer says, and its rows a batch at a time.

use std::fmt::Display;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::reader::ChunkReader;

use crate::DataError;

const IMAGE_COLUMNS: [&str; 2] = ["img", "image"];
const LABEL_COLUMNS: [&str; 3] = ["label", "fine_label", "labels"];

/// A file whose footer was read.
pub(super) struct File<R: ChunkReader> {
    path: PathBuf,
    builder: ParquetRecordBatchReaderBuilder<R>,
}

/// The names of the two columns in a file.
pub(super) struct Columns {
    pub image: &'static str,
    pub label: &'static str,
}

impl File<fs::File> {
    /// Opens a file on disk and reads its footer.
    pub(super) fn open(path: &Path) -> Result<Self, DataError> {
        let failed = |source| DataError::io(path, source);
        let file = fs::File::open(path).map_err(failed)?;
        if file.metadata().map_err(failed)?.is_dir() {
            let (wanted, found) = ("file", "a folder");
            return Err(DataError::WrongPlace { path: path.to_owned(), wanted, found });
        }
        Self::of(file, path)
    }
}

impl<R: ChunkReader + 'static> File<R> {
    /// Reads the footer; `path` stands in errors.
    pub(super) fn of(file: R, path: &Path) -> Result<Self, DataError> {
        let head = guarded(path, || file.get_bytes(0, file.len().min(1024) as usize))?;
        if !head.starts_with(b"PAR1") {
            let hint = "it is no Parquet file under this name; write it again as Parquet, or move it away";
            return Err(DataError::other_form(path, "a Parquet file", &head, hint));
        }
        let end = guarded(path, || file.get_bytes(file.len().saturating_sub(4), file.len().min(4) as usize))?;
        let builder = guarded(path, || ParquetRecordBatchReaderBuilder::try_new(file));
        let builder = if *end == *b"PAR1" { builder.map_err(not_cut)? } else { builder? };
        Ok(Self { path: path.to_owned(), builder })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The columns of images and labels. Errors: one is missing, or packed in a way that is not read.
    pub(super) fn columns(&self) -> Result<Columns, DataError> {
        let names = self.names();
        let column = |known: &[&'static str]| {
            let found = known.iter().find(|known| names.contains(*known)).copied();
            found.ok_or_else(|| DataError::WrongContent {
                path: self.path.clone(),
                wanted: format!("a column {}", known.join(" or ")),
                found: format!("columns {}", names.join(", ")),
                hint: "rename the columns to `image` and `label`",
            })
        };
        let columns = Columns { image: column(&IMAGE_COLUMNS)?, label: column(&LABEL_COLUMNS)? };
        let mut packed = self.builder.metadata().row_groups().iter().flat_map(RowGroupMetaData::columns);
        if packed.any(|column| column.compression() == Compression::LZO) {
            return Err(DataError::WrongContent {
                path: self.path.clone(),
                wanted: "a codec among none, snappy, gzip, brotli, lz4 and zstd".to_owned(),
                found: "LZO".to_owned(),
                hint: "write the table again with pyarrow.parquet.write_table(.., compression=\"zstd\")",
            });
        }
        Ok(columns)
    }

    fn names(&self) -> Vec<&str> {
        self.builder.parquet_schema().root_schema().get_fields().iter().map(|field| field.name()).collect()
    }

    /// The names of a `ClassLabel` column in the JSON that `datasets` writes.
    pub(super) fn class_names(&self, label: &str) -> Option<Vec<String>> {
        let notes = self.builder.metadata().file_metadata().key_value_metadata()?;
        let note = notes.iter().find(|note| note.key == "huggingface")?.value.as_deref()?;
        let note: serde_json::Value = serde_json::from_str(note).ok()?;
        let names = note.pointer(&format!("/info/features/{label}/names"))?.as_array()?;
        let names = names.iter().map(|name| name.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()?;
        (!names.is_empty()).then_some(names)
    }

    /// Gives the file's rows in order, these columns of them.
    pub(super) fn each_batch(
        self,
        columns: &[&str],
        mut take: impl FnMut(&RecordBatch) -> Result<(), DataError>,
    ) -> Result<(), DataError> {
        let names = self.names();
        let wanted = (0..names.len()).filter(|&at| columns.contains(&names[at]));
        let mask = ProjectionMask::roots(self.builder.parquet_schema(), wanted);
        let path = &self.path;
        let mut batches = guarded(path, || self.builder.with_projection(mask).build()).map_err(not_cut)?;
        while let Some(batch) = guarded(path, || batches.next().transpose()).map_err(not_cut)? {
            take(&batch)?;
        }
        Ok(())
    }
}

/// The error of a file whose two ends are there: it was not cut short.
///
/// Columns that are encrypted under a plain footer look like damaged pages.
fn not_cut(error: DataError) -> DataError {
    match error {
        DataError::Damaged { path, reason, .. } => DataError::WrongContent {
            path,
            wanted: "Parquet that can be read".to_owned(),
            found: format!("damaged or encrypted pages: {reason}"),
            hint: "download it again; if it is encrypted, read it with pyarrow and its keys and write it without",
        },
        error => error,
    }
}

/// Calls the Parquet library, which panics on some damaged files (seen: a division by zero in a dictionary page).
fn guarded<T, E: Display>(path: &Path, call: impl FnOnce() -> Result<T, E>) -> Result<T, DataError> {
    let damaged = |reason: String| DataError::damaged(path, "Parquet", &reason);
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(outcome) => outcome.map_err(|error| damaged(error.to_string())),
        Err(_) => Err(damaged("its pages contradict themselves".to_owned())),
    }
}
