//! What PyTorch's checkpoints have in common: tensors as recorded calls over storages that lie outside the
//! pickle.

use std::borrow::Cow;

use super::error::{Problem, SAVE_STATE_DICT};
use super::nesting;
use super::pickle::{Item, Pickle};
use super::state::{Dtype, StateDict, TensorData};
use super::strided::Strided;
use super::tensor_call::tensor_call;

/// One storage as the pickle refers to it.
pub(super) struct Storage<'p> {
    /// Its name among the storages of the file.
    pub key: &'p str,
    /// Bytes per element.
    pub width: usize,
    /// Elements in the whole storage.
    pub count: usize,
    kind: &'p str,
    dtype: Option<Dtype>,
    /// First element and number of elements, where only a part is referred to (files of PyTorch 0.x).
    part: Option<(usize, usize)>,
}

/// Where a tensor's values lie.
struct Placement<'p> {
    name: &'p str,
    key: &'p str,
    storage_bytes: usize,
    dtype: Dtype,
    shape: Vec<usize>,
    view: Strided,
}

/// How a file holds the bytes of its storages.
pub(super) trait Storages {
    /// The file's form, for messages.
    const FORM: &'static str;
    /// Whether numbers have their most significant byte first.
    fn big_endian(&self) -> bool;
    /// The bytes of a storage, which the pickle says are `wanted`: more or fewer are an error.
    fn bytes(&mut self, key: &str, wanted: usize) -> Result<Cow<'_, [u8]>, Problem>;
}

/// Gathers the state dict of a pickle out of a file of `file_length` bytes.
pub(super) fn gather<S: Storages>(
    pickle: &Pickle,
    storages: &mut S,
    file_length: usize,
) -> Result<StateDict, Problem> {
    let found = nesting::find(pickle.root())?;
    let placements: Vec<Placement> =
        found.tensors.iter().map(|&(name, item)| place::<S>(name, item)).collect::<Result<_, _>>()?;

    // Tied tensors and expanded views make more bytes than the file has; without a limit a few bytes make
    // terabytes.
    let limit = file_length.saturating_mul(8).saturating_add(16 << 20);
    let total = placements.iter().fold(0_usize, |sum, one| sum.saturating_add(one.view.bytes()));
    if total > limit {
        return Err(Problem::Unsupported {
            what: format!("the tensors take {total} bytes, out of a file of {file_length}"),
            hint: SAVE_STATE_DICT,
        });
    }

    // Tensors of one storage together, so that each storage is fetched once.
    let mut order: Vec<usize> = (0..placements.len()).collect();
    order.sort_by_key(|&place| placements[place].key);
    let mut gathered: Vec<Option<TensorData>> = vec![None; placements.len()];
    let big_endian = storages.big_endian();
    for group in order.chunk_by(|&a, &b| placements[a].key == placements[b].key) {
        let first = &placements[group[0]];
        let bytes = storages.bytes(first.key, first.storage_bytes)?;
        for &place in group {
            let Placement { name, storage_bytes, dtype, shape, view, .. } = &placements[place];
            if *storage_bytes != bytes.len() {
                let what = format!(
                    "tensor {name}: wanted a storage of {storage_bytes} bytes, found {}",
                    bytes.len()
                );
                return Err(Problem::damaged(S::FORM, what));
            }
            let mut values = view.gather(&bytes);
            if big_endian {
                values.chunks_exact_mut(dtype.size()).for_each(<[u8]>::reverse);
            }
            gathered[place] = TensorData::new(*dtype, shape.clone(), values);
        }
    }

    let mut state = StateDict::default();
    state.nesting = found.path;
    for (placement, tensor) in placements.iter().zip(gathered) {
        state.insert(placement.name.to_owned(), tensor.expect("a view gathers what its shape asks for"));
    }
    Ok(state)
}

fn place<'p, S: Storages>(name: &'p str, item: Item<'p>) -> Result<Placement<'p>, Problem> {
    let damaged = |what: &str| Problem::damaged(S::FORM, format!("tensor {name}: {what}"));
    let call = tensor_call(item).expect("only tensors were collected");
    let plain = matches!(call.name, "_rebuild_tensor" | "_rebuild_tensor_v2" | "_rebuild_tensor_v3");
    if !plain {
        return Err(Problem::Unsupported {
            what: format!("tensor {name} is not a plain dense tensor ({}.{})", call.module, call.name),
            hint: "convert it to a dense float tensor in PyTorch and save the state dict again",
        });
    }
    let arguments: Vec<Item> = call.arguments.elements().map(|all| all.take(7).collect()).unwrap_or_default();
    let &[stored, offset, shape, strides] =
        arguments.first_chunk().ok_or_else(|| damaged("too few arguments"))?;
    let storage = storage(stored).ok_or_else(|| damaged("no storage"))?.map_err(|what| damaged(&what))?;
    let offset = offset.as_int().and_then(|offset| usize::try_from(offset).ok());
    let offset = offset.ok_or_else(|| damaged("an offset that is not a count"))?;
    let shape = sizes(shape).ok_or_else(|| damaged("a shape that is not made of counts"))?;
    let strides = sizes(strides).ok_or_else(|| damaged("strides that are not made of counts"))?;
    // Version 3 is for types that have no storage class of their own: it names the type and refers to plain
    // bytes.
    let (dtype, kind) = if call.name == "_rebuild_tensor_v3" {
        let kind = arguments.get(6).and_then(|dtype| dtype.as_global()).map_or("", |(_, kind)| kind);
        (dtype_named(kind), kind)
    } else {
        (storage.dtype, storage.kind)
    };
    let dtype = dtype.ok_or_else(|| Problem::Unsupported {
        what: format!("tensor {name} holds {kind} elements"),
        hint: "convert the weights to float32 in PyTorch and save the state dict again",
    })?;
    let storage_bytes =
        storage.count.checked_mul(storage.width).ok_or_else(|| damaged("an endless storage"))?;
    let (first, count) = storage.part.unwrap_or((0, storage_bytes / dtype.size()));
    let end = first.checked_add(count).filter(|&end| end <= storage_bytes / dtype.size());
    let end = end.ok_or_else(|| damaged("a part that leaves its storage"))?;
    let offset = offset.checked_add(first).ok_or_else(|| damaged("an endless offset"))?;
    let view = Strided::new(&shape, &strides, offset, dtype.size(), end).map_err(|what| damaged(&what))?;
    Ok(Placement { name, key: storage.key, storage_bytes, dtype, shape, view })
}

/// The storage a value refers to: `('storage', type, key, location, count[, part])`. `None` where it refers
/// to something else, `Err` where the reference is broken.
pub(super) fn storage(item: Item<'_>) -> Option<Result<Storage<'_>, String>> {
    let parts: Vec<Item> = item.as_persistent()?.elements()?.take(6).collect();
    (parts.first()?.as_str()? == "storage").then_some(())?;
    let read = || {
        let (_, kind) = parts.get(1)?.as_global()?;
        // Keys are numbers or addresses; a long one would be hashed for every reference to it.
        let key = parts.get(2)?.as_str().filter(|key| key.len() <= 256)?;
        let count = usize::try_from(parts.get(4)?.as_int()?).ok()?;
        let part = match parts.get(5) {
            Some(part) if !part.is_none() => {
                let part: Vec<Item> = part.elements()?.take(3).collect();
                let &[_, first, count] = part.as_slice() else { return None };
                Some((usize::try_from(first.as_int()?).ok()?, usize::try_from(count.as_int()?).ok()?))
            }
            _ => None,
        };
        Some((kind, key, count, part))
    };
    Some(read().ok_or_else(|| "a broken reference to a storage".to_owned()).and_then(
        |(kind, key, count, part)| {
            let (width, dtype) =
                storage_class(kind).ok_or_else(|| format!("an unknown storage class {kind}"))?;
            Ok(Storage { key, width, count, kind, dtype, part })
        },
    ))
}

/// Element width and type of PyTorch's storage classes; some are known only well enough to be stepped over.
fn storage_class(kind: &str) -> Option<(usize, Option<Dtype>)> {
    let dtype = match kind {
        "DoubleStorage" => Dtype::F64,
        "FloatStorage" => Dtype::F32,
        "HalfStorage" => Dtype::F16,
        "BFloat16Storage" => Dtype::BF16,
        "LongStorage" => Dtype::I64,
        "IntStorage" => Dtype::I32,
        "ShortStorage" => Dtype::I16,
        "CharStorage" => Dtype::I8,
        "ByteStorage" => Dtype::U8,
        "BoolStorage" => Dtype::Bool,
        "ComplexDoubleStorage" => return Some((16, None)),
        "ComplexFloatStorage" => return Some((8, None)),
        "QInt32Storage" => return Some((4, None)),
        "UntypedStorage" | "QInt8Storage" | "QUInt8Storage" | "QUInt4x2Storage" | "QUInt2x4Storage" => {
            return Some((1, None));
        }
        _ => return None,
    };
    Some((dtype.size(), Some(dtype)))
}

fn dtype_named(name: &str) -> Option<Dtype> {
    Some(match name {
        "float64" => Dtype::F64,
        "float32" => Dtype::F32,
        "float16" => Dtype::F16,
        "bfloat16" => Dtype::BF16,
        "int64" => Dtype::I64,
        "int32" => Dtype::I32,
        "int16" => Dtype::I16,
        "int8" => Dtype::I8,
        "uint8" => Dtype::U8,
        "bool" => Dtype::Bool,
        _ => return None,
    })
}

/// A tuple of counts, plain or as a `torch.Size`. No tensor has more than 64 dimensions.
fn sizes(item: Item) -> Option<Vec<usize>> {
    let item = match item.as_call() {
        Some(call) if (call.module, call.name) == ("torch", "Size") => call.arguments.elements()?.next()?,
        _ => item,
    };
    let elements = item.elements()?;
    (elements.len() <= 64).then_some(())?;
    elements.map(|n| usize::try_from(n.as_int()?).ok()).collect()
}
