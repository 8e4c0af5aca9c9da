//! What DeepMind's networks share (`dm-wrn-D-W`, `dm-preact-resnet18`; deepmind-research, `adversarial_robustness`): SiLU,
//! TensorFlow's padding, and a normalisation of the images that is part of the network and not of its file.

use engine::graph::{Builder, Conv2d, Elementwise, GraphError, NodeId, Op, Padding};

use super::architecture::Task;

/// Mean and deviation per channel that the published networks for CIFAR-10 were given.
const CIFAR10: [[f64; 3]; 2] = [[0.4914, 0.4822, 0.4465], [0.2471, 0.2435, 0.2616]];
/// The same for CIFAR-100: their own evaluation uses these. RSLAD's authors ran DeepMind's CIFAR-100 teacher with those
/// of CIFAR-10, so their published labels come from a slightly misplaced input.
const CIFAR100: [[f64; 3]; 2] = [[0.5071, 0.4865, 0.4409], [0.2673, 0.2564, 0.2762]];

/// The images as these networks want them: CIFAR-100's constants for 100 classes, CIFAR-10's for other colour images.
/// Those of another number of channels are taken as they are.
pub(super) fn normalise(b: &mut Builder, task: Task, x: NodeId) -> Result<NodeId, GraphError> {
    let [mean, std] = if task.classes == 100 { CIFAR100 } else { CIFAR10 };
    if task.input[0] != mean.len() {
        return Ok(x);
    }
    b.node("normalize", Op::Normalize { mean: mean.into(), std: std.into() }, &[x])
}

/// BatchNorm and SiLU.
pub(super) fn activate(b: &mut Builder, name: &str, x: NodeId) -> Result<NodeId, GraphError> {
    let y = b.batch_norm(name, x)?;
    silu(b, name, y)
}

/// SiLU after the node `name`.
pub(super) fn silu(b: &mut Builder, name: &str, x: NodeId) -> Result<NodeId, GraphError> {
    b.node(&format!("{name}.silu"), Op::Elementwise(Elementwise::Silu), &[x])
}

/// How wide blocks activate: BatchNorm and SiLU, and in the MeanSparse networks (Amini et al. 2024, arXiv:2406.05927) a
/// layer between the two, and one behind each block, that takes values near their channel's mean for the mean.
#[derive(Clone, Copy)]
pub(super) struct Activation {
    pub(super) mean_sparse: bool,
    /// Share of a batch in the running statistics.
    pub(super) momentum: f64,
}

impl Activation {
    /// After BatchNorm `{place}batchnorm{which}`; the layer between is `{place}meansparse{which}`.
    pub(super) fn after(
        self,
        b: &mut Builder,
        place: &str,
        which: &str,
        x: NodeId,
    ) -> Result<NodeId, GraphError> {
        let name = format!("{place}batchnorm{which}");
        let y = b.node(&name, Op::BatchNorm { eps: 1e-5, momentum: self.momentum }, &[x])?;
        // The last of a network is called `meansparse_end`.
        let which = if which.is_empty() { "_end" } else { which };
        let y = self.sparse(b, &format!("{place}meansparse{which}"), y)?;
        silu(b, &name, y)
    }

    /// The layer between alone, where the network has it.
    pub(super) fn sparse(self, b: &mut Builder, name: &str, x: NodeId) -> Result<NodeId, GraphError> {
        if self.mean_sparse { b.node(name, Op::MeanSparse, &[x]) } else { Ok(x) }
    }
}

/// A 3x3 convolution as TensorFlow pads it: at stride 2 below and to the right alone.
pub(super) fn conv3x3(width: usize, stride: usize) -> Conv2d {
    let padding =
        if stride == 1 { Padding::same(1) } else { Padding { bottom: 1, right: 1, ..Padding::default() } };
    Conv2d { padding, ..Conv2d::new(width, 3).stride(stride) }
}
