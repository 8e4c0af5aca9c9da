//! `tiny-cnn`: four 3x3 convolutions with BatchNorm, three of them at stride 2, for images of about 28x28.

use engine::Network;
use engine::graph::{Builder, Conv2d, GraphError, Op};

use super::Task;

pub(super) fn build(name: &str, task: Task) -> Option<Result<Network, GraphError>> {
    (name == "tiny-cnn").then(|| network(task))
}

fn network(task: Task) -> Result<Network, GraphError> {
    let (mut b, mut x) = Builder::new(task.input);
    for (i, (width, stride)) in [(8, 2), (16, 2), (32, 1), (32, 2)].into_iter().enumerate() {
        x = b.conv(&format!("conv{}", i + 1), Conv2d::new(width, 3).stride(stride).padding(1), x)?;
        x = b.batch_norm(&format!("bn{}", i + 1), x)?;
        x = b.relu(x)?;
    }
    let x = b.node("pool", Op::GlobalAvgPool, &[x])?;
    b.linear("linear", task.classes, x)?;
    b.finish("tiny-cnn")
}
