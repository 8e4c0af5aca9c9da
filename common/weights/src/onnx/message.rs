//! The messages of `onnx.proto`, field by field. Fields that say nothing about a classifier are passed over.

use std::collections::BTreeMap;

use super::model::{Attribute, Dimension, Image, Model, Node, Operators};
use super::tensor::{Stored, tensor};
use super::wire::{Budget, Fields, damaged};
use crate::error::Problem;

/// `ModelProto`.
pub(super) fn model(bytes: &[u8]) -> Result<Model, Problem> {
    let mut model = Model::default();
    let mut budget = Budget::new();
    let mut has_graph = false;
    let mut fields = Fields::of(bytes, "model");
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => model.ir_version = value.int("ir_version")?,
            2 => model.producer = value.text("producer_name")?,
            7 => {
                if has_graph {
                    return Err(damaged("it has two graphs"));
                }
                has_graph = true;
                graph(value.bytes("graph")?, &mut model, &mut budget)?;
            }
            8 => {
                budget.take()?;
                model.operators.push(operators(value.bytes("opset_import")?)?);
            }
            14 => {
                budget.take()?;
                let (key, text) = entry(value.bytes("metadata_props")?)?;
                model.metadata.insert(key, text);
            }
            25 => {
                budget.take()?;
                model.functions.push(function(value.bytes("functions")?)?);
            }
            _ => {}
        }
    }
    if has_graph { Ok(model) } else { Err(damaged("it has no graph")) }
}

/// `OperatorSetIdProto`.
fn operators(bytes: &[u8]) -> Result<Operators, Problem> {
    let mut set = Operators { domain: String::new(), version: 0 };
    let mut fields = Fields::of(bytes, "opset_import");
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => set.domain = value.text("an operator set's domain")?,
            2 => set.version = value.int("an operator set's version")?,
            _ => {}
        }
    }
    Ok(set)
}

/// `StringStringEntryProto`.
pub(super) fn entry(bytes: &[u8]) -> Result<(String, String), Problem> {
    let (mut key, mut text) = (String::new(), String::new());
    let mut fields = Fields::of(bytes, "entry");
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => key = value.text("an entry's key")?,
            2 => text = value.text("an entry's value")?,
            _ => {}
        }
    }
    Ok((key, text))
}

/// The name of a `FunctionProto`.
fn function(bytes: &[u8]) -> Result<String, Problem> {
    let mut fields = Fields::of(bytes, "function");
    while let Some((number, value)) = fields.next()? {
        if number == 1 {
            return value.text("a function's name");
        }
    }
    Ok(String::new())
}

/// `GraphProto`.
fn graph(bytes: &[u8], model: &mut Model, budget: &mut Budget) -> Result<(), Problem> {
    let mut fields = Fields::of(bytes, "graph");
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => model.nodes.push(node(value.bytes("node")?, budget)?),
            2 => model.name = value.text("the graph's name")?,
            5 => {
                budget.take()?;
                let (name, stored) = tensor(value.bytes("initializer")?)?;
                if model.tensors.contains_key(&name) || model.external.contains_key(&name) {
                    return Err(damaged(format!("tensor {name} is there twice")));
                }
                match stored {
                    Stored::Here(tensor) => drop(model.tensors.insert(name, tensor)),
                    Stored::Beside(external) => drop(model.external.insert(name, external)),
                }
            }
            11 => {
                budget.take()?;
                model.inputs.push(image(value.bytes("input")?, budget)?);
            }
            12 => {
                budget.take()?;
                model.outputs.push(image(value.bytes("output")?, budget)?);
            }
            15 => {
                return Err(Problem::Unsupported {
                    what: "an ONNX model with sparse tensors".into(),
                    hint: "export it with dense weights",
                });
            }
            _ => {}
        }
    }
    Ok(())
}

/// `NodeProto`.
fn node(bytes: &[u8], budget: &mut Budget) -> Result<Node, Problem> {
    budget.take()?;
    let mut node = Node::default();
    let mut fields = Fields::of(bytes, "node");
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => {
                budget.take()?;
                node.inputs.push(value.text("a node's input")?);
            }
            2 => {
                budget.take()?;
                node.outputs.push(value.text("a node's output")?);
            }
            3 => node.name = value.text("a node's name")?,
            4 => node.operator = value.text("a node's operator")?,
            5 => {
                budget.take()?;
                let (name, attribute) = attribute(value.bytes("attribute")?)?;
                node.attributes.insert(name, attribute);
            }
            7 => node.domain = value.text("a node's domain")?,
            _ => {}
        }
    }
    Ok(node)
}

/// `AttributeProto`. Its `type` says which field holds the value; files older than IR 2 leave it out.
fn attribute(bytes: &[u8]) -> Result<(String, Attribute), Problem> {
    let mut name = String::new();
    let mut kind = 0;
    let (mut float, mut int, mut text) = (0.0, 0, String::new());
    let (mut held, mut floats, mut ints) = (None, Vec::new(), Vec::new());
    let mut fields = Fields::of(bytes, "attribute");
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => name = value.text("an attribute's name")?,
            2 => {
                let mut bytes = Vec::new();
                value.floats_onto(&mut bytes, "an attribute")?;
                let bytes = bytes.try_into().map_err(|_| damaged("an attribute is no float"))?;
                float = f32::from_le_bytes(bytes);
            }
            3 => int = value.int("an attribute")?,
            // Bytes, which need not be text.
            4 => text = String::from_utf8_lossy(value.bytes("an attribute")?).into_owned(),
            5 => held = Some(tensor(value.bytes("an attribute")?)?.1),
            7 => value.floats_onto(&mut floats, "an attribute")?,
            8 => value.ints_onto(&mut ints, "an attribute")?,
            20 => kind = value.int("an attribute's type")?,
            _ => {}
        }
    }
    let attribute = match (kind, held) {
        (1, _) => Attribute::Float(float),
        (2, _) => Attribute::Int(int),
        (3, _) => Attribute::Text(text),
        (4, Some(Stored::Here(tensor))) => Attribute::Tensor(tensor),
        (6, _) => Attribute::Floats(
            floats.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
        ),
        (7, _) => Attribute::Ints(ints),
        _ => Attribute::Other,
    };
    Ok((name, attribute))
}

/// `ValueInfoProto`.
fn image(bytes: &[u8], budget: &mut Budget) -> Result<Image, Problem> {
    let mut image = Image::default();
    let mut fields = Fields::of(bytes, "value");
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => image.name = value.text("a value's name")?,
            2 => {
                let mut types = Fields::of(value.bytes("a value's type")?, "type");
                while let Some((number, value)) = types.next()? {
                    // Field 1 is a tensor; sequences and maps are others.
                    if number == 1 {
                        tensor_type(value.bytes("a tensor's type")?, &mut image, budget)?;
                    }
                }
            }
            _ => {}
        }
    }
    Ok(image)
}

/// `TypeProto.Tensor`.
fn tensor_type(bytes: &[u8], image: &mut Image, budget: &mut Budget) -> Result<(), Problem> {
    let mut fields = Fields::of(bytes, "tensor type");
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => image.element = value.int("an element's type")?,
            2 => {
                let mut sizes = Vec::new();
                let mut shape = Fields::of(value.bytes("a shape")?, "shape");
                while let Some((number, value)) = shape.next()? {
                    if number == 1 {
                        budget.take()?;
                        sizes.push(dimension(value.bytes("a size")?)?);
                    }
                }
                image.shape = Some(sizes);
            }
            _ => {}
        }
    }
    Ok(())
}

/// `TensorShapeProto.Dimension`.
fn dimension(bytes: &[u8]) -> Result<Dimension, Problem> {
    let mut found = Dimension::Any(String::new());
    let mut fields = Fields::of(bytes, "size");
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => found = Dimension::Known(value.int("a size")?),
            2 => found = Dimension::Any(value.text("a size's name")?),
            _ => {}
        }
    }
    Ok(found)
}

/// Entries by key, as tensors in other files have them.
pub(super) fn entries(list: &[&[u8]]) -> Result<BTreeMap<String, String>, Problem> {
    list.iter().map(|bytes| entry(bytes)).collect()
}
