//! One ascent of Auto-PGD and its step size.

use engine::{Ball, Stride};
use serde::{Deserialize, Serialize};

use super::Apgd;
use crate::attack::lead::Stand;

/// One ascent from one start.
#[derive(Serialize, Deserialize)]
pub(super) struct Ascent {
    pub steps: usize,
    rho: f32,
    /// Steps taken.
    pub taken: usize,
    /// Its pixels, unless they are where an engine computes.
    pub stand: Stand,
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
    pub fn new(attack: &Apgd, start: Vec<f32>, eps: f32) -> Self {
        Self {
            steps: attack.steps,
            rho: attack.rho,
            taken: 0,
            stand: Stand {
                before: start.clone(),
                best: start.clone(),
                best_gradient: Vec::new(),
                point: start,
            },
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

    /// Takes the loss at the point, and says how it moves; none at the end.
    pub fn step(&mut self, ball: Ball, loss: f32) -> Option<Stride> {
        // After a loss was taken both are that one.
        let is_start = self.best_loss == f32::NEG_INFINITY && self.last_loss == f32::INFINITY;
        let is_best = loss > self.best_loss || is_start;
        if is_best {
            self.best_loss = loss;
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
            return None;
        }
        let returns = self.since_checkpoint == self.period && self.halves();
        if returns {
            self.step_size /= 2.0;
        }
        let share = if self.taken == 0 { 1.0 } else { 0.75 };
        Some(Stride { ball, is_best, returns, length: self.step_size, share })
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
}

#[cfg(test)]
mod tests {
    use super::super::Climbs;
    use super::*;
    use crate::attack::known::{self, POINT};
    use crate::attack::margin::Loss;
    use crate::attack::row::Attack;
    use crate::attack::search::Subject;
    use crate::threat::{Norm, Threat};

    fn standard(loss: Loss) -> Apgd {
        Apgd { name: "apgd-ce".into(), climbs: Climbs::One(loss), steps: 100, rho: 0.75 }
    }

    /// Lets an ascent take its step; false at the end.
    fn walked(ascent: &mut Ascent, subject: &Subject, loss: f32, gradient: &[f32]) -> bool {
        // Where it ends the last point is judged too: its best is kept by a step that goes nowhere.
        let better = loss > ascent.best_loss;
        let stride = ascent.step(subject.threat.ball(), loss);
        let last = Stride { is_best: better, ..Stride::none(subject.threat.ball()) };
        known::walk(&stride.unwrap_or(last), &subject.image, gradient, &mut ascent.stand);
        stride.is_some()
    }

    fn subject(image: &[f32]) -> Subject {
        known::subject(image, 0, Threat::linf(0.1))
    }

    /// The paper's checkpoints of 100 steps: 22, 41, 57, 70, 80, 87, then every 6 (arXiv:2003.01690, section 4.1: the
    /// period falls by 0.03 of the steps, to no less than 0.06 of them).
    #[test]
    fn the_step_halves_at_the_papers_checkpoints_where_nothing_improves() {
        let subject = subject(&[0.5; 4]);
        let attack = standard(Loss::CrossEntropy);
        let mut ascent = Ascent::new(&attack, subject.image.clone(), 0.1);
        let (mut halved, mut step_size) = (Vec::new(), ascent.step_size);
        let mut calls = 0;
        while walked(&mut ascent, &subject, 1.0, &[1.0, -1.0, 0.0, 1.0]) {
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
        let subject = subject(&[0.5, 0.2, 0.9, 0.6]);
        let attack = standard(Loss::CrossEntropy);
        let climb = attack.begin(subject.clone());
        let moved: Vec<f32> =
            climb.point().iter().zip(&subject.image).map(|(point, image)| (point - image).abs()).collect();
        assert!((moved.iter().copied().fold(0.0, f32::max) - 0.1).abs() < 1e-6, "{moved:?}");
        let mut ascent = Ascent::new(&attack, subject.image.clone(), 0.1);
        for loss in 0..100 {
            walked(&mut ascent, &subject, loss as f32, &[1.0, -1.0, 1.0, 0.0]);
        }
        assert!((ascent.step_size - 0.2).abs() < 1e-6);
        let reached = [0.6, 0.1, 1.0, 0.6];
        assert!(
            ascent.stand.point.iter().zip(reached).all(|(a, b)| (a - b).abs() < 1e-6),
            "{:?}",
            ascent.stand.point
        );
    }

    /// Where an ascent of 50 steps on the parabola ends: its best point and loss.
    fn ascended(threat: Threat, loss: Loss) -> (Vec<f32>, f32) {
        let offsets = [0.3f32, -0.7, 0.5, 0.9, -0.2, -1.0];
        let offset = threat.eps as f32 * 0.5;
        let start = POINT.iter().zip(offsets).map(|(x, d)| (x + offset * d).clamp(0.0, 1.0)).collect();
        let subject = known::subject(&POINT, 1, threat);
        let attack = Apgd { steps: 50, ..standard(loss) };
        let mut ascent = Ascent::new(&attack, start, threat.eps as f32);
        loop {
            let (logits, slopes) = known::parabola(&ascent.stand.point);
            let mut by_logits = [0.0; 4];
            let value = loss.at(&logits, 1, &mut by_logits);
            if !walked(&mut ascent, &subject, value, &known::gradient(&by_logits, &slopes)) {
                return (ascent.stand.best, ascent.best_loss);
            }
        }
    }

    /// The authors' code (pyautoattack 0.2.0, `attack_single_run` from the same start) on the same function.
    #[test]
    fn an_ascent_ends_where_the_authors_code_ends_in_both_balls() {
        type Case = (Threat, Loss, [f32; 6], f32);
        let cases: [Case; 6] = [
            (Threat::linf(0.2), Loss::CrossEntropy, [0.61, 0.0, 0.25, 0.82, 0.0, 0.18], 1.681_105_7),
            (Threat::linf(0.6), Loss::CrossEntropy, [0.21, 0.0, 0.044_067, 1.0, 0.0, 0.98], 8.706_682),
            (
                Threat::l2(0.35),
                Loss::CrossEntropy,
                [0.597_381, 0.127_76, 0.338_408, 0.860_037, 0.019_257, 0.300_803],
                1.439_302,
            ),
            (
                Threat::l2(0.35),
                Loss::Dlr,
                [0.557_778, 0.123_263, 0.326_445, 0.826_431, 0.019_437, 0.375_004],
                0.563_899_6,
            ),
            (
                Threat::l2(0.8),
                Loss::CrossEntropy,
                [0.248_324, 0.0, 0.155_704, 1.0, 0.0, 0.164_728],
                6.156_894,
            ),
            (Threat::l2(0.8), Loss::Dlr, [0.463_402, 0.012_82, 0.237_834, 1.0, 0.0, 0.228_737], 1.0),
        ];
        for (threat, loss, wanted, value) in cases {
            let (best, reached) = ascended(threat, loss);
            assert!((reached - value).abs() < 1e-4, "{threat:?} {loss:?}: {reached}, not {value}");
            for (found, wanted) in best.iter().zip(wanted) {
                assert!((found - wanted).abs() < 1e-3, "{threat:?} {loss:?}: {best:?}");
            }
        }
    }

    /// A ball cuts no pixel range here: the highest point of a linear function lies at `eps` along its gradient, which
    /// is 3, -4 of length 5.
    #[test]
    fn in_l2_an_ascent_on_a_linear_function_reaches_the_edge_of_the_ball_along_the_gradient() {
        let subject = known::subject(&[0.5; 3], 0, Threat::l2(0.25));
        let attack = standard(Loss::CrossEntropy);
        let start = attack.begin(subject.clone()).point().to_vec();
        assert!((Norm::L2.between(&subject.image, &start) - 0.25).abs() < 1e-6, "{start:?}");
        let mut ascent = Ascent::new(&attack, start, 0.25);
        let gradient = [3e-20, -4e-20, 0.0];
        loop {
            let loss = 3.0 * ascent.stand.point[0] - 4.0 * ascent.stand.point[1];
            if !walked(&mut ascent, &subject, loss, &gradient) {
                break;
            }
        }
        let reached = [0.65, 0.3, 0.5];
        assert!(
            ascent.stand.best.iter().zip(reached).all(|(a, b)| (a - b).abs() < 1e-5),
            "{:?}",
            ascent.stand.best
        );
    }
}
