//! What a step in parts does, against passes of the oracle over each part by itself.

use candle_core::{Device, Tensor};
use cli::Stop;
use engine::params::Precision;
use engine::{Engine, Keep, Norm};
use method::objective::{Epoch, Memory, Natural};
use method::optim::Sgd;
use method::schedule::Schedule;
use method::threat::Threat;
use rslad_tests::{cpu, reference, relative};
use stage2_distill::error::RunError;
use stage2_distill::ranks::{Alone, deal};
use stage2_distill::step::{Batch, Moving, Parts, Seen, TrainStep};

use crate::small::{Small, network};

const IMAGES: usize = 21;
const PARTS: usize = 8;
const EPOCH: Epoch = Epoch { number: 0, of: 1, schedule: Schedule::Cosine };

fn label(id: usize) -> u32 {
    (id * 7 % 10) as u32
}

/// The gradient of cross-entropy at logits, in plain arithmetic: `(softmax - one hot) / N`.
fn slope(logits: &Tensor, ids: &[usize]) -> Tensor {
    let rows = logits.to_vec2::<f64>().unwrap();
    let values: Vec<f64> = rows
        .iter()
        .zip(ids)
        .flat_map(|(row, &id)| {
            let sum: f64 = row.iter().map(|logit| logit.exp()).sum();
            let hot = move |class: usize| if class == label(id) as usize { 1.0 } else { 0.0 };
            row.iter()
                .enumerate()
                .map(move |(class, logit)| logit.exp() / sum - hot(class))
                .collect::<Vec<_>>()
        })
        .map(|value| value / ids.len() as f64)
        .collect();
    Tensor::from_vec(values, logits.dims2().unwrap(), &Device::Cpu).unwrap()
}

/// Gradients of the mean of cross-entropy over these images together, and the statistics of its forward.
fn alone(small: &Small, ids: &[usize]) -> [Vec<f64>; 2] {
    let engine = reference(1);
    let images = small.images(ids).into();
    let pass =
        engine.forward(&small.network, &small.params, &images, Norm::Batch, Keep::ForParams, &[]).unwrap();
    let mut grads = small.grads();
    engine.backward(pass.tape, &[Some(slope(&pass.logits, ids))], Some(&mut grads)).unwrap();
    let all = |arena: &engine::params::Arena| arena.to_f64(0..arena.len());
    [all(grads.values()), all(pass.stats.values.unwrap().host())]
}

/// The sums of each number over parts, weighted by their images: here 2 or 3 of 21.
fn mean(parts: &[([Vec<f64>; 2], usize)], which: usize) -> Vec<f64> {
    let mut mean = vec![0.0; parts[0].0[which].len()];
    for (found, images) in parts {
        for (mean, value) in mean.iter_mut().zip(&found[which]) {
            *mean += value * *images as f64 / IMAGES as f64;
        }
    }
    mean
}

#[test]
fn a_step_in_parts_goes_by_the_mean_of_the_parts_gradients_and_statistics() {
    let fine = network("resnet8", [3, 16, 16], Precision::F64);
    let small = Small { network: fine.network.clone(), params: fine.params.to_precision(Precision::F32) };
    let engine = cpu(2);
    let step = TrainStep {
        engine: &engine,
        network: &small.network,
        objective: &Natural,
        teacher: None,
        second: None,
        taps: None,
        threat: Threat::linf(8.0 / 255.0),
        steps: 1,
        step_size: 2.0 / 255.0,
        seed: 1,
    };
    let mut moving = Moving::new(small.params.clone(), Sgd::new(&small.params, 0.0, 0.0), Memory::default());
    let mut ranges = Vec::new();
    let parts =
        Parts { count: PARTS, collective: &Alone, images: IMAGES, epoch: EPOCH, stop: &Stop::never() };
    let stepped = step.run_in_parts(&mut moving, &parts, 1.0, |range| {
        ranges.push(range.clone());
        let ids: Vec<usize> = range.collect();
        let labels: Vec<u32> = ids.iter().map(|&id| label(id)).collect();
        let seen = Seen::only(small.images(&ids).into());
        Ok::<_, RunError>(Batch::of(seen, Tensor::new(labels, &Device::Cpu).unwrap(), ids, EPOCH))
    });
    assert!(!stepped.unwrap().stop);
    assert_eq!(ranges, (0..PARTS).map(|part| deal(IMAGES, PARTS, part)).collect::<Vec<_>>());

    let parts: Vec<_> = ranges
        .into_iter()
        .map(|range| {
            let ids: Vec<usize> = range.collect();
            (alone(&fine, &ids), ids.len())
        })
        .collect();
    let own = |arena: &engine::params::Arena| arena.to_f64(0..arena.len());
    // Without momentum and decay a rate of one takes the gradient itself away.
    let before = own(small.params.trainable());
    let moved: Vec<f64> =
        before.iter().zip(own(moving.params.trainable())).map(|(was, is)| was - is).collect();
    let found = relative(&moved, &mean(&parts, 0));
    assert!(found < 1e-3, "gradients are off by {found:.1e}");
    // PyTorch's rule and its usual momentum.
    let wanted: Vec<f64> = own(small.params.statistics())
        .iter()
        .zip(mean(&parts, 1))
        .map(|(running, batch)| 0.9 * running + 0.1 * batch)
        .collect();
    let found = relative(&own(moving.params.statistics()), &wanted);
    assert!(found < 1e-5, "statistics are off by {found:.1e}");
    assert!(moving.params.batches_tracked().iter().all(|&count| count == 1));

    // Another number of parts is another step: what is compared would show it.
    let whole = alone(&fine, &(0..IMAGES).collect::<Vec<_>>());
    let apart = relative(&moved, &whole[0]);
    assert!(apart > 0.1, "a batch in one piece has almost the same gradients: {apart:.1e}");
}
