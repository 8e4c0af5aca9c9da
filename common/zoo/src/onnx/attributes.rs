//! The settings of a node, read with their types and defaults.

use weights::TensorData;
use weights::onnx::{Attribute, Node};

use super::error::OnnxError;

/// The settings of one node.
#[derive(Clone, Copy)]
pub(super) struct Attributes<'m> {
    pub(super) node: &'m Node,
    pub(super) opset: i64,
}

impl<'m> Attributes<'m> {
    /// Refuses the node.
    pub(super) fn refuse(&self, what: impl Into<String>, hint: impl Into<String>) -> OnnxError {
        OnnxError::at(self.node, self.opset, what, hint)
    }

    fn wrong(&self, name: &str) -> OnnxError {
        self.refuse(format!("its {name} is of another kind than ONNX says"), "export the model again")
    }

    pub(super) fn int(&self, name: &str, usual: i64) -> Result<i64, OnnxError> {
        match self.node.attributes.get(name) {
            None => Ok(usual),
            Some(Attribute::Int(value)) => Ok(*value),
            Some(_) => Err(self.wrong(name)),
        }
    }

    pub(super) fn float(&self, name: &str, usual: f32) -> Result<f32, OnnxError> {
        match self.node.attributes.get(name) {
            None => Ok(usual),
            Some(Attribute::Float(value)) => Ok(*value),
            Some(_) => Err(self.wrong(name)),
        }
    }

    pub(super) fn text(&self, name: &str, usual: &'m str) -> Result<&'m str, OnnxError> {
        match self.node.attributes.get(name) {
            None => Ok(usual),
            Some(Attribute::Text(value)) => Ok(value),
            Some(_) => Err(self.wrong(name)),
        }
    }

    pub(super) fn ints(&self, name: &str) -> Result<Option<&'m [i64]>, OnnxError> {
        match self.node.attributes.get(name) {
            None => Ok(None),
            Some(Attribute::Ints(values)) => Ok(Some(values)),
            Some(_) => Err(self.wrong(name)),
        }
    }

    pub(super) fn tensor(&self, name: &str) -> Option<&'m TensorData> {
        match self.node.attributes.get(name) {
            Some(Attribute::Tensor(tensor)) => Some(tensor),
            _ => None,
        }
    }

    /// Sizes, one for each axis of a map; `usual` where they are left out.
    pub(super) fn sizes<const N: usize>(&self, name: &str, usual: usize) -> Result<[usize; N], OnnxError> {
        let Some(values) = self.ints(name)? else { return Ok([usual; N]) };
        let sizes: Option<Vec<usize>> = values.iter().map(|&size| usize::try_from(size).ok()).collect();
        sizes.and_then(|sizes| sizes.try_into().ok()).ok_or_else(|| {
            self.refuse(
                format!("its {name} is {values:?}; wanted {N} numbers, none below 0"),
                "only networks of images, with maps of height and width, run here",
            )
        })
    }

    /// Refuses a setting that is not this one.
    pub(super) fn only(&self, name: &str, wanted: i64) -> Result<(), OnnxError> {
        let found = self.int(name, wanted)?;
        if found == wanted {
            return Ok(());
        }
        Err(self.refuse(format!("its {name} is {found}; only {wanted} runs here"), super::error::PYTORCH))
    }
}
