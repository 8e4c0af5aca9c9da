//! `ra-wrn-70-16`: the wide ResNet of Peng et al. 2023 (arXiv:2308.16258): DeepMind's blocks with a squeeze and excitation
//! of a quarter of the channels behind the second convolution, in stages shaped for robustness. See
//! [`deepmind`](super::deepmind) for activation, padding and normalisation.
//!
//! `ra-wrn-S-NxC-NxC-NxC` is the same with a stem of S channels and N blocks of C channels a stage;
//! `ra-wrn-96-30x216-31x432-10x864` is `ra-wrn-70-16`. `ms-` before either name is the same with MeanSparse's layers (Amini
//! et al. 2024).

use engine::Network;
use engine::graph::{Builder, Conv2d, Elementwise, GraphError, NodeId, Op, Pool, Shape};

use super::architecture::{Architecture, Task};
use super::deepmind::{Activation, conv3x3, normalise};
use super::stages::{self, Stages};
use super::tensors::Tensors;

/// The published network: its name, its stem, its stages.
const KNOWN: (&str, usize, Stages) = ("ra-wrn-70-16", 96, [(30, 216), (31, 432), (10, 864)]);

pub(super) static ROW: Architecture = Architecture {
    example: "ra-wrn-8-1x16-2x20-1x24",
    names,
    ..Architecture::new(
        "ra-wrn-70-16",
        "Peng 2023's wide ResNet (SiLU, excitation, normalises inside)",
        build,
    )
};

pub(super) static MEAN_SPARSE: Architecture = Architecture {
    example: "ms-ra-wrn-8-1x16-1x20-1x24",
    names: |_, tensors| names("", tensors).iter().map(|name| format!("ms-{name}")).collect(),
    ..Architecture::new(
        "ms-ra-wrn-70-16",
        "ra-wrn-70-16 with MeanSparse's layers (Amini 2024)",
        |name, task| build_form(name.strip_prefix("ms-")?, true, task),
    )
};

fn name_of(stem: usize, stages: &Stages) -> String {
    let (name, known_stem, known) = KNOWN;
    if stem == known_stem && *stages == known {
        name.into()
    } else {
        format!("ra-wrn-{stem}-{}", stages::text(stages))
    }
}

fn names(_: &'static str, tensors: &Tensors<'_>) -> Vec<String> {
    let stage = |s: usize| {
        let blocks = tensors.count(|i| format!("layer.{s}.block.{i}.conv_0.weight"));
        tensors.size(&format!("layer.{s}.block.0.conv_0.weight"), 0).map(|channels| (blocks, channels))
    };
    let found = (tensors.size("init_conv.weight", 0), stage(0), stage(1), stage(2));
    let (Some(stem), Some(a), Some(b), Some(c)) = found else { return vec![] };
    vec![name_of(stem, &[a, b, c])]
}

fn build(name: &str, task: Task) -> Option<Result<Network, GraphError>> {
    build_form(name, false, task)
}

fn build_form(name: &str, mean_sparse: bool, task: Task) -> Option<Result<Network, GraphError>> {
    let (known, stem, stages) = KNOWN;
    let (stem, stages) = if name == known {
        (stem, stages)
    } else {
        let (stem, rest) = name.strip_prefix("ra-wrn-")?.split_once('-')?;
        (stages::number(stem)?, stages::parse(rest)?)
    };
    // One network has one name, in files too.
    let prefix = if mean_sparse { "ms-" } else { "" };
    Some(network(&format!("{prefix}{}", name_of(stem, &stages)), stem, &stages, mean_sparse, task))
}

fn network(
    name: &str,
    stem: usize,
    stages: &Stages,
    mean_sparse: bool,
    task: Task,
) -> Result<Network, GraphError> {
    // Its running statistics move by a hundredth.
    let activation = Activation { mean_sparse, momentum: 0.01 };
    let (mut b, x) = Builder::new(task.input);
    let x = normalise(&mut b, task, x)?;
    let mut x = b.conv("init_conv", Conv2d::new(stem, 3).padding(1), x)?;
    for (stage, &(blocks, width)) in stages.iter().enumerate() {
        for i in 0..blocks {
            let stride = if stage > 0 && i == 0 { 2 } else { 1 };
            x = block(&mut b, &format!("layer.{stage}.block.{i}."), width, stride, activation, x)?;
        }
    }
    let x = activation.after(&mut b, "", "", x)?;
    let x = b.node("pool", Op::GlobalAvgPool, &[x])?;
    b.linear("logits", task.classes, x)?;
    b.finish(name)
}

fn block(
    b: &mut Builder,
    place: &str,
    width: usize,
    stride: usize,
    activation: Activation,
    x: NodeId,
) -> Result<NodeId, GraphError> {
    let active = activation.after(b, place, "_0", x)?;
    let y = b.conv(&format!("{place}conv_0"), conv3x3(width, stride), active)?;
    let y = activation.after(b, place, "_1", y)?;
    let y = b.conv(&format!("{place}conv_1"), conv3x3(width, 1), y)?;
    let same = matches!(b.shape(x), Shape::Map { channels, .. } if channels == width);
    // Before the excitation, whose parameters PyTorch lists last.
    let shortcut = if same {
        x
    } else {
        b.conv(&format!("{place}shortcut"), Conv2d::new(width, 1).stride(stride), active)?
    };
    let y = excite(b, &format!("{place}se"), width, y)?;
    let sum = b.add(y, shortcut)?;
    activation.sparse(b, &format!("{place}meansparse_2"), sum)
}

/// Each channel times what two 1x1 convolutions make of the means of all.
fn excite(b: &mut Builder, name: &str, width: usize, x: NodeId) -> Result<NodeId, GraphError> {
    let Shape::Map { height, width: across, .. } = b.shape(x) else {
        unreachable!("blocks come before the pool")
    };
    // Python rounds half to even.
    let squeezed = (0.25 * width as f64).round_ties_even().max(1.0) as usize;
    let window = Pool { kernel: [height, across], stride: [1, 1] };
    let y = b.node(&format!("{name}.avgpool"), Op::AvgPool(window), &[x])?;
    let y = b.conv(&format!("{name}.fc1"), Conv2d::new(squeezed, 1).bias(), y)?;
    let y = b.relu(y)?;
    let y = b.conv(&format!("{name}.fc2"), Conv2d::new(width, 1).bias(), y)?;
    let y = b.node(&format!("{name}.sigmoid"), Op::Elementwise(Elementwise::Sigmoid), &[y])?;
    b.node(&format!("{name}.scale"), Op::Mul, &[x, y])
}
