//! Parameters that an objective trains beside the student: heads that read feature maps and are thrown away at the end.
//!
//! They are moved by the student's own optimiser settings, lie in the checkpoint with their velocity, and never in the
//! student's file.

use std::collections::BTreeMap;
use std::ops::Range;

use candle_core::backprop::GradStore;
use candle_core::{Device, Result, Tensor, Var};
use engine::Descent;
use engine::params::{Arena, Float, Precision};
use weights::{Dtype, StateDict};
use zoo::NamedTensor;

use crate::rng::{Purpose, Stream};

/// A tensor that an objective wants to train.
#[derive(Clone, Debug, PartialEq)]
pub struct Fresh {
    /// Its name, as in a checkpoint.
    pub name: String,
    /// Its shape, in PyTorch's order.
    pub shape: Vec<usize>,
    /// Its values at the beginning.
    pub initial: Initial,
}

/// Values at the beginning.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Initial {
    /// Uniform between minus this and this.
    Uniform(f64),
    /// All the same.
    Constant(f64),
}

/// Why an objective has no heads for these maps.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeadsError {
    /// A map with too few or too many positions.
    #[error(
        "tap {tap} has maps of {}x{}; wanted {least} to {most} positions\nhint: tap {}",
        .map[0], .map[1], if .map[0] * .map[1] > *.most { "a deeper module, whose maps are smaller" } else { "a module before it, whose maps are larger" }
    )]
    Map {
        /// The number of the tap, from 1.
        tap: usize,
        /// Rows and columns of its maps.
        map: [usize; 2],
        /// The fewest positions.
        least: usize,
        /// The most.
        most: usize,
    },
}

/// The tensors that an objective trains beside the student, their gradients and velocities.
#[derive(Clone, Debug)]
pub struct Heads {
    entries: Vec<Entry>,
    values: Arena,
    gradients: Arena,
    velocity: Arena,
}

#[derive(Clone, Debug)]
struct Entry {
    name: String,
    shape: Vec<usize>,
    range: Range<usize>,
}

/// The tensors as leaves of a loss, by name.
#[derive(Clone, Debug, Default)]
pub struct Leaves(BTreeMap<String, Var>);

impl Leaves {
    /// The tensor of that name.
    pub fn get(&self, name: &str) -> &Tensor {
        self.0.get(name).expect("an objective reads tensors that it declared").as_tensor()
    }

    /// Puts other values into the tensor of that name, row-major.
    pub fn set(&self, name: &str, values: &[f64]) -> Result<()> {
        let leaf = self.0.get(name).expect("an objective sets tensors that it declared");
        leaf.set(&Tensor::from_slice(values, leaf.shape(), &Device::Cpu)?.to_dtype(leaf.dtype())?)
    }
}

impl Heads {
    /// No head.
    pub fn none(precision: Precision) -> Self {
        Self::fresh(&[], 0, precision)
    }

    /// At the beginning of a run. Tensor t has its values from stream (head, 0, t), row-major, computed in f64 and rounded.
    pub fn fresh(wanted: &[Fresh], seed: u64, precision: Precision) -> Self {
        let mut entries = Vec::with_capacity(wanted.len());
        let mut len = 0;
        for Fresh { name, shape, .. } in wanted {
            let range = len..len + shape.iter().product::<usize>();
            len = range.end;
            entries.push(Entry { name: name.clone(), shape: shape.clone(), range });
        }
        let zeros = || Arena::zeros(len, precision);
        let mut values = zeros();
        for (number, (entry, Fresh { initial, .. })) in entries.iter().zip(wanted).enumerate() {
            match *initial {
                Initial::Constant(value) => values.fill(entry.range.clone(), value),
                Initial::Uniform(bound) => {
                    let mut drawn = vec![0.0; entry.range.len()];
                    Stream::new(seed, Purpose::Head, 0, number).uniforms(&mut drawn);
                    for (place, value) in entry.range.clone().zip(drawn) {
                        values.set(place, bound * (2.0 * value - 1.0));
                    }
                }
            }
        }
        Self { entries, values, gradients: zeros(), velocity: zeros() }
    }

    /// Whether there is nothing to train.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether all of them are finite.
    pub fn is_finite(&self) -> bool {
        !self.values.has_non_finite()
    }

    /// Each tensor's name, values and velocity.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Vec<f64>, Vec<f64>)> {
        self.entries.iter().map(|Entry { name, range, .. }| {
            (name.as_str(), self.values.to_f64(range.clone()), self.velocity.to_f64(range.clone()))
        })
    }

    /// The tensors as they are now, as leaves of a loss.
    pub fn leaves(&self) -> Result<Leaves> {
        let leaf = |Entry { name, shape, range }: &Entry| {
            let range = range.clone();
            let tensor = match &self.values {
                Arena::F32(values) => Tensor::from_slice(&values[range], shape.as_slice(), &Device::Cpu),
                Arena::F64(values) => Tensor::from_slice(&values[range], shape.as_slice(), &Device::Cpu),
            };
            Ok((name.clone(), Var::from_tensor(&tensor?)?))
        };
        self.entries.iter().map(leaf).collect::<Result<_>>().map(Leaves)
    }

    /// Takes over the gradients of a loss at these leaves; of one that it does not read the gradient is zero.
    pub fn take_gradients(&mut self, leaves: &Leaves, found: &GradStore) -> Result<()> {
        for Entry { name, range, .. } in &self.entries {
            let Some(gradient) = found.get(leaves.get(name)) else {
                self.gradients.fill(range.clone(), 0.0);
                continue;
            };
            let values = gradient.flatten_all()?;
            match &mut self.gradients {
                Arena::F32(all) => all[range.clone()].copy_from_slice(&values.to_vec1()?),
                Arena::F64(all) => all[range.clone()].copy_from_slice(&values.to_vec1()?),
            }
        }
        Ok(())
    }

    /// The gradients that were taken over, tensor by tensor in one flat run.
    pub fn gradients(&self) -> &Arena {
        &self.gradients
    }

    /// The same, to change them.
    pub fn gradients_mut(&mut self) -> &mut Arena {
        &mut self.gradients
    }

    /// One step along the gradients that were taken over, as the student's parameters make it.
    pub fn step(&mut self, by: Descent) {
        let Self { values, gradients, velocity, .. } = self;
        match (values, gradients, velocity) {
            (Arena::F32(values), Arena::F32(gradients), Arena::F32(velocity)) => {
                descend(values, gradients, velocity, by);
            }
            (Arena::F64(values), Arena::F64(gradients), Arena::F64(velocity)) => {
                descend(values, gradients, velocity, by);
            }
            _ => unreachable!("all three were made in one precision"),
        }
    }

    /// The values, their names behind `prefix`.
    pub(crate) fn tensors<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = NamedTensor<'a>> {
        named(&self.entries, &self.values, prefix)
    }

    /// The velocities, likewise.
    pub(crate) fn velocities<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = NamedTensor<'a>> {
        named(&self.entries, &self.velocity, prefix)
    }

    /// Lays in values and velocities under their bare names; says which is missing or has another shape.
    pub(crate) fn fill(
        &mut self,
        values: &StateDict,
        velocity: &StateDict,
    ) -> std::result::Result<(), String> {
        let Self { entries, values: own, velocity: motion, .. } = self;
        for Entry { name, shape, range } in entries.iter() {
            for (what, from, to) in [("head", values, &mut *own), ("velocity", velocity, &mut *motion)] {
                let tensor = from.get(name).filter(|tensor| tensor.shape() == shape.as_slice());
                let tensor = tensor.ok_or_else(|| format!("no {what} of shape {shape:?} for {name}"))?;
                for (place, value) in range.clone().zip(tensor.to_f64()) {
                    to.set(place, value);
                }
            }
        }
        Ok(())
    }
}

fn named<'a>(
    entries: &'a [Entry],
    arena: &'a Arena,
    prefix: &'a str,
) -> impl Iterator<Item = NamedTensor<'a>> {
    entries.iter().map(move |Entry { name, shape, range }| {
        let (dtype, bytes): (_, &[u8]) = match arena {
            Arena::F32(values) => (Dtype::F32, bytemuck::cast_slice(&values[range.clone()])),
            Arena::F64(values) => (Dtype::F64, bytemuck::cast_slice(&values[range.clone()])),
        };
        (format!("{prefix}{name}"), dtype, shape.clone(), bytes.into())
    })
}

/// The arithmetic of [`Engine::descend`](engine::Engine::descend), in PyTorch's order of roundings.
fn descend<T: Float>(values: &mut [T], gradients: &[T], velocity: &mut [T], by: Descent) {
    let [momentum, decay, rate] = [by.momentum, by.weight_decay, by.rate].map(T::from_f64);
    for ((p, &g), v) in values.iter_mut().zip(gradients).zip(velocity) {
        let pull = g + decay * *p;
        *v = momentum * *v + pull;
        *p = *p - rate * if by.nesterov { pull + momentum * *v } else { *v };
    }
}

#[cfg(test)]
mod tests {
    use engine::graph::{Builder, Op};
    use engine::params::Values;
    use engine::{Grads, Params, host};

    use super::*;

    fn wanted() -> [Fresh; 3] {
        let of =
            |name: &str, shape: &[usize], initial| Fresh { name: name.into(), shape: shape.into(), initial };
        [
            of("a", &[2, 3], Initial::Uniform(0.5)),
            of("unread", &[2], Initial::Constant(1.0)),
            of("b", &[3], Initial::Uniform(2.0)),
        ]
    }

    #[test]
    fn values_begin_as_declared_and_differ_between_tensors_and_seeds() {
        let values = |seed| -> Vec<Vec<f64>> {
            Heads::fresh(&wanted(), seed, Precision::F64).iter().map(|(_, values, _)| values).collect()
        };
        let found = values(1);
        assert!(found[0].iter().all(|value| value.abs() <= 0.5) && found[1] == [1.0, 1.0]);
        assert!(found[2].iter().any(|value| value.abs() > 0.5), "{found:?}");
        assert!((found[0][0] / 0.5 - found[2][0] / 2.0).abs() > 1e-3, "{found:?}");
        assert_ne!(found[0], values(2)[0]);
    }

    /// What the host does to a student's parameters is compared with PyTorch's SGD where it stands.
    #[test]
    fn heads_move_as_the_students_parameters_do_and_what_no_loss_reads_only_decays() {
        let (mut builder, input) = Builder::new([1, 1, 3]);
        let flat = builder.node("flat", Op::Flatten, &[input]).unwrap();
        builder.node("linear", Op::Linear { out: 2, bias: false }, &[flat]).unwrap();
        let network = builder.finish("line").unwrap();
        let mut params = Params::zeros(network.layout(), Precision::F64);
        let mut heads = Heads::fresh(&wanted(), 1, Precision::F64);
        for (place, value) in heads.iter().next().unwrap().1.into_iter().enumerate() {
            params.trainable_mut().set(place, value);
        }
        let mut velocity = Values::zeros(6, Precision::F64);
        let mut grads = Grads::zeros(network.layout(), Precision::F64);
        for rate in [0.1, 0.03] {
            let by = Descent { momentum: 0.9, weight_decay: 5e-4, rate, nesterov: true };
            let leaves = heads.leaves().unwrap();
            let loss = (leaves.get("a").sqr().unwrap().sum_all().unwrap()
                + leaves.get("b").exp().unwrap().sum_all().unwrap())
            .unwrap();
            heads.take_gradients(&leaves, &loss.backward().unwrap()).unwrap();
            for place in 0..6 {
                grads.values_mut().set(place, 2.0 * params.trainable().get(place));
            }
            heads.step(by);
            host::descend(&mut params, &grads, &mut velocity, by).unwrap();
            let (_, found, motion) = heads.iter().next().unwrap();
            assert_eq!(found, params.trainable().to_f64(0..6));
            assert_eq!(motion, velocity.host().to_f64(0..6));
        }
        let (name, unread, _) = heads.iter().nth(1).unwrap();
        assert_eq!(name, "unread");
        assert!(unread.iter().all(|&value| value < 1.0 && value > 0.999), "{unread:?}");
    }
}
