//! `dm-wrn-D-W`: wide ResNets as DeepMind publishes them (Gowal et al., arXiv:2010.03593), which Rebuffi, Rade, Pang,
//! Wang, Xu, Cui and Bartoldson trained too: see [`deepmind`](super::deepmind) for what sets them apart from `wrn-D-W`.
//!
//! `ms-dm-wrn-D-W` is the same with MeanSparse's layers (Amini et al. 2024).
//!
//! A block that changes its channels feeds its shortcut from the activated input, as in `wrn-D-W`.

use engine::Network;
use engine::graph::{Builder, Conv2d, GraphError, NodeId, Op, Shape};

use super::architecture::{Architecture, Task};
use super::deepmind::{Activation, conv3x3, normalise};
use super::tensors::Tensors;
use super::wide_resnet::sizes;

pub(super) static ROW: Architecture = Architecture {
    example: "dm-wrn-10-1",
    names,
    ..Architecture::new(
        "dm-wrn-D-W",
        "DeepMind's wide ResNet (SiLU, normalises inside), such as dm-wrn-28-10",
        build,
    )
};

pub(super) static MEAN_SPARSE: Architecture = Architecture {
    example: "ms-dm-wrn-10-1",
    names: |_, tensors| names("", tensors).iter().map(|name| format!("ms-{name}")).collect(),
    ..Architecture::new("ms-dm-wrn-D-W", "dm-wrn-D-W with MeanSparse's layers (Amini 2024)", build_sparse)
};

fn names(_: &'static str, tensors: &Tensors<'_>) -> Vec<String> {
    let blocks = tensors.count(|i| format!("layer.0.block.{i}.conv_0.weight"));
    let width = tensors.size("layer.0.block.0.conv_0.weight", 0);
    width.map(|channels| format!("dm-wrn-{}-{}", 6 * blocks + 4, channels / 16)).into_iter().collect()
}

fn build(name: &str, task: Task) -> Option<Result<Network, GraphError>> {
    let (blocks, width) = sizes(name.strip_prefix("dm-wrn-")?)?;
    Some(network(name, blocks, width, false, task))
}

fn build_sparse(name: &str, task: Task) -> Option<Result<Network, GraphError>> {
    let (blocks, width) = sizes(name.strip_prefix("ms-dm-wrn-")?)?;
    Some(network(name, blocks, width, true, task))
}

fn network(
    name: &str,
    blocks: usize,
    width: usize,
    mean_sparse: bool,
    task: Task,
) -> Result<Network, GraphError> {
    let activation = Activation { mean_sparse, momentum: 0.1 };
    let (mut b, x) = Builder::new(task.input);
    let x = normalise(&mut b, task, x)?;
    let mut x = b.conv("init_conv", Conv2d::new(16, 3).padding(1), x)?;
    for (stage, channels) in [16, 32, 64].into_iter().enumerate() {
        for i in 0..blocks {
            let stride = if stage > 0 && i == 0 { 2 } else { 1 };
            let place = format!("layer.{stage}.block.{i}.");
            x = block(&mut b, &place, channels * width, stride, activation, x)?;
        }
    }
    let x = activation.after(&mut b, "", "", x)?;
    let x = b.node("pool", Op::GlobalAvgPool, &[x])?;
    b.linear("logits", task.classes, x)?;
    b.finish(name)
}

fn block(
    b: &mut Builder,
    place: &str,
    width: usize,
    stride: usize,
    activation: Activation,
    x: NodeId,
) -> Result<NodeId, GraphError> {
    let active = activation.after(b, place, "_0", x)?;
    let y = b.conv(&format!("{place}conv_0"), conv3x3(width, stride), active)?;
    let y = activation.after(b, place, "_1", y)?;
    let y = b.conv(&format!("{place}conv_1"), conv3x3(width, 1), y)?;
    // Where the channels stay, so does the stride, except in a network of width 1, whose first stage has 16 as well.
    let same = matches!(b.shape(x), Shape::Map { channels, .. } if channels == width);
    let shortcut = if same {
        x
    } else {
        b.conv(&format!("{place}shortcut"), Conv2d::new(width, 1).stride(stride), active)?
    };
    let sum = b.add(y, shortcut)?;
    activation.sparse(b, &format!("{place}meansparse_2"), sum)
}
