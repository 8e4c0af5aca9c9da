//! Steps that the host chooses and the GPU takes (Auto-PGD): beside the host's, and whole searches beside the processor's.

use candle_core::{Device, Tensor};
use engine::params::Precision;
use engine::{
    Ball, Climbed, Climbers, Cuda, Engine, EngineError, Images, Keep, Network, Norm, Params, Storage, Stride,
    host,
};
use method::attack::{End, Pool, Saved, Subject, Victim, find};
use method::threat::Threat;
use rslad_tests::{cpu, gpu, values};

use crate::gpu::{cuda, small};
use crate::tensor;

const SHAPE: [usize; 3] = [3, 16, 16];
const BALLS: [Ball; 2] = [Ball::Linf(8.0 / 255.0), Ball::L2(0.5)];

fn pixels(images: &Images) -> Vec<f64> {
    values(images.tensor().unwrap())
}

/// Climbers that stood somewhere before.
fn climbers(images: usize) -> Climbers {
    let shape = [images, SHAPE[0], SHAPE[1], SHAPE[2]];
    let clean = tensor(1, &shape, Precision::F32);
    let near =
        |stream| Images::from((&clean + (tensor(stream, &shape, Precision::F32) * 0.02).unwrap()).unwrap());
    let best_gradient = (tensor(5, &shape, Precision::F32) - 0.5).unwrap();
    Climbers {
        point: near(2),
        before: near(3),
        best: near(4),
        best_gradient: best_gradient.into(),
        clean: clean.into(),
    }
}

/// Every way of a step, the step itself, and the round trip of gradients through the host.
fn steps(
    engine: &Cuda,
    (network, params): (&Network, &Params),
    ball: Ball,
    on_device: bool,
) -> (Climbers, Vec<f32>) {
    let (mut at, mut steepest) = (climbers(4), Vec::new());
    let slopes = (tensor(9, &[4, 10], Precision::F32) - 0.5).unwrap();
    for number in 0..4 {
        let pass = engine.forward(network, params, &at.point, Norm::Running, Keep::ForImage, &[]).unwrap();
        let stride = |image: usize| Stride {
            ball,
            is_best: (number + image).is_multiple_of(2),
            returns: (number + image) % 4 > 1,
            length: 0.03 * (1 + image) as f32,
            share: if number == 0 { 1.0 } else { 0.75 },
        };
        let strides: Vec<Stride> = (0..4).map(stride).collect();
        let climbed = if on_device {
            engine.climb(pass.tape, &slopes, &at, &strides)
        } else {
            host::climb(engine, pass.tape, &slopes, &at, &strides)
        };
        let Climbed { to, steepest: largest } = climbed.unwrap();
        (at, steepest) = (to, [steepest, largest].concat());
    }
    (at, steepest)
}

/// In linf to the last bit; sums of l2 are taken in another order, in f64, which moves a pixel by its last bit at most.
#[test]
fn steps_on_the_device_are_the_hosts_in_every_storage_and_in_both_balls() {
    let Some(_gpu) = gpu("steps_on_the_device_are_the_hosts_in_every_storage_and_in_both_balls") else {
        return;
    };
    let (network, params) = small("tiny-cnn", SHAPE);
    for storage in [Storage::F32, Storage::Bf16, Storage::F16] {
        let engine = cuda(storage);
        for ball in BALLS {
            let [(found, steep), (wanted, steepest)] =
                [true, false].map(|on_device| steps(&engine, (&network, &params), ball, on_device));
            assert_eq!(steep, steepest, "{storage}, {ball:?}");
            assert!(steepest.iter().all(|&slope| slope > 0.0));
            for (field, (found, wanted)) in found.all().into_iter().zip(wanted.all()).enumerate() {
                let (found, wanted) = (pixels(found), pixels(wanted));
                let apart = found.iter().zip(&wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                let bound = if matches!(ball, Ball::Linf(_)) || field == 0 { 0.0 } else { 2.5e-7 };
                assert!(apart <= bound, "{storage}, {ball:?}, array {field}: {apart:.1e} apart");
            }
            assert!(pixels(&found.point) != pixels(&climbers(4).point));
        }
    }
}

#[test]
fn rows_are_gathered_from_batches_on_either_side_and_strangers_are_refused() {
    let Some(_gpu) = gpu("rows_are_gathered_from_batches_on_either_side") else { return };
    let batch = |stream, images| Images::from(tensor(stream, &[images, 3, 16, 16], Precision::F32));
    let (one, other) = (batch(1, 3), batch(2, 2));
    let (device, exact) = (cuda(Storage::Bf16), cpu(1));
    let engines: [&dyn Engine; 2] = [&device, &exact];
    for engine in engines {
        let rows = [(&one, 2), (&other, 0), (&one, 0), (&one, 2)];
        let there = engine.gather(&rows).unwrap();
        let again = engine.gather(&[(&there, 1), (&other, 1), (&there, 3)]).unwrap();
        let size = 3 * 16 * 16;
        let row = |images: &Images, row: usize| pixels(images)[row * size..][..size].to_vec();
        let wanted: Vec<f64> = rows.iter().flat_map(|&(images, at)| row(images, at)).collect();
        assert!(pixels(&there) == wanted);
        assert!(pixels(&again) == [row(&other, 0), row(&other, 1), row(&one, 2)].concat());
        assert_eq!(again.shape(), [3, 3, 16, 16]);
        let refused = |rows: &[(&Images, usize)]| engine.gather(rows).err().unwrap().to_string();
        assert_eq!(refused(&[]), "images were to be gathered, and none is named");
        assert_eq!(
            refused(&[(&one, 0), (&other, 2)]),
            "row 2 of images [2, 3, 16, 16]; wanted a row of a batch of images [3, 16, 16]"
        );
        let small: Images = tensor(1, &[2, 3, 8, 8], Precision::F32).into();
        assert!(refused(&[(&one, 0), (&small, 1)]).starts_with("row 1 of images [2, 3, 8, 8]; wanted"));
    }
}

#[test]
fn climbers_that_are_not_the_forwards_are_refused() {
    let Some(_gpu) = gpu("climbers_that_are_not_the_forwards_are_refused") else { return };
    let (network, params) = small("tiny-cnn", SHAPE);
    let (device, exact) = (cuda(Storage::F32), cpu(1));
    let engines: [&dyn Engine; 2] = [&device, &exact];
    for engine in engines {
        let slopes = Tensor::zeros((4, 10), candle_core::DType::F32, &Device::Cpu).unwrap();
        let refused = |keep, from: &Climbers, strides: usize| -> EngineError {
            let at = climbers(4).point;
            let pass = engine.forward(&network, &params, &at, Norm::Running, keep, &[]).unwrap();
            let strides = vec![Stride::none(BALLS[0]); strides];
            engine.climb(pass.tape, &slopes, from, &strides).err().unwrap()
        };
        let strides = refused(Keep::ForImage, &climbers(4), 3).to_string();
        assert_eq!(strides, "the attack's number of strides is [3]; wanted [4]");
        let others = refused(Keep::ForImage, &climbers(3), 4).to_string();
        assert_eq!(others, "the attack's state of its images is [3, 3, 16, 16]; wanted [4, 3, 16, 16]");
        let wide = tensor(1, &[4, 3, 16, 16], Precision::F64).into();
        let wide = refused(Keep::ForImage, &Climbers { best: wide, ..climbers(4) }, 4).to_string();
        assert_eq!(wide, "the state of an attack's images is f64; wanted f32");
        let kept = refused(Keep::ForParams, &climbers(4), 4).to_string();
        assert_eq!(kept, "backward wants gradients of the images, but forward did not keep them");
    }
}

fn subject(place: usize, threat: Threat) -> Subject {
    let image = values(&tensor(40 + place, &SHAPE, Precision::F32)).into_iter().map(|pixel| pixel as f32);
    let (image, label) = (image.collect(), 3 * place % 10);
    Subject { image, shape: SHAPE, label, threat, step_size: 0.01, seed: 1, restart: 0, place }
}

/// The ends of searches on these images, at most so many at once. After each question for which `pause` says so they are
/// saved, and go on in another pool.
fn ends(
    victim: Victim,
    name: &str,
    threat: Threat,
    (images, batch): (&[usize], usize),
    pause: impl Fn(usize) -> bool,
) -> Vec<End> {
    let attack = find(name).unwrap();
    let mut pool = Pool::new(attack.as_ref(), victim);
    let (mut waiting, mut ends, mut asked) = (images.iter(), Vec::new(), 0);
    loop {
        while pool.len() < batch
            && let Some(&place) = waiting.next()
        {
            pool.admit(place, subject(place, threat));
        }
        if pool.is_empty() {
            break;
        }
        ends.extend(pool.ask().unwrap());
        asked += 1;
        if pause(asked) {
            let saved: Vec<Saved> = pool.save().unwrap();
            pool = Pool::new(attack.as_ref(), victim);
            for saved in &saved {
                pool.readmit(saved, subject(saved.index, threat)).unwrap();
            }
        }
    }
    ends.sort_by_key(|end: &End| end.index);
    ends
}

const KINDS: [&str; 4] = [
    "apgd-ce:steps=7",
    "apgd-dlr:steps=7",
    "apgd-t:targets=2:steps=5",
    "malt:targets=2:candidates=3:steps=5",
];
const IMAGES: [usize; 5] = [0, 1, 2, 3, 4];

#[test]
fn what_a_led_search_finds_depends_neither_on_its_neighbours_nor_on_where_it_was_saved() {
    let Some(_gpu) = gpu("what_a_led_search_finds_depends_neither_on_its_neighbours") else { return };
    let (network, params) = small("tiny-cnn", SHAPE);
    let (device, exact) = (cuda(Storage::Bf16), cpu(1));
    let engines: [&dyn Engine; 2] = [&device, &exact];
    for engine in engines {
        let victim = Victim::new(engine, &network, &params);
        for name in KINDS {
            for threat in [Threat::linf(0.004), Threat::l2(0.12)] {
                let together = ends(victim, name, threat, (&IMAGES, 5), |_| false);
                assert_eq!(together.len(), 5);
                let in_turns = ends(victim, name, threat, (&[3, 1, 4, 0, 2], 2), |_| false);
                assert!(together == in_turns, "{}, {name}, {threat:?}", engine.name());
                for pause in [|asked: usize| asked.is_multiple_of(3), |_| true] {
                    let saved = ends(victim, name, threat, (&IMAGES, 3), pause);
                    assert!(together == saved, "{}, {name}, {threat:?}: saved", engine.name());
                }
            }
        }
    }
}

/// In f32 the two engines' gradients differ by their rounding, which a sign seldom sees.
#[test]
fn led_searches_end_where_the_processors_end() {
    let Some(_gpu) = gpu("led_searches_end_where_the_processors_end") else { return };
    let (network, params) = small("tiny-cnn", SHAPE);
    let (device, exact) = (cuda(Storage::F32), cpu(1).exact_conv(true));
    let (mut fallen, mut standing) = (0, 0);
    for name in KINDS {
        for threat in [Threat::linf(0.004), Threat::l2(0.12), Threat::linf(0.03)] {
            let of =
                |engine| ends(Victim::new(engine, &network, &params), name, threat, (&IMAGES, 3), |_| false);
            for (found, wanted) in of(&device as &dyn Engine).iter().zip(of(&exact)) {
                assert_eq!((found.index, found.asked), (wanted.index, wanted.asked), "{name}, {threat:?}");
                match (&found.point, &wanted.point) {
                    (None, None) => standing += 1,
                    (Some(found), Some(wanted)) => {
                        fallen += 1;
                        let apart = found.iter().zip(wanted).filter(|(a, b)| (*a - *b).abs() > 1e-4).count();
                        assert!(apart * 100 <= found.len(), "{name}, {threat:?}: {apart} pixels");
                    }
                    _ => panic!("{name}, {threat:?}: one of them fell"),
                }
            }
        }
    }
    assert!(fallen > 5 && standing > 5, "{fallen} fell and {standing} stand: one of them says nothing");
}
