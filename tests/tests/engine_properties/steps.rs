//! What a step does for an objective that asks for more than any in the table does.

use candle_core::{Device, Result, Tensor};
use engine::params::Precision;
use engine::{Engine, Keep, Norm};
use method::attack::{Answers, At, Start, Victim};
use method::objective::{Epoch, Forward, Inner, Marks, Memory, Needs, Objective, Said, Targets, UNLABELLED};
use method::optim::Sgd;
use method::schedule::Schedule;
use method::soft::{cross_entropy, kl};
use method::threat::Threat;
use rslad_tests::{reference, values};
use stage2_distill::step::{Batch, Moving, Seen, TrainStep};

use crate::small::network;

const STEPS: usize = 3;

/// TRADES as its released code runs it, with the clean images forwarded twice; weights per class; an eye on the attack.
struct Demanding;

impl Objective for Demanding {
    fn needs(&self) -> Needs {
        Needs::nothing()
    }

    fn inner(&self) -> Option<Inner> {
        Some(Inner { norm: Norm::Batch, ..Inner::from(Start::Uniform) })
    }

    fn attack_loss(&self, answers: &Answers, targets: &Targets) -> Result<Tensor> {
        cross_entropy(&answers.student, &targets.labels)
    }

    fn forwards(&self, _: Epoch) -> Vec<Forward> {
        vec![Forward::Clean, Forward::Adversarial, Forward::Clean]
    }

    fn loss(&self, said: &Said, targets: &Targets) -> Result<Tensor> {
        let weights = targets.memory.of_images("weight", &targets.labels, said.clean())?;
        let right = (cross_entropy(said.clean(), &targets.labels)? * weights)?.mean_all()?;
        right + kl(said.nth(Forward::Clean, 1), said.adversarial())?.mean_all()?
    }

    fn memory(&self, classes: usize) -> Memory {
        let weights = (0..classes).map(|class| class as f64).collect();
        Memory::default()
            .with("weight", weights)
            .with("watched", vec![0.0; classes])
            .with("highest", vec![0.0])
    }

    fn watches(&self) -> bool {
        true
    }

    fn watch(&self, at: &At, targets: &Targets, memory: &mut Memory) -> Result<()> {
        memory.add_by_class("watched", &targets.labels, &at.losses.ones_like()?)?;
        let highest = values(&at.losses).into_iter().fold(memory.row("highest")[0], f64::max);
        memory.row_mut("highest")[0] = highest;
        Ok(())
    }
}

#[test]
fn an_objective_may_watch_its_attack_weigh_its_images_and_forward_the_same_ones_twice() {
    let engine = reference(2);
    let small = network("resnet8", [3, 16, 16], Precision::F64);
    let step = TrainStep {
        engine: &engine,
        network: &small.network,
        objective: &Demanding,
        teacher: None,
        second: None,
        taps: None,
        threat: Threat::linf(8.0 / 255.0),
        steps: STEPS,
        step_size: 2.0 / 255.0,
        seed: 1,
    };
    let batch = |labels: [u32; 3]| {
        let labels = Tensor::new(&labels, &Device::Cpu).unwrap();
        let clean = Seen::only(small.images(&[0, 1, 2]).into());
        let epoch = Epoch { number: 0, of: 1, schedule: Schedule::Cosine };
        Batch::of(clean, labels, vec![0, 1, 2], epoch)
    };
    let begin =
        || Moving::new(small.params.clone(), Sgd::new(&small.params, 0.9, 2e-4), Demanding.memory(10));
    let mut moving = begin();
    let outcome = step.gradients(&mut moving, batch([4, 0, 4])).unwrap();
    let watched: Vec<usize> = moving.memory.row("watched").iter().map(|&count| count as usize).collect();
    assert_eq!(watched, [STEPS, 0, 0, 0, 2 * STEPS, 0, 0, 0, 0, 0]);
    assert!(moving.memory.row("highest")[0] > 0.0);
    // The attack's own forwards move the running statistics too: it runs on the batch's.
    let forwards = STEPS as i64 + 3;
    assert!(moving.params.batches_tracked().iter().all(|&count| count == forwards));
    assert_eq!(moving.params.trainable(), small.params.trainable(), "gradients move nothing");
    step.apply(&mut moving, 0.01).unwrap();
    assert_ne!(moving.params.trainable(), small.params.trainable());
    // Class 0 has no weight, so only the attack and the KL are left of it.
    let mut other = begin();
    let unweighted = step.gradients(&mut other, batch([0, 0, 0])).unwrap();
    assert!(unweighted.loss < outcome.loss, "{} is not below {}", unweighted.loss, outcome.loss);
}

/// Learns labels where there are any, and what the teacher says of a second view of the images that are marked.
struct HalfLabelled;

impl Objective for HalfLabelled {
    fn needs(&self) -> Needs {
        Needs::cached_labels()
    }

    fn inner(&self) -> Option<Inner> {
        None
    }

    fn attack_loss(&self, _: &Answers, _: &Targets) -> Result<Tensor> {
        unreachable!("it does not attack")
    }

    fn views(&self) -> usize {
        2
    }

    fn unlabelled_each(&self) -> Option<usize> {
        Some(1)
    }

    fn forwards(&self, _: Epoch) -> Vec<Forward> {
        vec![Forward::Clean, Forward::Further(1)]
    }

    fn loss(&self, said: &Said, targets: &Targets) -> Result<Tensor> {
        let rows = targets.labelled()?;
        let labels = targets.labels.index_select(&rows, 0)?;
        let hard = cross_entropy(&said.clean().index_select(&rows, 0)?, &labels)?.sum_all()?;
        let further = said.nth(Forward::Further(1), 0);
        let soft = kl(targets.teacher.nth(Forward::Further(1), 0), further)?;
        hard + (soft * targets.mark("trusted", further)?)?.sum_all()?
    }
}

/// Each image's logarithms of probabilities under a network that normalises by the batch, in plain arithmetic.
fn log_probabilities(logits: &Tensor) -> Vec<Vec<f64>> {
    let rows = logits.to_vec2::<f64>().unwrap();
    let normalised = |row: Vec<f64>| {
        let sum: f64 = row.iter().map(|logit| logit.exp()).sum();
        row.iter().map(|logit| logit - sum.ln()).collect()
    };
    rows.into_iter().map(normalised).collect()
}

#[test]
fn a_batch_may_hold_two_views_marks_and_images_without_labels() {
    let engine = reference(2);
    let small = network("resnet8", [3, 16, 16], Precision::F64);
    let step = |objective: &'static dyn Objective| TrainStep {
        engine: &engine,
        network: &small.network,
        objective,
        teacher: None,
        second: None,
        taps: None,
        threat: Threat::linf(8.0 / 255.0),
        steps: STEPS,
        step_size: 2.0 / 255.0,
        seed: 1,
    };
    let (views, teacher) = ([[0, 1, 2], [3, 4, 5]], Tensor::new(&[[1.0f64; 10]; 3], &Device::Cpu).unwrap());
    let batch = || {
        let [clean, further] =
            views.map(|ids| Seen { teacher: Some(teacher.clone()), ..Seen::only(small.images(&ids).into()) });
        let labels = Tensor::new(&[4u32, UNLABELLED, 7], &Device::Cpu).unwrap();
        let epoch = Epoch { number: 0, of: 1, schedule: Schedule::Cosine };
        let marks = Marks::from([("trusted", vec![0.0, 1.0, 0.5])]);
        Batch { further: vec![further], marks, ..Batch::of(clean, labels, vec![20, 21, 22], epoch) }
    };
    let begin = || Moving::new(small.params.clone(), Sgd::new(&small.params, 0.9, 2e-4), Memory::default());
    let found = step(&HalfLabelled).gradients(&mut begin(), batch()).unwrap().loss;

    let answers = views.map(|ids| {
        let images = small.images(&ids).into();
        let pass = engine
            .forward(&small.network, &small.params, &images, Norm::Batch, Keep::ForParams, &[])
            .unwrap();
        log_probabilities(&pass.logits)
    });
    // A teacher that knows nothing gives every class a tenth.
    let apart = |row: &[f64]| row.iter().map(|log| 0.1 * (0.1f64.ln() - log)).sum::<f64>();
    let [clean, further] = &answers;
    let wanted = -clean[0][4] - clean[2][7] + apart(&further[1]) + 0.5 * apart(&further[2]);
    assert!((found - wanted).abs() < 1e-9 * wanted, "{found}, not {wanted}");

    let refused = step(&Demanding).gradients(&mut begin(), batch()).err().unwrap().to_string();
    assert!(refused.contains("image 21 has no label"), "{refused}");
}

#[test]
fn an_attack_hears_of_every_image_apart_from_its_neighbours() {
    let engine = reference(2);
    let small = network("resnet8", [3, 16, 16], Precision::F64);
    let victim = Victim::new(&engine, &small.network, &small.params);
    let labels = |labels: &[u32]| Tensor::new(labels, &Device::Cpu).unwrap();
    let at = |ids: &[usize], classes: &Tensor| {
        victim.at(&small.images(ids).into(), &|logits| cross_entropy(logits, classes)).unwrap()
    };
    let (both, second) = (at(&[0, 1], &labels(&[3, 5])), at(&[1], &labels(&[5])));
    for (both, second) in
        [(&both.logits, &second.logits), (&both.losses, &second.losses), (&both.gradient, &second.gradient)]
    {
        assert_eq!(both.dim(0).unwrap(), 2);
        let (both, second) = (values(both), values(second));
        assert_eq!(both[both.len() / 2..], second);
    }
    // A small move along the gradient raises the loss by what the gradient says.
    let step = 1e-6;
    let moved = (small.images(&[1]) + (&second.gradient * step).unwrap()).unwrap();
    let raised = victim.at(&moved.into(), &|logits| cross_entropy(logits, &labels(&[5]))).unwrap();
    let found = (values(&raised.losses)[0] - values(&second.losses)[0]) / step;
    let wanted: f64 = values(&second.gradient).iter().map(|slope| slope * slope).sum();
    assert!((found - wanted).abs() < 1e-3 * wanted, "{found}, not {wanted}");
}
