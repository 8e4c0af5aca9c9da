//! The table of architectures, and building one by its name.

use engine::Network;
use engine::graph::GraphError;
use names::Table;

use super::architecture::{Architecture, Task};
use super::loaded::LoadError;
use super::spelling::spelled;
use super::{
    bottleneck_resnet, dm_preact_resnet, dm_wide_resnet, huang_resnet, lenet5_madry, mma_wide_resnet,
    mobilenet_v2, onnx, padded_resnet, preact_resnet, ra_wide_resnet, resnet, resnet4b, sequential,
    small_cnn, tiny_cnn, wide_resnet,
};

/// Every architecture.
pub const ZOO: &Table<Architecture> = &[
    &tiny_cnn::ROW,
    &small_cnn::ROW,
    &lenet5_madry::ROW,
    &resnet4b::ROW,
    &sequential::ROW,
    &resnet::RESNET8,
    &resnet::RESNET20,
    &padded_resnet::ROW,
    &resnet::RESNET18,
    &resnet::RESNET34,
    &bottleneck_resnet::ROW,
    &preact_resnet::KUANGLIU,
    &preact_resnet::RAW,
    &preact_resnet::NORM,
    &preact_resnet::RAW_NORM,
    &mobilenet_v2::ROW,
    &wide_resnet::ROW,
    &mma_wide_resnet::ROW,
    &huang_resnet::WRN_R,
    &huang_resnet::WRN_A,
    &dm_wide_resnet::ROW,
    &dm_wide_resnet::MEAN_SPARSE,
    &dm_preact_resnet::ROW,
    &ra_wide_resnet::ROW,
    &ra_wide_resnet::MEAN_SPARSE,
];

/// Why there is no such network.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// No architecture has this name.
    #[error(transparent)]
    Unknown(#[from] names::Unknown),
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
    /// The file that the name means has no such network.
    #[error(transparent)]
    File(Box<LoadError>),
}

/// The row of an architecture and the network it builds for `task`; the network has the zoo's spelling of the name.
pub fn build(name: &str, task: Task) -> Result<(&'static Architecture, Network), ModelError> {
    let own = spelled(name);
    if let Some(file) = onnx::file_of(&own) {
        return Ok((&onnx::ROW, onnx::architecture(file, task)?));
    }
    let (row, network) =
        names::find_map(ZOO, name, |row| (row.build)(&own, task).map(|network| (row, network)))?;
    let network =
        network.map_err(|source| ModelError::Graph { name: name.into(), task, source: Box::new(source) })?;
    Ok((row, network))
}

/// The zoo's spelling of a name that some row answers to.
pub fn known(name: &str) -> Option<String> {
    // Whether a row answers depends on the name alone.
    let task = Task { input: [3, 32, 32], classes: 10 };
    let own = spelled(name);
    if onnx::file_of(&own).is_some() {
        return Some(own);
    }
    ZOO.iter().any(|row| (row.build)(&own, task).is_some()).then_some(own)
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
            assert!(matches!(build(bad, CIFAR), Err(ModelError::Unknown(_))), "{bad}");
        }
    }

    #[test]
    fn every_architecture_takes_other_classes_and_says_why_an_image_is_too_small() {
        for row in ZOO {
            let name = row.example;
            let task = Task { input: [2, 36, 36], classes: 7 };
            let (_, network) = build(name, task).unwrap();
            assert_eq!((network.input(), network.classes()), (task.input, 7), "{name}");
        }
        let small = build("small-cnn", Task { input: [1, 6, 6], classes: 10 }).unwrap_err().to_string();
        assert!(small.contains("small-cnn") && small.contains("1x6x6"), "{small}");
    }
}
