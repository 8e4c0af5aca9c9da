//! Adversarial images on their way to the file that was asked for: on the disk, since there may be many.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use disk::{Existing, publish};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Its files in its folder: pixels of the images as they are, and as they were found.
pub(super) const FILES: [&str; 2] = ["images.f32", "adversarial.f32"];

/// One adversarial image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Row {
    /// Its index in the data set.
    pub index: u32,
    /// Its class.
    pub label: i32,
    /// The attack, by its place among all that run.
    pub attack: u32,
    /// The beginning of BLAKE3 over both images, so that damage is seen.
    pub print: [u8; 8],
}

/// What tells two images from any others.
fn print_of(image: &[u8], adversarial: &[u8]) -> [u8; 8] {
    let hash = *blake3::Hasher::new().update(image).update(adversarial).finalize().as_bytes();
    hash[..8].try_into().expect("a hash is longer")
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what} it was left"))
}

/// The columns of numbers of the file.
const COLUMNS: [fn(&Row) -> i64; 3] =
    [|row| i64::from(row.label), |row| i64::from(row.index), |row| i64::from(row.attack)];

/// Adversarial images in the order in which they were found.
#[derive(Debug)]
pub(super) struct Spool {
    rows: Vec<Row>,
    shape: [usize; 3],
    files: [File; 2],
}

impl Spool {
    /// Opens it in a folder and forgets what is beyond `rows`, which a killed process left.
    pub fn open(folder: &Path, shape: [usize; 3], rows: Vec<Row>) -> io::Result<Self> {
        let bytes = (rows.len() * shape.iter().product::<usize>() * size_of::<f32>()) as u64;
        let open = |name: &str| -> io::Result<File> {
            let mut options = OpenOptions::new();
            let mut file =
                options.read(true).write(true).create(true).truncate(false).open(folder.join(name))?;
            if file.metadata()?.len() < bytes {
                return Err(damaged(&format!("{name} is shorter than")));
            }
            file.set_len(bytes)?;
            file.seek(SeekFrom::Start(0))?;
            Ok(file)
        };
        let mut files = [open(FILES[0])?, open(FILES[1])?];
        let mut images = [(); 2].map(|()| vec![0; shape.iter().product::<usize>() * size_of::<f32>()]);
        for row in &rows {
            for (file, image) in files.iter_mut().zip(&mut images) {
                file.read_exact(image)?;
            }
            if print_of(&images[0], &images[1]) != row.print {
                return Err(damaged("an adversarial image is not as"));
            }
        }
        Ok(Self { rows, shape, files })
    }

    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Adds an image of this index and class, and what an attack made of it.
    pub fn push(&mut self, of: (u32, i32, u32), image: &[f32], adversarial: &[f32]) -> io::Result<()> {
        let bytes =
            |pixels: &[f32]| -> Vec<u8> { pixels.iter().flat_map(|pixel| pixel.to_le_bytes()).collect() };
        let images = [bytes(image), bytes(adversarial)];
        for (file, image) in self.files.iter_mut().zip(&images) {
            file.write_all(image)?;
        }
        let (index, label, attack) = of;
        self.rows.push(Row { index, label, attack, print: print_of(&images[0], &images[1]) });
        Ok(())
    }

    /// Makes all that was pushed survive a power cut.
    pub fn sync(&self) -> io::Result<()> {
        self.files.iter().try_for_each(File::sync_data)
    }

    /// Writes the safetensors file: `image` and `adversarial` `(N, C, H, W)` f32, `label`, `index` and `attack` `(N,)`
    /// i64, attack by attack in the order of the data set; `attack` counts in the metadata's `attacks`.
    pub fn finish(
        mut self,
        path: &Path,
        attacks: &[String],
        mut metadata: BTreeMap<&str, String>,
    ) -> io::Result<()> {
        let pixels: usize = self.shape.iter().product();
        let mut order: Vec<usize> = (0..self.rows.len()).collect();
        order.sort_by_key(|&at| (self.rows[at].attack, self.rows[at].index));
        metadata.insert("attacks", json!(attacks).to_string());
        let [c, h, w] = self.shape;
        let n = order.len();
        let (wide, narrow) = (n * pixels * size_of::<f32>(), n * size_of::<i64>());
        let mut header = serde_json::Map::from_iter([("__metadata__".to_string(), json!(metadata))]);
        let mut at = 0;
        for (name, dtype, shape, bytes) in [
            ("image", "F32", vec![n, c, h, w], wide),
            ("adversarial", "F32", vec![n, c, h, w], wide),
            ("label", "I64", vec![n], narrow),
            ("index", "I64", vec![n], narrow),
            ("attack", "I64", vec![n], narrow),
        ] {
            header.insert(
                name.into(),
                json!({ "dtype": dtype, "shape": shape, "data_offsets": [at, at + bytes] }),
            );
            at += bytes;
        }
        // Data begin at a multiple of eight bytes.
        let mut header = serde_json::Value::Object(header).to_string();
        header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
        publish(path, Existing::Replace, |out| {
            out.write_all(&(header.len() as u64).to_le_bytes())?;
            out.write_all(header.as_bytes())?;
            let mut image = vec![0; pixels * size_of::<f32>()];
            for file in &mut self.files {
                for &row in &order {
                    file.seek(SeekFrom::Start((row * image.len()) as u64))?;
                    file.read_exact(&mut image)?;
                    out.write_all(&image)?;
                }
            }
            for column in COLUMNS {
                for &row in &order {
                    out.write_all(&column(&self.rows[row]).to_le_bytes())?;
                }
            }
            Ok(())
        })
    }
}

/// A folder for a spool that nobody resumes, beside the file that is asked for; it goes with the value.
pub(super) fn passing_folder(file: &Path) -> io::Result<tempfile::TempDir> {
    let beside: PathBuf =
        file.parent().filter(|folder| !folder.as_os_str().is_empty()).map_or(".".into(), Into::into);
    fs::create_dir_all(&beside)?;
    tempfile::Builder::new().prefix(".adversarial-").tempdir_in(beside)
}
