//! Which forwards move BatchNorm's running statistics, and in which order, as the released code of each method does it.

use std::sync::Mutex;

use candle_core::{Device, Tensor};
use engine::params::{Precision, Values};
use engine::{
    Album, Ascent, AttackLoss, BatchStats, Climbed, Climbers, Cutting, Demand, Descent, Engine, EngineError,
    Grads, Hardware, Images, Keep, Network, NodeId, Norm, Params, Pass, Reference, Stride, Tape,
};
use method::attack::Victim;
use method::average::Average;
use method::objective::{self, Epoch, Heads, OBJECTIVES};
use method::optim::Sgd;
use method::schedule::Schedule;
use method::taps::{self, MapShapes, Taps};
use method::threat::Threat;
use rslad_tests::{reference, values};
use stage2_distill::step::{Batch, Moving, Seen, TrainStep};

use crate::small::{network, uniform};

/// Gradient steps of every published attack.
const STEPS: usize = 10;

/// What moved the running statistics: the images of a step's forwards.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Of {
    Attack,
    Adversarial,
    Clean,
    Opposite,
    Strong,
}

use Of::{Adversarial, Attack, Clean, Opposite, Strong};

/// The attack's forwards in training mode, if it has any, then the others, as the code at the source runs them.
struct Published {
    objective: &'static str,
    /// What is added to it.
    add: &'static [(&'static str, f64)],
    source: &'static str,
    /// Of the 300 of a run, from 0, for methods that do not always run the same.
    epoch: usize,
    attack: usize,
    forwards: &'static [Of],
}

const PUBLISHED: &[Published] = &[
    Published {
        objective: "rslad",
        add: &[],
        source: "zibojia/RSLAD c40e04f: model.eval() in rslad_inner_loss, train() before it forwards x'; then x",
        epoch: 0,
        attack: 0,
        forwards: &[Adversarial, Clean],
    },
    Published {
        objective: "ard",
        add: &[],
        source: "goldblum/AdversariallyRobustDistillation 779ade3, main.py: net.train() alone; x, though alpha is 1",
        epoch: 0,
        attack: STEPS,
        forwards: &[Adversarial, Clean],
    },
    Published {
        objective: "absld",
        add: &[],
        source: "zhaoshiji123/ABSLD 7407c3a, absld_loss.py: as RSLAD's",
        epoch: 0,
        attack: 0,
        forwards: &[Adversarial, Clean],
    },
    Published {
        objective: "fair-rslad",
        add: &[],
        source: "NISP-official/Fair-ARD 910c8cd, Fair-RSLAD.py: as RSLAD's; counting forwards nothing of its own",
        epoch: 0,
        attack: 0,
        forwards: &[Adversarial, Clean],
    },
    Published {
        objective: "fair-ard",
        add: &[],
        source: "the same, Fair-ARD.py: net.train() alone, the attack returns basic_net(x'), then basic_net(x)",
        epoch: 0,
        attack: STEPS,
        forwards: &[Adversarial, Clean],
    },
    Published {
        objective: "kd",
        add: &[],
        source: "HobbitLong/RepDistiller, helper/loops.py: the student forwards each batch once",
        epoch: 0,
        attack: 0,
        forwards: &[Clean],
    },
    Published {
        objective: "kd",
        add: &[("dpk", 0.3)],
        source: "zongdaoming/dpk 7f66025, train_cifar_two_epoch: maps and logits are of one student(samples)",
        epoch: 0,
        attack: 0,
        forwards: &[Clean],
    },
    Published {
        objective: "rslad",
        add: &[("dpk", 0.3)],
        source: "not published: RSLAD's own forwards, whose clean one gives the maps",
        epoch: 0,
        attack: 0,
        forwards: &[Adversarial, Clean],
    },
    Published {
        objective: "sat",
        add: &[("dpk", 0.3)],
        source: "not published: a clean forward for the maps, after what the objective itself forwards",
        epoch: 0,
        attack: 0,
        forwards: &[Adversarial, Clean],
    },
    Published {
        objective: "iad",
        add: &[],
        source: "ZFancy/IAD a8091a8, IAD-I.py: net.train() alone; the attack returns basic_net(x'), x' for nothing, x",
        epoch: 59,
        attack: STEPS,
        forwards: &[Adversarial, Adversarial, Clean],
    },
    Published {
        objective: "iad",
        add: &[],
        source: "the same from `begin` on: x once more, in the second term",
        epoch: 60,
        attack: STEPS,
        forwards: &[Adversarial, Adversarial, Clean, Clean],
    },
    Published {
        objective: "iad-ii",
        add: &[],
        source: "the same, IAD-II.py: the attack returns basic_net(x')",
        epoch: 39,
        attack: STEPS,
        forwards: &[Adversarial],
    },
    Published {
        objective: "iad-ii",
        add: &[],
        source: "the same from `begin` on: basic_net(x) in the second half",
        epoch: 40,
        attack: STEPS,
        forwards: &[Adversarial, Clean],
    },
    Published {
        objective: "mtard",
        add: &[],
        source: "zhaoshiji123/MTARD 6480a1b: mtard_inner_loss_ce forwards x' in train(); then x",
        epoch: 0,
        attack: 0,
        forwards: &[Adversarial, Clean],
    },
    Published {
        objective: "saad",
        add: &[],
        source: "HongsinLee/saad 295121c, saad.py: student_plus, student_minus, student_clean",
        epoch: 0,
        attack: 0,
        forwards: &[Adversarial, Opposite, Clean],
    },
    Published {
        objective: "adaiad",
        add: &[],
        source: "boyellow/AdaAD 9e5c6e5, main.py, AdaAD_with_IAD1: x, x', and x for hard labels of no weight",
        epoch: 59,
        attack: 0,
        forwards: &[Clean, Adversarial, Clean],
    },
    Published {
        objective: "adaiad",
        add: &[],
        source: "the same from `IAD_begin` on: x once more",
        epoch: 60,
        attack: 0,
        forwards: &[Clean, Adversarial, Clean, Clean],
    },
    Published {
        objective: "rslad",
        add: &[("igdm", 0.9)],
        source: "Xavaitron/VLM_Distillation, rslad_IGDM_cifar100.py: x' in the inner loss; plus, clean, minus",
        epoch: 0,
        attack: 0,
        forwards: &[Adversarial, Adversarial, Clean, Opposite],
    },
    Published {
        objective: "adaad",
        add: &[("igdm", 5.0)],
        source: "the same, adaad_IGDM_cifar100.py: plus, clean, minus, and inputs_adv again",
        epoch: 0,
        attack: 0,
        forwards: &[Adversarial, Clean, Opposite, Adversarial],
    },
    Published {
        objective: "adaad",
        add: &[],
        source: "boyellow/AdaAD 9e5c6e5, main.py: eval() in the attack; ori_outputs first, then adv_outputs",
        epoch: 0,
        attack: 0,
        forwards: &[Clean, Adversarial],
    },
    Published {
        objective: "snord",
        add: &[],
        source: "no released code: the order that its file gives, which is a guess; the attack on running statistics",
        epoch: 0,
        attack: 0,
        forwards: &[Strong, Adversarial, Clean],
    },
    Published {
        objective: "adr",
        add: &[],
        source: "yuyuwu5/ADR 0ec83e2, advTrainer.py, PGD-AT: model.train() alone; x' once; the average is another network",
        epoch: 0,
        attack: STEPS,
        forwards: &[Adversarial],
    },
    Published {
        objective: "trades",
        add: &[],
        source: "yaodongyu/TRADES 9d308f1, trades.py: eval() in the attack; model(x), model(x'), model(x) again",
        epoch: 0,
        attack: 0,
        forwards: &[Clean, Adversarial, Clean],
    },
    Published {
        objective: "mart",
        add: &[],
        source: "YisenWang/MART 1c2a930, mart.py: eval() before the attack, train() after it; model(x), model(x')",
        epoch: 0,
        attack: 0,
        forwards: &[Clean, Adversarial],
    },
    Published {
        // Madry's own code attacks in training mode; which one is meant stands beside the objective.
        objective: "sat",
        add: &[],
        source: "boyellow/AdaAD 9e5c6e5, AT_helper.py: Madry_PGD in eval(); the loss is of x' alone",
        epoch: 0,
        attack: 0,
        forwards: &[Adversarial],
    },
    Published {
        objective: "natural",
        add: &[],
        source: "the definition: one forward of each batch",
        epoch: 0,
        attack: 0,
        forwards: &[Clean],
    },
];

/// The reference, which writes down what it ran under batch statistics, and which of it then moved the running ones.
struct Watching {
    engine: Reference,
    ran: Mutex<Vec<(Vec<f64>, Vec<f64>)>>,
    moved: Mutex<Vec<Vec<f64>>>,
}

impl Watching {
    fn new() -> Self {
        Self { engine: reference(2), ran: Mutex::default(), moved: Mutex::default() }
    }

    /// The images behind each move, in order.
    fn moves(&self) -> Vec<Vec<f64>> {
        let ran = self.ran.lock().unwrap();
        let behind = |statistics: &Vec<f64>| {
            let (images, _) = ran.iter().find(|(_, of)| of == statistics).expect("what moves was run");
            images.clone()
        };
        self.moved.lock().unwrap().iter().map(behind).collect()
    }
}

fn statistics(of: &BatchStats) -> Vec<f64> {
    of.values.as_ref().map_or_else(Vec::new, |values| values.host().to_f64(0..values.len()))
}

impl Engine for Watching {
    fn name(&self) -> &'static str {
        "watching"
    }

    fn hardware(&self) -> Hardware {
        self.engine.hardware()
    }

    fn demand(&self, network: &Network, norm: Norm, keep: Keep, batch: usize) -> Option<Demand> {
        self.engine.demand(network, norm, keep, batch)
    }

    fn forward(
        &self,
        network: &Network,
        params: &Params,
        images: &Images,
        norm: Norm,
        keep: Keep,
        taps: &[NodeId],
    ) -> Result<Pass, EngineError> {
        let pass = self.engine.forward(network, params, images, norm, keep, taps)?;
        if norm == Norm::Batch {
            let seen = values(images.tensor().unwrap());
            self.ran.lock().unwrap().push((seen, statistics(&pass.stats)));
        }
        Ok(pass)
    }

    fn backward(
        &self,
        tape: Tape,
        seeds: &[Option<Tensor>],
        grads: Option<&mut Grads>,
    ) -> Result<Option<Tensor>, EngineError> {
        self.engine.backward(tape, seeds, grads)
    }

    fn logits(&self, network: &Network, params: &Params, images: &Images) -> Result<Tensor, EngineError> {
        self.engine.logits(network, params, images)
    }

    fn query(&self, network: &Network, params: &Params, images: &Images) -> Result<Tensor, EngineError> {
        self.engine.query(network, params, images)
    }

    fn attack(
        &self,
        network: &Network,
        params: &Params,
        clean: &Images,
        start: &Images,
        loss: AttackLoss<'_>,
        by: Ascent,
    ) -> Result<Images, EngineError> {
        self.engine.attack(network, params, clean, start, loss, by)
    }

    fn climb(
        &self,
        tape: Tape,
        slopes: &Tensor,
        from: &Climbers,
        by: &[Stride],
    ) -> Result<Climbed, EngineError> {
        self.engine.climb(tape, slopes, from, by)
    }

    fn gather(&self, rows: &[(&Images, usize)]) -> Result<Images, EngineError> {
        self.engine.gather(rows)
    }

    fn cut(&self, album: &Album<'_>, views: &[Cutting]) -> Result<Option<Images>, EngineError> {
        self.engine.cut(album, views)
    }

    fn shift(&self, images: &Images, offsets: &Tensor, by: f64) -> Result<Images, EngineError> {
        self.engine.shift(images, offsets, by)
    }

    fn clear(&self, grads: &mut Grads) -> Result<(), EngineError> {
        self.engine.clear(grads)
    }

    fn descend(
        &self,
        params: &mut Params,
        grads: &Grads,
        velocity: &mut Values,
        by: Descent,
    ) -> Result<(), EngineError> {
        self.engine.descend(params, grads, velocity, by)
    }

    fn move_statistics(
        &self,
        network: &Network,
        params: &mut Params,
        batch: &BatchStats,
    ) -> Result<(), EngineError> {
        self.moved.lock().unwrap().push(statistics(batch));
        self.engine.move_statistics(network, params, batch)
    }

    fn follow(&self, average: &mut Params, student: &Params, decay: f64) -> Result<(), EngineError> {
        self.engine.follow(average, student, decay)
    }
}

const IDS: [usize; 3] = [0, 1, 2];
/// Stand in for strong views of those.
const OTHERS: [usize; 3] = [3, 4, 5];

#[test]
fn every_objective_moves_the_running_statistics_as_often_and_in_the_order_of_its_published_code() {
    let small = network("resnet8", [3, 16, 16], Precision::F64);
    let asked = network("tiny-cnn", [3, 16, 16], Precision::F64);
    let beside = reference(2);
    let taps = Taps {
        student: taps::find(&small.network, ["layer3"]).unwrap(),
        teacher: taps::find(&asked.network, ["bn3.relu"]).unwrap(),
    };
    let shapes = MapShapes {
        student: taps::shapes(&small.network, &taps.student),
        teacher: taps::shapes(&asked.network, &taps.teacher),
    };
    for row in OBJECTIVES {
        let is_listed = PUBLISHED.iter().any(|listed| listed.objective == row.name);
        assert!(is_listed, "{}: list what its released code forwards", row.name);
    }
    for listed in PUBLISHED {
        let row = objective::find(listed.objective).unwrap();
        let added = listed.add.iter().map(|&(key, value)| (key.to_owned(), value)).collect();
        let objective = objective::compose(row, &added, false).unwrap();
        let engine = Watching::new();
        let step = TrainStep {
            engine: &engine,
            network: &small.network,
            objective: &*objective,
            teacher: Some(Victim::new(&beside, &asked.network, &asked.params)),
            second: Some(Victim::new(&beside, &asked.network, &asked.params)),
            taps: Some(&taps),
            threat: Threat::linf(8.0 / 255.0),
            steps: STEPS,
            step_size: 2.0 / 255.0,
            seed: 1,
        };
        let sgd = Sgd::new(&small.params, 0.9, 2e-4);
        let mut moving = Moving::new(small.params.clone(), sgd, objective.memory(10));
        moving.heads = Heads::fresh(&objective.heads(&shapes).unwrap(), 1, Precision::F64);
        moving.average = Some(Average::new(0.75, &small.params));
        let teacher = (Tensor::from_vec(uniform(830, 30), (3, 10), &Device::Cpu).unwrap() * 4.0).unwrap();
        let only = Seen::only(small.images(&IDS).into());
        let clean = Seen { teacher: Some(teacher.clone()), second: Some(teacher), ..only };
        let labels = Tensor::new(&[3u32, 0, 7], &Device::Cpu).unwrap();
        let epoch = Epoch { number: listed.epoch, of: 300, schedule: Schedule::Multistep };
        let strong = objective.strong().then(|| small.images(&OTHERS).into());
        let batch = Batch { strong, ..Batch::of(clean, labels, IDS.to_vec(), epoch) };
        let outcome = step.run(&mut moving, batch, 0.01).unwrap();

        let (clean, strong) = (values(&small.images(&IDS)), values(&small.images(&OTHERS)));
        let adversarial = outcome.adversarial.map(|images| values(images.tensor().unwrap()));
        let opposite = adversarial.as_ref().map(|adversarial| -> Vec<f64> {
            clean.iter().zip(adversarial).map(|(x, found)| x - (found - x)).collect()
        });
        let of = |images: Vec<f64>| match images {
            images if images == clean => Clean,
            images if images == strong => Strong,
            images if Some(&images) == adversarial.as_ref() => Adversarial,
            images if Some(&images) == opposite.as_ref() => Opposite,
            _ => Attack,
        };
        let found: Vec<Of> = engine.moves().into_iter().map(of).collect();
        let wanted = [&vec![Attack; listed.attack][..], listed.forwards].concat();
        assert_eq!(found, wanted, "{}, whose source is {}", row.name, listed.source);
        let counts = moving.params.batches_tracked();
        assert!(counts.iter().all(|&count| count == wanted.len() as i64), "{}: {counts:?}", row.name);
    }
}
