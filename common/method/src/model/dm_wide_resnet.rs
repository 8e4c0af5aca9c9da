//! `dm-wrn-D-W`: wide ResNets as DeepMind publishes them (Gowal et al., arXiv:2010.03593), which Rebuffi, Rade, Pang,
//! Wang, Xu, Cui and Bartoldson trained too: see [`deepmind`](super::deepmind) for what sets them apart from `wrn-D-W`.
//!
//! A block that changes its channels feeds its shortcut from the activated input, as in `wrn-D-W`.

use engine::Network;
use engine::graph::{Builder, Conv2d, GraphError, NodeId, Op, Shape};

use super::architecture::{Architecture, Task};
use super::deepmind::{activate, conv3x3, normalise};
use super::detect::Tensors;
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

fn names(_: &'static str, tensors: &Tensors<'_>) -> Vec<String> {
    let blocks = tensors.count(|i| format!("layer.0.block.{i}.conv_0.weight"));
    let width = tensors.size("layer.0.block.0.conv_0.weight", 0);
    width.map(|channels| format!("dm-wrn-{}-{}", 6 * blocks + 4, channels / 16)).into_iter().collect()
}

fn build(name: &str, task: Task) -> Option<Result<Network, GraphError>> {
    let (blocks, width) = sizes(name.strip_prefix("dm-wrn-")?)?;
    Some(network(name, blocks, width, task))
}

fn network(name: &str, blocks: usize, width: usize, task: Task) -> Result<Network, GraphError> {
    let (mut b, x) = Builder::new(task.input);
    let x = normalise(&mut b, task, x)?;
    let mut x = b.conv("init_conv", Conv2d::new(16, 3).padding(1), x)?;
    for (stage, channels) in [16, 32, 64].into_iter().enumerate() {
        for i in 0..blocks {
            let stride = if stage > 0 && i == 0 { 2 } else { 1 };
            x = block(&mut b, &format!("layer.{stage}.block.{i}"), channels * width, stride, x)?;
        }
    }
    let x = activate(&mut b, "batchnorm", x)?;
    let x = b.node("pool", Op::GlobalAvgPool, &[x])?;
    b.linear("logits", task.classes, x)?;
    b.finish(name)
}

fn block(b: &mut Builder, name: &str, width: usize, stride: usize, x: NodeId) -> Result<NodeId, GraphError> {
    let active = activate(b, &format!("{name}.batchnorm_0"), x)?;
    let y = b.conv(&format!("{name}.conv_0"), conv3x3(width, stride), active)?;
    let y = activate(b, &format!("{name}.batchnorm_1"), y)?;
    let y = b.conv(&format!("{name}.conv_1"), conv3x3(width, 1), y)?;
    // Where the channels stay, so does the stride, except in a network of width 1, whose first stage has 16 as well.
    let same = matches!(b.shape(x), Shape::Map { channels, .. } if channels == width);
    let shortcut = if same {
        x
    } else {
        b.conv(&format!("{name}.shortcut"), Conv2d::new(width, 1).stride(stride), active)?
    };
    b.add(y, shortcut)
}
