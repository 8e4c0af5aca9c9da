//! What a model says of itself before any of its nodes is read.

use std::collections::HashSet;

use weights::onnx::{Dimension, Image, Model};

use super::error::{OnnxError, PYTORCH};
use crate::architecture::Task;

/// The sets of operators that a model names.
pub(super) fn operators(model: &Model) -> String {
    let all: Vec<String> =
        model.operators.iter().map(|set| format!("{} {}", set.domain, set.version).trim().into()).collect();
    if all.is_empty() { "none that it names".into() } else { all.join(", ") }
}

/// The number of images that are fed in together, where the file fixes it, and what the file is for; what it leaves open
/// is as the task has it.
pub(super) fn images_of(images: &Image, task: Task) -> Result<(Option<i64>, Task), OnnxError> {
    let known = |size: &Dimension| match size {
        Dimension::Known(size) if *size > 0 => Some(*size),
        _ => None,
    };
    let sizes = images.shape.as_deref().map(|sizes| sizes.iter().map(known).collect::<Vec<_>>());
    match sizes.as_deref() {
        None => Ok((None, task)),
        Some(&[batch, channels, height, width]) => {
            let size = |known: Option<i64>, usual: usize| known.map_or(usual, |size| size as usize);
            let [c, h, w] = task.input;
            Ok((batch, Task { input: [size(channels, c), size(height, h), size(width, w)], ..task }))
        }
        Some(sizes) => Err(OnnxError::graph(
            format!("it takes {} of {} sizes; wanted images (N, C, H, W)", images.name, sizes.len()),
            PYTORCH,
        )),
    }
}

/// Which nodes the output depends on: exporters leave others behind.
pub(super) fn needed(model: &Model, output: &str) -> Vec<bool> {
    let mut wanted: HashSet<&str> = [output].into();
    let mut needed = vec![false; model.nodes.len()];
    for (node, needed) in model.nodes.iter().zip(&mut needed).rev() {
        if node.outputs.iter().any(|name| wanted.contains(name.as_str())) {
            *needed = true;
            wanted.extend(node.inputs.iter().map(String::as_str).filter(|name| !name.is_empty()));
        }
    }
    needed
}
