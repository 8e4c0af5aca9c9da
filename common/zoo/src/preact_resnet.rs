//! Pre-activation ResNet-18 (He et al., arXiv:1603.05027) for CIFAR, in the four forms in which it is published.
//!
//! All have kuangliu's names: a bare 1x1 convolution as shortcut where a block changes the shape. Two things differ and
//! only one of them shows in a file. The shortcut is fed by the activated input (kuangliu, Rice et al. 2020) or by the
//! raw one (`-raw`: Wong et al. 2020 and Andriushchenko and Flammarion 2020 in RobustBench): same tensors, another
//! function. And a BatchNorm may come before the classifier (`-bn`, called `bn`). `-xW` scales every width by W.

use engine::Network;
use engine::graph::{Builder, Conv2d, GraphError, NodeId, Op, Shape};

use super::architecture::{Architecture, Task, scaled_name};
use super::resnet::names;

/// What the forms differ in.
#[derive(Clone, Copy)]
struct Form {
    /// Whether the shortcut convolution reads the block's input as it is.
    raw_shortcut: bool,
    /// Whether BatchNorm and ReLU come before the pool.
    final_norm: bool,
}

pub(super) static KUANGLIU: Architecture = Architecture {
    names,
    ..Architecture::new(
        "preact-resnet18",
        "the CIFAR pre-activation ResNet-18 of kuangliu; -xW scales its widths",
        |name, task| build("preact-resnet18", false, false, name, task),
    )
};

pub(super) static RAW: Architecture = Architecture {
    example: "preact-resnet18-raw-x0.25",
    names,
    ..Architecture::new(
        "preact-resnet18-raw",
        "its shortcuts fed by the raw input, as RobustBench's class",
        |name, task| build("preact-resnet18-raw", true, false, name, task),
    )
};

pub(super) static NORM: Architecture = Architecture {
    example: "preact-resnet18-bn-x0.25",
    names,
    ..Architecture::new(
        "preact-resnet18-bn",
        "preact-resnet18 with a BatchNorm before the classifier (Rice 2020)",
        |name, task| build("preact-resnet18-bn", false, true, name, task),
    )
};

pub(super) static RAW_NORM: Architecture = Architecture {
    example: "preact-resnet18-raw-bn-x0.25",
    names,
    ..Architecture::new(
        "preact-resnet18-raw-bn",
        "preact-resnet18-raw with a BatchNorm before the classifier",
        |name, task| build("preact-resnet18-raw-bn", true, true, name, task),
    )
};

fn build(
    base: &str,
    raw_shortcut: bool,
    final_norm: bool,
    name: &str,
    task: Task,
) -> Option<Result<Network, GraphError>> {
    let factor = scaled_name(name, base)?;
    Some(network(name, factor, Form { raw_shortcut, final_norm }, task))
}

fn network(name: &str, factor: f64, form: Form, task: Task) -> Result<Network, GraphError> {
    let width = |channels: usize| ((channels as f64 * factor).round() as usize).max(1);
    let (mut b, x) = Builder::new(task.input);
    let mut x = b.conv("conv1", Conv2d::new(width(64), 3).padding(1), x)?;
    for (stage, channels) in [64, 128, 256, 512].into_iter().enumerate() {
        for i in 0..2 {
            let stride = if stage > 0 && i == 0 { 2 } else { 1 };
            let place = format!("layer{}.{i}", stage + 1);
            x = block(&mut b, &place, width(channels), stride, form.raw_shortcut, x)?;
        }
    }
    if form.final_norm {
        let y = b.batch_norm("bn", x)?;
        x = b.relu(y)?;
    }
    let x = b.node("pool", Op::GlobalAvgPool, &[x])?;
    b.linear("linear", task.classes, x)?;
    b.finish(name)
}

fn block(
    b: &mut Builder,
    name: &str,
    width: usize,
    stride: usize,
    raw_shortcut: bool,
    x: NodeId,
) -> Result<NodeId, GraphError> {
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
        let from = if raw_shortcut { x } else { active };
        b.conv(&format!("{name}.shortcut.0"), Conv2d::new(width, 1).stride(stride), from)?
    };
    b.add(y, shortcut)
}
