//! `mobilenet-v2`: Sandler et al., arXiv:1801.04381, in kuangliu's CIFAR form that RSLAD uses: ReLU in place of
//! ReLU6, stride 1 in the stem and the second stage, and a projected shortcut in every stride-1 block that changes
//! its channels. `mobilenet-v2-xW` scales every width by W to multiples of 8, at least 8.

use engine::Network;
use engine::graph::{Builder, Conv2d, GraphError, NodeId, Op, Shape};

use super::architecture::{Architecture, Task, name_of_scale, scaled_name};
use super::resnet::project;
use super::tensors::Tensors;

/// Expansion, output channels, blocks, stride of the first block.
const STAGES: [(usize, usize, usize, usize); 7] = [
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
];

pub(super) static ROW: Architecture = Architecture {
    names,
    ..Architecture::new(
        "mobilenet-v2",
        "the CIFAR MobileNetV2 of RSLAD (ReLU); also mobilenet-v2-xW for width factor W",
        build,
    )
};

/// The widest layer says the factor to one part in 160: it is rounded least.
fn names(name: &'static str, tensors: &Tensors<'_>) -> Vec<String> {
    let widest = tensors.size("conv2.weight", 0);
    widest.map(|channels| name_of_scale(name, channels as f64 / 1280.0)).into_iter().collect()
}

fn build(name: &str, task: Task) -> Option<Result<Network, GraphError>> {
    let factor = scaled_name(name, "mobilenet-v2")?;
    // Every width at factor 1 is a multiple of 8 already.
    let width = |channels: usize| (((channels as f64 * factor) as usize + 4) / 8 * 8).max(8);
    Some(network(name, &width, task))
}

fn network(name: &str, width: &dyn Fn(usize) -> usize, task: Task) -> Result<Network, GraphError> {
    let (mut b, x) = Builder::new(task.input);
    let x = b.conv("conv1", Conv2d::new(width(32), 3).padding(1), x)?;
    let x = b.batch_norm("bn1", x)?;
    let mut x = b.relu(x)?;
    let mut layer = 0;
    for (expansion, channels, blocks, first_stride) in STAGES {
        for i in 0..blocks {
            let stride = if i == 0 { first_stride } else { 1 };
            x = block(&mut b, &format!("layers.{layer}"), expansion, width(channels), stride, x)?;
            layer += 1;
        }
    }
    let x = b.conv("conv2", Conv2d::new(width(1280), 1), x)?;
    let x = b.batch_norm("bn2", x)?;
    let x = b.relu(x)?;
    let x = b.node("pool", Op::GlobalAvgPool, &[x])?;
    b.linear("linear", task.classes, x)?;
    b.finish(name)
}

fn block(
    b: &mut Builder,
    name: &str,
    expansion: usize,
    width: usize,
    stride: usize,
    x: NodeId,
) -> Result<NodeId, GraphError> {
    let Shape::Map { channels, .. } = b.shape(x) else { unreachable!("blocks come before the pool") };
    let hidden = channels * expansion;
    let y = b.conv(&format!("{name}.conv1"), Conv2d::new(hidden, 1), x)?;
    let y = b.batch_norm(&format!("{name}.bn1"), y)?;
    let y = b.relu(y)?;
    let y =
        b.conv(&format!("{name}.conv2"), Conv2d::new(hidden, 3).stride(stride).padding(1).groups(hidden), y)?;
    let y = b.batch_norm(&format!("{name}.bn2"), y)?;
    let y = b.relu(y)?;
    let y = b.conv(&format!("{name}.conv3"), Conv2d::new(width, 1), y)?;
    let y = b.batch_norm(&format!("{name}.bn3"), y)?;
    if stride == 1 {
        let shortcut = project(b, name, width, stride, x)?;
        return b.add(y, shortcut);
    }
    Ok(y)
}
