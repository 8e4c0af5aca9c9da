//! `tiny-cnn`: four 3x3 convolutions with BatchNorm, three of them at stride 2, for images of about 28x28.
//! `tiny-cnn-xW` is the same W times as wide, a teacher for it.

use engine::Network;
use engine::graph::{Builder, Conv2d, GraphError, Op};

use super::architecture::{Architecture, Task, name_of_scale, scaled_name};
use super::tensors::Tensors;

/// Width and stride of each convolution.
const LAYERS: [(usize, usize); 4] = [(8, 2), (16, 2), (32, 1), (32, 2)];

pub(super) static ROW: Architecture = Architecture {
    names,
    ..Architecture::new(
        "tiny-cnn",
        "four 3x3 convolutions, 0.44 M MAC on 28x28; also tiny-cnn-xW, W times as wide",
        build,
    )
};

fn names(name: &'static str, tensors: &Tensors<'_>) -> Vec<String> {
    let widest = tensors.size("conv4.weight", 0);
    widest.map(|channels| name_of_scale(name, channels as f64 / 32.0)).into_iter().collect()
}

fn build(name: &str, task: Task) -> Option<Result<Network, GraphError>> {
    scaled_name(name, "tiny-cnn").map(|factor| network(name, factor, task))
}

fn network(name: &str, factor: f64, task: Task) -> Result<Network, GraphError> {
    let (mut b, mut x) = Builder::new(task.input);
    for (i, (width, stride)) in LAYERS.into_iter().enumerate() {
        let width = ((width as f64 * factor).round() as usize).max(1);
        x = b.conv(&format!("conv{}", i + 1), Conv2d::new(width, 3).stride(stride).padding(1), x)?;
        x = b.batch_norm(&format!("bn{}", i + 1), x)?;
        x = b.relu(x)?;
    }
    let x = b.node("pool", Op::GlobalAvgPool, &[x])?;
    b.linear("linear", task.classes, x)?;
    b.finish(name)
}
