//! Losses and their gradients, on ordinary and on extreme logits, against PyTorch in f64.

use candle_core::{Device, Result, Tensor, Var};
use method::attack::Answers;
use method::objective::{
    AdaAd, Ard, Epoch, FairArd, FairRslad, Fairness, Forward, Kd, Mart, Memory, Objective, Rslad, Said, Sat,
    Targets, Trades,
};
use method::schedule::Schedule;
use method::soft::kl;
use rslad_tests::{json, relative, values};
use serde::Deserialize;

#[derive(Deserialize)]
struct File {
    tables: Vec<Table>,
    losses: Vec<Loss>,
}

#[derive(Deserialize)]
struct Table {
    #[serde(rename = "table")]
    name: String,
    teacher: Vec<Vec<f64>>,
    natural: Vec<Vec<f64>>,
    adversarial: Vec<Vec<f64>>,
    labels: Vec<u32>,
}

#[derive(Deserialize)]
struct Loss {
    table: String,
    #[serde(rename = "loss")]
    name: String,
    value: Value,
    gradient_natural: Option<Vec<Vec<f64>>>,
    gradient_adversarial: Option<Vec<Vec<f64>>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Value {
    Mean(f64),
    PerImage(Vec<f64>),
}

/// Logits as leaves, and what they are judged by.
struct Leaves {
    natural: Var,
    adversarial: Var,
    targets: Targets,
}

impl Table {
    fn leaves(&self) -> Leaves {
        let tensor = |rows: &Vec<Vec<f64>>| Tensor::new(rows.clone(), &Device::Cpu).unwrap();
        let mut teacher = Said::default();
        teacher.push(Forward::Clean, tensor(&self.teacher));
        // What AdaAD's teacher says of the adversarial images.
        teacher.push(Forward::Adversarial, tensor(&self.natural));
        Leaves {
            natural: Var::from_tensor(&tensor(&self.natural)).unwrap(),
            adversarial: Var::from_tensor(&tensor(&self.adversarial)).unwrap(),
            targets: Targets {
                teacher,
                own_clean: Some(tensor(&self.natural)),
                ..Targets::new(
                    Epoch { number: 0, of: 1, schedule: Schedule::Cosine },
                    (0..self.labels.len()).collect(),
                    Tensor::new(self.labels.as_slice(), &Device::Cpu).unwrap(),
                )
            },
        }
    }
}

/// Every case that PyTorch calls `loss`: its table's leaves, and what PyTorch found.
fn cases(loss: &str) -> Vec<(Leaves, Loss)> {
    let File { tables, losses } = json("losses.json");
    let wanted: Vec<Loss> = losses.into_iter().filter(|row| row.name == loss).collect();
    assert!(wanted.len() >= 2, "{loss} is tried on every table");
    let leaves = |loss: &Loss| tables.iter().find(|table| table.name == loss.table).unwrap().leaves();
    wanted.into_iter().map(|loss| (leaves(&loss), loss)).collect()
}

const BOUND: f64 = 1e-12;

/// Compares row by row, so that an extreme image does not hide its neighbours.
fn rows_agree(found: &Tensor, wanted: &[Vec<f64>], what: &str) {
    let (images, classes) = found.dims2().unwrap();
    assert_eq!((images, classes), (wanted.len(), wanted[0].len()));
    for (image, (found, wanted)) in values(found).chunks(classes).zip(wanted).enumerate() {
        // Softmax rounds in units of its largest probability; a gradient that all but vanishes has no more digits.
        let largest = wanted.iter().fold(1.0, |largest: f64, value| largest.max(value.abs()));
        for (found, wanted) in found.iter().zip(wanted) {
            assert!(
                (found - wanted).abs() <= BOUND * largest,
                "{what}, image {image}: {found}, not {wanted}"
            );
        }
    }
}

fn gradients_agree(loss: &Tensor, leaves: &Leaves, wanted: &Loss) {
    let store = loss.sum_all().unwrap().backward().unwrap();
    let what = format!("{} of {}", wanted.name, wanted.table);
    for (leaf, rows) in
        [(&leaves.natural, &wanted.gradient_natural), (&leaves.adversarial, &wanted.gradient_adversarial)]
    {
        if let Some(rows) = rows {
            rows_agree(store.get(leaf.as_tensor()).expect("the loss depends on the leaf"), rows, &what);
        }
    }
}

fn per_image_agrees(found: &Tensor, wanted: &Loss) {
    let Value::PerImage(values_wanted) = &wanted.value else {
        panic!("{} has a value per image", wanted.name)
    };
    for (found, wanted) in values(found).into_iter().zip(values_wanted) {
        assert!((found - wanted).abs() <= BOUND * wanted.abs().max(1.0), "{found}, not {wanted}");
    }
}

#[test]
fn kl_from_a_fixed_target_agrees() {
    for (leaves, wanted) in cases("kl") {
        let found = kl(leaves.targets.teacher.clean(), leaves.adversarial.as_tensor()).unwrap();
        per_image_agrees(&found, &wanted);
        gradients_agree(&found, &leaves, &wanted);
    }
}

#[test]
fn kl_flows_into_both_of_its_arguments() {
    for (leaves, wanted) in cases("kl_both") {
        let found = kl(leaves.natural.as_tensor(), leaves.adversarial.as_tensor()).unwrap();
        per_image_agrees(&found, &wanted);
        gradients_agree(&found, &leaves, &wanted);
    }
}

/// An objective's loss of the logits of its forwards, in their order.
fn loss_of(objective: &dyn Objective, leaves: &Leaves) -> Result<Tensor> {
    let mut said = Said::default();
    for forward in objective.forwards(leaves.targets.epoch) {
        let leaf = match forward {
            Forward::Clean => &leaves.natural,
            Forward::Adversarial => &leaves.adversarial,
            _ => unreachable!("no objective here wants other images"),
        };
        said.push(forward, leaf.as_tensor().clone());
    }
    objective.loss(&said, &leaves.targets)
}

#[test]
fn the_losses_of_objectives_agree_in_value_and_gradient() {
    // Their published alpha is 1; at 1/4 both terms show.
    let ard = Ard { alpha: 0.25, temperature: 30.0, drops_once: false };
    let adaad = AdaAd { alpha: 0.25, kl_scale: 0.1 };
    let kd = Kd { alpha: 0.9, temperature: 4.0, smoothing: 0.0 };
    let (sat, trades, mart) = (Sat::default(), Trades::default(), Mart::default());
    let smoothing = 0.4;
    let objectives: [(&str, &dyn Objective); 10] = [
        ("rslad", &Rslad::default()),
        ("trades", &trades),
        ("sat", &sat),
        ("mart", &mart),
        ("sat_smoothed", &Sat { smoothing }),
        ("trades_smoothed", &Trades { smoothing, ..trades }),
        ("mart_smoothed", &Mart { smoothing, ..mart }),
        ("ard", &ard),
        ("adaad", &adaad),
        ("kd", &kd),
    ];
    for (name, objective) in objectives {
        for (leaves, wanted) in cases(name) {
            let found = loss_of(objective, &leaves).unwrap();
            let Value::Mean(value) = wanted.value else { panic!("{name} is a mean") };
            let apart = relative(&values(&found), &[value]);
            assert!(apart <= BOUND, "{name} of {}: off by {apart:.1e}", wanted.table);
            gradients_agree(&found, &leaves, &wanted);
        }
    }
}

/// PyTorch was given a weight per image, from 3/4 in equal steps to 5/2; where two images are of one class, no weights of
/// classes give those, and the table is passed over.
#[test]
fn the_losses_of_fair_objectives_weigh_each_image_in_both_terms() {
    let fairness = Fairness { beta: 2.0, lightest: 5.0 / 6.0, heaviest: 2.5, added: 0.0, least_kappa: 1e-5 };
    let ard = Ard { alpha: 0.25, temperature: 30.0, drops_once: false };
    let fair_rslad = FairRslad { base: Rslad::default(), fairness };
    let fair_ard = FairArd { base: ard, fairness };
    let mut compared = 0;
    for (name, objective) in [("fair_rslad", &fair_rslad as &dyn Objective), ("fair_ard", &fair_ard)] {
        for (mut leaves, wanted) in cases(name) {
            let labels = leaves.targets.labels.to_vec1::<u32>().unwrap();
            let weights: Vec<f64> =
                (0..labels.len()).map(|n| 0.75 + 1.75 * n as f64 / (labels.len() - 1) as f64).collect();
            let mut classes = vec![0.0; 10];
            for (&label, &weight) in labels.iter().zip(&weights) {
                classes[label as usize] = weight;
            }
            if labels.iter().collect::<std::collections::BTreeSet<_>>().len() < labels.len() {
                continue;
            }
            leaves.targets.memory = Memory::default().with("weight", classes);
            let found = loss_of(objective, &leaves).unwrap();
            let Value::Mean(value) = wanted.value else { panic!("{name} is a mean") };
            let apart = relative(&values(&found), &[value]);
            assert!(apart <= BOUND, "{name} of {}: off by {apart:.1e}", wanted.table);
            gradients_agree(&found, &leaves, &wanted);
            compared += 1;
        }
    }
    assert_eq!(compared, 2, "the labels of ten classes differ");
}

/// What an attack climbs, summed over the batch, has the gradients of the KL or cross-entropy per image.
#[test]
fn what_attacks_climb_agrees_in_gradient() {
    for (objective, name, is_mean) in [
        (&Rslad::default() as &dyn Objective, "kl", false),
        (&Trades::default(), "kl_both", false),
        // SAT's loss is the mean, its attack climbs the sum.
        (&Sat::default(), "sat", true),
        // The attack climbs the plain cross-entropy, whatever the loss does.
        (&Sat { smoothing: 0.4 }, "sat", true),
        (&Mart::default(), "sat", true),
    ] {
        for (leaves, mut wanted) in cases(name) {
            let factor = if is_mean { leaves.adversarial.dim(0).unwrap() as f64 } else { 1.0 };
            wanted.gradient_natural = None;
            for value in wanted.gradient_adversarial.iter_mut().flatten().flatten() {
                *value *= factor;
            }
            let answers = Answers { student: leaves.adversarial.as_tensor().clone(), teacher: None };
            let climbed = objective.attack_loss(&answers, &leaves.targets).unwrap();
            assert_eq!(climbed.dims(), leaves.targets.labels.dims(), "an attack climbs a value per image");
            gradients_agree(&climbed, &leaves, &wanted);
        }
    }
}

/// PyTorch's values at the usual options give those at others: both losses are sums of terms that it also has alone.
#[test]
fn options_of_objectives_do_what_they_say() {
    let mean = |wanted: &Loss| match &wanted.value {
        Value::PerImage(values) => values.iter().sum::<f64>() / values.len() as f64,
        Value::Mean(value) => *value,
    };
    let agrees = |objective: &dyn Objective, leaves: &Leaves, wanted: f64| {
        let apart = relative(&values(&loss_of(objective, leaves).unwrap()), &[wanted]);
        assert!(apart <= BOUND, "off by {apart:.1e}");
    };
    for ((leaves, whole), (_, alike)) in cases("trades").into_iter().zip(cases("kl_both")) {
        agrees(&Trades { beta: 2.0, ..Trades::default() }, &leaves, mean(&whole) - 4.0 * mean(&alike));
    }
    for ((leaves, whole), (_, adversarial)) in cases("rslad").into_iter().zip(cases("kl")) {
        let usual = Rslad::default();
        agrees(&Rslad { adversarial: 1.0, kl_scale: 1.0, ..usual }, &leaves, mean(&adversarial));
        // Twice the logits at twice the temperature are the same softmax, and the loss has the temperature's square.
        let twice = |logits: &Tensor| (logits * 2.0).unwrap();
        let mut teacher = Said::default();
        teacher.push(Forward::Clean, twice(leaves.targets.teacher.clean()));
        let warm = Leaves {
            natural: Var::from_tensor(&twice(&leaves.natural)).unwrap(),
            adversarial: Var::from_tensor(&twice(&leaves.adversarial)).unwrap(),
            targets: Targets { teacher, ..leaves.targets },
        };
        agrees(&Rslad { temperature: 2.0, ..usual }, &warm, 4.0 * mean(&whole));
    }
}
