//! Nodes by the names of PyTorch's modules, as `named_modules()` lists them: what a forward hook there would see.

use super::{Network, NodeId, Op, Shape};

impl Network {
    /// The node whose value the PyTorch module `name` gives, to tap it: `layer3`, `layer3.0` or `layer3.0.conv1`.
    ///
    /// A node of that name is it. Else it is the one node below that name which is read from outside, or is the output;
    /// none where no such node is, or several are.
    pub fn module(&self, name: &str) -> Option<NodeId> {
        if let Some(node) = self.find(name) {
            return Some(node);
        }
        let is_inside = |id: NodeId| is_below(&self.nodes[id.index()].name, name);
        let is_read_outside = |id: NodeId| {
            id == self.output()
                || self
                    .nodes
                    .iter()
                    .any(|reader| reader.inputs.contains(&id) && !is_below(&reader.name, name))
        };
        let mut given = (0..self.nodes.len()).map(NodeId).filter(|&id| is_inside(id) && is_read_outside(id));
        given.next().filter(|_| given.next().is_none())
    }

    /// The stages: modules of the network itself that hold two convolutions or more and give one feature map, in their
    /// order, as `layer1` to `layer4` or `block1` to `block3`.
    pub fn stages(&self) -> Vec<&str> {
        let mut found: Vec<&str> = Vec::new();
        for node in &self.nodes {
            if let Some((name, _)) = node.name.split_once('.')
                && !found.contains(&name)
            {
                found.push(name);
            }
        }
        let convolutions = |name: &str| {
            let inside = self.nodes.iter().filter(|node| is_below(&node.name, name));
            inside.filter(|node| matches!(node.op, Op::Conv2d(_))).count()
        };
        let gives_a_map =
            |name: &str| self.module(name).is_some_and(|id| matches!(self.node(id).shape, Shape::Map { .. }));
        found.retain(|name| convolutions(name) > 1 && gives_a_map(name));
        found
    }
}

fn is_below(node: &str, module: &str) -> bool {
    node.strip_prefix(module).is_some_and(|rest| rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::super::{Builder, Conv2d};
    use super::*;

    /// Two stages, each a convolution, BatchNorm and a sum with what came in; the second has a branch that leaves it.
    fn network() -> Network {
        let (mut b, x) = Builder::new([3, 8, 8]);
        let stem = b.conv("conv1", Conv2d::new(4, 3).padding(1), x).unwrap();
        let y = b.conv("layer1.0.conv1", Conv2d::new(4, 3).padding(1), stem).unwrap();
        let y = b.conv("layer1.0.conv2", Conv2d::new(4, 3).padding(1), y).unwrap();
        let y = b.add(y, stem).unwrap();
        let first = b.relu(y).unwrap();
        let early = b.conv("layer2.0.conv1", Conv2d::new(4, 3).padding(1), first).unwrap();
        let late = b.conv("layer2.0.conv2", Conv2d::new(4, 3).padding(1), early).unwrap();
        let both = b.node("both", Op::Add, &[early, late]).unwrap();
        let x = b.node("pool", Op::GlobalAvgPool, &[both]).unwrap();
        b.linear("linear", 2, x).unwrap();
        b.finish("two").unwrap()
    }

    /// The modules of the same PyTorch network; what its hooks see is compared in the trajectories of `dpk`.
    #[test]
    fn a_module_is_the_value_that_leaves_it() {
        let network = network();
        let name = |module: &str| network.module(module).map(|id| network.node(id).name.as_str());
        assert_eq!(name("layer1"), Some("layer1.0.conv2.add.relu"));
        assert_eq!(name("layer1.0"), Some("layer1.0.conv2.add.relu"));
        assert_eq!(name("layer1.0.conv1"), Some("layer1.0.conv1"));
        assert_eq!(name("linear"), Some("linear"));
        assert_eq!(name("layer"), None, "half a name is none");
        assert_eq!(name("layer2"), None, "two values leave it");
        assert_eq!(name("layer3"), None);
    }

    #[test]
    fn stages_are_modules_of_several_convolutions_that_give_one_map() {
        assert_eq!(network().stages(), ["layer1"]);
    }
}
