//! Gradient steps of one length, as they judge: FGSM, PGD, and PGD on the margin. In linf they are signed, in l2
//! normalised.
//!
//! They go their whole way, whatever the network says on it, and are judged by where it ends: that is what published
//! figures for them are of. In linf a device goes it in one call.

use engine::Ascent;
use serde::{Deserialize, Serialize};

use super::margin::Loss;
use super::row::{Attack, Row};
use super::search::{Next, Search, Subject, Unreadable, Way, restored, saved};
use super::word::Wanted;
use crate::rng::{Purpose, Stream};
use crate::threat::Norm;

/// One step from the image, as wide as the ball.
pub(super) static FGSM: Row = Row {
    name: "fgsm",
    summary: "one gradient step of size eps from the image (arXiv:1412.6572)",
    example: "fgsm",
    options: &[],
    make: |&Wanted { name, .. }| {
        (name == "fgsm").then(|| boxed(name, Loss::CrossEntropy, Begins::AtImage, 1, Stride::Radius))
    },
};

pub(super) static PGD: Row = Row {
    name: "pgdN",
    summary: "N gradient steps of cross-entropy from a uniform start, such as pgd20 (arXiv:1706.06083)",
    example: "pgd20",
    options: &[],
    make: |&Wanted { name, .. }| {
        let steps = steps_after("pgd", name)?;
        Some(boxed(name, Loss::CrossEntropy, Begins::InBall, steps, Stride::Given))
    },
};

pub(super) static CW: Row = Row {
    name: "cwN",
    summary: "the same on Carlini and Wagner's margin of logits, such as cw30 (arXiv:1608.04644)",
    example: "cw30",
    options: &[],
    make: |&Wanted { name, .. }| {
        let steps = steps_after("cw", name)?;
        Some(boxed(name, Loss::Margin, Begins::InBall, steps, Stride::Given))
    },
};

/// Source of both settings: RSLAD, arXiv:2108.07969, section 4.1.
pub(super) static PGD_SAT: Row = Row {
    name: "pgd-sat",
    summary: "PGD as published for SAT: 20 steps of 2/255",
    example: "pgd-sat",
    options: &[],
    make: |&Wanted { name, .. }| {
        let step = Stride::Of(2.0 / 255.0);
        (name == "pgd-sat").then(|| boxed(name, Loss::CrossEntropy, Begins::InBall, 20, step))
    },
};

pub(super) static PGD_TRADES: Row = Row {
    name: "pgd-trades",
    summary: "PGD as published for TRADES: 20 steps of 0.003",
    example: "pgd-trades",
    options: &[],
    make: |&Wanted { name, .. }| {
        let step = Stride::Of(0.003);
        (name == "pgd-trades").then(|| boxed(name, Loss::CrossEntropy, Begins::InBall, 20, step))
    },
};

/// The number N of a name `PREFIXN`, from 1 to 100,000 and written the one usual way.
fn steps_after(prefix: &str, name: &str) -> Option<usize> {
    let digits = name.strip_prefix(prefix)?;
    let most = 1..=100_000;
    digits.parse().ok().filter(|steps: &usize| most.contains(steps) && steps.to_string() == digits)
}

/// Where it begins.
#[derive(Clone, Copy, Debug)]
enum Begins {
    AtImage,
    /// Uniform in the ball.
    InBall,
}

/// How far a step goes.
#[derive(Clone, Copy, Debug)]
enum Stride {
    /// As far as the ball reaches.
    Radius,
    /// As far as its user says.
    Given,
    /// This far.
    Of(f64),
}

#[derive(Clone, Debug)]
struct Signed {
    name: String,
    loss: Loss,
    begins: Begins,
    steps: usize,
    stride: Stride,
}

fn boxed(name: &str, loss: Loss, begins: Begins, steps: usize, stride: Stride) -> Box<dyn Attack> {
    Box::new(Signed { name: name.into(), loss, begins, steps, stride })
}

impl Attack for Signed {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn climbs(&self) -> bool {
        true
    }

    fn transfers(&self) -> bool {
        true
    }

    fn is_random(&self) -> bool {
        matches!(self.begins, Begins::InBall)
    }

    fn begin(&self, subject: Subject) -> Box<dyn Search> {
        let eps = subject.threat.eps;
        let step = match self.stride {
            Stride::Radius => eps,
            Stride::Given => subject.step_size,
            Stride::Of(step) => step,
        };
        let mut point = subject.image.clone();
        if let Begins::InBall = self.begins {
            let draws = Stream::new(subject.seed, Purpose::Eval, subject.restart, subject.place);
            for (pixel, offset) in
                point.iter_mut().zip(in_ball(subject.threat.norm, &draws, subject.image.len()))
            {
                *pixel += offset as f32 * eps as f32;
            }
        }
        let state = State { taken: 0, point };
        Box::new(Walk { loss: self.loss, steps: self.steps, stride: step as f32, subject, state })
    }
}

/// A point drawn uniformly from the ball of radius 1 in this many dimensions.
fn in_ball(norm: Norm, draws: &Stream, dimensions: usize) -> Vec<f64> {
    match norm {
        Norm::Linf => {
            let mut offsets = vec![0.0; dimensions];
            draws.uniforms(&mut offsets);
            offsets.into_iter().map(|draw| 2.0 * draw - 1.0).collect()
        }
        Norm::L2 => {
            // The first n coordinates of a uniform point on the sphere in n + 2 dimensions are uniform in the ball.
            let mut offsets = vec![0.0; dimensions + 2];
            draws.normals(&mut offsets);
            let length = norm.length(offsets.iter().copied());
            offsets.truncate(dimensions);
            offsets.into_iter().map(|offset| offset / length).collect()
        }
    }
}

/// The way from one image.
struct Walk {
    loss: Loss,
    /// Steps in all.
    steps: usize,
    /// How far each goes.
    stride: f32,
    subject: Subject,
    state: State,
}

#[derive(Serialize, Deserialize)]
struct State {
    taken: usize,
    point: Vec<f32>,
}

impl Search for Walk {
    fn point(&self) -> &[f32] {
        &self.state.point
    }

    fn slope(&mut self, logits: &[f32], slope: &mut [f32]) {
        self.loss.at(logits, self.subject.label, slope);
    }

    /// Pixels whose gradient is exactly zero stay (sign(0) = 0, as in PyTorch).
    fn learn(&mut self, _: &[f32], gradient: &[f32]) -> Next {
        let Subject { image, threat, .. } = &self.subject;
        threat.norm.climb(self.stride, gradient, &mut self.state.point);
        threat.confine(image, &mut self.state.point);
        self.state.taken += 1;
        if self.state.taken == self.steps { Next::Judge } else { Next::Ask }
    }

    fn way(&self) -> Option<Way<'_>> {
        let Self { loss, subject, steps, .. } = self;
        let by = Ascent {
            steps: steps - self.state.taken,
            step_size: f64::from(self.stride),
            eps: subject.threat.eps,
        };
        (subject.threat.norm == Norm::Linf).then_some(Way { loss: *loss, subject, by })
    }

    fn arrive(&mut self, end: &[f32]) -> Next {
        self.state.point.copy_from_slice(end);
        self.state.taken = self.steps;
        Next::Judge
    }

    fn share(&self) -> f64 {
        self.state.taken as f64 / self.steps as f64
    }

    fn save(&self) -> Vec<u8> {
        saved(&self.state)
    }

    fn restore(&mut self, saved: &[u8]) -> Result<(), Unreadable> {
        self.state = restored(saved)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::threat::Threat;

    /// Where a search ends that sees the same gradient at every point.
    fn ended(name: &str, threat: Threat, step_size: f64, gradient: &[f32]) -> Vec<f32> {
        let image = vec![0.5; gradient.len()];
        let shape = [1, 1, image.len()];
        let subject = Subject { image, shape, label: 0, threat, step_size, seed: 1, restart: 0, place: 2 };
        let mut search = crate::attack::find(name).unwrap().begin(subject);
        while search.learn(&[1.0, 0.0], gradient) == Next::Ask {}
        search.point().to_vec()
    }

    /// On a linear function the best point of either ball is known: its corner, and its edge along the gradient.
    #[test]
    fn on_a_linear_function_they_reach_the_best_point_of_either_ball() {
        let gradient = [3.0, -4.0, 0.0];
        for name in ["fgsm", "pgd10"] {
            let mut corner = ended(name, Threat::linf(0.1), 0.05, &gradient);
            // A start may lie anywhere where there is no slope.
            corner[2] = 0.5;
            assert!(
                corner.iter().zip([0.6, 0.4, 0.5]).all(|(a, b)| (a - b).abs() < 1e-6),
                "{name} {corner:?}"
            );
        }
        let edge = [0.65, 0.3, 0.5];
        let along = ended("fgsm", Threat::l2(0.25), 0.05, &gradient);
        assert!(along.iter().zip(edge).all(|(a, b)| (a - b).abs() < 1e-6), "{along:?}");
        let near = ended("pgd200", Threat::l2(0.25), 0.1, &gradient);
        assert!(near.iter().zip(edge).all(|(a, b)| (a - b).abs() < 1e-3), "{near:?}");
    }

    /// The mean distance of uniform points from the centre of the unit ball is n / (n + 1): 0.75 in three dimensions.
    #[test]
    fn starts_are_uniform_in_the_l2_ball() {
        let distance = |place: usize| {
            let offsets = in_ball(Norm::L2, &Stream::new(7, Purpose::Eval, 0, place), 3);
            Norm::L2.length(offsets.into_iter())
        };
        let distances: Vec<f64> = (0..20_000).map(distance).collect();
        assert!(distances.iter().all(|distance| *distance <= 1.0));
        let mean = distances.iter().sum::<f64>() / distances.len() as f64;
        // The standard error of the mean is 0.0014: the deviation of n / (n + 1) is sqrt(n / (n + 2)) / (n + 1).
        assert!((mean - 0.75).abs() < 0.006, "{mean}");
    }
}
