//! What results must not depend on: threads, neighbours in a batch, what the engine did before.

use engine::params::Precision;
use engine::{Cpu, Engine, EngineError, InstructionSet, Keep, Network, Norm, Params};
use rayon::prelude::*;
use rslad_tests::{cpu, values};
use zoo::Task;

use crate::{Found, all, drawn, run};

fn small(name: &str, input: [usize; 3]) -> (Network, Params) {
    let (_, network) = zoo::build(name, Task { input, classes: 10 }).unwrap();
    let params = drawn(&network).to_precision(Precision::F32);
    (network, params)
}

const NETWORKS: [(&str, [usize; 3]); 6] = [
    ("tiny-cnn", [1, 28, 28]),
    ("small-cnn", [1, 28, 28]),
    ("resnet8", [3, 32, 32]),
    ("mobilenet-v2-x0.25", [3, 32, 32]),
    ("preact-resnet18", [3, 32, 32]),
    ("wrn-10-2", [3, 32, 32]),
];

/// What labels, evaluation, attacks and training ask for.
const MODES: [(Norm, Keep); 5] = [
    (Norm::Running, Keep::Nothing),
    (Norm::Running, Keep::ForImage),
    (Norm::Running, Keep::Both),
    (Norm::Batch, Keep::ForParams),
    (Norm::Batch, Keep::Both),
];

/// Every bit that a run gave.
fn bits(found: &Found) -> Vec<u64> {
    let tensors = found.outputs.iter().chain(&found.image).flat_map(values);
    let arenas = [found.grads.values(), found.moved.statistics()].map(all).into_iter().flatten();
    tensors.chain(arenas).map(f64::to_bits).collect()
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let ids: Vec<usize> = (0..21).collect();
    for (name, input) in NETWORKS {
        let (network, params) = small(name, input);
        for mode in MODES {
            let of = |threads| bits(&run(&cpu(threads), &network, &params, &ids, mode, &[]));
            let one = of(1);
            for threads in [2, 3] {
                assert!(of(threads) == one, "{name}, {mode:?}, {threads} threads");
            }
        }
    }
}

#[test]
fn from_one_thread_to_64_every_instruction_set_gives_the_same_bits() {
    // Few images: more threads than parts of the batch, on which they work together; layers that the whole pool works on;
    // weight gradients of which the parts are few because they are large.
    let ids: Vec<usize> = (0..13).collect();
    let modes = [MODES[0], MODES[1], MODES[3]];
    for name in ["resnet18", "mobilenet-v2"] {
        let (network, params) = small(name, [3, 32, 32]);
        for set in [InstructionSet::Avx512, InstructionSet::Avx2, InstructionSet::Neon] {
            for mode in modes {
                let of = |threads| {
                    let engine = Cpu::of(set, threads)?;
                    Ok::<_, EngineError>(bits(&run(&engine, &network, &params, &ids, mode, &[])))
                };
                let Ok(one) = of(1) else { continue };
                for threads in [2, 3, 5, 8, 16, 64] {
                    assert!(of(threads).unwrap() == one, "{name}, {set:?}, {mode:?}, {threads} threads");
                }
            }
        }
    }
}

#[test]
fn maps_that_are_formed_again_give_the_bits_of_those_that_are_kept() {
    let ids: Vec<usize> = (0..13).collect();
    let networks = NETWORKS.into_iter().chain([("resnet18", [3, 32, 32]), ("mobilenet-v2", [3, 32, 32])]);
    for (name, input) in networks {
        let (network, params) = small(name, input);
        for mode in MODES.into_iter().filter(|(_, keep)| keep.params()) {
            let of = |engine: &Cpu| bits(&run(engine, &network, &params, &ids, mode, &[]));
            let kept = of(&cpu(2).recompute(false));
            for threads in [1, 2, 16] {
                let formed = of(&cpu(threads).recompute(true));
                assert!(formed == kept, "{name}, {mode:?}, {threads} threads");
            }
        }
    }
}

#[test]
fn under_running_statistics_an_image_is_alone_in_every_batch() {
    for (name, input) in NETWORKS {
        let (network, params) = small(name, input);
        let engine = cpu(2);
        for keep in [Keep::Nothing, Keep::ForImage] {
            let of = |ids: &[usize]| run(&engine, &network, &params, ids, (Norm::Running, keep), &[]);
            let row = |found: &Found, place: usize| -> Vec<Vec<f64>> {
                let tensors = found.outputs[..1].iter().chain(&found.image);
                tensors.map(|tensor| values(&tensor.get(place).unwrap())).collect()
            };
            let alone = row(&of(&[0]), 0);
            assert!(alone.iter().all(|tensor| tensor.iter().any(|&value| value != 0.0)));
            for (size, place) in [(7, 6), (16, 3), (33, 32)] {
                let mut ids: Vec<usize> = (0..size).map(|i| 1 + (7 * i + size) % 60).collect();
                ids[place] = 0;
                assert!(row(&of(&ids), place) == alone, "{name}, {keep:?}: image at {place} of {size}");
            }
        }
    }
}

#[test]
fn tapes_that_are_alive_together_give_what_each_gives_alone() {
    let (network, params) = small("resnet8", [3, 32, 32]);
    let engine = cpu(2);
    let batches: [&[usize]; 3] = [&[0, 1, 2], &[3, 4], &[0, 5, 6, 7]];
    let modes = [Norm::Batch, Norm::Running, Norm::Batch];
    let alone: Vec<_> = batches
        .iter()
        .zip(modes)
        .map(|(ids, norm)| bits(&run(&cpu(2), &network, &params, ids, (norm, Keep::Both), &[])))
        .collect();
    // A forward that waits for its backward while others come and go, and buffers are used again.
    let waiting = {
        let images = crate::tensor(77, &[6, 3, 32, 32], Precision::F32).into();
        engine.forward(&network, &params, &images, Norm::Batch, Keep::Both, &[]).unwrap()
    };
    for ((ids, norm), alone) in batches.iter().zip(modes).zip(&alone) {
        assert!(bits(&run(&engine, &network, &params, ids, (norm, Keep::Both), &[])) == *alone);
    }
    let seed = crate::tensor(78, &[6, 10], Precision::F32);
    let late = engine.backward(waiting.tape, &[Some(seed.clone())], None).unwrap().unwrap();
    let images = crate::tensor(77, &[6, 3, 32, 32], Precision::F32).into();
    let fresh = cpu(1);
    let pass = fresh.forward(&network, &params, &images, Norm::Batch, Keep::Both, &[]).unwrap();
    let at_once = fresh.backward(pass.tape, &[Some(seed)], None).unwrap().unwrap();
    assert_eq!(values(&late), values(&at_once));
}

#[test]
fn packed_weights_follow_the_parameters() {
    let (network, mut params) = small("resnet8", [3, 32, 32]);
    let engine = cpu(2);
    let look =
        |engine: &Cpu, params: &Params, mode| bits(&run(engine, &network, params, &[0, 1, 2], mode, &[]));
    // Twice over, so that every plan meets weights that another one left.
    for mode in MODES.into_iter().chain(MODES) {
        let before = look(&engine, &params, mode);
        let value = params.trainable().get(5);
        params.trainable_mut().set(5, value + 0.25);
        let after = look(&engine, &params, mode);
        assert!(before != after && after == look(&cpu(1), &params, mode), "weights, {mode:?}");
        let value = params.statistics().get(5);
        params.statistics_mut().set(5, value + 0.25);
        assert!(look(&engine, &params, mode) == look(&cpu(1), &params, mode), "statistics, {mode:?}");
    }
}

#[test]
fn calls_that_cross_give_what_each_gives_alone() {
    let (network, params) = small("resnet8", [3, 32, 32]);
    let engine = cpu(2);
    let of = |engine: &Cpu, call: usize| {
        let ids: Vec<usize> = (call..call + 1 + call % 5).collect();
        bits(&run(engine, &network, &params, &ids, MODES[call % MODES.len()], &[]))
    };
    let alone: Vec<_> = (0..12).map(|call| of(&cpu(1), call)).collect();
    for threads in [1, 3] {
        let others = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        // A worker of this pool that waits for the engine's is given another call meanwhile.
        let calls = (0..12).into_par_iter().with_max_len(1);
        let crossed: Vec<_> = others.install(|| calls.map(|call| of(&engine, call)).collect());
        assert!(crossed == alone, "{threads} callers");
    }
}

#[test]
fn no_images_give_no_logits_and_f64_is_refused() {
    let (network, params) = small("tiny-cnn", [1, 28, 28]);
    let none = run(&cpu(2), &network, &params, &[0], (Norm::Running, Keep::ForImage), &[]);
    assert_eq!(none.outputs[0].dims(), [1, 10]);
    let images = crate::tensor(1, &[0, 1, 28, 28], Precision::F32).into();
    assert_eq!(cpu(2).logits(&network, &params, &images).unwrap().dims(), [0, 10]);
    let wide = params.to_precision(Precision::F64);
    let images = crate::tensor(1, &[2, 1, 28, 28], Precision::F64).into();
    let error = cpu(1).logits(&network, &wide, &images).unwrap_err().to_string();
    assert!(error.contains("f32 only") && error.contains("hint"), "{error}");
}

#[test]
fn a_network_with_another_normalisation_is_another_network() {
    let (_, network) = zoo::build("tiny-cnn", Task { input: [1, 28, 28], classes: 10 }).unwrap();
    let one = network.normalised(&[0.5], &[0.25]).unwrap();
    let other = one.clone().normalised(&[0.1], &[1.0]).unwrap();
    let params = drawn(&one).to_precision(Precision::F32);
    let images = crate::tensor(1, &[2, 1, 28, 28], Precision::F32).into();
    let engine = cpu(1);
    let logits = |network: &Network| values(&engine.logits(network, &params, &images).unwrap());
    assert!(logits(&one) != logits(&other));
}
