//! Auto-PGD: projected gradient ascent that finds its own step size. Source: Croce and Hein, arXiv:2003.01690.

mod ascent;

use serde::{Deserialize, Serialize};

use self::ascent::Ascent;
use super::margin::{Loss, targets};
use super::row::{Attack, Row};
use super::search::{Next, Search, Subject, Unreadable, restored, saved};
use crate::rng::Purpose;
use crate::threat::Norm;

pub(super) static CROSS_ENTROPY: Row = Row {
    name: "apgd-ce",
    summary: "Auto-PGD on cross-entropy, 100 steps (arXiv:2003.01690)",
    example: "apgd-ce",
    make: |name| {
        (name == "apgd-ce")
            .then(|| Box::new(Apgd::standard("apgd-ce", Climbs::One(Loss::CrossEntropy))) as Box<dyn Attack>)
    },
};

pub(super) static DLR: Row = Row {
    name: "apgd-dlr",
    summary: "Auto-PGD on the difference of logits ratio, 100 steps",
    example: "apgd-dlr",
    make: |name| {
        (name == "apgd-dlr")
            .then(|| Box::new(Apgd::standard("apgd-dlr", Climbs::One(Loss::Dlr))) as Box<dyn Attack>)
    },
};

pub(super) static TARGETED: Row = Row {
    name: "apgd-t",
    summary: "Auto-PGD towards each of the nine likeliest other classes, 100 steps each",
    example: "apgd-t",
    make: |name| {
        (name == "apgd-t").then(|| Box::new(Apgd::standard("apgd-t", Climbs::Towards(9))) as Box<dyn Attack>)
    },
};

/// What the ascents on an image climb, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Climbs {
    /// One loss.
    One(Loss),
    /// The targeted difference of logits ratio, towards this many other classes from the likeliest on.
    Towards(usize),
}

/// APGD, in either ball.
#[derive(Clone, Copy, Debug)]
pub(super) struct Apgd {
    /// The name under which it is reported.
    pub name: &'static str,
    pub climbs: Climbs,
    /// Steps of an ascent.
    pub steps: usize,
    /// Share of steps since the last checkpoint that must have raised the loss.
    pub rho: f32,
}

impl Apgd {
    /// As the standard evaluation runs it.
    pub const fn standard(name: &'static str, climbs: Climbs) -> Self {
        Self { name, climbs, steps: 100, rho: 0.75 }
    }
}

impl Attack for Apgd {
    fn name(&self) -> String {
        self.name.into()
    }

    fn climbs(&self) -> bool {
        true
    }

    fn begin(&self, subject: Subject) -> Box<dyn Search> {
        let point = subject.image.clone();
        let ascent = Ascent::new(self, point, subject.threat.eps as f32);
        let state = State { losses: Vec::new(), at: 0, value: 0.0, ascent };
        let mut climb = Climb { attack: *self, subject, state };
        if let Climbs::One(loss) = self.climbs {
            climb.state.losses = vec![loss];
            climb.restart();
        }
        Box::new(climb)
    }
}

/// All ascents on one image.
struct Climb {
    attack: Apgd,
    subject: Subject,
    state: State,
}

#[derive(Serialize, Deserialize)]
struct State {
    /// What is climbed; empty until the clean logits have said which classes are near.
    losses: Vec<Loss>,
    /// The ascent under way.
    at: usize,
    /// The loss at the point.
    value: f32,
    ascent: Ascent,
}

impl Climb {
    /// Begins the ascent on `losses[at]` at a random point on the edge of the ball.
    fn restart(&mut self) {
        let Subject { image, threat, .. } = &self.subject;
        let mut offsets = vec![0.0; image.len()];
        let draws = self.subject.draws(Purpose::Apgd, self.state.at);
        match threat.norm {
            Norm::Linf => {
                draws.uniforms(&mut offsets);
                for offset in &mut offsets {
                    *offset = 2.0 * *offset - 1.0;
                }
            }
            Norm::L2 => draws.normals(&mut offsets),
        }
        let length = threat.norm.length(offsets.iter().copied());
        let start = image.iter().zip(&offsets).map(|(pixel, offset)| {
            let offset = threat.eps * offset / length;
            (pixel + offset as f32).clamp(0.0, 1.0)
        });
        self.state.ascent = Ascent::new(&self.attack, start.collect(), threat.eps as f32);
    }
}

impl Search for Climb {
    fn point(&self) -> &[f32] {
        &self.state.ascent.point
    }

    fn slope(&mut self, logits: &[f32], slope: &mut [f32]) {
        if let Some(loss) = self.state.losses.get(self.state.at) {
            self.state.value = loss.at(logits, self.subject.label, slope);
        }
    }

    fn learn(&mut self, logits: &[f32], gradient: &[f32]) -> Next {
        if self.subject.is_wrong(logits) {
            return Next::Judge;
        }
        let state = &mut self.state;
        if let (Climbs::Towards(count), true) = (self.attack.climbs, state.losses.is_empty()) {
            let others = targets(logits, self.subject.label, count);
            state.losses = others.into_iter().map(Loss::DlrTowards).collect();
        } else if state.ascent.step(&self.subject, state.value, gradient) {
            return Next::Ask;
        } else {
            state.at += 1;
        }
        if state.at == state.losses.len() {
            return Next::Exhausted;
        }
        self.restart();
        Next::Ask
    }

    fn share(&self) -> f64 {
        let State { losses, at, ascent, .. } = &self.state;
        (*at as f64 + ascent.taken as f64 / ascent.steps as f64) / losses.len().max(1) as f64
    }

    fn save(&self) -> Vec<u8> {
        saved(&self.state)
    }

    fn restore(&mut self, saved: &[u8]) -> Result<(), Unreadable> {
        self.state = restored(saved)?;
        Ok(())
    }
}
