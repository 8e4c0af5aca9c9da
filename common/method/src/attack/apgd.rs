//! Auto-PGD: projected gradient ascent that finds its own step size. Source: Croce and Hein, arXiv:2003.01690.

use serde::{Deserialize, Serialize};

use super::margin::{Loss, targets};
use super::row::{Attack, Row};
use super::search::{Next, Search, Subject, Unreadable, restored, saved};
use crate::rng::Purpose;

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

/// APGD in the l-infinity ball.
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
    /// Begins the ascent on `losses[at]` at a random point whose largest change is eps.
    fn restart(&mut self) {
        let Subject { image, threat, .. } = &self.subject;
        let mut draws = vec![0.0; image.len()];
        self.subject.draws(Purpose::Apgd, self.state.at).uniforms(&mut draws);
        let widest = draws.iter().map(|draw| (2.0 * draw - 1.0).abs()).fold(0.0, f64::max);
        let start = (0..image.len()).map(|place| {
            let offset = threat.eps * (2.0 * draws[place] - 1.0) / widest;
            (image[place] + offset as f32).clamp(0.0, 1.0)
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

/// One ascent from one start.
#[derive(Serialize, Deserialize)]
struct Ascent {
    steps: usize,
    rho: f32,
    /// Steps taken.
    taken: usize,
    point: Vec<f32>,
    before: Vec<f32>,
    best: Vec<f32>,
    best_gradient: Vec<f32>,
    best_loss: f32,
    last_loss: f32,
    step_size: f32,
    /// Steps from one checkpoint to the next.
    period: usize,
    since_checkpoint: usize,
    raised: usize,
    /// At the last checkpoint.
    best_then: f32,
    halved_then: bool,
}

impl Ascent {
    fn new(attack: &Apgd, start: Vec<f32>, eps: f32) -> Self {
        Self {
            steps: attack.steps,
            rho: attack.rho,
            taken: 0,
            before: start.clone(),
            best: start.clone(),
            best_gradient: Vec::new(),
            point: start,
            best_loss: f32::NEG_INFINITY,
            last_loss: f32::INFINITY,
            step_size: 2.0 * eps,
            period: (attack.steps * 22 / 100).max(1),
            since_checkpoint: 0,
            raised: 0,
            best_then: f32::NEG_INFINITY,
            halved_then: true,
        }
    }

    /// Takes loss and gradient at the point and moves it; false at the end.
    fn step(&mut self, subject: &Subject, loss: f32, gradient: &[f32]) -> bool {
        let is_start = self.best_gradient.is_empty();
        if loss > self.best_loss || is_start {
            self.best_loss = loss;
            self.best.copy_from_slice(&self.point);
            gradient.clone_into(&mut self.best_gradient);
        }
        if is_start {
            self.best_then = loss;
        } else {
            self.taken += 1;
            self.since_checkpoint += 1;
            self.raised += usize::from(loss > self.last_loss);
        }
        self.last_loss = loss;
        if self.taken == self.steps {
            return false;
        }
        if self.since_checkpoint == self.period && self.halves() {
            self.step_size /= 2.0;
            self.point.copy_from_slice(&self.best);
            let gradient = std::mem::take(&mut self.best_gradient);
            self.walk(subject, &gradient);
            self.best_gradient = gradient;
        } else {
            self.walk(subject, gradient);
        }
        true
    }

    /// What a checkpoint decides: the step is too long where it raised the loss too seldom, or where the best has not
    /// moved since a checkpoint that did not shorten it.
    fn halves(&mut self) -> bool {
        let oscillates = self.raised as f32 <= self.rho * self.period as f32;
        let stands = !self.halved_then && self.best_then >= self.best_loss;
        self.halved_then = oscillates || stands;
        self.best_then = self.best_loss;
        let (shorter, least) = ((self.steps * 3 / 100).max(1), (self.steps * 6 / 100).max(1));
        self.period = self.period.saturating_sub(shorter).max(least);
        (self.since_checkpoint, self.raised) = (0, 0);
        self.halved_then
    }

    /// A signed step, then a share of it together with the last move.
    fn walk(&mut self, subject: &Subject, gradient: &[f32]) {
        let share = if self.taken == 0 { 1.0 } else { 0.75 };
        for (place, &slope) in gradient.iter().enumerate() {
            let (now, before) = (self.point[place], self.before[place]);
            let sign = f32::from(i8::from(slope > 0.0) - i8::from(slope < 0.0));
            let ahead = subject.project(place, now + self.step_size * sign);
            self.before[place] = now;
            self.point[place] =
                subject.project(place, now + share * (ahead - now) + (1.0 - share) * (now - before));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::threat::Threat;

    fn subject(image: Vec<f32>) -> Subject {
        let shape = [1, 1, image.len()];
        let threat = Threat::linf(0.1);
        Subject { image, shape, label: 0, threat, step_size: 0.0, seed: 3, restart: 0, place: 7 }
    }

    /// The paper's checkpoints of 100 steps: 22, 41, 57, 70, 80, 87, then every 6 (arXiv:2003.01690, section 4.1: the
    /// period falls by 0.03 of the steps, to no less than 0.06 of them).
    #[test]
    fn the_step_halves_at_the_papers_checkpoints_where_nothing_improves() {
        let subject = subject(vec![0.5; 4]);
        let attack = Apgd::standard("apgd-ce", Climbs::One(Loss::CrossEntropy));
        let mut ascent = Ascent::new(&attack, subject.image.clone(), 0.1);
        let (mut halved, mut step_size) = (Vec::new(), ascent.step_size);
        let mut calls = 0;
        while ascent.step(&subject, 1.0, &[1.0, -1.0, 0.0, 1.0]) {
            if ascent.step_size < step_size {
                halved.push(calls);
                step_size = ascent.step_size;
            }
            calls += 1;
        }
        assert_eq!(calls, 100, "as many steps as were asked for");
        assert_eq!(halved, [22, 41, 57, 70, 80, 87, 93, 99]);
    }

    #[test]
    fn a_loss_that_rises_keeps_its_step_and_the_start_lies_on_the_edge_of_the_ball() {
        let subject = subject(vec![0.5, 0.2, 0.9, 0.6]);
        let attack = Apgd::standard("apgd-ce", Climbs::One(Loss::CrossEntropy));
        let climb = attack.begin(subject.clone());
        let moved: Vec<f32> =
            climb.point().iter().zip(&subject.image).map(|(point, image)| (point - image).abs()).collect();
        assert!((moved.iter().copied().fold(0.0, f32::max) - 0.1).abs() < 1e-6, "{moved:?}");
        let mut ascent = Ascent::new(&attack, subject.image.clone(), 0.1);
        for loss in 0..100 {
            ascent.step(&subject, loss as f32, &[1.0, -1.0, 1.0, 0.0]);
        }
        assert!((ascent.step_size - 0.2).abs() < 1e-6);
        let reached = [0.6, 0.1, 1.0, 0.6];
        assert!(ascent.point.iter().zip(reached).all(|(a, b)| (a - b).abs() < 1e-6), "{:?}", ascent.point);
    }
}
