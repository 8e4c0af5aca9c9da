//! A network printed as a table: one line per node with its shape and parameters.

use std::fmt;

use super::{Network, NodeId};
use crate::cost;

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [c, h, w] = self.input();
        writeln!(f, "{} {c}x{h}x{w} -> {} classes", self.architecture(), self.classes())?;
        let names = self.nodes().iter().map(|node| node.name.len()).max().unwrap_or(0);
        for (index, node) in self.nodes().iter().enumerate() {
            let cost = cost::node(self, NodeId(index));
            write!(f, "{:names$}  {:<15} {:>12}", node.name, node.op.name(), node.shape.to_string())?;
            if cost.parameters > 0 {
                write!(f, "  {:>9} params {:>12} MACs", cost.parameters, cost.macs)?;
            }
            writeln!(f)?;
        }
        let total = cost::network(self);
        writeln!(f, "{} parameters, {} MACs per image", total.parameters, total.macs)
    }
}
