//! ONNX models: a network with its weights in one protocol-buffer message (`onnx.proto` of the ONNX project, IR 3 to
//! now), as far as classifiers need it.
//!
//! A [`Model`] is what the file says, names and numbers, with nothing computed: what its operators mean is read where
//! networks are made. [`Model::decode`] believes no length before it is compared with the file; subgraphs, which could
//! nest, are noticed and not entered. [`Model::encode`] writes the same subset.

mod encode;
mod external;
mod message;
mod model;
mod tensor;
mod wire;

pub use model::{Attribute, Dimension, Image, Model, Node, Operators};
pub use tensor::External;

#[cfg(test)]
mod tests;
