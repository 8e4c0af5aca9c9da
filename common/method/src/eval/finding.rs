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
            "Square broke {taken} images that the attacks with gradients left: the gradients mislead, and stronger attacks may break more\n\
             hint: look for what hides gradients: rounding, saturation, randomness; --restarts and other losses help"
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
