//! `small-cnn`: the MNIST network of TRADES (arXiv:1901.08573), under its names, without the dropout of its
//! classifier (which evaluation never used) and with PyTorch's default initial values.

use engine::Network;
use engine::graph::{Builder, Conv2d, GraphError, Op};

use super::architecture::{Architecture, Task};

pub(super) static ROW: Architecture =
    Architecture::new("small-cnn", "the MNIST network of TRADES, no BatchNorm", build);

fn build(name: &str, task: Task) -> Option<Result<Network, GraphError>> {
    (name == "small-cnn").then(|| network(task))
}

fn network(task: Task) -> Result<Network, GraphError> {
    let (mut b, mut x) = Builder::new(task.input);
    for (i, width) in [32, 32, 64, 64].into_iter().enumerate() {
        x = b.conv(&format!("feature_extractor.conv{}", i + 1), Conv2d::new(width, 3).bias(), x)?;
        x = b.relu(x)?;
        if i % 2 == 1 {
            x = b.max_pool(2, x)?;
        }
    }
    x = b.node("flatten", Op::Flatten, &[x])?;
    for name in ["classifier.fc1", "classifier.fc2"] {
        x = b.linear(name, 200, x)?;
        x = b.relu(x)?;
    }
    b.linear("classifier.fc3", task.classes, x)?;
    b.finish("small-cnn")
}
