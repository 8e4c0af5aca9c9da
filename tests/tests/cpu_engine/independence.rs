//! What results must not depend on: threads, neighbours in a batch, what the engine did before.

use common::model::{self, Task};
use engine::params::Precision;
use engine::{Cpu, Engine, Keep, Network, Norm, Params};
use rslad_tests::{cpu, values};

use crate::{Found, all, drawn, run};

fn small(name: &str, input: [usize; 3]) -> (Network, Params) {
    let (_, network) = model::build(name, Task { input, classes: 10 }).unwrap();
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
        for norm in [Norm::Running, Norm::Batch] {
            let of = |threads| bits(&run(&cpu(threads), &network, &params, &ids, (norm, Keep::Both), &[]));
            let one = of(1);
            for threads in [2, 3] {
                assert!(of(threads) == one, "{name}, {norm:?}, {threads} threads");
            }
        }
    }
}

#[test]
fn under_running_statistics_an_image_is_alone_in_every_batch() {
    for (name, input) in NETWORKS {
        let (network, params) = small(name, input);
        let engine = cpu(2);
        let mode = (Norm::Running, Keep::ForImage);
        let alone = run(&engine, &network, &params, &[0], mode, &[]);
        let row = |found: &Found, place: usize| {
            let image = found.image.as_ref().unwrap();
            [&found.outputs[0], image].map(|tensor| values(&tensor.get(place).unwrap()))
        };
        assert!(row(&alone, 0).iter().flatten().any(|&value| value != 0.0));
        for (size, place) in [(7, 6), (16, 3), (33, 32)] {
            let mut ids: Vec<usize> = (0..size).map(|i| 1 + (7 * i + size) % 60).collect();
            ids[place] = 0;
            let found = run(&engine, &network, &params, &ids, mode, &[]);
            assert!(row(&found, place) == row(&alone, 0), "{name}: image at {place} of {size}");
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
        let images = crate::tensor(77, &[6, 3, 32, 32], Precision::F32);
        engine.forward(&network, &params, &images, Norm::Batch, Keep::Both, &[]).unwrap()
    };
    for ((ids, norm), alone) in batches.iter().zip(modes).zip(&alone) {
        assert!(bits(&run(&engine, &network, &params, ids, (norm, Keep::Both), &[])) == *alone);
    }
    let seed = crate::tensor(78, &[6, 10], Precision::F32);
    let late = engine.backward(waiting.tape, &[Some(seed.clone())], None).unwrap().unwrap();
    let images = crate::tensor(77, &[6, 3, 32, 32], Precision::F32);
    let fresh = cpu(1);
    let pass = fresh.forward(&network, &params, &images, Norm::Batch, Keep::Both, &[]).unwrap();
    let at_once = fresh.backward(pass.tape, &[Some(seed)], None).unwrap().unwrap();
    assert_eq!(values(&late), values(&at_once));
}

#[test]
fn packed_weights_follow_the_parameters() {
    let (network, mut params) = small("resnet8", [3, 32, 32]);
    let engine = cpu(2);
    let look = |engine: &Cpu, params: &Params, norm| {
        bits(&run(engine, &network, params, &[0, 1, 2], (norm, Keep::Both), &[]))
    };
    for norm in [Norm::Running, Norm::Batch, Norm::Running] {
        let before = look(&engine, &params, norm);
        let value = params.trainable().get(5);
        params.trainable_mut().set(5, value + 0.25);
        let after = look(&engine, &params, norm);
        assert!(before != after && after == look(&cpu(1), &params, norm), "weights, {norm:?}");
        let value = params.statistics().get(5);
        params.statistics_mut().set(5, value + 0.25);
        assert!(look(&engine, &params, norm) == look(&cpu(1), &params, norm), "statistics, {norm:?}");
    }
}

#[test]
fn no_images_give_no_logits_and_f64_is_refused() {
    let (network, params) = small("tiny-cnn", [1, 28, 28]);
    let none = run(&cpu(2), &network, &params, &[0], (Norm::Running, Keep::ForImage), &[]);
    assert_eq!(none.outputs[0].dims(), [1, 10]);
    let images = crate::tensor(1, &[0, 1, 28, 28], Precision::F32);
    assert_eq!(cpu(2).logits(&network, &params, &images).unwrap().dims(), [0, 10]);
    let wide = params.to_precision(Precision::F64);
    let images = crate::tensor(1, &[2, 1, 28, 28], Precision::F64);
    let error = cpu(1).logits(&network, &wide, &images).unwrap_err().to_string();
    assert!(error.contains("f32 only") && error.contains("hint"), "{error}");
}
