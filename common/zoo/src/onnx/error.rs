//! Why an ONNX model is no network of ours.

use weights::onnx::Node;

use super::super::architecture::Task;

/// Why an ONNX model is no network of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OnnxError {
    /// An operator that the engines have not, or not like this.
    #[error("node {node} ({operator}, opset {opset}): {what}\nhint: {hint}")]
    Operator {
        /// The node's name, or that of its first output.
        node: String,
        /// What it is to compute.
        operator: String,
        /// The version of the operators.
        opset: i64,
        /// What is wrong.
        what: String,
        /// What to do about it.
        hint: String,
    },
    /// The graph as a whole.
    #[error("{what}\nhint: {hint}")]
    Graph {
        /// What is wrong.
        what: String,
        /// What to do about it.
        hint: String,
    },
    /// It is for other images or classes.
    #[error(
        "the model is for {found}; the data has {wanted}\nhint: pass the data set it was trained on, or export it with such images"
    )]
    Task {
        /// What the model is for.
        found: Task,
        /// What the data has.
        wanted: Task,
    },
}

/// The way for networks that the engines cannot run.
pub(super) const PYTORCH: &str = "a network with such an operator answers through PyTorch: `label plan`, \
tools/label_with_pytorch.py, `label import`";

impl OnnxError {
    /// Something wrong with the graph as a whole.
    pub(super) fn graph(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Graph { what: what.into(), hint: hint.into() }
    }

    /// Something wrong with one node.
    pub(super) fn at(node: &Node, opset: i64, what: impl Into<String>, hint: impl Into<String>) -> Self {
        let name = if node.name.is_empty() { node.outputs.first() } else { Some(&node.name) };
        let domain = if node.is_own() { String::new() } else { format!("{}::", node.domain) };
        Self::Operator {
            node: name.cloned().unwrap_or_default(),
            operator: format!("{domain}{}", node.operator),
            opset,
            what: what.into(),
            hint: hint.into(),
        }
    }
}
