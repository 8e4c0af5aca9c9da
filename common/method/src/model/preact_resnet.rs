//! `preact-resnet18`: the pre-activation ResNet (He et al., arXiv:1603.05027) in kuangliu's CIFAR form: a bare 1x1
//! convolution as shortcut, fed by the activated input, and no BatchNorm before the classifier.

use engine::Network;
use engine::graph::{Builder, Conv2d, GraphError, NodeId, Op, Shape};

use super::architecture::{Architecture, Task};

pub(super) static ROW: Architecture =
    Architecture::new("preact-resnet18", "the CIFAR pre-activation ResNet-18", build);

fn build(name: &str, task: Task) -> Option<Result<Network, GraphError>> {
    (name == "preact-resnet18").then(|| network(task))
}

fn network(task: Task) -> Result<Network, GraphError> {
    let (mut b, x) = Builder::new(task.input);
    let mut x = b.conv("conv1", Conv2d::new(64, 3).padding(1), x)?;
    for (stage, width) in [64, 128, 256, 512].into_iter().enumerate() {
        for i in 0..2 {
            let stride = if stage > 0 && i == 0 { 2 } else { 1 };
            x = block(&mut b, &format!("layer{}.{i}", stage + 1), width, stride, x)?;
        }
    }
    let x = b.node("pool", Op::GlobalAvgPool, &[x])?;
    b.linear("linear", task.classes, x)?;
    b.finish("preact-resnet18")
}

fn block(b: &mut Builder, name: &str, width: usize, stride: usize, x: NodeId) -> Result<NodeId, GraphError> {
    let y = b.batch_norm(&format!("{name}.bn1"), x)?;
    let active = b.relu(y)?;
    let y = b.conv(&format!("{name}.conv1"), Conv2d::new(width, 3).stride(stride).padding(1), active)?;
    let y = b.batch_norm(&format!("{name}.bn2"), y)?;
    let y = b.relu(y)?;
    let y = b.conv(&format!("{name}.conv2"), Conv2d::new(width, 3).padding(1), y)?;
    let same = stride == 1 && matches!(b.shape(x), Shape::Map { channels, .. } if channels == width);
    let shortcut = if same {
        x
    } else {
        b.conv(&format!("{name}.shortcut.0"), Conv2d::new(width, 1).stride(stride), active)?
    };
    b.add(y, shortcut)
}
