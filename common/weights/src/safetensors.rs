//! Reading safetensors.

use safetensors::{Dtype as Stored, SafeTensors};

use super::error::Problem;
use super::state::{Dtype, StateDict, TensorData};

const FORM: &str = "safetensors file";
/// The format's own limit on its header.
const MAX_HEADER: u64 = 100_000_000;

/// Whether a plausible header length and the brace of its JSON begin the file. A file that ends early still
/// counts.
pub(super) fn looks_like(bytes: &[u8]) -> bool {
    let Some((length, rest)) = bytes.split_first_chunk::<8>() else {
        return false;
    };
    rest.first() == Some(&b'{') && u64::from_le_bytes(*length) <= MAX_HEADER
}

/// All tensors, in the order of their bytes, and the metadata.
pub(super) fn decode(bytes: &[u8]) -> Result<StateDict, Problem> {
    let damaged = |error: safetensors::SafeTensorError| Problem::damaged(FORM, error.to_string());
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(damaged)?;
    let tensors = SafeTensors::deserialize(bytes).map_err(damaged)?;
    let mut state = StateDict::default();
    state.metadata =
        header.metadata().iter().flatten().map(|(key, text)| (key.clone(), text.clone())).collect();
    for name in header.offset_keys() {
        let view = tensors.tensor(&name).map_err(damaged)?;
        let dtype = dtype_of(view.dtype()).ok_or_else(|| Problem::Unsupported {
            what: format!("tensor {name} holds {:?} elements", view.dtype()),
            hint: "convert the weights to float32 and save them again",
        })?;
        let tensor =
            TensorData::new(dtype, view.shape().to_vec(), view.data().to_vec()).ok_or_else(|| {
                Problem::damaged(
                    FORM,
                    format!("tensor {name}: shape {:?} is not the shape of its bytes", view.shape()),
                )
            })?;
        state.insert(name, tensor);
    }
    if state.is_empty() {
        return Err(Problem::Unsupported {
            what: "the file holds no tensor".into(),
            hint: "pass the file that holds the weights",
        });
    }
    Ok(state)
}

fn dtype_of(stored: Stored) -> Option<Dtype> {
    Some(match stored {
        Stored::BOOL => Dtype::Bool,
        Stored::U8 => Dtype::U8,
        Stored::I8 => Dtype::I8,
        Stored::I16 => Dtype::I16,
        Stored::I32 => Dtype::I32,
        Stored::I64 => Dtype::I64,
        Stored::F16 => Dtype::F16,
        Stored::BF16 => Dtype::BF16,
        Stored::F32 => Dtype::F32,
        Stored::F64 => Dtype::F64,
        _ => return None,
    })
}

/// The same type in the format's terms.
pub(super) fn stored_as(dtype: Dtype) -> Stored {
    match dtype {
        Dtype::Bool => Stored::BOOL,
        Dtype::U8 => Stored::U8,
        Dtype::I8 => Stored::I8,
        Dtype::I16 => Stored::I16,
        Dtype::I32 => Stored::I32,
        Dtype::I64 => Stored::I64,
        Dtype::F16 => Stored::F16,
        Dtype::BF16 => Stored::BF16,
        Dtype::F32 => Stored::F32,
        Dtype::F64 => Stored::F64,
    }
}
