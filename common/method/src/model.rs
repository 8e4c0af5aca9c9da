//! The zoo: each architecture one file that returns a [`Network`], and one row in [`ZOO`].

mod file;
mod init;
mod mobilenet_v2;
mod preact_resnet;
mod resnet;
mod resnet4b;
mod small_cnn;
mod tiny_cnn;
mod wide_resnet;

pub use file::{LoadError, Loaded, NamedTensor, fill, load, named, save, tensors};
pub use init::{Init, initialise};

use engine::Network;
use engine::graph::GraphError;

/// What a network is built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    /// Channels, height and width of an image.
    pub input: [usize; 3],
    /// Number of classes.
    pub classes: usize,
}

/// An architecture that the command line knows.
#[derive(Debug)]
pub struct Architecture {
    /// Its name; `D` and `W` stand for numbers.
    pub name: &'static str,
    /// What it is, in a line.
    pub summary: &'static str,
    /// Builds it for a task where `name` is one of its names.
    pub build: fn(name: &str, task: Task) -> Option<Result<Network, GraphError>>,
    /// How its parameters start.
    pub init: Init,
    /// Prefixes of tensors in published files that the network does not use.
    pub unused: &'static [&'static str],
}

const fn row(
    name: &'static str,
    summary: &'static str,
    build: fn(&str, Task) -> Option<Result<Network, GraphError>>,
) -> Architecture {
    Architecture { name, summary, build, init: Init::PyTorch, unused: &[] }
}

/// Every architecture.
pub const ZOO: &[Architecture] = &[
    row(
        "tiny-cnn",
        "four 3x3 convolutions, 0.44 M MAC on 28x28; also tiny-cnn-xW, W times as wide",
        tiny_cnn::build,
    ),
    row("small-cnn", "the MNIST network of TRADES, no BatchNorm", small_cnn::build),
    row(
        "resnet4b",
        "the adversarially trained CIFAR ResNet-4B of VNN-COMP 2021, no BatchNorm",
        resnet4b::build,
    ),
    row("resnet8", "the CIFAR ResNet-8 of MLPerf Tiny, widths 16-32-64", resnet::build),
    row("resnet20", "the CIFAR ResNet-20 with projection shortcuts, widths 16-32-64", resnet::build),
    row("resnet18", "the CIFAR ResNet-18 of RSLAD, widths 64 to 512", resnet::build),
    row("preact-resnet18", "the CIFAR pre-activation ResNet-18", preact_resnet::build),
    row(
        "mobilenet-v2",
        "the CIFAR MobileNetV2 of RSLAD (ReLU); also mobilenet-v2-xW for width factor W",
        mobilenet_v2::build,
    ),
    Architecture {
        init: Init::WideResNet,
        // TRADES' published WRN-34-10 carries a second copy of its first block that no forward reaches.
        unused: &["sub_block1."],
        ..row("wrn-D-W", "wide ResNet of depth D and width W, such as wrn-34-10", wide_resnet::build)
    },
];

/// Why there is no such network.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// No architecture has this name.
    #[error("unknown architecture `{name}`\n{}", crate::suggest::hint(.name, &ZOO.iter().map(|row| row.name).collect::<Vec<_>>()))]
    Unknown {
        /// The name.
        name: String,
    },
    /// The architecture does not accept this input or number of classes.
    #[error("architecture {name} cannot take {}x{}x{} images: {source}", .task.input[0], .task.input[1], .task.input[2])]
    Graph {
        /// The name.
        name: String,
        /// What it was to be built for.
        task: Task,
        /// Which node failed.
        source: Box<GraphError>,
    },
}

/// The row of an architecture and the network it builds for `task`.
pub fn build(name: &str, task: Task) -> Result<(&'static Architecture, Network), ModelError> {
    for architecture in ZOO {
        if let Some(network) = (architecture.build)(name, task) {
            let network = network.map_err(|source| ModelError::Graph {
                name: name.into(),
                task,
                source: Box::new(source),
            })?;
            return Ok((architecture, network));
        }
    }
    Err(ModelError::Unknown { name: name.into() })
}

/// The width factor W of `BASE-xW`, or 1 for `BASE` itself; none for another name.
fn scaled_name(name: &str, base: &str) -> Option<f64> {
    let suffix = name.strip_prefix(base)?;
    if suffix.is_empty() {
        return Some(1.0);
    }
    suffix.strip_prefix("-x")?.parse().ok().filter(|factor: &f64| *factor > 0.0 && *factor <= 16.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CIFAR: Task = Task { input: [3, 32, 32], classes: 10 };

    /// Counted by PyTorch on networks of its own; rounded they are the published ones (555.42 M and 11.174 M, 91.15 M
    /// and 2.297 M, 6.659 G and 46.16 M).
    #[test]
    fn costs_are_the_published_ones() {
        for (name, macs, parameters) in [
            ("resnet18", 555_422_720, 11_173_962),
            ("mobilenet-v2", 91_154_944, 2_296_922),
            ("wrn-34-10", 6_658_906_368, 46_160_474),
        ] {
            let cost = engine::cost::network(&build(name, CIFAR).unwrap().1);
            assert_eq!((cost.macs, cost.parameters), (macs, parameters), "{name}");
        }
    }

    #[test]
    fn the_tiny_network_fits_its_budget() {
        let digits = Task { input: [1, 28, 28], classes: 10 };
        let cost = engine::cost::network(&build("tiny-cnn", digits).unwrap().1);
        assert!(cost.macs <= 600_000, "{}", cost.macs);
    }

    #[test]
    fn a_wrong_name_is_answered_with_a_near_one() {
        let error = build("resnet81", CIFAR).unwrap_err().to_string();
        assert!(error.contains("did you mean `resnet18`?"), "{error}");
        for bad in ["wrn-33-10", "wrn-34-0", "wrn-34", "mobilenet-v2-x0", "mobilenet-v2-xbig"] {
            assert!(matches!(build(bad, CIFAR), Err(ModelError::Unknown { .. })), "{bad}");
        }
    }

    #[test]
    fn every_architecture_takes_other_classes_and_says_why_an_image_is_too_small() {
        for row in ZOO {
            let name = if row.name == "wrn-D-W" { "wrn-10-1" } else { row.name };
            let task = Task { input: [2, 36, 36], classes: 7 };
            let (_, network) = build(name, task).unwrap();
            assert_eq!((network.input(), network.classes()), (task.input, 7), "{name}");
        }
        let small = build("small-cnn", Task { input: [1, 6, 6], classes: 10 }).unwrap_err().to_string();
        assert!(small.contains("small-cnn") && small.contains("1x6x6"), "{small}");
    }
}
