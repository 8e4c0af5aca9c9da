//! What holds for every architecture, objective and attack, because a table lists them.

use candle_core::{DType, Device, Tensor};
use engine::params::Precision;
use engine::{Engine, EngineError, Keep, Norm, Reference};
use method::attack::{Pgd, Start, Starts, Victim};
use method::eval::{ATTACKS, Exam, JudgeAttack, Settings, clean, robust};
use method::model::{self, Task, ZOO};
use method::objective::{Needs, OBJECTIVES};
use method::optim::Sgd;
use method::rng::Purpose;
use method::soft::cross_entropy;
use method::threat::{Threat, ThreatError};
use rslad_tests::{reference, values};
use stage2_distill::step::{Batch, Moving, TrainStep};

use crate::small::{Small, network, uniform};

/// A name for each attack whose own name stands for many.
fn concrete(attack: &str) -> &str {
    match attack {
        "pgdN" => "pgd3",
        name => name,
    }
}

const INPUT: [usize; 3] = [3, 16, 16];
const THREAT: Threat = Threat { eps: 8.0 / 255.0 };

fn labels(ids: &[usize]) -> Tensor {
    Tensor::new(ids.iter().map(|id| (id % 10) as u32).collect::<Vec<_>>(), &Device::Cpu).unwrap()
}

#[test]
fn every_architecture_runs_and_goes_back_in_both_modes() {
    let engine = reference(2);
    for row in ZOO {
        let name = row.example;
        let small = network(name, INPUT, Precision::F32);
        for norm in [Norm::Running, Norm::Batch] {
            let run = small.run(&engine, &[0, 1], norm);
            assert_eq!(run.logits.dims(), [2, 10], "{name}");
            assert_eq!(run.image.dims(), [2, 3, 16, 16], "{name}");
            let logits = values(&run.logits);
            assert!(logits.iter().all(|logit| logit.is_finite()), "{name}");
            assert!(logits[..10] != logits[10..], "{name}: two images, two answers");
            assert!(!run.grads.values().has_non_finite(), "{name}");
            for entry in small.network.layout().trainable() {
                let gradient = run.grads.values().to_f64(entry.range.clone());
                assert!(gradient.iter().any(|&g| g != 0.0), "{name}: {} has no gradient", entry.name);
            }
        }
    }
}

#[test]
fn every_architecture_prints_a_summary_and_takes_other_classes() {
    for row in ZOO {
        let name = row.example;
        let (_, network) = model::build(name, Task { input: [1, 28, 28], classes: 3 }).unwrap();
        let summary = network.to_string();
        assert!(summary.starts_with(&format!("{name} 1x28x28 -> 3 classes")), "{summary}");
        assert_eq!(summary.lines().count(), network.nodes().len() + 2, "{name}");
    }
}

#[test]
fn every_objective_takes_a_step_that_lowers_its_own_loss() {
    let engine = reference(2);
    let ids = [0, 1, 2, 3];
    for row in OBJECTIVES {
        let objective = (row.make)();
        let small = network("resnet8", INPUT, Precision::F64);
        let attack = objective.attack_start().map(|start| Pgd {
            threat: THREAT,
            steps: 2,
            step_size: 2.0 / 255.0,
            start,
        });
        let step =
            TrainStep { engine: &engine, network: &small.network, objective: &*objective, attack, seed: 1 };
        let teacher = Tensor::from_vec(uniform(800, 40), (4, 10), &Device::Cpu).unwrap();
        let batch = || Batch {
            images: small.images(&ids),
            labels: labels(&ids),
            teacher: (objective.needs() != Needs::Nothing).then(|| (&teacher * 4.0).unwrap()),
            places: ids.to_vec(),
            epoch: 0,
        };
        let sgd = Sgd::new(&small.params, 0.9, 2e-4);
        let mut moving = Moving { params: small.params.clone(), grads: small.grads(), sgd };
        let first = step.run(&mut moving, batch(), 0.01).unwrap();
        assert_eq!(first.adversarial.is_some(), attack.is_some(), "{}", row.name);
        if let Some(adversarial) = &first.adversarial {
            THREAT.check(&small.images(&ids), adversarial).unwrap();
        }
        let forwards = objective.forwards().len() as i64;
        assert!(moving.params.batches_tracked().iter().all(|&count| count == forwards), "{}", row.name);
        assert_ne!(moving.params.statistics(), small.params.statistics(), "{}", row.name);
        for _ in 0..4 {
            step.run(&mut moving, batch(), 0.01).unwrap();
        }
        let last = step.run(&mut moving, batch(), 0.01).unwrap();
        assert!(last.loss < first.loss, "{}: {} is not below {}", row.name, last.loss, first.loss);
    }
}

struct Images {
    small: Small,
    labels: Vec<i32>,
}

impl Images {
    /// Images that a student classifies right, because it wrote the labels.
    fn new(name: &str, count: usize, engine: &Reference) -> Self {
        let small = network(name, INPUT, Precision::F32);
        let ids: Vec<usize> = (0..count).collect();
        let logits = engine.logits(&small.network, &small.params, &small.images(&ids)).unwrap();
        let answers = logits.argmax(1).unwrap().to_vec1::<u32>().unwrap();
        Self { small, labels: answers.into_iter().map(|class| class as i32).collect() }
    }

    fn victim<'a>(&'a self, engine: &'a Reference) -> Victim<'a> {
        Victim { engine, network: &self.small.network, params: &self.small.params }
    }
}

impl Exam for Images {
    fn labels(&self) -> &[i32] {
        &self.labels
    }

    fn images(&self, places: &[usize]) -> candle_core::Result<Tensor> {
        Ok(self.small.images(places))
    }
}

const PLACES: [usize; 6] = [0, 1, 2, 3, 4, 5];

fn judged(images: &Images, engine: &Reference, attack: &dyn JudgeAttack, eps: f64) -> Vec<bool> {
    let settings = Settings { threat: Threat { eps }, step_size: eps / 4.0, restarts: 1, seed: 3, batch: 6 };
    let victim = images.victim(engine);
    let clean = clean(&victim, images, &PLACES, 4, &mut |_, _| true).unwrap();
    assert_eq!(clean, [true; 6], "the student wrote the labels");
    robust(&victim, images, &PLACES, &clean, attack, &settings, &mut |_, _| true).unwrap()
}

#[test]
fn every_attack_raises_the_loss_of_every_architecture_and_with_eps_0_equals_clean() {
    let engine = reference(2);
    for row in ZOO {
        let images = Images::new(row.example, PLACES.len(), &engine);
        for attack in ATTACKS {
            let attack = (attack.make)(concrete(attack.name)).unwrap();
            let what = format!("{} on {}", attack.name(), row.name);
            assert_eq!(judged(&images, &engine, &*attack, 0.0), [true; 6], "{what}");
            raises_the_loss(&images, &engine, &*attack, &what);
        }
    }
}

/// Runs an attack outside the judge, which would hide images that leave the ball.
fn raises_the_loss(images: &Images, engine: &Reference, attack: &dyn JudgeAttack, what: &str) {
    let victim = images.victim(engine);
    let pixels = images.small.images(&PLACES);
    let classes: Vec<u32> = images.labels.iter().map(|&label| label as u32).collect();
    let classes = Tensor::new(classes, &Device::Cpu).unwrap();
    let loss = |pixels: &Tensor| {
        let logits = victim.logits(pixels).unwrap();
        values(&cross_entropy(&logits, &classes).unwrap()).iter().sum::<f64>()
    };
    let starts = Starts { seed: 0, purpose: Purpose::Eval, epoch: 0, images: &PLACES };
    let settings = Settings { threat: THREAT, step_size: THREAT.eps / 4.0, restarts: 1, seed: 0, batch: 6 };
    let found = attack.perturb(&victim, &pixels, &classes, &starts, &settings).unwrap();
    THREAT.check(&pixels, &found).unwrap();
    let (before, after) = (loss(&pixels), loss(&found));
    assert!(after > before, "{what}: the loss went from {before} to {after}");
}

/// Ignores the ball.
struct Cheat;

impl JudgeAttack for Cheat {
    fn name(&self) -> String {
        "cheat".into()
    }

    fn perturb(
        &self,
        _: &Victim,
        images: &Tensor,
        _: &Tensor,
        _: &Starts,
        _: &Settings,
    ) -> Result<Tensor, EngineError> {
        Ok((images.zeros_like()? - 1.0)?)
    }
}

#[test]
fn an_attack_that_leaves_the_ball_is_caught_by_the_check_and_gains_nothing_from_the_judge() {
    let engine = reference(2);
    let images = Images::new("resnet8", PLACES.len(), &engine);
    let pixels = images.small.images(&PLACES);
    let far = (&pixels * 0.5).unwrap();
    assert!(matches!(THREAT.check(&pixels, &far), Err(ThreatError::OutsideBall { image: 0, .. })));
    let victim = images.victim(&engine);
    // PGD without a step is only its start, which may lie outside.
    let starts = Starts { seed: 0, purpose: Purpose::Eval, epoch: 0, images: &PLACES };
    let start = Start::Gaussian { sigma: 0.2 };
    let unprojected = Pgd { threat: THREAT, steps: 0, step_size: 0.0, start }
        .perturb(&victim, &pixels, &starts, &|logits| logits.sum_all())
        .unwrap();
    assert!(THREAT.check(&pixels, &unprojected).is_err());
    let one_step = Pgd { threat: THREAT, steps: 1, step_size: 0.5, start }
        .perturb(&victim, &pixels, &starts, &|logits| logits.sum_all())
        .unwrap();
    THREAT.check(&pixels, &one_step).unwrap();
    let not_numbers = (&pixels * f64::NAN).unwrap();
    assert!(matches!(THREAT.check(&pixels, &not_numbers), Err(ThreatError::OutsideRange { .. })));
    // The judge projects: with eps 0 the cheat is left with the clean images.
    assert_eq!(judged(&images, &engine, &Cheat, 0.0), [true; 6]);
}

#[test]
fn every_loss_of_an_attack_has_a_gradient_at_the_image() {
    let engine = reference(1);
    let small = network("tiny-cnn", [1, 12, 12], Precision::F64);
    let (ids, victim) = ([0, 1], Victim { engine: &engine, network: &small.network, params: &small.params });
    let images = small.images(&ids);
    let logits = Tensor::from_vec(uniform(801, 20), (2, 10), &Device::Cpu).unwrap();
    let targets = method::objective::Targets {
        labels: labels(&ids),
        teacher: Some(logits.clone()),
        own_clean: Some(logits),
    };
    for row in OBJECTIVES {
        let objective = (row.make)();
        let gradient =
            victim.image_gradient(&images, &|logits| objective.attack_loss(logits, &targets)).unwrap();
        assert_eq!((gradient.dims(), gradient.dtype()), (images.dims(), DType::F64), "{}", row.name);
        assert!(values(&gradient).iter().filter(|&&g| g != 0.0).count() > 100, "{}", row.name);
        let pass = engine
            .forward(&small.network, &small.params, &images, Norm::Running, Keep::Nothing, &[])
            .unwrap();
        let loss = objective.attack_loss(&pass.logits, &targets).unwrap();
        assert_eq!(loss.rank(), 0, "{}: an attack climbs a scalar", row.name);
    }
}
