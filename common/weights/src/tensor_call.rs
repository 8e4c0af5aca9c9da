//! Recognising a tensor among the recorded calls of a pickle.

use super::pickle::{Call, Item};

/// The call that rebuilds a tensor, out of the wrappers that parameters and tensors with attributes have;
/// `None` where the value is no tensor.
pub(super) fn tensor_call(item: Item<'_>) -> Option<Call<'_>> {
    let mut call = item.as_call()?;
    // Wrappers come at most two deep; a value that wraps itself must not hold us.
    for _ in 0..4 {
        call = match (call.module, call.name) {
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => {
                call.arguments.elements()?.next()?.as_call()?
            }
            ("torch._tensor", "_rebuild_from_type" | "_rebuild_from_type_v2") => {
                let arguments: Vec<Item> = call.arguments.elements()?.take(3).collect();
                let &[function, _, inner] = arguments.as_slice() else { return None };
                let (module, name) = function.as_global()?;
                Call { module, name, arguments: inner, state: None }
            }
            ("torch._utils", name) if name.starts_with("_rebuild_") => return Some(call),
            _ => return None,
        };
    }
    None
}
