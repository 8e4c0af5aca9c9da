//! MNIST's idx files, plain or gzipped: a magic number, big-endian sizes, then bytes.
//!
//! Source: <http://yann.lecun.com/exdb/mnist/>. Whether a file is gzipped is read from its first bytes, for browsers and
//! mirrors unpack files without renaming them.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use crate::dataset::{Rows, checked_label};
use crate::{DataError, ImageShape};

/// Reads a file of images and the file of their labels.
pub(crate) fn read(images: &Path, labels: &Path, classes: usize, origin: PathBuf) -> Result<Rows, DataError> {
    let ([count, height, width], pixels) = array::<3>(images, "00 00 08 03")?;
    let ([label_count], values) = array::<1>(labels, "00 00 08 01")?;
    if count != label_count {
        return Err(DataError::CountsDiffer { path: labels.to_owned(), images: count, labels: label_count });
    }
    let checked =
        values.iter().enumerate().map(|(row, &label)| checked_label(labels, row, i64::from(label), classes));
    let labels = checked.collect::<Result<_, _>>()?;
    Ok(Rows {
        shape: ImageShape::new(height, width, 1),
        images: pixels,
        labels,
        class_names: None,
        origin,
        notes: Vec::new(),
    })
}

/// Sizes and bytes of an array of u8 with `D` dimensions.
fn array<const D: usize>(path: &Path, magic: &'static str) -> Result<([usize; D], Vec<u8>), DataError> {
    let file = File::open(path).map_err(|source| DataError::io(path, source))?;
    let mut file = BufReader::with_capacity(1 << 16, file);
    let packed = file.fill_buf().map_err(|source| DataError::io(path, source))?.starts_with(&[0x1f, 0x8b]);
    let mut bytes: Box<dyn Read> = if packed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    let failed =
        |source| if packed { DataError::damaged(path, "gzip", &source) } else { DataError::io(path, source) };

    let mut header = Vec::new();
    let header_len = 4 + 4 * D;
    bytes.by_ref().take(header_len as u64).read_to_end(&mut header).map_err(failed)?;
    if header.get(..4) != Some(&[0, 0, 8, D as u8]) {
        let found = header.iter().take(4).map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
        let kind = weights::kind_of(&header).map(|kind| kind.name);
        let found = match kind {
            None => found,
            Some(kind) if found.is_empty() => kind.to_owned(),
            Some(kind) => format!("{found}, {kind}"),
        };
        return Err(DataError::WrongMagic { path: path.to_owned(), wanted: magic, found });
    }
    let wrong_length = |wanted: u64, found: String| {
        let wanted = wanted.to_string();
        DataError::WrongLength { path: path.to_owned(), wanted, found }
    };
    if header.len() < header_len {
        return Err(wrong_length(header_len as u64, header.len().to_string()));
    }
    let sizes: [usize; D] = std::array::from_fn(|dim| {
        let at = 4 + 4 * dim;
        u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]) as usize
    });
    if sizes.iter().skip(1).any(|&side| side == 0) {
        return Err(DataError::WrongContent {
            path: path.to_owned(),
            wanted: "images with pixels".to_owned(),
            found: format!("{sizes:?}: a side is 0"),
            hint: "the program that wrote its header lost their size; write it again",
        });
    }
    // Three sizes of 32 bits can exceed 64. Nothing is reserved by them: the buffer grows with what is really there.
    let body = sizes.iter().fold(1_u64, |product, &size| product.saturating_mul(size as u64));
    let wanted = body.saturating_add(header_len as u64);
    let mut values = Vec::new();
    bytes.by_ref().take(body.saturating_add(1)).read_to_end(&mut values).map_err(failed)?;
    match (values.len() as u64).cmp(&body) {
        std::cmp::Ordering::Less => Err(wrong_length(wanted, (values.len() + header_len).to_string())),
        std::cmp::Ordering::Greater => Err(wrong_length(wanted, "more".to_owned())),
        std::cmp::Ordering::Equal => Ok((sizes, values)),
    }
}
