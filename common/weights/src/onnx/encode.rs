//! A model as bytes: every message with its fields in ascending order, so that equal models are equal files.

use super::model::{Attribute, Dimension, Image, Model, Node};
use super::tensor::number_of;
use crate::state::TensorData;

impl Model {
    /// The bytes of its file; numbers of tensors lie in `raw_data`. Tensors in other files must have been gathered.
    pub fn encode(&self) -> Vec<u8> {
        let mut model = Message::default();
        model.int(1, self.ir_version);
        model.text(2, &self.producer);
        model.message(7, &graph(self));
        for set in &self.operators {
            let mut message = Message::default();
            message.text(1, &set.domain);
            message.int(2, set.version);
            model.message(8, &message);
        }
        for (key, text) in &self.metadata {
            let mut entry = Message::default();
            entry.text(1, key);
            entry.text(2, text);
            model.message(14, &entry);
        }
        model.0
    }
}

fn graph(model: &Model) -> Message {
    let mut graph = Message::default();
    for each in &model.nodes {
        graph.message(1, &node(each));
    }
    graph.text(2, &model.name);
    for (name, values) in &model.tensors {
        graph.message(5, &tensor(Some(name), values));
    }
    for (field, images) in [(11, &model.inputs), (12, &model.outputs)] {
        for each in images {
            graph.message(field, &image(each));
        }
    }
    graph
}

fn node(node: &Node) -> Message {
    let mut message = Message::default();
    for (field, names) in [(1, &node.inputs), (2, &node.outputs)] {
        for name in names {
            // An optional input that is left out is an empty name, and has its place.
            message.bytes(field, name.as_bytes());
        }
    }
    message.text(3, &node.name);
    message.text(4, &node.operator);
    for (name, value) in &node.attributes {
        message.message(5, &attribute(name, value));
    }
    message.text(7, &node.domain);
    message
}

fn attribute(name: &str, value: &Attribute) -> Message {
    let mut message = Message::default();
    message.text(1, name);
    let kind = match value {
        Attribute::Float(value) => {
            message.tag(2, 5);
            message.0.extend(value.to_le_bytes());
            1
        }
        Attribute::Int(value) => {
            message.tag(3, 0);
            message.varint(*value as u64);
            2
        }
        Attribute::Text(text) => {
            message.bytes(4, text.as_bytes());
            3
        }
        Attribute::Tensor(values) => {
            message.message(5, &tensor(None, values));
            4
        }
        Attribute::Floats(values) => {
            for value in values {
                message.tag(7, 5);
                message.0.extend(value.to_le_bytes());
            }
            6
        }
        Attribute::Ints(values) => {
            for value in values {
                message.tag(8, 0);
                message.varint(*value as u64);
            }
            7
        }
        Attribute::Other => 0,
    };
    message.int(20, kind);
    message
}

fn tensor(name: Option<&str>, values: &TensorData) -> Message {
    let mut message = Message::default();
    for &size in values.shape() {
        message.tag(1, 0);
        message.varint(size as u64);
    }
    message.int(2, number_of(values.dtype()));
    message.text(8, name.unwrap_or_default());
    message.bytes(9, values.bytes());
    message
}

fn image(image: &Image) -> Message {
    let mut tensor = Message::default();
    tensor.int(1, image.element);
    if let Some(sizes) = &image.shape {
        let mut shape = Message::default();
        for size in sizes {
            let mut dimension = Message::default();
            match size {
                Dimension::Known(size) => {
                    dimension.tag(1, 0);
                    dimension.varint(*size as u64);
                }
                Dimension::Any(name) => dimension.text(2, name),
            }
            shape.message(1, &dimension);
        }
        tensor.message(2, &shape);
    }
    let mut kind = Message::default();
    kind.message(1, &tensor);
    let mut message = Message::default();
    message.text(1, &image.name);
    message.message(2, &kind);
    message
}

/// A message as it grows.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn tag(&mut self, field: u64, kind: u64) {
        self.varint(field << 3 | kind);
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.tag(field, 2);
        self.varint(bytes.len() as u64);
        self.0.extend(bytes);
    }

    /// An integer; 0 is what an absent one is.
    fn int(&mut self, field: u64, value: i64) {
        if value != 0 {
            self.tag(field, 0);
            self.varint(value as u64);
        }
    }

    /// A text; empty is what an absent one is.
    fn text(&mut self, field: u64, text: &str) {
        if !text.is_empty() {
            self.bytes(field, text.as_bytes());
        }
    }

    fn message(&mut self, field: u64, message: &Self) {
        self.bytes(field, &message.0);
    }
}
