//! Tapes, sums of gradients, and gradients at taps.

use candle_core::Tensor;
use engine::graph::Op;
use engine::params::{Grads, Precision};
use engine::{Engine, EngineError, Keep, NodeId, Norm, Reference};
use rslad_tests::{reference, reference_of, relative, values};

use crate::small::{Small, network, uniform};

fn all(grads: &Grads) -> Vec<f64> {
    grads.values().to_f64(0..grads.values().len())
}

#[test]
fn tapes_that_are_alive_together_give_what_each_gives_alone() {
    let small = network("resnet8", [3, 32, 32], Precision::F64);
    let engine = reference(2);
    let batches: [&[usize]; 3] = [&[0, 1, 2], &[3, 4], &[0, 5, 6, 7]];
    let modes = [Norm::Batch, Norm::Running, Norm::Batch];
    let alone: Vec<_> = batches.iter().zip(modes).map(|(ids, norm)| small.run(&engine, ids, norm)).collect();
    let tapes: Vec<_> = batches
        .iter()
        .zip(modes)
        .map(|(ids, norm)| {
            let images = small.images(ids).into();
            engine.forward(&small.network, &small.params, &images, norm, Keep::Both, &[]).unwrap().tape
        })
        .collect();
    // The last forward goes back first.
    for ((tape, ids), alone) in tapes.into_iter().zip(batches).zip(&alone).rev() {
        let mut grads = small.grads();
        let image = engine.backward(tape, &[Some(small.seed(ids))], Some(&mut grads)).unwrap().unwrap();
        assert_eq!(values(&image), values(&alone.image));
        assert_eq!(all(&grads), all(&alone.grads));
    }
}

#[test]
fn parameter_gradients_add_up() {
    let small = network("tiny-cnn", [1, 28, 28], Precision::F64);
    let engine = reference(1);
    let (first, second) =
        (small.run(&engine, &[0, 1, 2], Norm::Batch), small.run(&engine, &[3, 4], Norm::Running));
    let sum: Vec<f64> = all(&first.grads).iter().zip(all(&second.grads)).map(|(a, b)| a + b).collect();
    let mut grads = small.grads();
    for (ids, norm) in [([0, 1, 2].as_slice(), Norm::Batch), (&[3, 4], Norm::Running)] {
        let images = small.images(ids).into();
        let pass =
            engine.forward(&small.network, &small.params, &images, norm, Keep::ForParams, &[]).unwrap();
        let image = engine.backward(pass.tape, &[Some(small.seed(ids))], Some(&mut grads)).unwrap();
        assert!(image.is_none(), "nobody asked for an image gradient");
    }
    assert!(relative(&all(&grads), &sum) < 1e-14);
    engine.clear(&mut grads).unwrap();
    assert!(all(&grads).iter().all(|&gradient| gradient == 0.0));
}

#[test]
fn a_backward_that_forward_did_not_prepare_is_refused() {
    let small = network("tiny-cnn", [1, 28, 28], Precision::F64);
    let engine = reference(1);
    let images = small.images(&[0]).into();
    let forward =
        |keep| engine.forward(&small.network, &small.params, &images, Norm::Running, keep, &[]).unwrap().tape;
    let seed = || Some(small.seed(&[0]));
    let error = engine.backward(forward(Keep::ForImage), &[seed()], Some(&mut small.grads())).unwrap_err();
    assert!(matches!(error, EngineError::NotKept("parameters")), "{error}");
    let error = engine.backward(forward(Keep::Both), &[seed(), seed()], None).unwrap_err();
    assert!(matches!(error, EngineError::Seeds { wanted: 1, found: 2 }), "{error}");
    assert!(engine.backward(forward(Keep::ForImage), &[seed()], None).unwrap().is_some());
}

/// A central difference of 1e-6 is off by about 1e-16 / 1e-6 of the value, and by more where it steps over the kink of a ReLU.
const STEP: f64 = 1e-6;
const BOUND: f64 = 1e-6;

/// `sum(logits * R) + sum(tap * Q)`, and what it is made of.
struct Probe<'a> {
    small: &'a Small,
    engine: Reference,
    norm: Norm,
    taps: Vec<NodeId>,
    seeds: Vec<Option<Tensor>>,
}

impl<'a> Probe<'a> {
    /// Seeds at the logits and at every tap.
    fn new(small: &'a Small, norm: Norm, taps: &[NodeId], images: usize) -> Self {
        let ids: Vec<usize> = (0..images).collect();
        let mut seeds = vec![Some(small.seed(&ids))];
        for (i, &tap) in taps.iter().enumerate() {
            let pass = reference(1)
                .forward(
                    &small.network,
                    &small.params,
                    &small.images(&ids).into(),
                    norm,
                    Keep::Nothing,
                    &[tap],
                )
                .unwrap();
            let shape = pass.taps[0].shape().clone();
            let drawn = uniform(700 + i, shape.elem_count()).into_iter().map(|v| v - 0.5).collect::<Vec<_>>();
            seeds.push(Some(Tensor::from_vec(drawn, shape, pass.logits.device()).unwrap()));
        }
        Self { small, engine: reference_of(images), norm, taps: taps.to_vec(), seeds }
    }

    fn value(&self, small: &Small, images: &Tensor) -> f64 {
        let pass = self
            .engine
            .forward(&small.network, &small.params, &images.into(), self.norm, Keep::Nothing, &self.taps)
            .unwrap();
        let outputs = std::iter::once(&pass.logits).chain(&pass.taps);
        let term = |(output, seed): (&Tensor, &Option<Tensor>)| {
            let seed = seed.as_ref()?;
            Some((output * seed).unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap())
        };
        outputs.zip(&self.seeds).filter_map(term).sum()
    }

    /// Compares a few derivatives with differences.
    fn differences_agree(&self, images: &Tensor) {
        let name = self.small.network.architecture();
        let pass = self
            .engine
            .forward(
                &self.small.network,
                &self.small.params,
                &images.into(),
                self.norm,
                Keep::Both,
                &self.taps,
            )
            .unwrap();
        let mut grads = self.small.grads();
        let gradient =
            values(&self.engine.backward(pass.tape, &self.seeds, Some(&mut grads)).unwrap().unwrap());
        let scale = gradient.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
        let pixels = values(images);
        for at in (0..pixels.len()).step_by(pixels.len() / 7) {
            let moved = |by: f64| {
                let mut pixels = pixels.clone();
                pixels[at] += by;
                let images = Tensor::from_vec(pixels, images.shape(), images.device()).unwrap();
                self.value(self.small, &images)
            };
            let difference = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
            let apart = (difference - gradient[at]).abs();
            assert!(apart <= BOUND * scale.max(1.0), "{name} pixel {at}: {}, not {difference}", gradient[at]);
        }
        // One value of every parameter tensor.
        for entry in self.small.network.layout().trainable() {
            let at = entry.range.start + entry.range.len() / 2;
            let moved = |by: f64| {
                let mut params = self.small.params.clone();
                let value = params.trainable().get(at);
                params.trainable_mut().set(at, value + by);
                self.value(&Small { network: self.small.network.clone(), params }, images)
            };
            let difference = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
            let found = grads.values().get(at);
            let apart = (difference - found).abs();
            assert!(
                apart <= BOUND * difference.abs().max(10.0),
                "{name} {}: {found}, not {difference}",
                entry.name
            );
        }
    }
}

/// Places to tap: after the first ReLU (a map), in the middle, and before the classifier (a vector).
fn taps(small: &Small) -> Vec<NodeId> {
    let nodes = small.network.nodes();
    let of = |wanted: fn(&Op) -> bool| nodes.iter().find(|node| wanted(&node.op)).unwrap().name.clone();
    let names =
        [of(|op| *op == Op::Relu), nodes[nodes.len() / 2].name.clone(), nodes[nodes.len() - 2].name.clone()];
    names.iter().map(|name| small.network.find(name).unwrap()).collect()
}

#[test]
fn gradients_through_taps_and_logits_are_differences() {
    for (name, input) in [("tiny-cnn", [1, 12, 12]), ("resnet8", [2, 8, 10])] {
        let small = network(name, input, Precision::F64);
        for norm in [Norm::Running, Norm::Batch] {
            let taps = taps(&small);
            let mut probe = Probe::new(&small, norm, &taps, 4);
            let images = small.images(&[0, 1, 2, 3]);
            probe.differences_agree(&images);
            // From the taps alone: a node behind the last of them gets no gradient.
            probe.seeds[0] = None;
            probe.differences_agree(&images);
        }
    }
}

#[test]
fn a_tap_of_the_input_is_the_images_and_passes_its_gradient_on() {
    let small = network("tiny-cnn", [1, 12, 12], Precision::F64);
    let engine = reference(1);
    let images = small.images(&[0, 1]);
    let input = small.network.find("input").unwrap();
    let pass = engine
        .forward(&small.network, &small.params, &(&images).into(), Norm::Running, Keep::ForImage, &[input])
        .unwrap();
    assert_eq!(values(&pass.taps[0]), values(&images));
    let seed = (&images * 3.0).unwrap();
    let gradient = engine.backward(pass.tape, &[None, Some(seed.clone())], None).unwrap().unwrap();
    assert_eq!(values(&gradient), values(&seed));
}
