//! Which logits a loss differentiates, for every objective, as its paper or its released code has it.
//!
//! A term that is held constant where the method differentiates it trains another student, and no test of shapes or of
//! descent notices: a public reproduction of TRADES held the target of its KL, lost four points, and had a test that
//! asserted it. What is expected here is read in the released code; what an objective does is found by comparing its
//! gradients with differences of its loss.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor, Var};
use engine::Descent;
use engine::params::Precision;
use method::attack::Answers;
use method::objective::{
    self, Epoch, Forward, Heads, Inner, Needs, OBJECTIVES, Objective, Options, Said, Targets, UNLABELLED,
    find,
};
use method::rng::{Purpose, Stream};
use method::schedule::Schedule;
use method::soft::{cross_entropy, kl};
use method::taps::MapShapes;
use rslad_tests::values;

use Flow::{Nothing, Part, Whole};
use Forward::{Adversarial, Clean, Opposite, Strong};

/// What a loss's gradient at the logits of one forward is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Flow {
    /// The loss's derivative: every term that reads them is differentiated.
    Whole,
    /// Not that, and not zero: some term that reads them is a constant.
    Part,
    /// Zero: to the loss they are constants, or it gives them no weight.
    Nothing,
}

/// An objective, the options under which all of its terms have weight, and the flow into each of its forwards, in their
/// order: the order in which the released code's running statistics see them, too.
struct Expected {
    objective: &'static str,
    options: &'static [(&'static str, f64)],
    flows: &'static [(Forward, Flow)],
    source: &'static str,
}

const EXPECTED: &[Expected] = &[
    Expected {
        objective: "rslad",
        options: &[],
        flows: &[(Adversarial, Whole), (Clean, Whole)],
        source: "zibojia/RSLAD c40e04f, resnet18_rslad_cifar10.py: both student outputs, the teacher's under no_grad",
    },
    Expected {
        objective: "ard",
        options: &[("alpha", 0.25)],
        flows: &[(Adversarial, Whole), (Clean, Whole)],
        source: "goldblum/AdversariallyRobustDistillation 779ade3, main.py",
    },
    Expected {
        objective: "absld",
        options: &[],
        flows: &[(Adversarial, Whole), (Clean, Whole)],
        source: "zhaoshiji123/ABSLD 7407c3a: the temperatures are numbers of the epoch before",
    },
    Expected {
        objective: "fair-rslad",
        options: &[],
        flows: &[(Adversarial, Whole), (Clean, Whole)],
        source: "NISP-official/Fair-ARD 910c8cd, Fair-RSLAD.py: the weights are numbers of the epoch before",
    },
    Expected {
        objective: "fair-ard",
        options: &[("alpha", 0.25)],
        flows: &[(Adversarial, Whole), (Clean, Whole)],
        source: "NISP-official/Fair-ARD 910c8cd, Fair-ARD.py: likewise",
    },
    Expected {
        objective: "kd",
        options: &[],
        flows: &[(Clean, Whole)],
        source: "HobbitLong/RepDistiller, distiller_zoo/KD.py",
    },
    Expected {
        objective: "adaad",
        options: &[("alpha", 0.25)],
        flows: &[(Clean, Whole), (Adversarial, Whole)],
        source: "boyellow/AdaAD 9e5c6e5, main.py: the teacher's outputs are detached",
    },
    Expected {
        objective: "iad",
        options: &[("alpha", 0.25), ("begin", 0.0)],
        flows: &[(Adversarial, Whole), (Adversarial, Nothing), (Clean, Whole), (Clean, Nothing)],
        source: "ZFancy/IAD a8091a8, IAD-I.py: S(x) is not detached in the student's own term; a second x' is for nothing; \
                 the second x has the logits of the first",
    },
    Expected {
        objective: "iad-ii",
        options: &[("begin", 0.0)],
        flows: &[(Adversarial, Whole), (Clean, Whole)],
        source: "ZFancy/IAD a8091a8, IAD-II.py: likewise",
    },
    Expected {
        objective: "adaiad",
        options: &[("alpha", 0.25), ("begin", 0.0)],
        flows: &[(Clean, Whole), (Adversarial, Whole), (Clean, Nothing), (Clean, Nothing)],
        source: "boyellow/AdaAD 9e5c6e5: likewise; the further x have the logits of the first",
    },
    Expected {
        objective: "mtard",
        options: &[],
        flows: &[(Adversarial, Whole), (Clean, Whole)],
        source: "zhaoshiji123/MTARD 6480a1b: the weights are numbers, at the first step a half each",
    },
    Expected {
        objective: "saad",
        options: &[("clean", 0.2)],
        flows: &[(Adversarial, Whole), (Opposite, Whole), (Clean, Whole)],
        source: "HongsinLee/saad 435e6b2, saad.py: the weights are the teacher's, which is asked under no_grad",
    },
    Expected {
        objective: "snord",
        options: &[("threshold", 0.0)],
        flows: &[(Strong, Whole), (Adversarial, Whole), (Clean, Whole)],
        source: "no released code; its file's documentation: what the average says, and so weights and pseudo-labels, is \
                 a constant",
    },
    Expected {
        objective: "adr",
        options: &[],
        flows: &[(Adversarial, Whole)],
        source: "yuyuwu5/ADR 0ec83e2, adr.py: the rectified label is made under no_grad; advTrainer.py forwards x' once",
    },
    Expected {
        objective: "trades",
        options: &[],
        flows: &[(Clean, Whole), (Adversarial, Whole), (Clean, Whole)],
        source: "yaodongyu/TRADES 9d308f1, trades.py: softmax(model(x_natural)) is the KL's target, without detach",
    },
    Expected {
        objective: "mart",
        options: &[],
        flows: &[(Clean, Whole), (Adversarial, Whole)],
        source: "YisenWang/MART 1c2a930, mart.py: neither nat_probs nor true_probs is detached",
    },
    Expected {
        objective: "sat",
        options: &[("smoothing", 0.4)],
        flows: &[(Adversarial, Whole)],
        source: "MadryLab/cifar10_challenge, fzjcdt/FastAT_Benchmark 1d7105e, pgd_at.py",
    },
    Expected { objective: "natural", options: &[], flows: &[(Clean, Whole)], source: "cross-entropy" },
];

const IMAGES: usize = 5;
const CLASSES: usize = 4;
const EPOCH: Epoch = Epoch { number: 0, of: 1, schedule: Schedule::Cosine };

/// `(5, 4)` values around zero, f64.
fn logits(stream: usize) -> Tensor {
    let mut values = vec![0.0; IMAGES * CLASSES];
    Stream::new(5, Purpose::Eval, 0, stream).normals(&mut values);
    Tensor::from_vec(values, (IMAGES, CLASSES), &Device::Cpu).unwrap()
}

fn targets(objective: &dyn Objective) -> Targets {
    let [mut teacher, mut second] = [Said::default(), Said::default()];
    for (stream, forward) in (0..).zip([Clean, Adversarial, Opposite]) {
        teacher.push(forward, logits(1 + stream));
        second.push(forward, logits(5 + stream));
    }
    let mut average = Said::default();
    for (stream, forward) in (0..).zip([Clean, Strong]) {
        average.push(forward, logits(8 + stream));
    }
    let mut labels = [3u32, 0, 2, 1, 0];
    if objective.unlabelled_each().is_some() {
        labels[..3].fill(UNLABELLED);
    }
    let labels = Tensor::new(&labels, &Device::Cpu).unwrap();
    Targets {
        teacher,
        second,
        average,
        own_clean: Some(logits(4)),
        memory: objective.memory(CLASSES),
        ..Targets::new(EPOCH, (0..IMAGES).collect(), labels)
    }
}

/// The loss at these logits, one tensor for each forward: the same images forwarded twice may have other ones, so that
/// what flows into either is told apart.
fn loss_at(objective: &dyn Objective, targets: &Targets, leaves: &[Tensor]) -> Tensor {
    let mut said = Said::default();
    for (forward, leaf) in objective.forwards(EPOCH).into_iter().zip(leaves) {
        said.push(forward, leaf.clone());
    }
    objective.loss(&said, targets).unwrap()
}

/// What flows into each forward, found by central differences of the loss.
fn flows(objective: &dyn Objective) -> Vec<(Forward, Flow)> {
    const STEP: f64 = 1e-5;
    let targets = targets(objective);
    let forwards = objective.forwards(EPOCH);
    let leaves: Vec<Var> =
        (0..forwards.len()).map(|number| Var::from_tensor(&logits(10 + number)).unwrap()).collect();
    let tensors: Vec<Tensor> = leaves.iter().map(|leaf| leaf.as_tensor().clone()).collect();
    let gradients = loss_at(objective, &targets, &tensors).backward().unwrap();
    let value = |place: usize, logits: Vec<f64>| {
        let mut moved: Vec<Tensor> = tensors.iter().map(Tensor::detach).collect();
        moved[place] = Tensor::from_vec(logits, (IMAGES, CLASSES), &Device::Cpu).unwrap();
        loss_at(objective, &targets, &moved).to_dtype(DType::F64).unwrap().to_scalar::<f64>().unwrap()
    };
    let flow = |place: usize| {
        let here = values(&tensors[place]);
        let differences: Vec<f64> = (0..here.len())
            .map(|logit| {
                let moved = |by: f64| {
                    let mut moved = here.clone();
                    moved[logit] += by;
                    value(place, moved)
                };
                (moved(STEP) - moved(-STEP)) / (2.0 * STEP)
            })
            .collect();
        let gradient = gradients.get(&tensors[place]).map_or_else(|| vec![0.0; here.len()], values);
        let largest =
            |values: &[f64]| values.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
        let apart: Vec<f64> = gradient.iter().zip(&differences).map(|(g, d)| g - d).collect();
        if largest(&gradient) < 1e-12 {
            Nothing
        } else if largest(&apart) < 1e-6 * largest(&differences) {
            Whole
        } else {
            Part
        }
    };
    forwards.iter().copied().zip((0..forwards.len()).map(flow)).collect()
}

#[test]
fn every_objective_differentiates_what_its_released_code_does() {
    for row in OBJECTIVES {
        let name = row.name;
        let expected = EXPECTED.iter().find(|expected| expected.objective == name);
        let expected =
            expected.unwrap_or_else(|| panic!("{name} has no line in EXPECTED: read its released code"));
        let options: BTreeMap<String, f64> =
            expected.options.iter().map(|&(key, value)| (key.to_string(), value)).collect();
        let objective = (row.make)(&Options::of(*row, &options).unwrap());
        assert_eq!(flows(&*objective), expected.flows, "{name}: {}", expected.source);
    }
    for expected in EXPECTED {
        find(expected.objective).unwrap();
    }
}

/// Maps `(5, C, H, W)` around zero, f64.
fn maps(stream: usize, shape: [usize; 3]) -> Tensor {
    let mut values = vec![0.0; IMAGES * shape.iter().product::<usize>()];
    Stream::new(5, Purpose::Eval, 1, stream).normals(&mut values);
    let [channels, height, width] = shape;
    Tensor::from_vec(values, (IMAGES, channels, height, width), &Device::Cpu).unwrap()
}

/// How far a gradient is from central differences of the loss at up to seven places, relative to those.
fn off(gradient: &[f64], at: &[f64], loss: &dyn Fn(Vec<f64>) -> f64) -> f64 {
    const STEP: f64 = 1e-5;
    let moved = |place: usize, by: f64| {
        let mut moved = at.to_vec();
        moved[place] += by;
        loss(moved)
    };
    let places: Vec<usize> = (0..at.len()).step_by(at.len().div_ceil(7)).collect();
    let differences: Vec<f64> =
        places.iter().map(|&place| (moved(place, STEP) - moved(place, -STEP)) / (2.0 * STEP)).collect();
    let largest = |values: &[f64]| values.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
    assert!(largest(&differences) > 1e-4, "the loss reads it");
    let apart: Vec<f64> = places.iter().zip(&differences).map(|(&place, d)| gradient[place] - d).collect();
    largest(&apart) / largest(&differences)
}

/// zongdaoming/dpk 7f66025, `train_cifar_two_epoch`: the student's map is not detached on its way into the head, the teacher's
/// comes out of `no_grad` and is detached again as the target; similarity and masks are numbers.
#[test]
fn dpk_differentiates_the_students_maps_and_its_heads_and_holds_the_teachers() {
    let options = BTreeMap::from([("dpk", 0.7), ("dpk-heads", 2.0), ("dpk-width", 3.0)]);
    let options = options.into_iter().map(|(key, value)| (key.to_string(), value)).collect();
    let objective = objective::compose(find("kd").unwrap(), &options, false).unwrap();
    // Twelve positions of the teacher's, so that two are visible however many are masked.
    let (ours, theirs) = ([[3, 4, 5], [2, 3, 4]], [[2, 3, 4], [4, 3, 4]]);
    let shapes = MapShapes { student: ours.to_vec(), teacher: theirs.to_vec() };
    let mut heads = Heads::fresh(&objective.heads(&shapes).unwrap(), 1, Precision::F64);
    // Off its beginning, where biases are zero and the first blocks alike.
    heads.step(Descent { momentum: 0.0, weight_decay: 0.3, rate: 1.0, nesterov: false });
    let student: Vec<Var> =
        (0..).zip(ours).map(|(stream, shape)| Var::from_tensor(&maps(stream, shape)).unwrap()).collect();
    let teacher: Vec<Var> =
        (7..).zip(theirs).map(|(stream, shape)| Var::from_tensor(&maps(stream, shape)).unwrap()).collect();
    let leaves = heads.leaves().unwrap();
    let tensors = |vars: &[Var]| vars.iter().map(|var| var.as_tensor().clone()).collect::<Vec<_>>();
    let loss_at = |maps: Vec<Tensor>| {
        let mut targets = targets(&*objective);
        targets.heads = leaves.clone();
        targets.teacher.push_maps(Clean, tensors(&teacher));
        let mut said = Said::default();
        said.push(Clean, logits(10));
        said.push_maps(Clean, maps);
        objective.loss(&said, &targets).unwrap()
    };
    let gradients = loss_at(tensors(&student)).backward().unwrap();
    for (tap, var) in student.iter().enumerate() {
        let loss = |values: Vec<f64>| {
            let mut maps: Vec<Tensor> = tensors(&student).iter().map(Tensor::detach).collect();
            maps[tap] = Tensor::from_vec(values, var.dims4().unwrap(), &Device::Cpu).unwrap();
            loss_at(maps).to_scalar::<f64>().unwrap()
        };
        let off = off(&values(gradients.get(var).unwrap()), &values(var), &loss);
        assert!(
            off < 1e-6,
            "tap {tap}: the student's map carries its whole gradient, which is off by {off:.1e}"
        );
    }
    for var in &teacher {
        assert!(gradients.get(var).is_none(), "the teacher's map is a constant");
    }
    for (name, at, _) in heads.iter() {
        let leaf = leaves.get(name);
        let loss = |values: Vec<f64>| {
            // Only a leaf's own values are changed, and put back.
            let set = |values: Vec<f64>| leaves.set(name, &values).unwrap();
            set(values);
            let loss = loss_at(tensors(&student)).to_scalar::<f64>().unwrap();
            set(at.clone());
            loss
        };
        let gradient = values(gradients.get(leaf).unwrap());
        let off = off(&gradient, &at, &loss);
        assert!(off < 1e-6, "{name}: its gradient is off by {off:.1e}");
    }
}

/// Cross-entropy and a KL as in TRADES, whose target is held constant as in that reproduction, or not.
struct Held {
    target: bool,
}

impl Objective for Held {
    fn needs(&self) -> Needs {
        Needs::nothing()
    }

    fn inner(&self) -> Option<Inner> {
        None
    }

    fn attack_loss(&self, _: &Answers, _: &Targets) -> candle_core::Result<Tensor> {
        unreachable!("it does not attack")
    }

    fn forwards(&self, _: Epoch) -> Vec<Forward> {
        vec![Clean, Adversarial]
    }

    fn loss(&self, said: &Said, targets: &Targets) -> candle_core::Result<Tensor> {
        let (clean, adversarial) = (said.clean(), said.adversarial());
        let right = cross_entropy(clean, &targets.labels)?.mean_all()?;
        let alike = if self.target { kl(&clean.detach(), adversarial)? } else { kl(clean, adversarial)? };
        right + alike.mean_all()?
    }
}

#[test]
fn a_target_that_is_held_constant_is_noticed() {
    let held = |target| flows(&Held { target });
    assert_eq!(held(false), [(Clean, Whole), (Adversarial, Whole)]);
    assert_eq!(held(true), [(Clean, Part), (Adversarial, Whole)]);
}
