//! Where a backward leaves the gradients of the parameters: added to what is there, or written over it.

use std::ops::Range;
use std::sync::Arc;

use crate::graph::NodeId;
use crate::params::{Layout, Role};

/// The gradients of all parameters while one backward runs.
pub(crate) struct Gradients<'a> {
    values: &'a mut [f32],
    layout: Arc<Layout>,
    /// Of each parameter, whether its values hold gradients; if not, they hold anything.
    begun: Vec<bool>,
}

impl<'a> Gradients<'a> {
    /// Values in this layout, which hold gradients to be added to (`begun`) or anything.
    pub(crate) fn new(values: &'a mut [f32], layout: Arc<Layout>, begun: bool) -> Self {
        let begun = vec![begun; layout.trainable().len()];
        Self { values, layout, begun }
    }

    /// Where a parameter's gradient lies, and whether it is added to. From now on it is.
    pub(super) fn begin(&mut self, node: NodeId, role: Role) -> (Range<usize>, bool) {
        let place = self.layout.place(node, role).expect("what has a gradient is a parameter");
        let begun = std::mem::replace(&mut self.begun[place], true);
        (self.layout.trainable()[place].range.clone(), begun)
    }

    /// Small gradients of a node, to add to: zeros where nothing has begun.
    pub(super) fn begin_small<const N: usize>(&mut self, node: NodeId, roles: [Role; N]) -> [&mut [f32]; N] {
        let ranges = roles.map(|role| {
            let (range, begun) = self.begin(node, role);
            if !begun {
                self.values[range.clone()].fill(0.0);
            }
            range
        });
        self.values.get_disjoint_mut(ranges).expect("parameters do not overlap")
    }

    /// All values.
    pub(super) fn values(&mut self) -> &mut [f32] {
        self.values
    }

    /// Sets to zero what no gradient reached.
    pub(crate) fn finish(self) {
        for (entry, _) in self.layout.trainable().iter().zip(self.begun).filter(|(_, begun)| !begun) {
            self.values[entry.range.clone()].fill(0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Builder, Op};

    #[test]
    fn what_no_gradient_reaches_ends_as_zero() {
        let (mut b, x) = Builder::new([3, 4, 4]);
        let x = b.batch_norm("norm", x).unwrap();
        let x = b.node("mean", Op::GlobalAvgPool, &[x]).unwrap();
        b.linear("classifier", 2, x).unwrap();
        let network = b.finish("small").unwrap();
        let layout = network.layout();
        let (norm, classifier) = (layout.trainable()[0].node, layout.trainable()[2].node);
        for (begun, untouched) in [(false, 0.0), (true, 7.0)] {
            let mut values = vec![7.0; layout.trainable_len()];
            let mut gradients = Gradients::new(&mut values, layout.clone(), begun);
            let [scale] = gradients.begin_small(norm, [Role::Weight]);
            scale[1] += 1.0;
            let (weight, added) = gradients.begin(classifier, Role::Weight);
            assert_eq!((weight.clone(), added), (6..12, begun));
            gradients.values()[weight].fill(3.0);
            assert!(gradients.begin(classifier, Role::Weight).1, "it has begun");
            gradients.finish();
            let scale = [untouched, untouched + 1.0, untouched];
            let wanted = [&scale[..], &[untouched; 3], &[3.0; 6], &[untouched; 2]].concat();
            assert_eq!(values, wanted);
        }
    }
}
