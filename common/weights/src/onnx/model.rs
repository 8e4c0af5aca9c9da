//! What an ONNX file says.

use std::collections::BTreeMap;
use std::path::Path;

use super::tensor::External;
use super::{external, message};
use crate::error::{Problem, WeightsError};
use crate::state::TensorData;

/// A model: operators in topological order, with the tensors that they know by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    /// The version of the format itself.
    pub ir_version: i64,
    /// The program that wrote it, such as `pytorch`; may be empty.
    pub producer: String,
    /// The sets of operators that it uses: domain (empty for ONNX's own) and version.
    pub operators: Vec<Operators>,
    /// Notes by key.
    pub metadata: BTreeMap<String, String>,
    /// The name of the graph.
    pub name: String,
    /// The operators.
    pub nodes: Vec<Node>,
    /// Weights and other constants, by name.
    pub tensors: BTreeMap<String, TensorData>,
    /// Tensors that lie in files beside; none after [`Model::gather`].
    pub external: BTreeMap<String, External>,
    /// What is to be fed in: old files list tensors among it.
    pub inputs: Vec<Image>,
    /// What comes out.
    pub outputs: Vec<Image>,
    /// Functions that the file itself defines, by name.
    pub functions: Vec<String>,
}

/// A set of operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operators {
    /// Whose they are; empty for ONNX's own.
    pub domain: String,
    /// Their version: the file's opset.
    pub version: i64,
}

/// One operator.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Node {
    /// Its own name; may be empty.
    pub name: String,
    /// What it computes, such as `Conv`.
    pub operator: String,
    /// Whose operator it is; empty for ONNX's own.
    pub domain: String,
    /// Names of what it reads; empty where an optional one is left out.
    pub inputs: Vec<String>,
    /// Names of what it gives.
    pub outputs: Vec<String>,
    /// Its settings, by name.
    pub attributes: BTreeMap<String, Attribute>,
}

/// A setting of an operator.
#[derive(Clone, Debug, PartialEq)]
pub enum Attribute {
    /// A number.
    Float(f32),
    /// A whole number.
    Int(i64),
    /// A text.
    Text(String),
    /// A tensor.
    Tensor(TensorData),
    /// Numbers.
    Floats(Vec<f32>),
    /// Whole numbers.
    Ints(Vec<i64>),
    /// A subgraph, tensors out of a file beside, or another kind that no classifier has.
    Other,
}

/// A value that goes in or comes out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Image {
    /// Its name.
    pub name: String,
    /// The type of its elements, as ONNX numbers them: 1 is f32. 0 where it is not said.
    pub element: i64,
    /// Its shape; none where it is not said.
    pub shape: Option<Vec<Dimension>>,
}

/// One size of a shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dimension {
    /// A number.
    Known(i64),
    /// Whatever comes, under this name; may be empty.
    Any(String),
}

impl Model {
    /// What the bytes of a file say. Tensors that lie in other files are listed, not read.
    pub fn decode(bytes: &[u8]) -> Result<Self, Problem> {
        message::model(bytes)
    }

    /// Reads the tensors that lie in files beside `path`, and gives those files' names and digests, sorted by name.
    ///
    /// Only plain names of regular files in the same folder are followed: a model from a stranger reads nothing else.
    pub fn gather(&mut self, path: &Path) -> Result<Vec<(String, blake3::Hash)>, WeightsError> {
        external::gather(self, path)
    }

    /// The version of ONNX's own operators.
    pub fn opset(&self) -> Option<i64> {
        self.operators.iter().find(|set| is_own(&set.domain)).map(|set| set.version)
    }
}

/// Whether operators of this domain are ONNX's own.
pub(super) fn is_own(domain: &str) -> bool {
    domain.is_empty() || domain == "ai.onnx"
}

impl Node {
    /// Whether it is one of ONNX's own operators.
    pub fn is_own(&self) -> bool {
        is_own(&self.domain)
    }
}
