//! `resnetD-a`: the CIFAR ResNets of the original paper (He et al., arXiv:1512.03385, option A), such as `resnet20-a`:
//! where a block changes the shape its shortcut takes every second pixel and adds channels of zeros, half of them before
//! and half behind, so that a shortcut has no parameters. Names are akamaster's, which most copies share.

use engine::Network;
use engine::graph::{Builder, GraphError, NodeId, Op, Pool, Shape};

use super::architecture::{Architecture, Task};
use super::resnet::network;
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
    fits.then(|| network(name, &[16, 32, 64], &[(depth - 2) / 6; 3], padded, task))
}

/// The input itself, or every second pixel of it between channels of zeros.
fn padded(b: &mut Builder, name: &str, width: usize, stride: usize, x: NodeId) -> Result<NodeId, GraphError> {
    if stride == 1 {
        return Ok(x);
    }
    let Shape::Map { channels, .. } = b.shape(x) else { unreachable!("blocks come before the pool") };
    let every = Pool { kernel: [1, 1], stride: [stride, stride] };
    let y = b.node(&format!("{name}.shortcut.pixels"), Op::AvgPool(every), &[x])?;
    let before = (width - channels) / 2;
    let after = width - channels - before;
    b.node(&format!("{name}.shortcut.pad"), Op::PadChannels { before, after }, &[y])
}
