//! What a step does for an objective that asks for more than any in the table does.

use candle_core::{Result, Tensor};
use engine::Norm;
use engine::params::Precision;
use method::attack::{Answers, At, Start, Victim};
use method::objective::{Epoch, Forward, Inner, Memory, Needs, Objective, Said, Targets};
use method::optim::Sgd;
use method::schedule::Schedule;
use method::soft::{cross_entropy, kl};
use method::threat::Threat;
use rslad_tests::{reference, values};
use stage2_distill::step::{Batch, Moving, TrainStep};

use crate::small::network;

const STEPS: usize = 3;

/// TRADES as its released code runs it, with the clean images forwarded twice; weights per class; an eye on the attack.
struct Demanding;

impl Objective for Demanding {
    fn needs(&self) -> Needs {
        Needs::Nothing
    }

    fn inner(&self) -> Option<Inner> {
        Some(Inner { norm: Norm::Batch, ..Inner::from(Start::Uniform) })
    }

    fn attack_loss(&self, answers: &Answers, targets: &Targets) -> Result<Tensor> {
        cross_entropy(&answers.student, &targets.labels)
    }

    fn forwards(&self) -> &'static [Forward] {
        &[Forward::Clean, Forward::Adversarial, Forward::Clean]
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
        threat: Threat { eps: 8.0 / 255.0 },
        steps: STEPS,
        step_size: 2.0 / 255.0,
        seed: 1,
    };
    let batch = |labels: [u32; 3]| Batch {
        images: small.images(&[0, 1, 2]),
        labels: Tensor::new(&labels, &candle_core::Device::Cpu).unwrap(),
        teacher: None,
        places: vec![0, 1, 2],
        epoch: Epoch { number: 0, of: 1, schedule: Schedule::Cosine },
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
    step.apply(&mut moving, 0.01);
    assert_ne!(moving.params.trainable(), small.params.trainable());
    // Class 0 has no weight, so only the attack and the KL are left of it.
    let mut other = begin();
    let unweighted = step.gradients(&mut other, batch([0, 0, 0])).unwrap();
    assert!(unweighted.loss < outcome.loss, "{} is not below {}", unweighted.loss, outcome.loss);
}

#[test]
fn an_attack_hears_of_every_image_apart_from_its_neighbours() {
    let engine = reference(2);
    let small = network("resnet8", [3, 16, 16], Precision::F64);
    let victim = Victim::new(&engine, &small.network, &small.params);
    let labels = |labels: &[u32]| Tensor::new(labels, &candle_core::Device::Cpu).unwrap();
    let at = |ids: &[usize], classes: &Tensor| {
        victim.at(&small.images(ids), &|logits| cross_entropy(logits, classes)).unwrap()
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
    let raised = victim.at(&moved, &|logits| cross_entropy(logits, &labels(&[5]))).unwrap();
    let found = (values(&raised.losses)[0] - values(&second.losses)[0]) / step;
    let wanted: f64 = values(&second.gradient).iter().map(|slope| slope * slope).sum();
    assert!((found - wanted).abs() < 1e-3 * wanted, "{found}, not {wanted}");
}
