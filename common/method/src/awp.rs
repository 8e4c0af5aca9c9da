//! Adversarial weight perturbation: before each step the weights are moved against the training, too.
//!
//! Source: Wu et al., `NeurIPS` 2020, arXiv:2004.05884.

use std::ops::Range;

use engine::params::{Layout, Role, Values};
use engine::{Grads, Params};

use crate::objective::Epoch;

/// Keeps a gradient of zero from being divided by.
const TINY: f64 = 1e-20;

/// How far the weights are moved, and when.
///
/// Every weight w with more than one dimension (those of convolutions and linear layers; biases and BatchNorm stay) becomes
/// `w + gamma |w| g / |g|`, with the Euclidean norms of its own tensor and g the gradient of the objective's loss on the
/// images of the step under the batch's own statistics. There the step is done: its forwards, which move the running
/// statistics, its gradients, and its weight decay, which pulls at the weights where they were moved to. Then the weights
/// are where they were, less the step.
///
/// As in its authors' code (csdongxian/AWP, AT and TRADES): there g is one step of SGD of a second network, whose running
/// statistics reach nobody; its rate cancels in the norms. That code brings the weights back by a subtraction after the
/// step, which leaves a rounding; here they are the same bits. Its gamma is 0.005, for AT 0.01 in others' runs. A loss that
/// an objective has beyond AT's and TRADES' is climbed whole.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Awp {
    /// Length of the perturbation of a tensor, relative to the tensor's norm.
    pub gamma: f64,
    /// Epochs of the run that do without it.
    pub warmup: usize,
}

impl Awp {
    /// Whether the steps of an epoch are perturbed.
    pub fn acts(self, epoch: Epoch) -> bool {
        epoch.number >= self.warmup
    }

    /// Moves the weights up along `grads`, the gradients of the loss.
    ///
    /// Computed on the host, wherever the values lie: a step then copies them to the host and back.
    pub fn perturb(self, params: &mut Params, grads: &Grads) -> Perturbed {
        let own = params.held_trainable().clone();
        let layout = params.layout().clone();
        let (values, grads) = (params.trainable_mut(), grads.values());
        for range in perturbed(&layout) {
            let (weights, slope) = (values.to_f64(range.clone()), grads.to_f64(range.clone()));
            let scale = self.gamma * norm(&weights) / (norm(&slope) + TINY);
            for (place, (weight, slope)) in range.zip(weights.iter().zip(&slope)) {
                values.set(place, weight + scale * slope);
            }
        }
        Perturbed { own }
    }
}

/// What the weights were before they were perturbed.
pub struct Perturbed {
    own: Values,
}

impl Perturbed {
    /// Gives the weights back, to the last bit, and adds to the gradients what a decay of `weight_decay` pulls more at the
    /// perturbed weights than at these.
    pub fn restore(self, params: &mut Params, grads: &mut Grads, weight_decay: f64) {
        let layout = params.layout().clone();
        let (there, here, grads) = (params.trainable(), self.own.host(), grads.values_mut());
        for place in perturbed(&layout).flatten() {
            grads.set(place, grads.get(place) + weight_decay * (there.get(place) - here.get(place)));
        }
        *params.held_trainable_mut() = self.own;
    }
}

/// The places of the tensors that are perturbed.
fn perturbed(layout: &Layout) -> impl Iterator<Item = Range<usize>> {
    let weights = layout.trainable().iter();
    weights
        .filter(|entry| entry.role == Role::Weight && entry.shape.len() > 1)
        .map(|entry| entry.range.clone())
}

fn norm(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use engine::params::Precision;

    use super::*;
    use crate::init::initialise;
    use zoo::{Init, Task};

    /// What arXiv:2004.05884 asks of it in equation 8 (a tensor's perturbation is gamma times as long as the tensor), and
    /// its code's choice of tensors.
    #[test]
    fn each_weight_moves_by_gamma_of_its_norm_along_its_gradient_and_comes_back_to_the_bit() {
        let (_, network) = zoo::build("resnet8", Task { input: [3, 8, 8], classes: 4 }).unwrap();
        let own = initialise(&network, Init::PyTorch, 0, Precision::F32);
        let gradients = initialise(&network, Init::PyTorch, 1, Precision::F32);
        let mut grads = Grads::zeros(own.layout(), Precision::F32);
        *grads.values_mut() = gradients.trainable().clone();
        let mut params = own.clone();
        let awp = Awp { gamma: 0.25, warmup: 0 };
        let moved = awp.perturb(&mut params, &grads);
        let mut tensors = 0;
        for entry in own.layout().trainable() {
            let [was, is, slope] = [own.trainable(), params.trainable(), gradients.trainable()]
                .map(|arena| arena.to_f64(entry.range.clone()));
            let step: Vec<f64> = is.iter().zip(&was).map(|(is, was)| is - was).collect();
            if entry.shape.len() == 1 {
                assert_eq!(is, was, "{}", entry.name);
                continue;
            }
            tensors += 1;
            assert!((norm(&step) / norm(&was) - 0.25).abs() < 1e-5, "{}", entry.name);
            let along = step.iter().zip(&slope).map(|(a, b)| a * b).sum::<f64>();
            assert!((along / (norm(&step) * norm(&slope)) - 1.0).abs() < 1e-9, "{}", entry.name);
        }
        // Seven 3x3 convolutions, two of shortcuts, one linear layer.
        assert_eq!(tensors, 10);
        moved.restore(&mut params, &mut grads, 0.0);
        assert_eq!(params.trainable(), own.trainable());
        assert_eq!(grads.values(), gradients.trainable(), "without decay nothing is added");
    }
}
