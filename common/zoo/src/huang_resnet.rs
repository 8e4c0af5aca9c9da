//! `wrn-34-r` (Huang et al. 2021, arXiv:2110.03825) and `wrn-a4` (Huang et al. 2022, arXiv:2212.11005): wide ResNets
//! whose stages were shaped for robustness, under the names of their authors.
//!
//! Both are members of families, whose other names tell blocks and channels of each stage: `wrn-r-5x320-5x640-5x512` is
//! `wrn-34-r`, `wrn-a-27x160-28x448-13x384` is `wrn-a4`. The first family has ReLU, the second SiLU and, in its
//! published file, a normalisation `mu`, `sigma`.

use engine::Network;
use engine::graph::{Builder, Conv2d, Elementwise, GraphError, NodeId, Op, Shape};

use super::architecture::{Architecture, Init, Task};
use super::stages::{self, Stages};
use super::tensors::Tensors;

/// What the families differ in.
struct Family {
    prefix: &'static str,
    /// The published member and its own name.
    known: (&'static str, Stages),
    silu: bool,
    shortcut: &'static str,
    last_norm: &'static str,
}

const R: Family = Family {
    prefix: "wrn-r-",
    known: ("wrn-34-r", [(5, 320), (5, 640), (5, 512)]),
    silu: false,
    shortcut: "convShortcut",
    last_norm: "bn1",
};

const A: Family = Family {
    prefix: "wrn-a-",
    known: ("wrn-a4", [(27, 160), (28, 448), (13, 384)]),
    silu: true,
    shortcut: "shortcut.0",
    last_norm: "norm1",
};

pub(super) static WRN_R: Architecture = Architecture {
    example: "wrn-r-1x20-1x24-1x16",
    init: Init::WideResNet,
    names: |_, tensors| R.names(tensors),
    ..Architecture::new(
        "wrn-34-r",
        "Huang 2021's wide ResNet; wrn-r-NxC-NxC-NxC for N blocks of C channels",
        |name, task| R.build(name, task),
    )
};

pub(super) static WRN_A: Architecture = Architecture {
    example: "wrn-a-1x20-2x24-1x16",
    init: Init::WideResNet,
    names: |_, tensors| A.names(tensors),
    ..Architecture::new(
        "wrn-a4",
        "Huang 2022's wide ResNet (SiLU); wrn-a-NxC-NxC-NxC for N blocks of C channels",
        |name, task| A.build(name, task),
    )
};

impl Family {
    fn name(&self, stages: &Stages) -> String {
        let (name, known) = &self.known;
        if stages == known { (*name).into() } else { format!("{}{}", self.prefix, stages::text(stages)) }
    }

    fn names(&self, tensors: &Tensors<'_>) -> Vec<String> {
        let stage = |s: usize| {
            let blocks = tensors.count(|i| format!("blocks.{s}.layer.{i}.conv1.weight"));
            tensors.size(&format!("blocks.{s}.layer.0.conv1.weight"), 0).map(|channels| (blocks, channels))
        };
        let found = [stage(0), stage(1), stage(2)];
        let [Some(a), Some(b), Some(c)] = found else { return vec![] };
        vec![self.name(&[a, b, c])]
    }

    fn build(&self, name: &str, task: Task) -> Option<Result<Network, GraphError>> {
        let (known, stages) = &self.known;
        let stages = if name == *known { *stages } else { stages::parse(name.strip_prefix(self.prefix)?)? };
        // One network has one name, in files too.
        Some(self.network(&self.name(&stages), &stages, task))
    }

    fn network(&self, name: &str, stages: &Stages, task: Task) -> Result<Network, GraphError> {
        let (mut b, x) = Builder::new(task.input);
        let mut x = b.conv("stem_conv", Conv2d::new(16, 3).padding(1), x)?;
        for (stage, &(blocks, width)) in stages.iter().enumerate() {
            for i in 0..blocks {
                let stride = if stage > 0 && i == 0 { 2 } else { 1 };
                x = self.block(&mut b, &format!("blocks.{stage}.layer.{i}"), width, stride, x)?;
            }
        }
        let x = self.activate(&mut b, self.last_norm, x)?;
        let x = b.node("pool", Op::GlobalAvgPool, &[x])?;
        b.linear("fc", task.classes, x)?;
        b.finish(name)
    }

    fn block(
        &self,
        b: &mut Builder,
        name: &str,
        width: usize,
        stride: usize,
        x: NodeId,
    ) -> Result<NodeId, GraphError> {
        let active = self.activate(b, &format!("{name}.bn1"), x)?;
        let y = b.conv(&format!("{name}.conv1"), Conv2d::new(width, 3).stride(stride).padding(1), active)?;
        let y = self.activate(b, &format!("{name}.bn2"), y)?;
        let y = b.conv(&format!("{name}.conv2"), Conv2d::new(width, 3).padding(1), y)?;
        let same = stride == 1 && matches!(b.shape(x), Shape::Map { channels, .. } if channels == width);
        let shortcut = if same {
            x
        } else {
            let project = Conv2d::new(width, 1).stride(stride);
            b.conv(&format!("{name}.{}", self.shortcut), project, active)?
        };
        b.add(y, shortcut)
    }

    fn activate(&self, b: &mut Builder, name: &str, x: NodeId) -> Result<NodeId, GraphError> {
        let y = b.batch_norm(name, x)?;
        if self.silu {
            b.node(&format!("{name}.silu"), Op::Elementwise(Elementwise::Silu), &[y])
        } else {
            b.relu(y)
        }
    }
}
