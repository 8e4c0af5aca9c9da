//! What PyTorch's checkpoints have in common: tensors as recorded calls over storages that lie outside the
//! pickle.

use super::error::Problem;
use super::kept::in_pickle;
use super::nesting;
use super::part::{Listing, Part, Place};
use super::pickle::{Item, Pickle};
use super::state::Dtype;
use super::strided::Strided;
use super::tensor_call::{TensorCall, tensor_call};

const CONVERT: &str =
    "make it a dense float tensor in PyTorch (`.resolve_neg().clone()`), and save the state dict again";

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

/// The parts of a pickle: every mapping of tensors, and the lists of several mappings beside them.
pub(super) fn list(pickle: &Pickle, form: &'static str) -> Result<Listing, Problem> {
    let walk = nesting::walk(pickle.root())?;
    let part = |group: nesting::Group| {
        let mut part = Part::at(group.path);
        for (name, item) in group.tensors {
            part.insert(name, place(form, name, item));
        }
        part
    };
    let kept = in_pickle(pickle.root());
    Ok(Listing { parts: walk.groups.into_iter().map(part).collect(), lists: walk.lists, kept })
}

fn place(form: &'static str, name: &str, item: Item) -> Result<Place, Problem> {
    let damaged = |what: &str| Problem::damaged(form, format!("tensor {name}: {what}"));
    let TensorCall { call, strange } = tensor_call(item).expect("only tensors were collected");
    // How many of its arguments come before the flags: (storage, offset, shape, strides, requires_grad, hooks[, dtype]).
    let known = match call.name {
        "_rebuild_tensor" => 4,
        "_rebuild_tensor_v2" => 6,
        "_rebuild_tensor_v3" => 7,
        _ => {
            return Err(Problem::Unsupported {
                what: format!("tensor {name} is not a plain dense tensor ({}.{})", call.module, call.name),
                hint: CONVERT,
            });
        }
    };
    let arguments: Vec<Item> = call.arguments.elements().map(|all| all.take(9).collect()).unwrap_or_default();
    let &[stored, offset, shape, strides] =
        arguments.first_chunk().ok_or_else(|| damaged("too few arguments"))?;
    let strange =
        strange.or_else(|| (arguments.len() > known + 1).then_some("more arguments than are known"));
    let negated = match (strange, arguments.get(known)) {
        (Some(strange), _) => Err(strange),
        (None, Some(&flags)) => is_negated(flags),
        (None, None) => Ok(false),
    };
    let negated = negated.map_err(|strange| Problem::Unsupported {
        what: format!("tensor {name} was saved with {strange}, which may change its values"),
        hint: CONVERT,
    })?;
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
    if negated && !dtype.is_float() {
        return Err(damaged("a sign to be turned in numbers without one"));
    }
    let storage_bytes =
        storage.count.checked_mul(storage.width).ok_or_else(|| damaged("an endless storage"))?;
    let (first, count) = storage.part.unwrap_or((0, storage_bytes / dtype.size()));
    let end = first.checked_add(count).filter(|&end| end <= storage_bytes / dtype.size());
    let end = end.ok_or_else(|| damaged("a part that leaves its storage"))?;
    let offset = offset.checked_add(first).ok_or_else(|| damaged("an endless offset"))?;
    let view = Strided::new(&shape, &strides, offset, dtype.size(), end).map_err(|what| damaged(&what))?;
    Ok(Place { key: storage.key.to_owned(), storage_bytes, dtype, shape, view, negated })
}

/// Whether the flags that PyTorch saves beside a tensor say that its storage holds the other sign, as it does for
/// `.conj().imag`. Flags that are not known may say anything.
fn is_negated(flags: Item) -> Result<bool, &'static str> {
    if flags.is_none() {
        return Ok(false);
    }
    let entries = flags.entries().ok_or("flags that are no dict")?;
    let mut negated = false;
    for (key, value) in entries {
        negated = match (key.as_str(), value.as_bool()) {
            (Some("neg"), Some(value)) => value,
            (Some("conj"), Some(false)) => negated,
            (Some("conj"), _) => return Err("a lazy conjugation"),
            _ => return Err("flags that are not known"),
        };
    }
    Ok(negated)
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
