//! `resnetD-a`: the CIFAR ResNets of the original paper (He et al., arXiv:1512.03385, option A), such as `resnet20-a`:
//! where a block changes the shape its shortcut takes every second pixel and adds channels of zeros, half of them before
//! and half behind, so that a shortcut has no parameters. Names are akamaster's, which most copies share.

use engine::Network;
use engine::graph::{Builder, Conv2d, GraphError, NodeId, Op, Pool, Shape};

use super::architecture::{Architecture, Task};
use super::tensors::Tensors;

pub(super) static ROW: Architecture = Architecture {
    example: "resnet20-a",
    names,
    ..Architecture::new(
        "resnetD-a",
        "CIFAR ResNet of depth D with shortcuts padded with zeros: resnet20-a",
        build,
    )
};

fn names(_: &'static str, tensors: &Tensors<'_>) -> Vec<String> {
    let blocks = tensors.count(|i| format!("layer1.{i}.conv1.weight"));
    vec![format!("resnet{}-a", 6 * blocks + 2)]
}

fn build(name: &str, task: Task) -> Option<Result<Network, GraphError>> {
    let depth: usize = name.strip_prefix("resnet")?.strip_suffix("-a")?.parse().ok()?;
    let fits = (8..=1202).contains(&depth) && (depth - 2).is_multiple_of(6);
    fits.then(|| network(name, (depth - 2) / 6, task))
}

fn network(name: &str, blocks: usize, task: Task) -> Result<Network, GraphError> {
    let (mut b, x) = Builder::new(task.input);
    let x = b.conv("conv1", Conv2d::new(16, 3).padding(1), x)?;
    let x = b.batch_norm("bn1", x)?;
    let mut x = b.relu(x)?;
    for (stage, width) in [16, 32, 64].into_iter().enumerate() {
        for i in 0..blocks {
            let stride = if stage > 0 && i == 0 { 2 } else { 1 };
            x = block(&mut b, &format!("layer{}.{i}", stage + 1), width, stride, x)?;
        }
    }
    let x = b.node("pool", Op::GlobalAvgPool, &[x])?;
    b.linear("linear", task.classes, x)?;
    b.finish(name)
}

fn block(b: &mut Builder, name: &str, width: usize, stride: usize, x: NodeId) -> Result<NodeId, GraphError> {
    let y = b.conv(&format!("{name}.conv1"), Conv2d::new(width, 3).stride(stride).padding(1), x)?;
    let y = b.batch_norm(&format!("{name}.bn1"), y)?;
    let y = b.relu(y)?;
    let y = b.conv(&format!("{name}.conv2"), Conv2d::new(width, 3).padding(1), y)?;
    let y = b.batch_norm(&format!("{name}.bn2"), y)?;
    let shortcut = if stride == 1 { x } else { padded(b, name, width, stride, x)? };
    let sum = b.add(y, shortcut)?;
    b.relu(sum)
}

/// Every second pixel, between channels of zeros.
fn padded(b: &mut Builder, name: &str, width: usize, stride: usize, x: NodeId) -> Result<NodeId, GraphError> {
    let Shape::Map { channels, .. } = b.shape(x) else { unreachable!("blocks come before the pool") };
    let every = Pool { kernel: [1, 1], stride: [stride, stride] };
    let y = b.node(&format!("{name}.shortcut.pixels"), Op::AvgPool(every), &[x])?;
    let before = (width - channels) / 2;
    let after = width - channels - before;
    b.node(&format!("{name}.shortcut.pad"), Op::PadChannels { before, after }, &[y])
}
