//! `mma-wrn-D-W`: `wrn-D-W` behind a standardisation of each image, as MMA training (Ding et al., arXiv:1812.02637) has
//! it: less the image's mean, over its deviation, all channels together.
//!
//! Its files have the tensors of `wrn-D-W` and no trace of what happens to the image. So a file of the size that MMA
//! training published, 28-4, may be either, and one of another size is `wrn-D-W` unless `--arch` says otherwise.

use engine::Network;
use engine::graph::{Builder, GraphError, Op};

use super::architecture::{Architecture, Init, Task};
use super::wide_resnet::{self, sizes};

/// The size that was published, as the network behind the standardisation is called.
const PUBLISHED: &str = "wrn-28-4";

pub(super) static ROW: Architecture = Architecture {
    example: "mma-wrn-10-1",
    init: Init::WideResNet,
    names: |_, tensors| match wide_resnet::names("", tensors).as_slice() {
        [name] if name == PUBLISHED => vec![format!("mma-{name}")],
        _ => vec![],
    },
    ..Architecture::new("mma-wrn-D-W", "wrn-D-W behind a standardisation of each image (Ding 2020)", build)
};

fn build(name: &str, task: Task) -> Option<Result<Network, GraphError>> {
    let (blocks, width) = sizes(name.strip_prefix("mma-wrn-")?)?;
    Some(network(name, blocks, width, task))
}

fn network(name: &str, blocks: usize, width: usize, task: Task) -> Result<Network, GraphError> {
    let (mut b, x) = Builder::new(task.input);
    let x = b.node("standardize", Op::Standardize, &[x])?;
    wide_resnet::layers(&mut b, blocks, width, task.classes, x)?;
    b.finish(name)
}
