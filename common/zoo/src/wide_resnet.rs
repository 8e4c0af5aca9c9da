//! `wrn-D-W`: wide ResNets (Zagoruyko and Komodakis, arXiv:1605.07146) under the names that TRADES published.
//!
//! A block that changes its channels feeds its shortcut from the activated input; the others add the raw input.

use engine::Network;
use engine::graph::{Builder, Conv2d, GraphError, NodeId, Op, Shape};

use super::architecture::{Architecture, Init, Task};
use super::tensors::Tensors;

pub(super) static ROW: Architecture = Architecture {
    example: "wrn-10-1",
    init: Init::WideResNet,
    // TRADES' published WRN-34-10 carries a second copy of its first block that no forward reaches.
    unused: &["sub_block1."],
    names,
    ..Architecture::new("wrn-D-W", "wide ResNet of depth D and width W, such as wrn-34-10", build)
};

pub(super) fn names(_: &'static str, tensors: &Tensors<'_>) -> Vec<String> {
    let blocks = tensors.count(|i| format!("block1.layer.{i}.conv1.weight"));
    let width = tensors.size("block1.layer.0.conv1.weight", 0);
    width.map(|channels| format!("wrn-{}-{}", 6 * blocks + 4, channels / 16)).into_iter().collect()
}

fn build(name: &str, task: Task) -> Option<Result<Network, GraphError>> {
    let (blocks, width) = sizes(name.strip_prefix("wrn-")?)?;
    Some(network(name, blocks, width, task))
}

/// Blocks per stage and the width factor of `D-W`.
pub(super) fn sizes(text: &str) -> Option<(usize, usize)> {
    let (depth, width) = text.split_once('-')?;
    let (depth, width): (usize, usize) = (depth.parse().ok()?, width.parse().ok()?);
    let fits = depth >= 10 && (depth - 4) % 6 == 0 && depth <= 1000 && (1..=100).contains(&width);
    fits.then_some(((depth - 4) / 6, width))
}

fn network(name: &str, blocks: usize, width: usize, task: Task) -> Result<Network, GraphError> {
    let (mut b, x) = Builder::new(task.input);
    layers(&mut b, blocks, width, task.classes, x)?;
    b.finish(name)
}

/// All of the network behind its images.
pub(super) fn layers(
    b: &mut Builder,
    blocks: usize,
    width: usize,
    classes: usize,
    x: NodeId,
) -> Result<NodeId, GraphError> {
    let mut x = b.conv("conv1", Conv2d::new(16, 3).padding(1), x)?;
    for (stage, channels) in [16, 32, 64].into_iter().enumerate() {
        for i in 0..blocks {
            let stride = if stage > 0 && i == 0 { 2 } else { 1 };
            x = block(b, &format!("block{}.layer.{i}", stage + 1), channels * width, stride, x)?;
        }
    }
    let x = b.batch_norm("bn1", x)?;
    let x = b.relu(x)?;
    let x = b.node("pool", Op::GlobalAvgPool, &[x])?;
    b.linear("fc", classes, x)
}

fn block(b: &mut Builder, name: &str, width: usize, stride: usize, x: NodeId) -> Result<NodeId, GraphError> {
    let y = b.batch_norm(&format!("{name}.bn1"), x)?;
    let active = b.relu(y)?;
    let y = b.conv(&format!("{name}.conv1"), Conv2d::new(width, 3).stride(stride).padding(1), active)?;
    let y = b.batch_norm(&format!("{name}.bn2"), y)?;
    let y = b.relu(y)?;
    let y = b.conv(&format!("{name}.conv2"), Conv2d::new(width, 3).padding(1), y)?;
    // Where the channels stay, so does the stride, except in a WRN of width 1, whose first stage has 16 as well.
    let same = matches!(b.shape(x), Shape::Map { channels, .. } if channels == width);
    let shortcut = if same {
        x
    } else {
        b.conv(&format!("{name}.convShortcut"), Conv2d::new(width, 1).stride(stride), active)?
    };
    b.add(y, shortcut)
}
