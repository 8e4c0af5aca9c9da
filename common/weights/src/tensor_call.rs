//! Recognising a tensor among the recorded calls of a pickle.

use super::pickle::{Call, Item};

/// A recorded call that rebuilds a tensor, out of the wrappers that parameters and tensors with attributes have.
#[derive(Clone, Copy)]
pub(super) struct TensorCall<'p> {
    /// The innermost call: `_rebuild_tensor_v2` and its kin.
    pub call: Call<'p>,
    /// What is wrapped around it and may mean something that the reader does not know.
    pub strange: Option<&'static str>,
}

/// The call that rebuilds a tensor; `None` where the value is no tensor.
pub(super) fn tensor_call(item: Item<'_>) -> Option<TensorCall<'_>> {
    let mut call = item.as_call()?;
    let mut strange = None;
    // Wrappers come at most two deep; a value that wraps itself must not hold us.
    for _ in 0..4 {
        // PyTorch's `__setstate__` would lay other values into the tensor.
        if call.state.is_some() {
            strange = Some("a state that is set after it was rebuilt");
        }
        call = match (call.module, call.name) {
            // (data, requires_grad, backward_hooks[, attributes])
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => {
                let most = if call.name == "_rebuild_parameter" { 3 } else { 4 };
                let mut arguments = call.arguments.elements()?;
                if arguments.len() > most {
                    strange = Some("an argument of its parameter that is not known");
                }
                arguments.next()?.as_call()?
            }
            // (function, type, arguments[, attributes])
            ("torch._tensor", "_rebuild_from_type" | "_rebuild_from_type_v2") => {
                let all = call.arguments.elements()?;
                if all.len() > 4 {
                    strange = Some("an argument of its type that is not known");
                }
                let arguments: Vec<Item> = all.take(3).collect();
                let &[function, kind, inner] = arguments.as_slice() else { return None };
                if !is_plain_type(kind) {
                    strange = Some("a tensor class of its own");
                }
                let (module, name) = function.as_global()?;
                Call { module, name, arguments: inner, state: None }
            }
            ("torch._utils", name) if name.starts_with("_rebuild_") => {
                return Some(TensorCall { call, strange });
            }
            _ => return None,
        };
    }
    None
}

/// Whether a tensor of that class is nothing but its numbers.
fn is_plain_type(kind: Item) -> bool {
    matches!(
        kind.as_global(),
        Some(("torch" | "torch._tensor", "Tensor") | ("torch.nn.parameter", "Parameter" | "Buffer"))
    )
}
