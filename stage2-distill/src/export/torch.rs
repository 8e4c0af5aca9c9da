//! A student as one Python file for PyTorch: a module whose state dict is the student's file.

use engine::Network;
use engine::graph::{Conv2d, Elementwise, Op, Padding, Shape};

/// `student.py`.
pub fn program(network: &Network) -> String {
    let mut modules: Vec<(String, String)> = Vec::new();
    let (mut constants, mut steps) = (Vec::new(), Vec::new());
    for (place, node) in network.nodes().iter().enumerate().skip(1) {
        let shape = network.node(node.inputs[0]).shape;
        let read: Vec<String> = node.inputs.iter().map(|input| format!("x{}", input.index())).collect();
        if let Some(module) = module(&node.op, shape) {
            modules.push((node.name.clone(), module));
        }
        if let Op::Normalize { mean, std } = &node.op {
            for (name, values) in [("mean", mean), ("std", std)] {
                constants.push(format!(
                    "        self.register_buffer(\"{name}_{place}\", torch.tensor({values:?}).view(1, -1, 1, 1), persistent=False)\n"
                ));
            }
        }
        steps.push(format!("        x{place} = {}\n", step(&node.op, &node.name, place, shape, &read)));
    }
    // What contains others comes first.
    modules.sort();
    let modules: Vec<String> =
        modules.iter().map(|(name, module)| format!("        self.put({name:?}, {module})\n")).collect();
    let last = network.output().index();
    TEMPLATE
        .replace("ARCHITECTURE", &network.architecture().replace(['"', '\\', '\n'], "_"))
        .replace("        MODULES\n", &(modules.concat() + &constants.concat()))
        .replace("        STEPS\n", &format!("{}        return x{last}\n", steps.concat()))
}

/// The module that holds a node's parameters; none where it has none.
fn module(op: &Op, shape: Shape) -> Option<String> {
    let truth = |value: bool| if value { "True" } else { "False" };
    Some(match op {
        Op::Conv2d(conv) => {
            let Conv2d { out, kernel, stride, groups, bias, .. } = conv;
            let padding = even(conv.padding).unwrap_or([0, 0]);
            format!(
                "nn.Conv2d({}, {out}, {}, stride={}, padding={}, groups={groups}, bias={})",
                shape.channels(),
                pair(*kernel),
                pair(*stride),
                pair(padding),
                truth(*bias)
            )
        }
        Op::BatchNorm { eps, momentum } => {
            let sizes = if matches!(shape, Shape::Map { .. }) { 2 } else { 1 };
            format!("nn.BatchNorm{sizes}d({}, eps={eps:?}, momentum={momentum:?})", shape.channels())
        }
        Op::MeanSparse => format!("MeanSparse({})", shape.channels()),
        Op::Linear { out, bias } => format!("nn.Linear({}, {out}, bias={})", shape.elements(), truth(*bias)),
        _ => return None,
    })
}

/// The line that computes a node's value.
fn step(op: &Op, name: &str, place: usize, shape: Shape, read: &[String]) -> String {
    let x = &read[0];
    match op {
        Op::Input => unreachable!("the image is the first node alone"),
        Op::Normalize { .. } => format!("({x} - self.mean_{place}) / self.std_{place}"),
        Op::Standardize => format!("standardised({x})"),
        Op::Conv2d(conv) if even(conv.padding).is_none() => {
            let Padding { top, bottom, left, right } = conv.padding;
            format!("self.at({name:?})(F.pad({x}, ({left}, {right}, {top}, {bottom})))")
        }
        Op::Conv2d(_) | Op::BatchNorm { .. } | Op::MeanSparse | Op::Linear { .. } => {
            format!("self.at({name:?})({x})")
        }
        Op::Relu => format!("F.relu({x})"),
        Op::Relu6 => format!("F.relu6({x})"),
        Op::Elementwise(Elementwise::Silu) => format!("F.silu({x})"),
        Op::Elementwise(Elementwise::Sigmoid) => format!("torch.sigmoid({x})"),
        Op::Add => format!("{x} + {}", read[1]),
        Op::Mul => format!("{x} * {}", read[1]),
        Op::Concat => format!("torch.cat(({}), 1)", read.join(", ") + ","),
        Op::PadChannels { before, after } => format!("F.pad({x}, (0, 0, 0, 0, {before}, {after}))"),
        Op::MaxPool(pool) => format!("F.max_pool2d({x}, {}, {})", pair(pool.kernel), pair(pool.stride)),
        Op::AvgPool(pool) => format!("F.avg_pool2d({x}, {}, {})", pair(pool.kernel), pair(pool.stride)),
        Op::GlobalAvgPool => format!("{x}.mean((2, 3))"),
        Op::Flatten => {
            debug_assert!(matches!(shape, Shape::Map { .. }), "vectors are flat");
            format!("{x}.flatten(1)")
        }
    }
}

/// Rows and columns of zeros where both sides have as many.
fn even(padding: Padding) -> Option<[usize; 2]> {
    let Padding { top, bottom, left, right } = padding;
    (top == bottom && left == right).then_some([top, left])
}

fn pair([a, b]: [usize; 2]) -> String {
    format!("({a}, {b})")
}

const TEMPLATE: &str = r#""""ARCHITECTURE, with its weights in student.safetensors beside this file. Needs PyTorch and nothing else.

    from student import load
    logits = load()(images)    # (N, C, H, W) f32, pixels in [0, 1]; what they are normalised with is part of the network

`python student.py` compares its answers to the images of check.safetensors with those they had when this was written.
"""
import json
import struct
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

HERE = Path(__file__).resolve().parent


class MeanSparse(nn.Module):
    """A value near its channel's mean becomes that mean."""

    def __init__(self, channels):
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        for name in ("threshold", "flag_update_statistics", "batch_num"):
            self.register_buffer(name, torch.zeros(()))

    def forward(self, x):
        mean = self.running_mean.view(1, -1, 1, 1)
        band = (self.running_var.sqrt() * self.threshold).view(1, -1, 1, 1)
        return torch.where((x - mean).abs() < band, mean, x)


def standardised(x):
    """Each image less its mean, over its deviation."""
    values = x.flatten(1)
    deviation = values.std(1).clamp_min(values.shape[1] ** -0.5)
    return (x - values.mean(1).view(-1, 1, 1, 1)) / deviation.view(-1, 1, 1, 1)


class Student(nn.Module):
    def __init__(self):
        super().__init__()
        MODULES

    def put(self, name, module):
        """Adds a module under a name with dots, as the state dict has it."""
        *path, last = name.split(".")
        owner = self
        for part in path:
            if part not in owner._modules:
                owner.add_module(part, nn.Module())
            owner = owner._modules[part]
        owner.add_module(last, module)

    def at(self, name):
        return self.get_submodule(name)

    def forward(self, x0):
        STEPS

def tensors(path):
    """The tensors of a safetensors file by name."""
    data = Path(path).read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    types = {"F32": torch.float32, "F64": torch.float64, "I64": torch.int64}
    found = {}
    for name, entry in json.loads(data[8 : 8 + length]).items():
        if name != "__metadata__":
            first, end = (8 + length + offset for offset in entry["data_offsets"])
            values = torch.frombuffer(bytearray(data[first:end]), dtype=types[entry["dtype"]])
            found[name] = values.reshape(entry["shape"])
    return found


def load(path=HERE / "student.safetensors"):
    """The student with its weights, in evaluation mode."""
    student = Student()
    student.load_state_dict(tensors(path))
    return student.eval()


if __name__ == "__main__":
    check = tensors(HERE / "check.safetensors")
    with torch.no_grad():
        found = load()(check["images"])
    apart = ((found - check["logits"]).abs().max() / check["logits"].abs().max().clamp_min(1.0)).item()
    print(f"{len(found)} images: logits differ by {apart:.1e} of the largest")
    raise SystemExit(0 if apart <= 1e-5 else "that is more than the 1e-5 of rounding")
"#;
