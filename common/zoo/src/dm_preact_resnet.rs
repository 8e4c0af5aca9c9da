//! `dm-preact-resnet18`: the pre-activation ResNet-18 as DeepMind publishes it (Rebuffi et al., arXiv:2103.01946; Rade,
//! Gowal 2021): SiLU, a 3x3 convolution as shortcut, fed by the raw input, and a BatchNorm before the classifier. See
//! [`deepmind`](super::deepmind) for padding and normalisation. `-xW` scales every width by W.

use engine::Network;
use engine::graph::{Builder, Conv2d, GraphError, NodeId, Op, Shape};

use super::architecture::{Architecture, Task, name_of_scale, scaled_name};
use super::deepmind::{activate, conv3x3, normalise};
use super::tensors::Tensors;

pub(super) static ROW: Architecture = Architecture {
    example: "dm-preact-resnet18-x0.25",
    names,
    ..Architecture::new(
        "dm-preact-resnet18",
        "DeepMind's pre-activation ResNet-18 (SiLU, normalises inside)",
        build,
    )
};

fn names(name: &'static str, tensors: &Tensors<'_>) -> Vec<String> {
    let stem = tensors.size("conv_2d.weight", 0);
    stem.map(|channels| name_of_scale(name, channels as f64 / 64.0)).into_iter().collect()
}

fn build(name: &str, task: Task) -> Option<Result<Network, GraphError>> {
    scaled_name(name, "dm-preact-resnet18").map(|factor| network(name, factor, task))
}

fn network(name: &str, factor: f64, task: Task) -> Result<Network, GraphError> {
    let width = |channels: usize| ((channels as f64 * factor).round() as usize).max(1);
    let (mut b, x) = Builder::new(task.input);
    let x = normalise(&mut b, task, x)?;
    let mut x = b.conv("conv_2d", Conv2d::new(width(64), 3).padding(1), x)?;
    for (stage, channels) in [64, 128, 256, 512].into_iter().enumerate() {
        for i in 0..2 {
            let stride = if stage > 0 && i == 0 { 2 } else { 1 };
            x = block(&mut b, &format!("layer_{stage}.{i}"), width(channels), stride, x)?;
        }
    }
    let x = activate(&mut b, "batchnorm", x)?;
    let x = b.node("pool", Op::GlobalAvgPool, &[x])?;
    b.linear("logits", task.classes, x)?;
    b.finish(name)
}

fn block(b: &mut Builder, name: &str, width: usize, stride: usize, x: NodeId) -> Result<NodeId, GraphError> {
    let y = activate(b, &format!("{name}.batchnorm_0"), x)?;
    let y = b.conv(&format!("{name}.conv_2d_1"), conv3x3(width, stride), y)?;
    let y = activate(b, &format!("{name}.batchnorm_1"), y)?;
    let y = b.conv(&format!("{name}.conv_2d_2"), conv3x3(width, 1), y)?;
    let same = stride == 1 && matches!(b.shape(x), Shape::Map { channels, .. } if channels == width);
    let shortcut = if same { x } else { b.conv(&format!("{name}.shortcut"), conv3x3(width, stride), x)? };
    b.add(y, shortcut)
}
