//! What holds for every architecture, objective and attack, because a table lists them.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use engine::params::Precision;
use engine::{Engine, Norm, Reference};
use method::attack::{
    self, ATTACKS, Answers, Attack, Field, Next, Pgd, Pool, Search, Start, Starts, Subject, Unreadable,
    Victim,
};
use method::eval::{Exam, Fate, Settings, clean, robust};
use method::objective::{self, Epoch, Forward, OBJECTIVES, Objective, Options, Row, Said, Targets};
use method::optim::Sgd;
use method::rng::Purpose;
use method::schedule::Schedule;
use method::soft::cross_entropy;
use method::threat::{Threat, ThreatError};
use rslad_tests::{reference, values};
use stage2_distill::step::{Batch, Moving, Seen, TrainStep};
use zoo::{Task, ZOO};

use crate::small::{Small, network, uniform};

const FIRST: Epoch = Epoch { number: 0, of: 1, schedule: Schedule::Cosine };

/// An objective as it is where nobody chooses its options.
fn usual(row: &Row) -> Box<dyn Objective> {
    (row.make)(&Options::of(row, &BTreeMap::new()).unwrap())
}

const INPUT: [usize; 3] = [3, 16, 16];
const THREAT: Threat = Threat::linf(8.0 / 255.0);

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
        let (_, network) = zoo::build(name, Task { input: [1, 28, 28], classes: 3 }).unwrap();
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
        let objective = usual(row);
        let small = network("resnet8", INPUT, Precision::F64);
        let asked = network("tiny-cnn", INPUT, Precision::F64);
        let step = TrainStep {
            engine: &engine,
            network: &small.network,
            objective: &*objective,
            teacher: Some(Victim::new(&engine, &asked.network, &asked.params)),
            second: Some(Victim::new(&engine, &asked.network, &asked.params)),
            taps: None,
            threat: THREAT,
            steps: 2,
            step_size: 2.0 / 255.0,
            seed: 1,
        };
        let teacher = Tensor::from_vec(uniform(800, 40), (4, 10), &Device::Cpu).unwrap();
        let batch = || {
            let teacher = objective.needs().teacher.wants_clean().then(|| (&teacher * 4.0).unwrap());
            let clean = Seen { teacher, ..Seen::only(small.images(&ids).into()) };
            let strong = objective.strong().then(|| small.images(&[4, 5, 6, 7]).into());
            Batch { strong, ..Batch::of(clean, labels(&ids), ids.to_vec(), FIRST) }
        };
        let sgd = Sgd::new(&small.params, 0.9, 2e-4);
        let mut moving = Moving::new(small.params.clone(), sgd, objective.memory(10));
        let first = step.run(&mut moving, batch(), 0.01).unwrap();
        assert_eq!(first.adversarial.is_some(), objective.inner().is_some(), "{}", row.name);
        if let Some(adversarial) = &first.adversarial {
            THREAT.check(&small.images(&ids), adversarial.tensor().unwrap()).unwrap();
        }
        let under_attack =
            if objective.inner().is_some_and(|inner| inner.norm == Norm::Batch) { 2 } else { 0 };
        let moved = objective.forwards(FIRST).len() as i64 + under_attack;
        assert!(moving.params.batches_tracked().iter().all(|&count| count == moved), "{}", row.name);
        assert_ne!(moving.params.statistics(), small.params.statistics(), "{}", row.name);
        for _ in 0..4 {
            step.run(&mut moving, batch(), 0.01).unwrap();
        }
        let last = step.run(&mut moving, batch(), 0.01).unwrap();
        assert!(last.loss < first.loss, "{}: {} is not below {}", row.name, last.loss, first.loss);
    }
}

/// Steps of an objective, bare or with additions, in an epoch in which all has begun: losses, adversarial images, and what
/// moved.
fn trained(row: &'static Row, given: &[(&str, f64)], architecture: &str, steps: usize) -> (Vec<f64>, Moving) {
    let engine = reference(2);
    let small = network(architecture, [1, 28, 28], Precision::F64);
    let asked = network("tiny-cnn-x2", [1, 28, 28], Precision::F64);
    let given = given.iter().map(|&(key, value)| (key.to_string(), value)).collect();
    let objective = objective::compose(row, &given, false).unwrap();
    let victim = Some(Victim::new(&engine, &asked.network, &asked.params));
    let step = TrainStep {
        engine: &engine,
        network: &small.network,
        objective: &*objective,
        teacher: victim,
        second: victim,
        taps: None,
        threat: THREAT,
        steps: 2,
        step_size: 2.0 / 255.0,
        seed: 1,
    };
    let ids = [0, 1, 2];
    let sgd = Sgd::new(&small.params, 0.9, 2e-4);
    let mut moving = Moving::new(small.params.clone(), sgd, objective.memory(10));
    let mut found = Vec::new();
    for _ in 0..steps {
        let epoch = Epoch { number: 60, of: 61, schedule: Schedule::Multistep };
        let said = || Some(Tensor::from_vec(uniform(810, 30), (3, 10), &Device::Cpu).unwrap());
        let clean = Seen { teacher: said(), second: said(), ..Seen::only(small.images(&ids).into()) };
        let strong = objective.strong().then(|| small.images(&[3, 4, 5]).into());
        let batch = Batch { strong, ..Batch::of(clean, labels(&ids), ids.to_vec(), epoch) };
        let outcome = step.run(&mut moving, batch, 0.05).unwrap();
        found.push(outcome.loss);
        found.extend(values(outcome.adversarial.unwrap().tensor().unwrap()));
    }
    (found, moving)
}

#[test]
fn igdm_without_weight_trains_the_same_bits_but_for_the_running_statistics() {
    let all = |arena: &engine::params::Arena| arena.to_f64(0..arena.len());
    for row in OBJECTIVES.iter().filter(|row| usual(row).inner().is_some()) {
        let name = row.name;
        // A network without BatchNorm, in which one forward more moves nothing; one with it agrees until the statistics do not.
        for (architecture, steps) in [("lenet5-madry", 3), ("tiny-cnn", 1)] {
            let (bare, ours) = trained(row, &[], architecture, steps);
            let (added, theirs) = trained(row, &[("igdm", 0.0)], architecture, steps);
            let apart =
                |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            // Gradients of the same forwards add up in another order where the base has the clean one first.
            let bound = if ["adaad", "adaiad", "trades"].contains(&name) { 1e-12 } else { 0.0 };
            assert!(apart(&bare, &added) <= bound, "{name} on {architecture}: another loss or attack");
            let weights =
                |moving: &Moving| [all(moving.params.trainable()), all(moving.sgd.velocity())].concat();
            assert!(apart(&weights(&ours), &weights(&theirs)) <= bound, "{name} on {architecture}");
            let same = all(ours.params.statistics()) == all(theirs.params.statistics());
            assert_eq!(same, architecture == "lenet5-madry", "{name} on {architecture}: running statistics");
        }
        let (bare, _) = trained(row, &[], "tiny-cnn", 1);
        let (added, _) = trained(row, &[("igdm", 1.0)], "tiny-cnn", 1);
        assert!(added[0] > bare[0], "{name}: the term is there");
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
        let logits = engine.logits(&small.network, &small.params, &small.images(&ids).into()).unwrap();
        let answers = logits.argmax(1).unwrap().to_vec1::<u32>().unwrap();
        Self { small, labels: answers.into_iter().map(|class| class as i32).collect() }
    }

    fn victim<'a>(&'a self, engine: &'a Reference) -> Victim<'a> {
        Victim::new(engine, &self.small.network, &self.small.params)
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

fn judged(images: &Images, engine: &Reference, attack: &dyn Attack, eps: f64) -> Vec<bool> {
    judged_in_batches(images, engine, attack, Threat::linf(eps), PLACES.len())
}

fn judged_in_batches(
    images: &Images,
    engine: &Reference,
    attack: &dyn Attack,
    threat: Threat,
    batch: usize,
) -> Vec<bool> {
    let settings = Settings { threat, step_size: threat.eps / 4.0, restarts: 1, seed: 3, batch };
    let victim = images.victim(engine);
    let clean = clean(&victim, images, &PLACES, 4, &mut |_, _| true).unwrap().right;
    assert_eq!(clean, [true; 6], "the student wrote the labels");
    let fates = robust(&victim, images, &PLACES, &clean, &[attack], &settings, &mut |_, _| true).unwrap();
    fates.into_iter().map(Fate::stands).collect()
}

#[test]
fn every_attack_raises_the_loss_of_every_architecture_and_with_eps_0_equals_clean() {
    let engine = reference(2);
    for row in ZOO {
        let images = Images::new(row.example, PLACES.len(), &engine);
        // The others take thousands of forwards, and are tried on one architecture below.
        for name in ["fgsm", "pgd20"] {
            let attack = attack::find(name).unwrap();
            let what = format!("{} on {}", attack.name(), row.name);
            assert_eq!(judged(&images, &engine, &*attack, 0.0), [true; 6], "{what}");
            raises_the_loss(&images, &engine, &*attack, &what);
        }
    }
}

#[test]
fn what_an_attack_finds_depends_on_the_image_alone_and_with_eps_0_equals_clean() {
    let images = Images::new("tiny-cnn", PLACES.len(), &reference(2));
    for row in ATTACKS {
        let attack = attack::find(row.example).unwrap();
        assert_eq!(judged(&images, &reference(2), &*attack, 0.0), [true; 6], "{}", row.name);
        let threat = Threat::linf(0.5);
        let alone = judged_in_batches(&images, &reference(1), &*attack, threat, 1);
        // The published steps are made for a ball a sixteenth as wide, and hardly leave the start in this one.
        let is_near = row.name.starts_with("pgd-");
        assert!(
            is_near || alone.iter().any(|right| !right),
            "{} breaks none of {} images",
            row.name,
            alone.len()
        );
        for (threads, batch) in [(2, 4), (3, 6)] {
            assert_eq!(
                judged_in_batches(&images, &reference(threads), &*attack, threat, batch),
                alone,
                "{}",
                row.name
            );
        }
    }
}

/// Shortened, since each takes the same way through the ball in linf above.
#[test]
fn in_l2_too_what_an_attack_finds_depends_on_the_image_alone() {
    let images = Images::new("tiny-cnn", PLACES.len(), &reference(2));
    let shortened = [
        "fgsm",
        "pgd20",
        "cw20",
        "apgd-ce:steps=20",
        "apgd-dlr:steps=20",
        "apgd-t:targets=2:steps=20",
        "malt:targets=2:steps=20",
        "fab-t:targets=2:steps=20",
        "square:queries=3000",
    ];
    for name in shortened {
        let attack = attack::find(name).unwrap();
        assert_eq!(
            judged_in_batches(&images, &reference(2), &*attack, Threat::l2(0.0), 6),
            [true; 6],
            "{name}"
        );
        // So far an untrained network, too, has another class.
        let alone = judged_in_batches(&images, &reference(1), &*attack, Threat::l2(8.0), 1);
        assert!(alone.iter().any(|right| !right), "{name} breaks none of {} images", alone.len());
        assert_eq!(judged_in_batches(&images, &reference(3), &*attack, Threat::l2(8.0), 4), alone, "{name}");
    }
}

/// Runs an attack outside the judge, which would hide images that leave the ball.
fn raises_the_loss(images: &Images, engine: &Reference, attack: &dyn Attack, what: &str) {
    let victim = images.victim(engine);
    let pixels = images.small.images(&PLACES);
    let classes: Vec<u32> = images.labels.iter().map(|&label| label as u32).collect();
    let classes = Tensor::new(classes, &Device::Cpu).unwrap();
    let loss = |pixels: &Tensor| {
        let logits = victim.logits(&pixels.into()).unwrap();
        values(&cross_entropy(&logits, &classes).unwrap()).iter().sum::<f64>()
    };
    let mut pool = Pool::new(attack, victim);
    for (index, image) in values(&pixels).chunks(768).enumerate() {
        pool.admit(
            index,
            Subject {
                image: image.iter().map(|&pixel| pixel as f32).collect(),
                shape: INPUT,
                label: images.labels[index] as usize,
                threat: THREAT,
                step_size: THREAT.eps / 4.0,
                seed: 0,
                restart: 0,
                place: index,
            },
        );
    }
    let mut found = vec![Vec::new(); PLACES.len()];
    while !pool.is_empty() {
        for end in pool.ask().unwrap() {
            found[end.index] = end.point.expect("these attacks always end somewhere");
        }
    }
    let found = Tensor::from_vec(found.concat(), pixels.shape(), &Device::Cpu).unwrap();
    THREAT.check(&pixels, &found).unwrap();
    let (before, after) = (loss(&pixels), loss(&found));
    assert!(after > before, "{what}: the loss went from {before} to {after}");
}

/// Ignores the ball.
struct Cheat;

impl Attack for Cheat {
    fn name(&self) -> String {
        "cheat".into()
    }

    fn climbs(&self) -> bool {
        false
    }

    fn begin(&self, subject: Subject) -> Box<dyn Search> {
        Box::new(Elsewhere(vec![-1.0; subject.image.len()]))
    }
}

struct Elsewhere(Vec<f32>);

impl Search for Elsewhere {
    fn point(&self) -> &[f32] {
        &self.0
    }

    fn slope(&mut self, _: &[f32], _: &mut [f32]) {}

    fn learn(&mut self, _: &[f32], _: &[f32]) -> Next {
        Next::Judge
    }

    fn share(&self) -> f64 {
        0.0
    }

    fn save(&self) -> Vec<u8> {
        Vec::new()
    }

    fn restore(&mut self, _: &[u8]) -> Result<(), Unreadable> {
        Ok(())
    }
}

#[test]
fn an_attack_that_leaves_the_ball_is_caught_by_the_check_and_gains_nothing_from_the_judge() {
    let engine = reference(2);
    let images = Images::new("resnet8", PLACES.len(), &engine);
    let pixels = images.small.images(&PLACES);
    let far = (&pixels * 0.5).unwrap();
    assert!(matches!(THREAT.check(&pixels, &far), Err(ThreatError::OutsideBall { image: 0, .. })));
    let value = |answers: &Answers| answers.student.sum(1);
    let field = Field { student: images.victim(&engine), teacher: None, value: &value };
    // PGD without a step is only its start, which may lie outside.
    let starts = Starts { seed: 0, purpose: Purpose::Eval, epoch: 0, images: &PLACES };
    let start = Start::Gaussian { sigma: 0.2 };
    let unprojected = Pgd { threat: THREAT, steps: 0, step_size: 0.0, start }
        .perturb(&field, &(&pixels).into(), &starts, &mut |_| Ok(()))
        .unwrap();
    assert!(THREAT.check(&pixels, unprojected.tensor().unwrap()).is_err());
    let one_step = Pgd { threat: THREAT, steps: 1, step_size: 0.5, start }
        .perturb(&field, &(&pixels).into(), &starts, &mut |_| Ok(()))
        .unwrap();
    THREAT.check(&pixels, one_step.tensor().unwrap()).unwrap();
    let not_numbers = (&pixels * f64::NAN).unwrap();
    assert!(matches!(THREAT.check(&pixels, &not_numbers), Err(ThreatError::OutsideRange { .. })));
    // The judge projects: a ball that reaches nowhere near a boundary leaves the cheat nothing.
    assert_eq!(judged(&images, &engine, &Cheat, 1e-7), [true; 6]);
}

#[test]
fn every_loss_of_an_attack_has_a_gradient_at_the_image() {
    let engine = reference(1);
    let small = network("tiny-cnn", [1, 12, 12], Precision::F64);
    let (ids, victim) = ([0, 1], Victim::new(&engine, &small.network, &small.params));
    let asked = network("tiny-cnn-x2", [1, 12, 12], Precision::F64);
    let teacher = Victim::new(&engine, &asked.network, &asked.params);
    let images = small.images(&ids);
    let logits = Tensor::from_vec(uniform(801, 20), (2, 10), &Device::Cpu).unwrap();
    let said = || {
        let mut said = Said::default();
        said.push(Forward::Clean, logits.clone());
        said
    };
    let mut targets = Targets {
        teacher: said(),
        average: said(),
        own_clean: Some(logits.clone()),
        ..Targets::new(FIRST, ids.to_vec(), labels(&ids))
    };
    for row in OBJECTIVES {
        let objective = usual(row);
        targets.memory = objective.memory(10);
        let value = |answers: &Answers| objective.attack_loss(answers, &targets);
        let climbed = objective.needs().teacher.climbed;
        let field = Field { student: victim, teacher: climbed.then_some(teacher), value: &value };
        let at = field.at(&(&images).into()).unwrap();
        let gradient = at.gradient;
        assert_eq!((gradient.dims(), gradient.dtype()), (images.dims(), DType::F64), "{}", row.name);
        assert!(values(&gradient).iter().filter(|&&g| g != 0.0).count() > 100, "{}", row.name);
        assert_eq!(values(&at.logits), values(&victim.logits(&(&images).into()).unwrap()), "{}", row.name);
        assert_eq!(at.losses.dims(), [2], "{}: an attack climbs a value per image", row.name);
    }
}
