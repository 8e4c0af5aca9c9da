//! Signed gradient steps of one length, as they judge: FGSM, PGD, and PGD on the margin.
//!
//! They go their whole way, whatever the network says on it, and are judged by where it ends: that is what published
//! figures for them are of.

use serde::{Deserialize, Serialize};

use super::margin::Loss;
use super::row::{Attack, Row};
use super::search::{Next, Search, Subject, Unreadable, restored, saved};
use crate::rng::{Purpose, Stream};

/// One step from the image, as wide as the ball.
pub(super) static FGSM: Row = Row {
    name: "fgsm",
    summary: "one signed gradient step of size eps from the image (arXiv:1412.6572)",
    example: "fgsm",
    make: |name| {
        (name == "fgsm").then(|| boxed(name, Loss::CrossEntropy, Begins::AtImage, 1, Stride::Radius))
    },
};

pub(super) static PGD: Row = Row {
    name: "pgdN",
    summary: "N signed gradient steps of cross-entropy from a uniform start, such as pgd20 (arXiv:1706.06083)",
    example: "pgd20",
    make: |name| {
        let steps = steps_after("pgd", name)?;
        Some(boxed(name, Loss::CrossEntropy, Begins::InBall, steps, Stride::Given))
    },
};

pub(super) static CW: Row = Row {
    name: "cwN",
    summary: "the same on Carlini and Wagner's margin of logits, such as cw30 (arXiv:1608.04644)",
    example: "cw30",
    make: |name| {
        let steps = steps_after("cw", name)?;
        Some(boxed(name, Loss::Margin, Begins::InBall, steps, Stride::Given))
    },
};

/// Source of both settings: RSLAD, arXiv:2108.07969, section 4.1.
pub(super) static PGD_SAT: Row = Row {
    name: "pgd-sat",
    summary: "PGD as published for SAT: 20 steps of 2/255",
    example: "pgd-sat",
    make: |name| {
        let step = Stride::Of(2.0 / 255.0);
        (name == "pgd-sat").then(|| boxed(name, Loss::CrossEntropy, Begins::InBall, 20, step))
    },
};

pub(super) static PGD_TRADES: Row = Row {
    name: "pgd-trades",
    summary: "PGD as published for TRADES: 20 steps of 0.003",
    example: "pgd-trades",
    make: |name| {
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

    fn begin(&self, subject: Subject) -> Box<dyn Search> {
        let eps = subject.threat.eps;
        let step = match self.stride {
            Stride::Radius => eps,
            Stride::Given => subject.step_size,
            Stride::Of(step) => step,
        };
        let mut point = subject.image.clone();
        if let Begins::InBall = self.begins {
            let mut draws = vec![0.0; point.len()];
            Stream::new(subject.seed, Purpose::Eval, subject.restart, subject.place).uniforms(&mut draws);
            for (pixel, draw) in point.iter_mut().zip(draws) {
                *pixel += (2.0 * draw - 1.0) as f32 * eps as f32;
            }
        }
        let state = State { taken: 0, point };
        Box::new(Way { loss: self.loss, steps: self.steps, stride: step as f32, subject, state })
    }
}

/// The way from one image.
struct Way {
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

impl Search for Way {
    fn point(&self) -> &[f32] {
        &self.state.point
    }

    fn slope(&mut self, logits: &[f32], slope: &mut [f32]) {
        self.loss.at(logits, self.subject.label, slope);
    }

    /// Pixels whose gradient is exactly zero stay (sign(0) = 0, as in PyTorch).
    fn learn(&mut self, _: &[f32], gradient: &[f32]) -> Next {
        for (place, &slope) in gradient.iter().enumerate() {
            let sign = f32::from(i8::from(slope > 0.0) - i8::from(slope < 0.0));
            self.state.point[place] =
                self.subject.project(place, self.state.point[place] + self.stride * sign);
        }
        self.state.taken += 1;
        if self.state.taken == self.steps { Next::Judge } else { Next::Ask }
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
