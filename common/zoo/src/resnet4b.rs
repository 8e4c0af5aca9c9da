//! `resnet4b`: the adversarially trained CIFAR-10 network of VNN-COMP 2021 (no BatchNorm; normalises inside).

use engine::Network;
use engine::graph::{Builder, Conv2d, GraphError, NodeId, Op};

use super::architecture::{Architecture, Task};

/// CIFAR-10's mean and deviation per channel, as its authors used them.
const MEAN: [f64; 3] = [0.4914, 0.4822, 0.4465];
const STD: [f64; 3] = [0.2471, 0.2435, 0.2616];

pub(super) static ROW: Architecture = Architecture::new(
    "resnet4b",
    "the adversarially trained CIFAR ResNet-4B of VNN-COMP 2021, no BatchNorm",
    build,
);

fn build(name: &str, task: Task) -> Option<Result<Network, GraphError>> {
    (name == "resnet4b").then(|| network(task))
}

fn network(task: Task) -> Result<Network, GraphError> {
    let (mut b, mut x) = Builder::new(task.input);
    // The published statistics belong to three colour channels; other inputs are taken as they are.
    if task.input[0] == MEAN.len() {
        x = b.node("normalize", Op::Normalize { mean: MEAN.into(), std: STD.into() }, &[x])?;
    }
    x = b.conv("conv1", Conv2d::new(16, 3).stride(2).padding(1).bias(), x)?;
    x = b.relu(x)?;
    for (name, stride) in [("layer1.0", 2), ("layer1.1", 1), ("layer2.0", 2), ("layer2.1", 1)] {
        x = block(&mut b, name, stride, x)?;
    }
    x = b.node("flatten", Op::Flatten, &[x])?;
    x = b.linear("linear1", 100, x)?;
    x = b.relu(x)?;
    b.linear("linear2", task.classes, x)?;
    b.finish("resnet4b")
}

fn block(b: &mut Builder, name: &str, stride: usize, x: NodeId) -> Result<NodeId, GraphError> {
    let y = b.conv(&format!("{name}.conv1"), Conv2d::new(32, 3).stride(stride).padding(1).bias(), x)?;
    let y = b.relu(y)?;
    let y = b.conv(&format!("{name}.conv2"), Conv2d::new(32, 3).padding(1).bias(), y)?;
    let shortcut = if stride == 1 {
        x
    } else {
        b.conv(&format!("{name}.shortcut.0"), Conv2d::new(32, 1).stride(stride).bias(), x)?
    };
    let sum = b.add(y, shortcut)?;
    b.relu(sum)
}
