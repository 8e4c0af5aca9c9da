//! Weights out: safetensors under PyTorch's names, with bytes that depend on nothing but the content.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::Path;

use disk::Existing;
use safetensors::tensor::TensorView;

use super::error::WeightsError;
use super::safetensors::stored_as;
use super::state::Dtype;

/// A tensor to be written: PyTorch's name, the type of its elements, its shape (empty for a single number), and
/// its elements, row-major, each little-endian.
pub type Entry<'a> = (String, Dtype, Vec<usize>, Cow<'a, [u8]>);

/// Writes a safetensors file, or leaves what was there: [`disk::publish`] replaces it in one step.
///
/// The order of the tensors does not matter. `metadata` is one key and its text: with several, the format's
/// own serializer would order them at random. Equal content gives equal bytes.
///
/// Errors: [`WeightsError::Io`], and [`WeightsError::Unwritable`] for a name given twice or bytes that are
/// not the shape's.
pub fn write<'a>(
    path: &Path,
    tensors: impl IntoIterator<Item = Entry<'a>>,
    metadata: Option<(&str, &str)>,
) -> Result<(), WeightsError> {
    let bytes = encode(path, tensors, metadata)?;
    disk::publish(path, Existing::Replace, |file| file.write_all(&bytes))
        .map_err(|source| io(path, "write", source))
}

/// BLAKE3 of a file's bytes.
pub fn blake3_of_file(path: &Path) -> Result<blake3::Hash, WeightsError> {
    let mut hasher = blake3::Hasher::new();
    let hash = |hasher: &mut blake3::Hasher| hasher.update_reader(std::fs::File::open(path)?).map(|_| ());
    hash(&mut hasher).map_err(|source| io(path, "hash", source))?;
    Ok(hasher.finalize())
}

fn encode<'a>(
    path: &Path,
    tensors: impl IntoIterator<Item = Entry<'a>>,
    metadata: Option<(&str, &str)>,
) -> Result<Vec<u8>, WeightsError> {
    let refused = |name: &str, what: String| WeightsError::Unwritable {
        path: path.display().to_string(),
        name: name.to_owned(),
        what,
    };
    let mut named = BTreeMap::new();
    for (name, dtype, shape, values) in tensors {
        if named.contains_key(&name) {
            return Err(refused(&name, "the name is there twice".into()));
        }
        named.insert(name, (dtype, shape, values));
    }
    let mut views = Vec::with_capacity(named.len());
    for (name, (dtype, shape, values)) in &named {
        let view = TensorView::new(stored_as(*dtype), shape.clone(), values).map_err(|_| {
            refused(name, format!("{} bytes are not {dtype:?} of shape {shape:?}", values.len()))
        })?;
        views.push((name.as_str(), view));
    }
    let metadata = metadata.map(|(key, text)| HashMap::from([(key.to_owned(), text.to_owned())]));
    Ok(safetensors::serialize(views, metadata).expect("every view was checked"))
}

fn io(path: &Path, doing: &'static str, source: std::io::Error) -> WeightsError {
    WeightsError::Io { path: path.display().to_string(), doing, source }
}
