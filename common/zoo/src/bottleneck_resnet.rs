//! `resnet50`: the CIFAR ResNet-50 of bottleneck blocks (He et al., arXiv:1512.03385) under kuangliu's names, as
//! Engstrom et al. 2019 trained it. `resnet50-xW` scales every width by W.

use engine::Network;
use engine::graph::{Builder, Conv2d, GraphError, NodeId, Op};

use super::architecture::{Architecture, Task, scaled_name};
use super::resnet::{names, project};

/// Outputs of a block over its inner width.
const EXPANSION: usize = 4;

pub(super) static ROW: Architecture = Architecture {
    example: "resnet50-x0.125",
    names,
    ..Architecture::new(
        "resnet50",
        "the CIFAR ResNet-50 of bottlenecks; resnet50-xW scales its widths",
        build,
    )
};

fn build(name: &str, task: Task) -> Option<Result<Network, GraphError>> {
    scaled_name(name, "resnet50").map(|factor| network(name, factor, task))
}

fn network(name: &str, factor: f64, task: Task) -> Result<Network, GraphError> {
    let width = |channels: usize| ((channels as f64 * factor).round() as usize).max(1);
    let (mut b, x) = Builder::new(task.input);
    let x = b.conv("conv1", Conv2d::new(width(64), 3).padding(1), x)?;
    let x = b.batch_norm("bn1", x)?;
    let mut x = b.relu(x)?;
    for (stage, (channels, blocks)) in [(64, 3), (128, 4), (256, 6), (512, 3)].into_iter().enumerate() {
        for i in 0..blocks {
            let stride = if stage > 0 && i == 0 { 2 } else { 1 };
            x = block(&mut b, &format!("layer{}.{i}", stage + 1), width(channels), stride, x)?;
        }
    }
    let x = b.node("pool", Op::GlobalAvgPool, &[x])?;
    b.linear("linear", task.classes, x)?;
    b.finish(name)
}

fn block(b: &mut Builder, name: &str, width: usize, stride: usize, x: NodeId) -> Result<NodeId, GraphError> {
    let y = b.conv(&format!("{name}.conv1"), Conv2d::new(width, 1), x)?;
    let y = b.batch_norm(&format!("{name}.bn1"), y)?;
    let y = b.relu(y)?;
    let y = b.conv(&format!("{name}.conv2"), Conv2d::new(width, 3).stride(stride).padding(1), y)?;
    let y = b.batch_norm(&format!("{name}.bn2"), y)?;
    let y = b.relu(y)?;
    let y = b.conv(&format!("{name}.conv3"), Conv2d::new(width * EXPANSION, 1), y)?;
    let y = b.batch_norm(&format!("{name}.bn3"), y)?;
    let shortcut = project(b, name, width * EXPANSION, stride, x)?;
    let sum = b.add(y, shortcut)?;
    b.relu(sum)
}
