//! `resnet8`, `resnet20`, `resnet18`, `resnet34`: CIFAR ResNets of basic blocks (He et al., arXiv:1512.03385) with a 3x3
//! stem at stride 1, no max pooling, and a 1x1 convolution with BatchNorm wherever a block changes the shape.
//!
//! `resnet18` and `resnet34` have kuangliu's names and layers; the two small ones share them. kuangliu pools 4x4 windows
//! at the end; the global mean here is the same for 32x32 images and serves other sizes too. The original CIFAR ResNet-20
//! pads its shortcuts with zeros (`resnet20-a`); this one projects, as `resnet8` in MLPerf Tiny does.

use engine::Network;
use engine::graph::{Builder, Conv2d, GraphError, NodeId, Op, Shape};

use super::architecture::{Architecture, Task, name_of_scale, scaled_name};
use super::tensors::Tensors;

pub(super) static RESNET8: Architecture =
    Architecture::new("resnet8", "the CIFAR ResNet-8 of MLPerf Tiny, widths 16-32-64", |name, task| {
        (name == "resnet8").then(|| network(name, &[16, 32, 64], &[1, 1, 1], project, task))
    });

pub(super) static RESNET20: Architecture = Architecture::new(
    "resnet20",
    "the CIFAR ResNet-20 with projection shortcuts, widths 16-32-64",
    |name, task| (name == "resnet20").then(|| network(name, &[16, 32, 64], &[3, 3, 3], project, task)),
);

pub(super) static RESNET18: Architecture =
    Architecture::new("resnet18", "the CIFAR ResNet-18 of RSLAD, widths 64 to 512", |name, task| {
        (name == "resnet18").then(|| network(name, &[64, 128, 256, 512], &[2, 2, 2, 2], project, task))
    });

pub(super) static RESNET34: Architecture = Architecture {
    example: "resnet34-x0.125",
    names,
    ..Architecture::new("resnet34", "the same with 34 layers; resnet34-xW scales its widths", |name, task| {
        let factor = scaled_name(name, "resnet34")?;
        let widths = [64.0, 128.0, 256.0, 512.0].map(|width| ((width * factor).round() as usize).max(1));
        Some(network(name, &widths, &[3, 4, 6, 3], project, task))
    })
};

/// The name with the width factor that the stem shows.
pub(super) fn names(name: &'static str, tensors: &Tensors<'_>) -> Vec<String> {
    let stem = tensors.size("conv1.weight", 0);
    stem.map(|channels| name_of_scale(name, channels as f64 / 64.0)).into_iter().collect()
}

/// What a block adds to its own output: of its name, width, stride and input.
pub(super) type Shortcut = fn(&mut Builder, &str, usize, usize, NodeId) -> Result<NodeId, GraphError>;

/// Stages of basic blocks, the first at stride 1.
pub(super) fn network(
    name: &str,
    widths: &[usize],
    blocks: &[usize],
    shortcut: Shortcut,
    task: Task,
) -> Result<Network, GraphError> {
    let (mut b, x) = Builder::new(task.input);
    let x = b.conv("conv1", Conv2d::new(widths[0], 3).padding(1), x)?;
    let x = b.batch_norm("bn1", x)?;
    let mut x = b.relu(x)?;
    for (stage, (&width, &blocks)) in widths.iter().zip(blocks).enumerate() {
        for i in 0..blocks {
            let stride = if stage > 0 && i == 0 { 2 } else { 1 };
            x = block(&mut b, &format!("layer{}.{i}", stage + 1), width, stride, shortcut, x)?;
        }
    }
    let x = b.node("pool", Op::GlobalAvgPool, &[x])?;
    b.linear("linear", task.classes, x)?;
    b.finish(name)
}

fn block(
    b: &mut Builder,
    name: &str,
    width: usize,
    stride: usize,
    shortcut: Shortcut,
    x: NodeId,
) -> Result<NodeId, GraphError> {
    let y = b.conv(&format!("{name}.conv1"), Conv2d::new(width, 3).stride(stride).padding(1), x)?;
    let y = b.batch_norm(&format!("{name}.bn1"), y)?;
    let y = b.relu(y)?;
    let y = b.conv(&format!("{name}.conv2"), Conv2d::new(width, 3).padding(1), y)?;
    let y = b.batch_norm(&format!("{name}.bn2"), y)?;
    let shortcut = shortcut(b, name, width, stride, x)?;
    let sum = b.add(y, shortcut)?;
    b.relu(sum)
}

/// The input itself, or a 1x1 convolution with BatchNorm where the block changes its shape.
pub(super) fn project(
    b: &mut Builder,
    name: &str,
    width: usize,
    stride: usize,
    x: NodeId,
) -> Result<NodeId, GraphError> {
    if stride == 1 && matches!(b.shape(x), Shape::Map { channels, .. } if channels == width) {
        return Ok(x);
    }
    let y = b.conv(&format!("{name}.shortcut.0"), Conv2d::new(width, 1).stride(stride), x)?;
    b.batch_norm(&format!("{name}.shortcut.1"), y)
}
