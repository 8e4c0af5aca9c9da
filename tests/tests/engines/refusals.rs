//! What no engine runs: it says so, and is as good as before.

use engine::params::{Grads, Precision};
use engine::{Engine, EngineError, Keep, Network, Norm, Params, Pass};
use rslad_tests::{cpu, reference_of, values};
use zoo::Task;

use crate::{drawn, tensor};

fn small(name: &str) -> (Network, Params) {
    let (_, network) = zoo::build(name, Task { input: [1, 28, 28], classes: 10 }).unwrap();
    let params = drawn(&network).to_precision(Precision::F32);
    (network, params)
}

fn engines() -> [Box<dyn Engine>; 2] {
    [Box::new(cpu(2)), Box::new(reference_of(3))]
}

/// Whatever a call gave is dropped.
fn refusal<T>(result: Result<T, EngineError>) -> EngineError {
    result.err().expect("refused")
}

#[test]
fn a_forward_of_what_is_not_the_networks() {
    let (network, params) = small("tiny-cnn");
    let (larger, others) = small("small-cnn");
    let images = tensor(1, &[3, 1, 28, 28], Precision::F32).into();
    for engine in engines() {
        let forward = |params, norm, taps: &[_]| -> Result<Pass, EngineError> {
            engine.forward(&network, params, &images, norm, Keep::Both, taps)
        };
        let before = values(&forward(&params, Norm::Batch, &[]).unwrap().logits);
        assert!(matches!(refusal(forward(&others, Norm::Batch, &[])), EngineError::Params { .. }));
        assert!(matches!(
            refusal(forward(&params, Norm::Batch, &[larger.output()])),
            EngineError::Tap { tap, nodes, .. } if tap >= nodes
        ));
        // The same layout, built a second time, is the same network's.
        assert_eq!(values(&forward(&small("tiny-cnn").1, Norm::Batch, &[]).unwrap().logits), before);
    }
}

#[test]
fn statistics_of_no_images() {
    let (_, network) = zoo::build("resnet8", Task { input: [3, 32, 32], classes: 10 }).unwrap();
    let params = drawn(&network).to_precision(Precision::F32);
    let images = tensor(1, &[0, 3, 32, 32], Precision::F32).into();
    for engine in engines() {
        let forward = |norm| engine.forward(&network, &params, &images, norm, Keep::Both, &[]);
        assert!(matches!(refusal(forward(Norm::Batch)), EngineError::EmptyBatch { .. }));
        assert_eq!(forward(Norm::Running).unwrap().logits.dims(), [0, 10]);
    }
}

#[test]
fn a_backward_of_what_the_forward_did_not_give() {
    let (network, params) = small("tiny-cnn");
    let (larger, _) = small("small-cnn");
    let images = tensor(1, &[3, 1, 28, 28], Precision::F32).into();
    for engine in engines() {
        let backward = |keep, seed: &[usize], grads: Option<&mut Grads>| {
            let pass = engine.forward(&network, &params, &images, Norm::Running, keep, &[]).unwrap();
            engine.backward(pass.tape, &[Some(tensor(2, seed, Precision::F32))], grads)
        };
        let mut grads = Grads::zeros(network.layout(), Precision::F32);
        let before = backward(Keep::Both, &[3, 10], Some(&mut grads)).unwrap().unwrap();
        let kept = grads.values().clone();
        for seed in [&[3, 9][..], &[2, 10], &[30]] {
            let error = refusal(backward(Keep::Both, seed, Some(&mut grads)));
            assert!(matches!(error, EngineError::SeedShape { .. }), "{error}");
        }
        let mut wide = Grads::zeros(network.layout(), Precision::F64);
        let mut others = Grads::zeros(larger.layout(), Precision::F32);
        for grads in [&mut wide, &mut others] {
            let error = refusal(backward(Keep::Both, &[3, 10], Some(grads)));
            assert!(matches!(error, EngineError::Grads { .. }), "{error}");
        }
        let error = refusal(backward(Keep::ForImage, &[3, 10], Some(&mut grads)));
        assert!(matches!(error, EngineError::NotKept(_)), "{error}");
        assert_eq!(crate::all(grads.values()), crate::all(&kept), "a refusal adds nothing");
        let after = backward(Keep::Both, &[3, 10], Some(&mut grads)).unwrap().unwrap();
        assert_eq!(values(&after), values(&before));
    }
}
