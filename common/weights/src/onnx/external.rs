//! Tensors that lie in files beside the model's, as large exports have them.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use super::model::Model;
use super::wire::damaged;
use crate::error::{Problem, WeightsError};
use crate::state::TensorData;

/// Reads them all; see [`Model::gather`].
pub(super) fn gather(model: &mut Model, path: &Path) -> Result<Vec<(String, blake3::Hash)>, WeightsError> {
    let shown = path.display().to_string();
    let content = |problem| WeightsError::Content { path: shown.clone(), problem };
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let (mut taken_bytes, mut file_bytes) = (0_usize, 0_usize);
    for (name, external) in std::mem::take(&mut model.external) {
        let location = &external.location;
        if !files.contains_key(location) {
            let bytes = beside(path, &name, location).map_err(content)?;
            file_bytes = file_bytes.saturating_add(bytes.len());
            files.insert(location.clone(), bytes);
        }
        let bytes = &files[location];
        let all = external.shape.iter().try_fold(external.dtype.size(), |all, &size| all.checked_mul(size));
        let wanted = all.filter(|&all| external.length.is_none_or(|length| length == all as u64));
        let wanted = wanted.ok_or_else(|| {
            content(damaged(format!(
                "tensor {name}: {:?} bytes are not {:?} of shape {:?}",
                external.length, external.dtype, external.shape
            )))
        })?;
        let start = usize::try_from(external.offset).ok();
        let taken = start.and_then(|start| bytes.get(start..start.checked_add(wanted)?));
        let taken = taken.ok_or_else(|| {
            content(Problem::Unsupported {
                what: format!(
                    "tensor {name}: bytes {}.. and {wanted} more of {location}, which has {}",
                    external.offset,
                    bytes.len()
                ),
                hint: "copy both files again: the model and the file beside it belong together",
            })
        })?;
        // Tensors may share bytes, and a model may name any number of them.
        taken_bytes = taken_bytes.saturating_add(wanted);
        if taken_bytes > file_bytes.saturating_mul(8).saturating_add(16 << 20) {
            return Err(content(Problem::Unsupported {
                what: format!(
                    "its tensors take more than {taken_bytes} bytes, out of {file_bytes} beside the model"
                ),
                hint: "export the network alone, in evaluation mode",
            }));
        }
        let tensor = TensorData::new(external.dtype, external.shape, taken.to_vec());
        model.tensors.insert(name, tensor.expect("its bytes were counted"));
    }
    Ok(files.into_iter().map(|(name, bytes)| (name, blake3::hash(&bytes))).collect())
}

/// The bytes of a file beside the model's.
fn beside(path: &Path, tensor: &str, location: &str) -> Result<Vec<u8>, Problem> {
    let mut parts = Path::new(location).components();
    let is_plain = matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None));
    if !is_plain || location.contains('\\') {
        return Err(Problem::Unsupported {
            what: format!("tensor {tensor} lies in {location:?}, outside the model's folder"),
            hint: "only files beside the model are read; save it again: onnx.save(model, FILE) in Python",
        });
    }
    let file = path.with_file_name(location);
    // Looked at before it is opened: a pipe or a device has no end. The hub's cache links to files of its own.
    let bytes = std::fs::metadata(&file).ok().filter(std::fs::Metadata::is_file);
    bytes.and_then(|_| std::fs::read(&file).ok()).ok_or_else(|| Problem::Unsupported {
        what: format!(
            "tensor {tensor} lies in {location}, which is no file beside the model or cannot be read"
        ),
        hint: "copy that file too, into the same folder and under its name",
    })
}
