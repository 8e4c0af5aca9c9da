//! The GPU engine: what its results must not depend on, what a training step does on the device, and who is refused.
//!
//! Without a GPU of the machine's own (`RSLAD_GPU`) an emulated one runs the same kernels; every comparison here is of bits
//! unless it says otherwise.

use candle_core::Tensor;
use engine::graph::{Builder, Conv2d, Op};
use engine::params::{Precision, Values};
use engine::{
    Ascent, AttackLoss, Cuda, Descent, Engine, Grads, Images, Keep, Network, Norm, Params, Storage, host,
};
use rslad_tests::{cpu, gpu, values};
use zoo::Task;

use crate::{Found, all, drawn, run, tensor};

const NETWORKS: [(&str, [usize; 3]); 4] = [
    ("tiny-cnn", [1, 28, 28]),
    ("resnet8", [3, 32, 32]),
    ("mobilenet-v2-x0.25", [3, 32, 32]),
    ("wrn-10-2", [3, 32, 32]),
];

/// What labels, evaluation, attacks and training ask for.
pub const MODES: [(Norm, Keep); 3] =
    [(Norm::Running, Keep::Nothing), (Norm::Running, Keep::ForImage), (Norm::Batch, Keep::Both)];

const STORAGES: [Storage; 3] = [Storage::F32, Storage::Bf16, Storage::F16];

pub fn small(name: &str, input: [usize; 3]) -> (Network, Params) {
    let (_, network) = zoo::build(name, Task { input, classes: 10 }).unwrap();
    let params = drawn(&network).to_precision(Precision::F32);
    (network, params)
}

pub fn cuda(storage: Storage) -> Cuda {
    Cuda::new(0, storage, storage).unwrap()
}

fn bits(found: &Found) -> Vec<u64> {
    let tensors = found.outputs.iter().chain(&found.image).flat_map(values);
    let arenas = [found.grads.values(), found.moved.statistics()].map(all).into_iter().flatten();
    tensors.chain(arenas).map(f64::to_bits).collect()
}

#[test]
fn the_same_work_gives_the_same_bits_and_tapes_that_are_alive_together_do_not_mind() {
    let Some(_gpu) = gpu("the_same_work_gives_the_same_bits") else { return };
    for storage in STORAGES {
        let engine = cuda(storage);
        for (name, input) in NETWORKS {
            let (network, params) = small(name, input);
            for mode in MODES {
                let once = bits(&run(&engine, &network, &params, &[0, 1, 2], mode, &[]));
                let waiting = (mode.1 != Keep::Nothing).then(|| {
                    let images = tensor(77, &[4, input[0], input[1], input[2]], Precision::F32).into();
                    engine.forward(&network, &params, &images, mode.0, mode.1, &[]).unwrap()
                });
                let again = bits(&run(&engine, &network, &params, &[0, 1, 2], mode, &[]));
                assert!(once == again, "{storage}, {name}, {mode:?}");
                let fresh = bits(&run(&cuda(storage), &network, &params, &[0, 1, 2], mode, &[]));
                assert!(once == fresh, "{storage}, {name}, {mode:?}: another engine");
                drop(waiting);
            }
        }
    }
}

#[test]
fn under_running_statistics_an_image_is_alone_in_every_batch() {
    let Some(_gpu) = gpu("under_running_statistics_an_image_is_alone_in_every_batch") else { return };
    for storage in STORAGES {
        let engine = cuda(storage);
        for (name, input) in NETWORKS {
            let (network, params) = small(name, input);
            for keep in [Keep::Nothing, Keep::ForImage] {
                let of = |ids: &[usize]| run(&engine, &network, &params, ids, (Norm::Running, keep), &[]);
                let row = |found: &Found, place: usize| -> Vec<Vec<f64>> {
                    let tensors = found.outputs[..1].iter().chain(&found.image);
                    tensors.map(|tensor| values(&tensor.get(place).unwrap())).collect()
                };
                let alone = row(&of(&[0]), 0);
                assert!(alone.iter().all(|tensor| tensor.iter().any(|&value| value != 0.0)));
                for ids in [&[5, 6, 0][..], &[1, 2, 3, 0, 4, 5, 6]] {
                    let place = ids.iter().position(|&id| id == 0).unwrap();
                    assert!(
                        row(&of(ids), place) == alone,
                        "{storage}, {name}, {keep:?}: one of {}",
                        ids.len()
                    );
                }
            }
        }
    }
}

#[test]
fn packed_weights_follow_the_parameters() {
    let Some(_gpu) = gpu("packed_weights_follow_the_parameters") else { return };
    let (network, mut params) = small("resnet8", [3, 32, 32]);
    let engine = cuda(Storage::Bf16);
    let look = |engine: &Cuda, params: &Params, mode| bits(&run(engine, &network, params, &[0], mode, &[]));
    // Twice over, so that every plan meets weights that another one left.
    for mode in MODES.into_iter().chain(MODES) {
        let before = look(&engine, &params, mode);
        let value = params.trainable().get(5);
        params.trainable_mut().set(5, value + 0.25);
        let after = look(&engine, &params, mode);
        assert!(before != after && after == look(&cuda(Storage::Bf16), &params, mode), "weights, {mode:?}");
        let value = params.statistics().get(5);
        params.statistics_mut().set(5, value + 0.25);
        let moved = look(&engine, &params, mode);
        assert!(moved == look(&cuda(Storage::Bf16), &params, mode), "statistics, {mode:?}");
    }
}

/// Bits that repeat may still be no numbers: whole architectures at their own sizes, beside the processor. Their gradients
/// are compared in `golden_networks`, which knows what a ReLU's kink costs.
#[test]
fn logits_of_whole_networks_at_their_own_sizes_are_the_processors() {
    let Some(_gpu) = gpu("logits_of_whole_networks_at_their_own_sizes_are_the_processors") else { return };
    let exact = cpu(2).exact_conv(true);
    let ids: Vec<usize> = (0..9).collect();
    for (storage, bound) in [(Storage::F32, 1e-5), (Storage::F16, 3e-2), (Storage::Bf16, 2e-1)] {
        let engine = cuda(storage);
        for (name, input) in NETWORKS {
            let (network, params) = small(name, input);
            for norm in [Norm::Running, Norm::Batch] {
                let logits = |engine: &dyn Engine| {
                    values(&run(engine, &network, &params, &ids, (norm, Keep::Nothing), &[]).outputs[0])
                };
                let (found, wanted) = (logits(&engine), logits(&exact));
                let apart: Vec<f64> = found.iter().zip(&wanted).map(|(a, b)| a - b).collect();
                let distance = size(&apart) / size(&wanted);
                assert!(distance <= bound, "{storage}, {name}, {norm:?}: off by {distance:.1e}");
                // They leave the last product as f32: what was stored in 16 bits ends in zeros (of f16, 13).
                let ends = |value: &f64| (*value as f32).to_bits() & 0x1fff;
                assert!(found.iter().any(|logit| ends(logit) != 0), "{storage}, {name}, {norm:?}: rounded");
            }
        }
    }
}

fn size(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum::<f64>().sqrt()
}

/// A target for each image: most of it on one class.
fn distributions(images: usize) -> Tensor {
    let rows = (0..images * 10).map(|i| if i % 10 == i / 10 % 10 { 0.55f32 } else { 0.05 });
    Tensor::from_iter(rows, &candle_core::Device::Cpu).unwrap().reshape((images, 10)).unwrap()
}

fn pixels(images: &Images) -> Vec<f64> {
    values(images.tensor().unwrap())
}

/// One captured graph against the engine's own passes, step by step through the host; and in f32 against the processor's.
#[test]
fn a_whole_attack_is_the_hosts_loop() {
    let Some(_gpu) = gpu("a_whole_attack_is_the_hosts_loop") else { return };
    let by = Ascent { steps: 3, step_size: 0.01, eps: 0.02 };
    for (name, input) in NETWORKS {
        let (network, mut params) = small(name, input);
        for storage in STORAGES {
            let engine = cuda(storage);
            for images in [3, 2, 3] {
                let shape = [images, input[0], input[1], input[2]];
                let clean = Images::from(tensor(1, &shape, Precision::F32));
                let offset = (tensor(2, &shape, Precision::F32) * 0.01).unwrap();
                let start = Images::from((clean.tensor().unwrap() + offset).unwrap());
                let target = distributions(images);
                let graph = engine.attack(&network, &params, &clean, &start, (&target).into(), by).unwrap();
                let looped =
                    host::attack(&engine, &network, &params, &clean, &start, (&target).into(), by).unwrap();
                // The gradient of a logit may be rounded otherwise on its way through the host; its sign seldom is.
                let (graph, looped) = (pixels(&graph), pixels(&looped));
                let other = graph.iter().zip(&looped).filter(|(a, b)| (*a - *b).abs() > 1e-6).count();
                assert!(other * 1000 <= graph.len(), "{name}, {storage}: {other} of {} pixels", graph.len());
                if storage == Storage::F32 {
                    let exact = cpu(1).exact_conv(true);
                    let cpus = host::attack(&exact, &network, &params, &clean, &start, (&target).into(), by)
                        .unwrap();
                    let cpus = pixels(&cpus);
                    let other = cpus.iter().zip(&graph).filter(|(a, b)| (*a - *b).abs() > 1e-6).count();
                    assert!(
                        other * 1000 <= cpus.len(),
                        "{name}: {other} of {} beside the processor",
                        cpus.len()
                    );
                }
                // The graph must read the new weights.
                let value = params.trainable().get(3);
                params.trainable_mut().set(3, value + 0.125);
            }
        }
    }
}

/// Each loss is a graph of its own, beside the loop of the host, and in f32 beside the processor's.
#[test]
fn an_attack_on_any_loss_that_the_device_knows_is_the_hosts_loop() {
    let Some(_gpu) = gpu("an_attack_on_any_loss_that_the_device_knows") else { return };
    let by = Ascent { steps: 3, step_size: 0.01, eps: 0.02 };
    let (network, params) = small("tiny-cnn", [1, 28, 28]);
    let (target, labels) = (distributions(3), [4, 0, 9]);
    let clean = Images::from(tensor(1, &[3, 1, 28, 28], Precision::F32));
    for storage in STORAGES {
        let engine = cuda(storage);
        let mut all = Vec::new();
        let losses = [AttackLoss::Target(&target), AttackLoss::Margin(&labels), AttackLoss::Dlr(&labels)];
        for loss in losses {
            let graph = pixels(&engine.attack(&network, &params, &clean, &clean, loss, by).unwrap());
            let exact = cpu(1).exact_conv(true);
            let engines: [&dyn Engine; 2] = [&engine, &exact];
            for other in &engines[..if storage == Storage::F32 { 2 } else { 1 }] {
                let looped = host::attack(*other, &network, &params, &clean, &clean, loss, by).unwrap();
                let apart = graph.iter().zip(pixels(&looped)).filter(|(a, b)| (*a - b).abs() > 1e-6).count();
                assert!(apart * 1000 <= graph.len(), "{storage}, {loss:?}, {}: {apart} pixels", other.name());
            }
            all.push(graph);
        }
        // One direction at two steepnesses for some images, and not for all.
        assert!(all[0] != all[1] && all[1] != all[2], "{storage}: the losses lead to one place");
    }
}

/// Evaluation's attacks of one length: a device is asked twice, the processor at every step; their ends are the same.
#[test]
fn searches_of_signed_steps_go_their_way_in_one_call_of_the_device() {
    use method::attack::{Pool, Subject, Victim, find};
    use method::threat::Threat;

    let Some(_gpu) = gpu("searches_of_signed_steps_go_their_way_in_one_call") else { return };
    let (network, params) = small("tiny-cnn", [1, 28, 28]);
    let (device, exact) = (cuda(Storage::F32), cpu(1).exact_conv(true));
    for name in ["fgsm", "pgd5", "cw5"] {
        let attack = find(name).unwrap();
        let run = |engine: &dyn Engine, threat| {
            let mut pool = Pool::new(attack.as_ref(), Victim::new(engine, &network, &params));
            for place in 0..3 {
                let image = values(&tensor(place, &[784], Precision::F32)).into_iter();
                let image = image.map(|pixel| pixel as f32).collect();
                let (step_size, shape) = (0.01, [1, 28, 28]);
                let label = 3 * place;
                pool.admit(
                    place,
                    Subject { image, shape, label, threat, step_size, seed: 1, restart: 0, place },
                );
            }
            let (mut ends, mut asked) = (Vec::new(), 0);
            while !pool.is_empty() {
                ends.extend(pool.ask().unwrap());
                asked += 1;
            }
            (ends, asked)
        };
        for (threat, least) in [(Threat::linf(0.03), 2), (Threat::l2(0.5), 5)] {
            let ([found, wanted], [calls, steps]) = {
                let (a, b) = (run(&device, threat), run(&exact, threat));
                ([a.0, b.0], [a.1, b.1])
            };
            assert_eq!(calls, steps.min(least), "{name}, {threat:?}");
            for (found, wanted) in found.iter().zip(&wanted) {
                assert_eq!((found.index, found.asked), (wanted.index, wanted.asked), "{name}, {threat:?}");
                let [found, wanted] =
                    [found, wanted].map(|end| end.point.as_ref().expect("it is to be judged"));
                let apart = found.iter().zip(wanted).filter(|(a, b)| (*a - *b).abs() > 1e-4).count();
                assert!(apart * 100 <= found.len(), "{name}, {threat:?}: {apart} pixels");
            }
        }
    }
}

#[test]
fn the_optimiser_the_statistics_and_the_average_move_as_on_the_host_to_the_last_bit() {
    let Some(_gpu) = gpu("the_optimiser_the_statistics_and_the_average_move_as_on_the_host") else { return };
    let (network, mut params) = small("resnet8", [3, 32, 32]);
    let engine = cuda(Storage::Bf16);
    let mut grads = Grads::zeros(network.layout(), Precision::F32);
    grads.values_mut().fill(0..3, 7.0);
    engine.clear(&mut grads).unwrap();
    assert!(all(grads.values()).iter().all(|&gradient| gradient == 0.0));
    let images: Images = tensor(1, &[4, 3, 32, 32], Precision::F32).into();
    let pass = engine.forward(&network, &params, &images, Norm::Batch, Keep::ForParams, &[]).unwrap();
    let mut on_host = params.clone();
    host::move_statistics(&network, &mut on_host, &pass.stats).unwrap();
    engine.move_statistics(&network, &mut params, &pass.stats).unwrap();
    let seed = tensor(3, &[4, 10], Precision::F32);
    engine.backward(pass.tape, &[Some(seed)], Some(&mut grads)).unwrap();
    let mut velocity = Values::zeros(network.layout().trainable_len(), Precision::F32);
    let mut host_velocity = velocity.clone();
    let (mut average, mut host_average) = (params.clone(), on_host.clone());
    for (rate, decay, nesterov) in [(0.1, 0.9, false), (0.05, 0.999, true), (0.01, 0.25, true)] {
        let by = Descent { momentum: 0.9, weight_decay: 2e-4, rate, nesterov };
        engine.descend(&mut params, &grads, &mut velocity, by).unwrap();
        host::descend(&mut on_host, &grads, &mut host_velocity, by).unwrap();
        engine.follow(&mut average, &params, decay).unwrap();
        host::follow(&mut host_average, &on_host, decay).unwrap();
    }
    let before = all(drawn(&network).to_precision(Precision::F32).trainable());
    assert!(all(params.trainable()) != before, "nothing moved");
    for (what, found, wanted) in [
        ("parameters", params.trainable(), on_host.trainable()),
        ("statistics", params.statistics(), on_host.statistics()),
        ("velocity", velocity.host(), host_velocity.host()),
        ("average", average.trainable(), host_average.trainable()),
        ("the average's statistics", average.statistics(), host_average.statistics()),
    ] {
        assert!(all(found) == all(wanted), "{what}");
    }
    assert_eq!(params.batches_tracked(), on_host.batches_tracked());
}

#[test]
fn no_images_give_no_logits_and_f64_is_refused() {
    let Some(_gpu) = gpu("no_images_give_no_logits_and_f64_is_refused") else { return };
    let (network, params) = small("tiny-cnn", [1, 28, 28]);
    let engine = cuda(Storage::F32);
    let images = tensor(1, &[0, 1, 28, 28], Precision::F32).into();
    assert_eq!(engine.logits(&network, &params, &images).unwrap().dims(), [0, 10]);
    let wide = params.to_precision(Precision::F64);
    let images = tensor(1, &[2, 1, 28, 28], Precision::F64).into();
    let error = engine.logits(&network, &wide, &images).unwrap_err().to_string();
    assert!(error.contains("f32 only") && error.contains("hint"), "{error}");
}

/// Gradients at the logits as attacks meet them: of quotients, and of means over a batch.
#[test]
fn gradients_of_any_size_come_through_sixteen_bits() {
    let Some(_gpu) = gpu("gradients_of_any_size_come_through_sixteen_bits") else { return };
    let (network, params) = small("tiny-cnn", [1, 28, 28]);
    let images: Images = tensor(1, &[3, 1, 28, 28], Precision::F32).into();
    let seed = (tensor(3, &[3, 10], Precision::F32) - 0.5).unwrap();
    for storage in [Storage::F16, Storage::Bf16] {
        let engine = cuda(storage);
        let gradient = |factor: f64| {
            let (norm, keep) = (Norm::Running, Keep::ForImage);
            let pass = engine.forward(&network, &params, &images, norm, keep, &[]).unwrap();
            let seed = (&seed * factor).unwrap();
            values(&engine.backward(pass.tape, &[Some(seed)], None).unwrap().unwrap())
        };
        let one = gradient(1.0);
        assert!(size(&one) > 0.0);
        // Powers of two: nothing else may change.
        for factor in [2.0f64.powi(14), 2.0f64.powi(-24)] {
            let other: Vec<f64> = gradient(factor).into_iter().map(|value| value / factor).collect();
            assert!(other == one, "{storage}: gradients times {factor}");
        }
    }
}

#[test]
fn an_output_that_is_asked_for_twice_is_given_twice() {
    let Some(_gpu) = gpu("an_output_that_is_asked_for_twice_is_given_twice") else { return };
    let (network, params) = small("tiny-cnn", [1, 28, 28]);
    let taps = [network.output(), network.find("pool").unwrap(), network.output()];
    let found = run(&cuda(Storage::Bf16), &network, &params, &[0, 1], (Norm::Running, Keep::Nothing), &taps);
    let outputs: Vec<Vec<f64>> = found.outputs.iter().map(values).collect();
    assert!(outputs[0].iter().all(|value| value.is_finite()));
    assert!(outputs[1] == outputs[0] && outputs[3] == outputs[0] && outputs[2] != outputs[0]);
}

/// A mean-sparse layer's statistics are a file's: one network meets those of several.
#[test]
fn statistics_of_another_file_are_read_in_either_mode() {
    let Some(_gpu) = gpu("statistics_of_another_file_are_read_in_either_mode") else { return };
    let (mut b, x) = Builder::new([3, 8, 8]);
    let x = b.conv("stem", Conv2d::new(8, 3), x).unwrap();
    let x = b.node("sparse", Op::MeanSparse, &[x]).unwrap();
    let x = b.node("mean", Op::GlobalAvgPool, &[x]).unwrap();
    b.linear("classifier", 4, x).unwrap();
    let network = b.finish("sparse").unwrap();
    let one = drawn(&network).to_precision(Precision::F32);
    let mut other = one.clone();
    for place in 0..other.statistics().len() {
        let value = other.statistics().get(place);
        other.statistics_mut().set(place, value + 0.5);
    }
    let (engine, exact) = (cuda(Storage::F32), cpu(1));
    for norm in [Norm::Running, Norm::Batch] {
        let [mine, theirs] = [&engine as &dyn Engine, &exact].map(|engine| {
            [&one, &other].map(|params| {
                values(&run(engine, &network, params, &[0, 1], (norm, Keep::Nothing), &[]).outputs[0])
            })
        });
        assert!(theirs[0] != theirs[1], "{norm:?}: the statistics are of no consequence");
        for (mine, theirs) in mine.iter().zip(&theirs) {
            assert!(
                mine.iter().zip(theirs).all(|(a, b)| (a - b).abs() < 1e-4),
                "{norm:?}: {mine:?}, {theirs:?}"
            );
        }
    }
}
