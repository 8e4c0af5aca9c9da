//! What a student learns: the losses of the attack and of the weights, as candle expressions on `(N, K)` logits.
//!
//! An objective says what it needs, how the student is attacked while it trains and what that attack raises, which
//! forwards a step runs and in which order (each moves the running statistics), and the loss. What it learns about the
//! run lies in a [`Memory`]. To add one: one file with its own row, and the row in [`OBJECTIVES`].

mod absld;
mod adaad;
mod adaiad;
mod addition;
mod adr;
mod ard;
mod around;
mod dpk;
mod fair;
mod fair_ard;
mod fair_rslad;
mod heads;
mod iad;
mod iad_ii;
mod igdm;
mod kd;
mod mart;
mod memory;
mod mtard;
mod natural;
mod needs;
mod passes;
mod row;
mod rslad;
mod saad;
mod sat;
mod snord;
mod trades;

pub use absld::Absld;
pub use adaad::AdaAd;
pub use adaiad::AdaIad;
pub use addition::{ADDITIONS, Addition, compose};
pub use adr::Adr;
pub use ard::Ard;
pub use dpk::Dpk;
pub use fair::Fairness;
pub use fair_ard::FairArd;
pub use fair_rslad::FairRslad;
pub use heads::{Fresh, Heads, HeadsError, Initial, Leaves};
pub use iad::{Iad, Introspection};
pub use iad_ii::IadIi;
pub use igdm::Igdm;
pub use kd::Kd;
pub use mart::Mart;
pub use memory::Memory;
pub use mtard::Mtard;
pub use natural::Natural;
pub use needs::{Asked, Forward, Needs};
pub use passes::{Asks, Passes};
pub use row::{Epoch, Inner, Marks, Objective, Row, Said, Targets, UNLABELLED};
pub use rslad::Rslad;
pub use saad::Saad;
pub use sat::Sat;
pub use snord::Snord;
pub use trades::Trades;

pub use crate::options::{Choice, OptionError, Options};

use names::{Table, Unknown};

/// Every objective.
pub const OBJECTIVES: &Table<Row> = &[
    &rslad::ROW,
    &ard::ROW,
    &absld::ROW,
    &fair_rslad::ROW,
    &fair_ard::ROW,
    &kd::ROW,
    &iad::ROW,
    &iad_ii::ROW,
    &mtard::ROW,
    &saad::ROW,
    &adaad::ROW,
    &adaiad::ROW,
    &snord::ROW,
    &adr::ROW,
    &trades::ROW,
    &mart::ROW,
    &sat::ROW,
    &natural::ROW,
];

/// The objective called `name`.
pub fn find(name: &str) -> std::result::Result<&'static Row, Unknown> {
    names::find(OBJECTIVES, name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use candle_core::{Device, Tensor, Var};

    use super::*;
    use crate::attack::Answers;
    use crate::rng::{Purpose, Stream};
    use crate::schedule::Schedule;

    #[test]
    fn every_objective_is_made_at_both_ends_of_every_option() {
        for row in OBJECTIVES {
            for choice in row.options {
                assert!(choice.least <= choice.default && choice.default <= choice.most, "{}", choice.key);
                for value in [choice.least, choice.most] {
                    let options = Options::of(*row, &BTreeMap::from([(choice.key.to_string(), value)]));
                    (row.make)(&options.unwrap());
                }
            }
        }
    }

    /// `(5, 4)` values around zero.
    fn logits(stream: usize) -> Tensor {
        let mut values = vec![0.0; 20];
        Stream::new(3, Purpose::Eval, 0, stream).normals(&mut values);
        (Tensor::from_vec(values, (5, 4), &Device::Cpu).unwrap() * 3.0).unwrap()
    }

    /// Of five images, with a memory in which no two classes are alike.
    fn targets(objective: &dyn Objective) -> Targets {
        let said_of = |forwards: &[Forward]| {
            let mut said = Said::default();
            for (number, &forward) in (1..).zip(forwards) {
                said.push(forward, logits(number));
            }
            said
        };
        let mut memory = objective.memory(4);
        let per_class: Vec<String> = memory.names().map(str::to_owned).collect();
        for name in per_class {
            let row = memory.row_mut(&name);
            row.copy_from_slice(&[0.5, 0.9, 1.7, 3.1][..row.len()]);
        }
        Targets {
            teacher: said_of(&[Forward::Clean]),
            average: said_of(&[Forward::Clean, Forward::Strong]),
            own_clean: Some(logits(2)),
            memory,
            ..Targets::new(
                Epoch { number: 0, of: 1, schedule: Schedule::Cosine },
                (0..5).collect(),
                Tensor::new(&[3u32, 0, 2, 1, 0], &Device::Cpu).unwrap(),
            )
        }
    }

    /// Softmax of a row, in plain arithmetic.
    fn softmax(row: &[f64]) -> Vec<f64> {
        let sum: f64 = row.iter().map(|z| z.exp()).sum();
        row.iter().map(|z| z.exp() / sum).collect()
    }

    /// The gradient is candle's autograd of the attack's loss, which is compared with PyTorch elsewhere.
    #[test]
    fn an_attacks_target_gives_the_direction_of_its_losss_gradient_at_the_logits_of_each_image() {
        let mut with_target = Vec::new();
        for row in OBJECTIVES {
            let objective = (row.make)(&Options::of(*row, &BTreeMap::new()).unwrap());
            let targets = targets(&*objective);
            let Some(target) = objective.attack_target(&targets, 4).unwrap() else { continue };
            with_target.push(row.name);
            let leaf = Var::from_tensor(&logits(0)).unwrap();
            let answers = Answers { student: leaf.as_tensor().clone(), teacher: None };
            let loss = objective.attack_loss(&answers, &targets).unwrap().sum_all().unwrap();
            let gradients = loss.backward().unwrap().get(leaf.as_tensor()).unwrap().to_vec2::<f64>().unwrap();
            let target = target.to_dtype(candle_core::DType::F64).unwrap().to_vec2::<f64>().unwrap();
            let student = logits(0).to_vec2::<f64>().unwrap();
            for ((gradient, target), student) in gradients.iter().zip(&target).zip(&student) {
                let pull: Vec<f64> = softmax(student).iter().zip(target).map(|(p, t)| p - t).collect();
                let square: f64 = pull.iter().map(|p| p * p).sum();
                let factor = gradient.iter().zip(&pull).map(|(g, p)| g * p).sum::<f64>() / square;
                assert!(factor > 0.0, "{}: the attack would go the other way", row.name);
                for (g, p) in gradient.iter().zip(&pull) {
                    assert!((g - factor * p).abs() < 1e-12, "{}: {gradient:?}, not along {pull:?}", row.name);
                }
            }
        }
        let wanted = [
            "rslad",
            "ard",
            "absld",
            "fair-rslad",
            "fair-ard",
            "kd",
            "iad",
            "iad-ii",
            "mtard",
            "saad",
            "snord",
            "adr",
            "trades",
            "mart",
            "sat",
            "natural",
        ];
        assert_eq!(with_target, wanted);
    }

    /// Their authors' loops set the rate to a tenth of the first one at each milestone.
    #[test]
    fn the_second_drop_of_loops_that_lose_it_is_there_unless_they_are_wanted_as_published() {
        let given = Schedule::After("100,150".parse().unwrap());
        for name in ["ard", "fair-ard"] {
            for (as_published, rate) in [(false, 0.01), (true, 0.1)] {
                let made = compose(find(name).unwrap(), &BTreeMap::new(), as_published).unwrap();
                let factor = made.schedule(given, 200).factor(150, 200);
                assert!((factor - rate).abs() < 1e-15, "{name}: {factor}");
            }
        }
    }

    #[test]
    fn rslad_at_another_temperature_has_no_target() {
        for (temperature, there) in [(1.0, true), (1.5, false), (0.5, false)] {
            let rslad = Rslad { temperature, ..Rslad::default() };
            assert_eq!(rslad.attack_target(&targets(&rslad), 4).unwrap().is_some(), there);
        }
    }

    #[test]
    fn a_label_beyond_the_classes_is_no_target() {
        let sat = Sat::default();
        let mut targets = targets(&sat);
        targets.labels = Tensor::new(&[3u32, 0, UNLABELLED], &Device::Cpu).unwrap();
        let error = sat.attack_target(&targets, 4).unwrap_err().to_string();
        assert!(error.contains("image 2 of the batch has label 4294967295, of 4 classes"), "{error}");
    }
}
