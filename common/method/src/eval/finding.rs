//! Signs that an evaluation says too much: what robust accuracies have been wrong by before.
//!
//! The list is that of the standard evaluation's own warnings (fra31/auto-attack, `flags_doc.md`), as far as they can
//! occur here.

use serde::Serialize;

use super::evidence::{Evidence, Outcome};
use super::fate::Fate;

/// A sign that a figure is not what it seems.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// What was looked for.
    pub check: &'static str,
    /// In which suite; none where it concerns the network.
    pub suite: Option<String>,
    /// How much of it was found, as a share of what was looked at.
    pub share: f64,
    /// What it means, and what to do.
    pub text: String,
}

/// Share of vanished gradients that is worth a word.
const MANY: f64 = 0.01;
/// Share of images that Square may take from the attacks before it without a word: the authors' bound.
const FEW: f64 = 0.002;

/// All that was found.
pub fn findings(evidence: &Evidence) -> Vec<Finding> {
    let mut found: Vec<Finding> =
        [randomised(evidence), probabilities(evidence)].into_iter().flatten().collect();
    for outcome in &evidence.outcomes {
        found.extend(
            [vanished(outcome), square(outcome), above_clean(evidence, outcome)].into_iter().flatten(),
        );
    }
    found
}

fn randomised(evidence: &Evidence) -> Option<Finding> {
    let logits = &evidence.logits;
    (logits.changed > 0).then(|| Finding {
        check: "randomised",
        suite: None,
        share: share(logits.changed, logits.asked_twice),
        text: format!(
            "{} of {} images got other logits when asked a second time: the network is random, and these attacks are not made for that\n\
             hint: judge it with its randomness averaged (expectation over transformation), or switched off",
            logits.changed, logits.asked_twice
        ),
    })
}

fn probabilities(evidence: &Evidence) -> Option<Finding> {
    let rows = evidence.logits.distributions;
    (rows > 0 && rows == evidence.images).then(|| Finding {
        check: "probabilities",
        suite: None,
        share: 1.0,
        text:
            "the network's answers are probabilities, not logits: their gradients vanish where it is sure\n\
               hint: judge it without its last softmax"
                .into(),
    })
}

fn vanished(outcome: &Outcome) -> Option<Finding> {
    let (gradients, vanished) =
        outcome.work.iter().fold((0, 0), |(all, gone), w| (all + w.asked.gradients, gone + w.asked.vanished));
    let share = vanished as f64 / gradients.max(1) as f64;
    let (blind, right) = (outcome.blind(), outcome.fates.iter().filter(|fate| fate.stands()).count());
    (blind > 0 || share > MANY).then(|| {
        let percent = 100.0 * share;
        let what = if blind > 0 {
            format!(
                "the gradient vanished at {blind} of the {right} images that count as right\n\
                 nothing was tried there, so the accuracy is too high: softmax saturates, as logits lie too far apart"
            )
        } else {
            format!("{percent:.1} % of all gradients vanished: where they do, attacks stand still, and accuracy looks too high")
        };
        Finding {
            check: "vanishing-gradients",
            suite: Some(outcome.suite.clone()),
            share,
            text: format!(
                "{what}\nhint: divide the last layer's weight and bias by a constant (no decision changes), and judge that file"
            ),
        }
    })
}

fn square(outcome: &Outcome) -> Option<Finding> {
    let place =
        outcome.attacks.iter().position(|attack| attack.starts_with("square")).filter(|place| *place > 0)?;
    let taken = outcome.fates.iter().filter(|fate| **fate == Fate::Broken { by: place }).count();
    let share = share(taken, outcome.fates.len());
    (share > FEW).then(|| Finding {
        check: "square-breaks-more",
        suite: Some(outcome.suite.clone()),
        share,
        text: format!(
            "Square broke {taken} of {} images, which the attacks with gradients had left: gradients mislead there, and others may break more\n\
             hint: look for what hides gradients: rounding, saturation, randomness; --restarts and other losses help",
            outcome.fates.len()
        ),
    })
}

fn above_clean(evidence: &Evidence, outcome: &Outcome) -> Option<Finding> {
    let clean = evidence.outcomes.first()?;
    let risen =
        outcome.fates.iter().zip(&clean.fates).filter(|(fate, clean)| fate.stands() && !clean.stands());
    let risen = risen.count();
    (risen > 0).then(|| Finding {
        check: "above-clean",
        suite: Some(outcome.suite.clone()),
        share: share(risen, outcome.fates.len()),
        text: format!(
            "{risen} images are right under attack and wrong without: the two were not measured on the same network\n\
             hint: evaluate again, in one go"
        ),
    })
}

fn share(part: usize, all: usize) -> f64 {
    part as f64 / all.max(1) as f64
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use candle_core::{Device, Tensor};
    use engine::graph::{Builder, Elementwise, Op};
    use engine::params::{Precision, Values};
    use engine::{
        Album, Ascent, AttackLoss, BatchStats, Climbed, Climbers, Cutting, Demand, Descent, Engine,
        EngineError, Grads, Hardware, Images, Keep, Network, NodeId, Norm, Params, Pass, Reference, Stride,
        Tape,
    };

    use super::super::tests::Pixels;
    use super::super::{Clean, Logits, Outcome, Setting, Settings, clean};
    use super::*;
    use crate::attack::{self, Attack, Victim};
    use crate::threat::Threat;

    const PIXELS: [f32; 4] = [0.4, 0.55, 0.65, 0.9];

    /// One pixel; its answers are what `ends` makes of 2 numbers: `scale` times -(pixel - 1/2) and pixel - 1/2.
    fn network(scale: f64, ends: &[Op]) -> (Network, Params) {
        let (mut builder, input) = Builder::new([1, 1, 1]);
        let flat = builder.node("flat", Op::Flatten, &[input]).unwrap();
        let mut last = builder.node("linear", Op::Linear { out: 2, bias: true }, &[flat]).unwrap();
        for (number, op) in ends.iter().enumerate() {
            last = builder.node(&format!("end{number}"), op.clone(), &[last]).unwrap();
        }
        let network = builder.finish("pixel").unwrap();
        let mut params = Params::zeros(network.layout(), Precision::F32);
        for (place, value) in [-scale, scale, scale / 2.0, -scale / 2.0].into_iter().enumerate() {
            params.trainable_mut().set(place, value);
        }
        (network, params)
    }

    fn judged(engine: &dyn Engine, network: &(Network, Params), attacks: &[&str]) -> Evidence {
        let victim = Victim::new(engine, &network.0, &network.1);
        let exam = Pixels(PIXELS.into());
        let places = [0, 1, 2, 3];
        let Clean { right, logits } = clean(&victim, &exam, &places, 3, &mut |_, _| true).unwrap();
        let attacks: Vec<Box<dyn Attack>> = attacks.iter().map(|name| attack::find(name).unwrap()).collect();
        let attacks: Vec<&dyn Attack> = attacks.iter().map(AsRef::as_ref).collect();
        let settings =
            Settings { threat: Threat::linf(0.2), step_size: 0.05, restarts: 1, seed: 0, batch: 3 };
        let trial = super::super::Trial {
            victim,
            climbed: victim,
            exam: &exam,
            places: &places,
            attacks: &attacks,
            settings: &settings,
        };
        let mut stage = trial.begin(&right);
        trial.run(&mut stage, &mut Nobody).unwrap();
        let fates = right.iter().map(|&right| if right { Fate::Standing } else { Fate::Wrong }).collect();
        let outcome = |suite: &str, fates, work| Outcome {
            suite: suite.into(),
            attacks: attacks.iter().map(|attack| attack.name()).collect(),
            remarks: Vec::new(),
            fates,
            work,
        };
        let clean = outcome("clean", fates, Vec::new());
        let outcomes = vec![clean, outcome("suite", stage.fates, stage.work)];
        Evidence { setting: Setting::default(), part: None, images: 4, labels: vec![1; 4], logits, outcomes }
    }

    struct Nobody;

    impl super::super::Watch for Nobody {
        fn tell(&mut self, _: super::super::Moment) -> super::super::Order {
            super::super::Order::Go
        }
    }

    /// The first question of apgd-t is which classes are near; it is no gradient that vanished.
    #[test]
    fn targeted_attacks_see_no_vanished_gradients_on_an_honest_network() {
        let reference = Reference::new(1).unwrap();
        for attack in ["apgd-t", "fab-t", "malt"] {
            let evidence = judged(&reference, &network(3.0, &[]), &[attack]);
            let work = evidence.outcomes[1].work[0].asked;
            assert!(work.forwards > 0 && work.vanished == 0, "{attack}: {work:?}");
            assert_eq!(checks(&evidence), [""; 0], "{attack}");
        }
    }

    fn checks(evidence: &Evidence) -> Vec<&'static str> {
        findings(evidence).into_iter().map(|finding| finding.check).collect()
    }

    #[test]
    fn an_honest_network_raises_no_suspicion() {
        let reference = Reference::new(1).unwrap();
        let evidence = judged(&reference, &network(3.0, &[]), &["apgd-ce", "square"]);
        assert_eq!(checks(&evidence), [""; 0]);
        let broken = Fate::Broken { by: 0 };
        assert_eq!(evidence.outcomes[1].fates, [Fate::Wrong, broken, broken, Fate::Standing]);
    }

    /// A step from 0 to 6 within a thousandth of the pixel range is flat everywhere else.
    #[test]
    fn a_quantised_input_hides_its_gradients_and_square_finds_what_they_hid() {
        let reference = Reference::new(1).unwrap();
        let evidence = judged(&reference, &network(1e4, &[Op::Relu6]), &["apgd-ce", "square"]);
        assert_eq!(checks(&evidence), ["vanishing-gradients", "square-breaks-more"]);
        let broken = |by| Fate::Broken { by };
        // APGD's random start happens to lie beyond the step of the first.
        assert_eq!(evidence.outcomes[1].fates, [Fate::Wrong, broken(0), broken(1), Fate::Standing]);
        let found = findings(&evidence);
        assert!((found[1].share - 0.25).abs() < 1e-12, "Square took 1 of 4 images");
        let alone = judged(&reference, &network(1e4, &[Op::Relu6]), &["apgd-ce"]);
        assert_eq!(alone.outcomes[1].fates[2..], [Fate::Blind; 2], "without it they count as right");
    }

    #[test]
    fn answers_that_are_probabilities_are_recognised() {
        let reference = Reference::new(1).unwrap();
        let ends = [Op::Elementwise(Elementwise::Sigmoid)];
        let evidence = judged(&reference, &network(3.0, &ends), &["apgd-ce"]);
        assert_eq!(evidence.logits.distributions, 4);
        assert_eq!(checks(&evidence), ["probabilities"]);
    }

    /// Adds another number to the logits of the second image at each call.
    struct Random(Reference, AtomicUsize);

    impl Engine for Random {
        fn name(&self) -> &'static str {
            "random"
        }

        fn hardware(&self) -> Hardware {
            self.0.hardware()
        }

        fn demand(&self, network: &Network, norm: Norm, keep: Keep, batch: usize) -> Option<Demand> {
            self.0.demand(network, norm, keep, batch)
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
            self.0.forward(network, params, images, norm, keep, taps)
        }

        fn backward(
            &self,
            tape: Tape,
            seeds: &[Option<Tensor>],
            grads: Option<&mut Grads>,
        ) -> Result<Option<Tensor>, EngineError> {
            self.0.backward(tape, seeds, grads)
        }

        fn logits(&self, network: &Network, params: &Params, images: &Images) -> Result<Tensor, EngineError> {
            let mut rows = self.0.logits(network, params, images)?.to_vec2::<f32>()?;
            if let Some(row) = rows.get_mut(1) {
                row[0] -= self.1.fetch_add(1, Ordering::Relaxed) as f32;
            }
            Ok(Tensor::new(rows, &Device::Cpu)?)
        }

        fn query(&self, network: &Network, params: &Params, images: &Images) -> Result<Tensor, EngineError> {
            self.logits(network, params, images)
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
            self.0.attack(network, params, clean, start, loss, by)
        }

        fn climb(
            &self,
            tape: Tape,
            slopes: &Tensor,
            from: &Climbers,
            by: &[Stride],
        ) -> Result<Climbed, EngineError> {
            self.0.climb(tape, slopes, from, by)
        }

        fn gather(&self, rows: &[(&Images, usize)]) -> Result<Images, EngineError> {
            self.0.gather(rows)
        }

        fn cut(&self, album: &Album<'_>, views: &[Cutting]) -> Result<Option<Images>, EngineError> {
            self.0.cut(album, views)
        }

        fn shift(&self, images: &Images, offsets: &Tensor, by: f64) -> Result<Images, EngineError> {
            self.0.shift(images, offsets, by)
        }

        fn clear(&self, grads: &mut Grads) -> Result<(), EngineError> {
            self.0.clear(grads)
        }

        fn descend(
            &self,
            params: &mut Params,
            grads: &Grads,
            velocity: &mut Values,
            by: Descent,
        ) -> Result<(), EngineError> {
            self.0.descend(params, grads, velocity, by)
        }

        fn move_statistics(
            &self,
            network: &Network,
            params: &mut Params,
            batch: &BatchStats,
        ) -> Result<(), EngineError> {
            self.0.move_statistics(network, params, batch)
        }

        fn follow(&self, average: &mut Params, student: &Params, decay: f64) -> Result<(), EngineError> {
            self.0.follow(average, student, decay)
        }
    }

    #[test]
    fn a_network_that_answers_otherwise_the_second_time_is_random() {
        let random = Random(Reference::new(1).unwrap(), AtomicUsize::new(0));
        let evidence = judged(&random, &network(3.0, &[]), &[]);
        assert_eq!(evidence.logits, Logits { distributions: 0, asked_twice: 4, changed: 1 });
        assert_eq!(checks(&evidence), ["randomised"]);
    }
}
