//! A NumPy file of logits, (rows, K) in f16, f32 or f64, read a few rows at a time.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use half::f16;
use npyz::{NpyFile, NpyReader, Order};

use crate::{Error, Result};

const SAVE: &str = "save it with numpy.save as an array (rows, classes) of float16, float32 or float64";

type Values<T> = NpyReader<T, BufReader<File>>;

enum Stored {
    F16(Values<f16>),
    F32(Values<f32>),
    F64(Values<f64>),
}

/// Logits on their way in; f64 is rounded to the nearest f32.
pub struct NpyLogits {
    path: PathBuf,
    stored: Stored,
    classes: usize,
}

impl NpyLogits {
    /// Opens a file and refuses another shape or type than (rows, classes) of floating point, or a file cut short.
    pub fn open(path: &Path, rows: usize, classes: usize) -> Result<Self> {
        let read = |error| Error::io("read", path)(error);
        let mut file = File::open(path).map_err(read)?;
        let mut magic = Vec::new();
        file.by_ref().take(6).read_to_end(&mut magic).map_err(read)?;
        if magic != b"\x93NUMPY" {
            return Err(Error::input(
                path,
                "start of the file",
                "that of a .npy file",
                format!("{magic:02x?}"),
                SAVE,
            ));
        }
        let length = file.metadata().map_err(read)?.len();
        let file = BufReader::with_capacity(1 << 20, File::open(path).map_err(read)?);
        let file =
            NpyFile::new(file).map_err(|error| Error::input(path, "header", "NumPy's", error, SAVE))?;
        let wanted = [rows as u64, classes as u64];
        if file.shape() != wanted {
            let hint = "the logits answer other rows than these, or a teacher with other classes";
            return Err(Error::input(
                path,
                "shape",
                format!("{wanted:?}"),
                format!("{:?}", file.shape()),
                hint,
            ));
        }
        if file.order() != Order::C {
            let hint = "save numpy.ascontiguousarray(logits)";
            return Err(Error::input(path, "order", "rows one after the other (C)", "Fortran's", hint));
        }
        let kind = file.dtype().descr();
        let stored = match file.try_data() {
            Ok(values) => Stored::F32(values),
            Err(file) => match file.try_data() {
                Ok(values) => Stored::F16(values),
                Err(file) => match file.try_data() {
                    Ok(values) => Stored::F64(values),
                    Err(_) => return Err(Error::input(path, "type", "f2, f4 or f8", kind, SAVE)),
                },
            },
        };
        let size: u64 = match &stored {
            Stored::F16(_) => 2,
            Stored::F32(_) => 4,
            Stored::F64(_) => 8,
        };
        let data = wanted[0] * wanted[1] * size;
        if length < data {
            let hint = "it was cut short; let the teacher finish, or copy it again";
            return Err(Error::input(path, "length in bytes", format!("over {data}"), length, hint));
        }
        Ok(Self { path: path.into(), stored, classes })
    }

    /// The type that the teacher's answers came in.
    pub fn precision(&self) -> &'static str {
        match self.stored {
            Stored::F16(_) => "f16",
            Stored::F32(_) => "f32",
            Stored::F64(_) => "f64",
        }
    }

    /// Goes to a row.
    pub fn seek(&mut self, row: usize) -> Result<()> {
        let index = (row * self.classes) as u64;
        let moved = match &mut self.stored {
            Stored::F16(values) => values.seek_to(index),
            Stored::F32(values) => values.seek_to(index),
            Stored::F64(values) => values.seek_to(index),
        };
        moved.map_err(Error::io("read", &self.path))
    }

    /// The next rows' logits.
    pub fn read(&mut self, rows: usize) -> Result<Vec<f32>> {
        let count = rows * self.classes;
        let read: std::io::Result<_> = match &mut self.stored {
            Stored::F16(values) => values.take(count).map(|value| Ok(value?.to_f32())).collect(),
            Stored::F32(values) => values.take(count).collect(),
            Stored::F64(values) => values.take(count).map(|value| Ok(value? as f32)).collect(),
        };
        read.map_err(Error::io("read", &self.path))
    }
}
