//! Where feature maps are taken: nodes of the student and of a teacher, named as a PyTorch user names modules.

use engine::graph::Shape;
use engine::{Network, NodeId};
use names::Unknown;

/// Nodes of both networks, tap by tap: the student's first is compared with the teacher's first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taps {
    /// Of the student.
    pub student: Vec<NodeId>,
    /// Of the teacher.
    pub teacher: Vec<NodeId>,
}

/// The shape of one image's feature map: channels, rows, columns.
pub type MapShape = [usize; 3];

/// The shapes of the maps at [`Taps`], tap by tap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MapShapes {
    /// Of the student.
    pub student: Vec<MapShape>,
    /// Of the teacher.
    pub teacher: Vec<MapShape>,
}

/// Names that are no taps of a network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TapError {
    /// There is no such module, or several values leave it.
    #[error("{architecture} has no module `{name}` that gives one value\n{hint}")]
    Unknown {
        /// The network.
        architecture: String,
        /// The name given.
        name: String,
        /// The near ones.
        hint: String,
    },
    /// A list with nothing between two commas, or before, behind or instead of them.
    #[error("`{list}` has an empty name\nhint: one comma between two modules, as in layer3,layer2")]
    Empty {
        /// The list given.
        list: String,
    },
    /// A module that gives a vector.
    #[error(
        "module `{name}` of {architecture} gives {features} features and no map\nhint: tap what comes before the pooling"
    )]
    NoMap {
        /// The network.
        architecture: String,
        /// The name given.
        name: String,
        /// What it gives.
        features: usize,
    },
}

/// The names in a list of modules, `layer3,layer2`, without the blanks around them; none of them is empty.
pub fn names(list: &str) -> Result<Vec<&str>, TapError> {
    let names: Vec<&str> = list.split(',').map(str::trim).collect();
    if names.contains(&"") { Err(TapError::Empty { list: list.into() }) } else { Ok(names) }
}

/// The nodes that give the maps of these modules.
pub fn find<'n>(
    network: &Network,
    names: impl IntoIterator<Item = &'n str>,
) -> Result<Vec<NodeId>, TapError> {
    names.into_iter().map(|name| one(network, name)).collect()
}

fn one(network: &Network, name: &str) -> Result<NodeId, TapError> {
    let architecture = || network.architecture().to_owned();
    let Some(node) = network.module(name) else {
        let stages = network.stages();
        let mut known = if stages.len() < 2 { blocks(network) } else { stages };
        if known.is_empty() {
            known = maps(network);
        }
        let hint = if known.is_empty() {
            "hint: none of its modules gives a map: choose another network".into()
        } else {
            Unknown::new("module", name, known.iter().copied()).hint().into()
        };
        return Err(TapError::Unknown { architecture: architecture(), name: name.into(), hint });
    };
    match network.node(node).shape {
        Shape::Map { .. } => Ok(node),
        Shape::Flat(features) => {
            Err(TapError::NoMap { architecture: architecture(), name: name.into(), features })
        }
    }
}

/// The modules two names deep, as `layers.0`: what a network without stages has.
fn blocks(network: &Network) -> Vec<&str> {
    let mut found = Vec::new();
    for node in network.nodes() {
        let Some((end, _)) = node.name.match_indices('.').nth(1) else { continue };
        if !found.contains(&&node.name[..end]) {
            found.push(&node.name[..end]);
        }
    }
    found
}

/// The modules one name deep that give maps, as `conv2`: what a network without blocks has.
fn maps(network: &Network) -> Vec<&str> {
    let mut found = Vec::new();
    let gives_a_map = |name: &str| {
        network.module(name).is_some_and(|id| matches!(network.node(id).shape, Shape::Map { .. }))
    };
    for node in network.nodes().iter().filter(|node| !node.inputs.is_empty()) {
        let name = node.name.split('.').next().unwrap_or_default();
        if !found.contains(&name) && gives_a_map(name) {
            found.push(name);
        }
    }
    found
}

/// Two modules of a network without stages, as somebody would name them: the last one first.
pub fn examples(network: &Network) -> String {
    let blocks = blocks(network);
    let mut last = blocks.into_iter().rev().filter(|name| one(network, name).is_ok());
    let named: Vec<&str> = last.by_ref().take(2).collect();
    if named.is_empty() { "conv2".into() } else { named.join(",") }
}

/// The shapes of the maps at these nodes.
pub fn shapes(network: &Network, taps: &[NodeId]) -> Vec<MapShape> {
    let shape = |&tap: &NodeId| match network.node(tap).shape {
        Shape::Map { channels, height, width } => [channels, height, width],
        Shape::Flat(features) => [features, 1, 1],
    };
    taps.iter().map(shape).collect()
}

#[cfg(test)]
mod tests {
    use engine::graph::{Builder, Op};

    use super::*;
    use zoo::Task;

    fn network(name: &str) -> Network {
        zoo::build(name, Task { input: [3, 32, 32], classes: 10 }).unwrap().1
    }

    /// Shapes as the papers' tables have them: He et al., CIFAR form, three stages; Zagoruyko and Komodakis, table 1.
    #[test]
    fn stages_have_the_maps_of_their_papers() {
        for (name, stages, wanted) in [
            ("resnet20", &["layer3", "layer2"][..], &[[64, 8, 8], [32, 16, 16]][..]),
            ("resnet18", &["layer4", "layer3", "layer1"], &[[512, 4, 4], [256, 8, 8], [64, 32, 32]]),
            ("wrn-16-4", &["block3", "block2"], &[[256, 8, 8], [128, 16, 16]]),
            ("mobilenet-v2", &["layers.16", "layers.0"], &[[320, 4, 4], [16, 32, 32]]),
        ] {
            let network = network(name);
            let taps = find(&network, stages.iter().copied()).unwrap();
            assert_eq!(shapes(&network, &taps), wanted, "{name}");
        }
        assert_eq!(network("wrn-16-4").stages(), ["block1", "block2", "block3"]);
        assert_eq!(network("resnet18").stages(), ["layer1", "layer2", "layer3", "layer4"]);
    }

    #[test]
    fn a_list_has_a_name_between_any_two_commas() {
        assert_eq!(names(" layer3 ,layer2").unwrap(), ["layer3", "layer2"]);
        for list in ["", " ", "layer3,", ",layer3", "layer3, ,layer2"] {
            let error = names(list).unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{list}` has an empty name\nhint: ")), "{error}");
        }
    }

    #[test]
    fn what_is_no_map_is_refused_with_what_there_is() {
        let error = find(&network("resnet8"), ["layer4"]).unwrap_err().to_string();
        assert!(error.starts_with("resnet8 has no module `layer4`") && error.contains("layer3"), "{error}");
        let error = find(&network("mobilenet-v2"), ["layers.17"]).unwrap_err().to_string();
        assert!(error.contains("did you mean `layers.1") && error.lines().count() == 2, "{error}");
        let error = find(&network("tiny-cnn"), ["nosuch"]).unwrap_err().to_string();
        assert!(error.contains("hint: known: conv1, ") && error.contains("conv2"), "{error}");
        let (mut b, x) = Builder::new([3, 32, 32]);
        let x = b.node("flatten", Op::Flatten, &[x]).unwrap();
        b.linear("linear", 10, x).unwrap();
        let error = find(&b.finish("flat").unwrap(), ["nosuch"]).unwrap_err().to_string();
        assert!(error.ends_with("hint: none of its modules gives a map: choose another network"), "{error}");
        let error = find(&network("resnet8"), ["linear"]).unwrap_err().to_string();
        assert!(error.contains("10 features and no map\nhint: tap what comes before"), "{error}");
    }
}
