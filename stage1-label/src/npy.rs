//! A NumPy file of logits, (rows, K) in f16, f32 or f64, read a few rows at a time.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;
use weights::npy::{Element, Header, NpyError};

use crate::{Error, Result};

const SAVE: &str = "save it with numpy.save as an array (rows, classes) of float16, float32 or float64";

/// Logits on their way in; f64 is rounded to the nearest f32.
pub struct NpyLogits {
    path: PathBuf,
    file: BufReader<File>,
    element: Element,
    precision: &'static str,
    /// Bytes before the first row, and bytes of each.
    start: u64,
    row: usize,
    said: Said,
}

/// What a file says of its answers, in a comment that NumPy passes over: `tools/label_with_pytorch.py` writes it.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Said {
    /// How the network ran, like `tf32`; the file's own type says only how the answers are stored.
    pub precision: Option<String>,
    /// What it ran on, like `cuda (NVIDIA H100)`.
    pub device: Option<String>,
    /// The plan whose rows were answered, as [`Header`](crate::rows_file::Header) writes it.
    #[serde(default)]
    pub plan: Value,
}

impl Said {
    fn read(comment: &str) -> Option<Self> {
        serde_json::from_str(comment.strip_prefix("rslad-answers ")?).ok()
    }
}

impl NpyLogits {
    /// Opens a file and refuses another shape or type than (rows, classes) of floating point, or a file cut short.
    pub fn open(path: &Path, rows: usize, classes: usize) -> Result<Self> {
        let read = |error| Error::io("read", path)(error);
        let file = File::open(path).map_err(read)?;
        let length = file.metadata().map_err(read)?.len();
        let mut file = BufReader::with_capacity(1 << 20, file);
        let header = Header::read(&mut file).map_err(|error| match error {
            NpyError::Io(error) => read(error),
            NpyError::Magic { found } => {
                let found = weights::kind_of(&found)
                    .map_or_else(|| format!("{found:02x?}"), |kind| format!("that of {}", kind.name));
                Error::input(path, "start of the file", "that of a .npy file", found, SAVE)
            }
            error => Error::input(path, "header", "NumPy's", error, SAVE),
        })?;
        let wanted = [rows, classes];
        if header.shape != wanted {
            let hint = "the logits answer other rows than these, or a teacher with other classes";
            let (wanted, found) = (format!("{wanted:?}"), format!("{:?}", header.shape));
            return Err(Error::input(path, "shape", wanted, found, hint));
        }
        if header.fortran {
            let hint = "save numpy.ascontiguousarray(logits)";
            return Err(Error::input(path, "order", "rows one after the other (C)", "Fortran's", hint));
        }
        let floating = header.element().and_then(|element| Some((element, element.precision()?)));
        let Some((element, precision)) = floating else {
            return Err(Error::input(path, "type", "f2, f4 or f8", format!("'{}'", header.descr), SAVE));
        };
        let whole = header.data_length().unwrap_or(u64::MAX).saturating_add(header.start);
        if length < whole {
            let hint = "it was cut short; let the teacher finish, or copy it again";
            return Err(Error::input(path, "length in bytes", whole, length, hint));
        }
        let said = header.comment.as_deref().and_then(Said::read);
        Ok(Self {
            path: path.into(),
            file,
            element,
            precision,
            start: header.start,
            row: classes * element.size(),
            said: said.unwrap_or_default(),
        })
    }

    /// What the file says of the answers.
    pub fn said(&self) -> &Said {
        &self.said
    }

    /// The type that the teacher's answers came in.
    pub fn precision(&self) -> &'static str {
        self.precision
    }

    /// Goes to a row.
    pub fn seek(&mut self, row: usize) -> Result<()> {
        let place = SeekFrom::Start(self.start + (row * self.row) as u64);
        self.file.seek(place).map(drop).map_err(Error::io("read", &self.path))
    }

    /// The next rows' logits.
    pub fn read(&mut self, rows: usize) -> Result<Vec<f32>> {
        let mut bytes = vec![0; rows * self.row];
        self.file.read_exact(&mut bytes).map_err(Error::io("read", &self.path))?;
        Ok(self.element.floats(bytes).expect("floating point was asked for"))
    }
}
