//! FAB: the shortest way over the decision boundary. Source: Croce and Hein, arXiv:1907.02044, in its targeted form.

use serde::{Deserialize, Serialize};

use super::margin::{Loss, targets};
use super::row::{Attack, Row};
use super::search::{Next, Search, Subject, Unreadable, restored, saved};

pub(super) static ROW: Row = Row {
    name: "fab-t",
    summary: "the nearest boundary to each of nine other classes, 100 steps each (arXiv:1907.02044)",
    example: "fab-t",
    make: |name| (name == "fab-t").then(|| Box::new(Fab { targets: 9, steps: 100 }) as Box<dyn Attack>),
};

/// Targeted FAB in the l-infinity norm; from the image itself, nothing in it is random.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fab {
    /// Classes that are aimed at, from the likeliest on.
    pub targets: usize,
    /// Steps towards each.
    pub steps: usize,
}

/// Largest pull back to the image.
const ALPHA_MOST: f32 = 0.1;
/// How far a step overshoots the boundary.
const ETA: f32 = 1.05;
/// How much of the way to the image a point on the other side keeps.
const BETA: f32 = 0.9;

impl Attack for Fab {
    fn name(&self) -> String {
        "fab-t".into()
    }

    fn climbs(&self) -> bool {
        true
    }

    fn begin(&self, subject: Subject) -> Box<dyn Search> {
        let point = subject.image.clone();
        let state = State { targets: Vec::new(), at: 0, taken: 0, is_step: false, point };
        Box::new(Way { attack: *self, subject, state })
    }
}

/// The walks from one image.
struct Way {
    attack: Fab,
    subject: Subject,
    state: State,
}

#[derive(Serialize, Deserialize)]
struct State {
    /// Empty until the clean logits have said which classes are near.
    targets: Vec<usize>,
    at: usize,
    taken: usize,
    /// Whether the point is where a step led; else it is where the next one begins.
    is_step: bool,
    point: Vec<f32>,
}

impl Search for Way {
    fn point(&self) -> &[f32] {
        &self.state.point
    }

    fn slope(&mut self, logits: &[f32], slope: &mut [f32]) {
        if self.state.targets.is_empty() {
            self.state.targets = targets(logits, self.subject.label, self.attack.targets);
        }
        if let Some(&target) = self.state.targets.get(self.state.at) {
            Loss::Difference(target).at(logits, self.subject.label, slope);
        }
    }

    fn learn(&mut self, logits: &[f32], gradient: &[f32]) -> Next {
        let Subject { image, label, threat, .. } = &self.subject;
        let is_wrong = self.subject.is_wrong(logits);
        if is_wrong && self.distance() <= threat.eps as f32 {
            return Next::Judge;
        }
        if std::mem::replace(&mut self.state.is_step, false) {
            self.state.taken += 1;
            if self.state.taken == self.attack.steps {
                return self.next_target();
            }
            if is_wrong {
                for (point, image) in self.state.point.iter_mut().zip(image) {
                    *point = image + BETA * (*point - image);
                }
                return Next::Ask;
            }
        }
        let Some(&target) = self.state.targets.get(self.state.at) else { return Next::Exhausted };
        let gap = logits[label.to_owned()] - logits[target];
        let inner = |at: &[f32]| -> f32 { gradient.iter().zip(at).map(|(slope, pixel)| slope * pixel).sum() };
        // On the plane the difference of logits, as the gradient predicts it, is zero.
        let from_image = gap + inner(&self.state.point) - inner(image);
        let (Some(near), Some(home)) =
            (Reach::of(gap, &self.state.point, gradient), Reach::of(from_image, image, gradient))
        else {
            // A gradient of zeros leads nowhere, here or ever.
            return self.next_target();
        };
        let pull = (near.length / (near.length + home.length)).clamp(0.0, ALPHA_MOST);
        for (place, &slope) in gradient.iter().enumerate() {
            let (now, image) = (self.state.point[place], image[place]);
            let ahead = now + ETA * near.step(now, slope);
            let back = image + ETA * home.step(image, slope);
            self.state.point[place] = (ahead * (1.0 - pull) + back * pull).clamp(0.0, 1.0);
        }
        self.state.is_step = true;
        Next::Ask
    }

    fn share(&self) -> f64 {
        let State { targets, at, taken, .. } = &self.state;
        (*at as f64 + *taken as f64 / self.attack.steps as f64) / targets.len().max(1) as f64
    }

    fn save(&self) -> Vec<u8> {
        saved(&self.state)
    }

    fn restore(&mut self, saved: &[u8]) -> Result<(), Unreadable> {
        self.state = restored(saved)?;
        Ok(())
    }
}

impl Way {
    fn distance(&self) -> f32 {
        let apart =
            self.state.point.iter().zip(&self.subject.image).map(|(point, image)| (point - image).abs());
        apart.fold(0.0, f32::max)
    }

    fn next_target(&mut self) -> Next {
        self.state.at += 1;
        self.state.taken = 0;
        self.state.point.copy_from_slice(&self.subject.image);
        if self.state.at < self.state.targets.len() { Next::Ask } else { Next::Exhausted }
    }
}

/// The shortest move, in the l-infinity norm and within [0, 1], that raises a linear function by a given amount: every
/// pixel goes by `length` in the direction of its slope, or as far as the pixel range lets it.
struct Reach {
    length: f32,
    direction: f32,
}

impl Reach {
    /// The move from `from` that raises `slope . x` by `amount`; where all of the pixel range does not, all of it. None
    /// without any slope.
    fn of(amount: f32, from: &[f32], slope: &[f32]) -> Option<Self> {
        let direction = if amount < 0.0 { -1.0 } else { 1.0 };
        let wanted = f64::from(amount.abs());
        // The gain is a concave function of the length, made of straight pieces: from below, Newton's steps never
        // overshoot and end on the right piece.
        let mut length = 0.0f64;
        for _ in 0..PIECES {
            let (mut gain, mut rate) = (0.0f64, 0.0f64);
            for (&pixel, &slope) in from.iter().zip(slope) {
                let (weight, room) = (f64::from(slope.abs()), f64::from(room(pixel, direction * slope)));
                if room > length {
                    gain += weight * length;
                    rate += weight;
                } else {
                    gain += weight * room;
                }
            }
            let missing = wanted - gain;
            if rate == 0.0 {
                if length == 0.0 {
                    return None;
                }
                break;
            }
            if missing <= wanted * 1e-7 {
                break;
            }
            length += missing / rate;
        }
        Some(Self { length: (length as f32).max(1e-8), direction })
    }

    /// The move of a pixel with this slope.
    fn step(&self, pixel: f32, slope: f32) -> f32 {
        let slope = self.direction * slope;
        let way = room(pixel, slope).min(self.length);
        if slope > 0.0 {
            way
        } else if slope < 0.0 {
            -way
        } else {
            0.0
        }
    }
}

/// Newton's steps at most; each leaves at least one piece behind, and a handful suffices for images.
const PIECES: usize = 64;

/// How far a pixel can go in the direction of this slope.
fn room(pixel: f32, slope: f32) -> f32 {
    if slope > 0.0 { 1.0 - pixel } else { pixel }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lengths are those of scipy's linear programs: the least bound on |d| with slope . d = amount and the moved
    /// pixels in [0, 1]. The last is out of reach: everything moves as far as it can.
    #[test]
    fn the_way_to_a_plane_is_the_shortest_that_the_pixel_range_allows() {
        type Case = ([f32; 6], [f32; 6], f32, Option<f32>);
        let cases: [Case; 3] = [
            (
                [0.81, 0.81, 0.52, 0.29, 0.05, 0.38],
                [-0.55, -0.78, 0.75, 1.63, 0.27, -1.23],
                0.4,
                Some(0.076_775_43),
            ),
            (
                [0.43, 0.97, 0.9, 0.84, 0.39, 0.49],
                [-0.63, -0.49, -0.71, 0.55, -0.06, -0.59],
                -0.9,
                Some(0.444_972_7),
            ),
            ([0.68, 0.87, 0.23, 0.9, 0.87, 0.02], [-1.29, 0.02, -0.04, -0.3, -1.05, -0.4], 50.0, None),
        ];
        for (from, slope, amount, length) in cases {
            let reach = Reach::of(amount, &from, &slope).unwrap();
            let moved: Vec<f32> =
                from.iter().zip(slope).map(|(&pixel, slope)| reach.step(pixel, slope)).collect();
            let gained: f32 = moved.iter().zip(slope).map(|(moved, slope)| moved * slope).sum();
            if let Some(length) = length {
                assert!((reach.length - length).abs() < 1e-6, "{}, not {length}", reach.length);
                assert!((gained - amount).abs() < 1e-5, "{gained}, not {amount}");
            } else {
                let edges =
                    from.iter().zip(slope).map(|(&pixel, slope)| if slope > 0.0 { 1.0 } else { 0.0 } - pixel);
                assert!(
                    moved.iter().zip(edges).all(|(moved, edge)| (moved - edge).abs() < 1e-6),
                    "{moved:?}"
                );
            }
        }
        assert!(Reach::of(1.0, &[0.5; 3], &[0.0; 3]).is_none());
    }
}
