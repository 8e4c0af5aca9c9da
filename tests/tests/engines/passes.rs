//! What a GPU keeps from a forward to its backward, and passes that were captured.

use candle_core::Tensor;
use engine::params::{Precision, Values};
use engine::{Cuda, Descent, Engine, Grads, Images, Keep, Network, Norm, Params, Storage};
use rslad_tests::{gpu, values};

use crate::gpu::{MODES, cuda, small};
use crate::{all, tensor};

/// A tape's backward multiplies by the weights of its forward, whatever was packed since.
#[test]
fn a_tape_keeps_the_weights_of_its_forward() {
    let Some(_gpu) = gpu("a_tape_keeps_the_weights_of_its_forward") else { return };
    let (network, params) = small("tiny-cnn", [1, 28, 28]);
    let mut others = params.clone();
    for at in 0..others.trainable().len() {
        let value = others.trainable().get(at);
        others.trainable_mut().set(at, value * 1.5);
    }
    let images = tensor(77, &[2, 1, 28, 28], Precision::F32).into();
    for (norm, keep) in MODES.into_iter().filter(|mode| mode.1 != Keep::Nothing) {
        let engine = cuda(Storage::F32);
        let forward =
            |engine: &Cuda, params| engine.forward(&network, params, &images, norm, keep, &[]).unwrap();
        let back = |engine: &Cuda, tape| {
            let seed = tensor(78, &[2, 10], Precision::F32);
            values(&engine.backward(tape, &[Some(seed)], None).unwrap().expect("it was kept"))
        };
        let at_once = |params| {
            let fresh = cuda(Storage::F32);
            back(&fresh, forward(&fresh, params).tape)
        };
        let [first, second] = [&params, &others].map(|params| forward(&engine, params).tape);
        let late = [back(&engine, first), back(&engine, second)];
        assert!(late == [at_once(&params), at_once(&others)], "{norm:?}, {keep:?}");
    }
}

/// Two training passes whose tapes are alive together, each on one engine: logits, taps, statistics, gradients.
fn two_passes(
    engines: [&Cuda; 2],
    (network, params): (&Network, &Params),
    (norm, keep): (Norm, Keep),
    images: [&Images; 2],
    grads: &mut Grads,
    is_tap_seeded: bool,
) -> Vec<u64> {
    let tap = network.find("layer1.0.conv1").unwrap();
    let seed = |of: &Tensor| {
        let seed = (0..of.elem_count()).map(|i| (i * 7 % 11) as f32 / 16.0 - 0.3);
        Tensor::from_iter(seed, of.device()).unwrap().reshape(of.shape()).unwrap()
    };
    let (mut found, mut tapes): (Vec<f64>, Vec<_>) = Default::default();
    for (engine, images) in engines.into_iter().zip(images) {
        let pass = engine.forward(network, params, images, norm, keep, &[tap]).unwrap();
        found.extend(values(&pass.logits).into_iter().chain(values(&pass.taps[0])));
        let moved = pass.stats.values.as_ref().map(|values| all(values.host()));
        assert_eq!(moved.is_some(), norm == Norm::Batch);
        found.extend(moved.into_iter().flatten());
        tapes.push((
            engine,
            pass.tape,
            [Some(seed(&pass.logits)), is_tap_seeded.then(|| seed(&pass.taps[0]))],
        ));
    }
    engines[0].clear(grads).unwrap();
    for (engine, tape, seeds) in tapes {
        let image = engine.backward(tape, &seeds, Some(grads)).unwrap();
        assert_eq!(image.is_some(), keep.image());
        found.extend(image.iter().flat_map(values));
    }
    found.extend(all(grads.values()));
    assert!(found.iter().all(|value| value.is_finite()));
    found.into_iter().map(f64::to_bits).collect()
}

/// An engine queues the first pass of its kind kernel by kernel and captures those after it: engines of one pass each are
/// what an engine of many is compared with.
#[test]
fn training_passes_that_were_captured_give_the_bits_of_those_that_were_not() {
    let Some(_gpu) = gpu("training_passes_that_were_captured") else { return };
    let storage = Storage::Bf16;
    let (network, mut params) = small("resnet8", [3, 16, 16]);
    let average = params.clone();
    let images = |seed, count| Images::from(tensor(seed, &[count, 3, 16, 16], Precision::F32));
    let engine = cuda(storage);
    let mut grads = Grads::zeros(network.layout(), Precision::F32);
    let mut velocity = Values::zeros(network.layout().trainable_len(), Precision::F32);
    for (step, count) in [3, 3, 3, 2, 3].into_iter().enumerate() {
        let batch = [images(2 * step, count), images(2 * step + 1, count)];
        let [first, second] = &batch;
        for mode in [(Norm::Batch, Keep::ForParams), (Norm::Running, Keep::Both)] {
            let is_tap_seeded = [2, 4].contains(&step);
            let on = |engines: [&Cuda; 2], params: &Params, grads: &mut Grads| {
                two_passes(engines, (&network, params), mode, [first, second], grads, is_tap_seeded)
            };
            let once = |params: &Params| {
                // Of their own, so that the engine at test keeps what it was given.
                let params = &params.to_precision(Precision::F32);
                let mut grads = Grads::zeros(network.layout(), Precision::F32);
                on([&cuda(storage), &cuda(storage)], params, &mut grads)
            };
            let [wanted, theirs] = [&params, &average].map(once);
            assert!(
                on([&engine; 2], &average, &mut grads) == theirs,
                "step {step}, {mode:?}: other parameters"
            );
            let found = on([&engine; 2], &params, &mut grads);
            assert!(found == wanted, "step {step}, {mode:?}");
            if step == 1 {
                let before = engine.calls();
                on([&engine; 2], &params, &mut grads);
                // Two forwards and two backwards, where nothing is to be packed.
                assert_eq!(engine.calls() - before, 4, "{mode:?}: launches and graphs of a step");
            }
            if step == 2 {
                // Who shares gradients keeps theirs: the next ones lie elsewhere, the second time of a captured pass too.
                for _ in 0..2 {
                    let kept = grads.clone();
                    assert!(on([&engine; 2], &params, &mut grads) == wanted, "{mode:?}: shared gradients");
                    assert!(all(kept.values()) == all(grads.values()), "{mode:?}: they were added to");
                }
            }
        }
        let by = Descent { momentum: 0.9, weight_decay: 0.0, rate: 0.05, nesterov: false };
        engine.descend(&mut params, &grads, &mut velocity, by).unwrap();
    }
}
