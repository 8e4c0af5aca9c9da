//! `lenet5-madry`: the MNIST network of Madry et al. (arXiv:1706.06083), under the names of its usual PyTorch form
//! (`LeNet5Madry`, advertorch and MMA training): two 5x5 convolutions that keep the size, each pooled by 2, and a layer
//! of 1,024.

use engine::Network;
use engine::graph::{Builder, Conv2d, GraphError, Op};

use super::architecture::{Architecture, Task};

pub(super) static ROW: Architecture =
    Architecture::new("lenet5-madry", "the MNIST network of Madry et al., no BatchNorm", build);

fn build(name: &str, task: Task) -> Option<Result<Network, GraphError>> {
    (name == "lenet5-madry").then(|| network(task))
}

fn network(task: Task) -> Result<Network, GraphError> {
    let (mut b, mut x) = Builder::new(task.input);
    for (name, width) in [("conv1", 32), ("conv2", 64)] {
        x = b.conv(name, Conv2d::new(width, 5).padding(2).bias(), x)?;
        x = b.relu(x)?;
        x = b.max_pool(2, x)?;
    }
    x = b.node("flatten", Op::Flatten, &[x])?;
    x = b.linear("linear1", 1024, x)?;
    x = b.relu(x)?;
    b.linear("linear2", task.classes, x)?;
    b.finish("lenet5-madry")
}
