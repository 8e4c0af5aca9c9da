//! Steps that an attack chooses one by one (Auto-PGD): the pixels lie where the engine computes, the host decides by logits.

use crate::images::Images;

/// How far an image may move.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ball {
    /// Every pixel by this, in units of the pixel range.
    Linf(f64),
    /// All together by this: the square root of the sum of the squares.
    L2(f64),
}

impl Ball {
    /// Moves a point by a length to where a function with this gradient rises most: every pixel by the sign of its slope in
    /// linf, along the gradient in l2. A slope of zero, or one that is not a number, moves nothing.
    ///
    /// The code of arXiv:2003.01690 adds 1e-12 to the length of an l2 gradient, and so stands still where that is tiny.
    pub fn climb(self, length: f32, gradient: &[f32], point: &mut [f32]) {
        match self {
            Self::Linf(_) => {
                for (point, &slope) in point.iter_mut().zip(gradient) {
                    *point += length * f32::from(i8::from(slope > 0.0) - i8::from(slope < 0.0));
                }
            }
            Self::L2(_) => {
                let steepness = root_of_squares(gradient.iter().map(|slope| f64::from(slope.abs())));
                if steepness > 0.0 && steepness.is_finite() {
                    let scale = f64::from(length) / steepness;
                    for (point, &slope) in point.iter_mut().zip(gradient) {
                        *point += (scale * f64::from(slope)) as f32;
                    }
                }
            }
        }
    }

    /// Brings a point into the ball around an image, then into [0, 1]. In l2 the way from the image is shortened.
    pub fn confine(self, image: &[f32], point: &mut [f32]) {
        match self {
            Self::Linf(eps) => {
                let eps = eps as f32;
                for (point, image) in point.iter_mut().zip(image) {
                    *point = point.max(image - eps).min(image + eps).clamp(0.0, 1.0);
                }
            }
            Self::L2(eps) => {
                let length = root_of_squares(image.iter().zip(&*point).map(|(a, b)| f64::from(b - a)));
                let share = if length > eps { (eps / length) as f32 } else { 1.0 };
                for (point, image) in point.iter_mut().zip(image) {
                    *point = (image + share * (*point - image)).clamp(0.0, 1.0);
                }
            }
        }
    }
}

fn root_of_squares(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|value| value * value).sum::<f64>().sqrt()
}

/// Images on their way up, each `(N, C, H, W)` in f32, one row an image.
#[derive(Clone)]
pub struct Climbers {
    /// Where the balls lie.
    pub clean: Images,
    /// Where they stand.
    pub point: Images,
    /// Where they stood a step before.
    pub before: Images,
    /// Where the loss was highest; of an image that has not taken a [`Stride`] yet, anything.
    pub best: Images,
    /// The gradient there.
    pub best_gradient: Images,
}

impl Climbers {
    /// All of it, in the order of the fields.
    pub fn all(&self) -> [&Images; 5] {
        [&self.clean, &self.point, &self.before, &self.best, &self.best_gradient]
    }
}

/// Climbers after a step.
pub struct Climbed {
    /// Where they are.
    pub to: Climbers,
    /// The largest finite slope of each image's gradient, without its sign: 0 where there is none.
    pub steepest: Vec<f32>,
}

/// One image's step, of which the host knows everything but the pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stride {
    /// How far it may go from its image.
    pub ball: Ball,
    /// The point is the best so far: it is kept, and so is its gradient.
    pub is_best: bool,
    /// The step goes on from the best point, along the gradient there, in place of the point.
    pub returns: bool,
    /// The length of the climb.
    pub length: f32,
    /// How much of it is taken; the rest of 1 goes along the last move.
    pub share: f32,
}

/// Pixels of one image on its way, in (channel, row, column) order.
pub struct Standing<'a> {
    /// As in [`Climbers`].
    pub point: &'a mut [f32],
    /// As in [`Climbers`].
    pub before: &'a mut [f32],
    /// As in [`Climbers`].
    pub best: &'a mut [f32],
    /// As in [`Climbers`].
    pub best_gradient: &'a mut [f32],
}

impl Stride {
    /// The step of an image that goes nowhere.
    pub fn none(ball: Ball) -> Self {
        Self { ball, is_best: false, returns: false, length: 0.0, share: 1.0 }
    }

    /// Takes it: `next = confine(point + climb)`, then `point + share (next - point) + (1 - share) (point - before)`, confined
    /// again. Gives the largest finite slope of the gradient at the point, without its sign.
    ///
    /// Source: Auto-PGD, arXiv:2003.01690, section 4.1, where the share is 0.75 after the first step.
    pub fn take(&self, clean: &[f32], gradient: &[f32], at: Standing<'_>) -> f32 {
        let Standing { point, before, best, best_gradient } = at;
        if self.is_best {
            best.copy_from_slice(point);
            best_gradient.copy_from_slice(gradient);
        }
        if self.returns {
            point.copy_from_slice(best);
        }
        let mut next = point.to_vec();
        self.ball.climb(self.length, if self.returns { best_gradient } else { gradient }, &mut next);
        self.ball.confine(clean, &mut next);
        let share = self.share;
        for (next, (&now, before)) in next.iter_mut().zip(point.iter().zip(&*before)) {
            *next = now + share * (*next - now) + (1.0 - share) * (now - before);
        }
        self.ball.confine(clean, &mut next);
        before.copy_from_slice(point);
        point.copy_from_slice(&next);
        gradient.iter().map(|slope| slope.abs()).filter(|slope| slope.is_finite()).fold(0.0, f32::max)
    }
}
