//! Small networks written out, on which other programs have answered, and the way an attack goes on them.

use engine::{Standing, Stride};

use super::lead::Stand;
use super::row::Attack;
use super::search::{Next, Search, Subject};
use crate::threat::Threat;

/// What a network says at a point: its logits, and the slope of each by the pixels.
pub(super) type Said = (Vec<f32>, Vec<Vec<f32>>);

/// Logits of six pixels in four classes: `W x + V x^2`.
pub(super) fn parabola(point: &[f32]) -> Said {
    let linear = |class: usize, place: usize| ((7 * class + 3 * place) % 11) as f32 / 5.0 - 1.0;
    let square = |class: usize, place: usize| 2.0 * (((5 * class + 4 * place) % 7) as f32 - 3.0);
    let logit = |class: usize| {
        let parts = point.iter().enumerate();
        parts.map(|(place, x)| (linear(class, place) + square(class, place) * x) * x).sum()
    };
    let slopes = |class: usize| {
        let parts = point.iter().enumerate();
        parts.map(|(place, x)| linear(class, place) + 2.0 * square(class, place) * x).collect()
    };
    ((0..4).map(logit).collect(), (0..4).map(slopes).collect())
}

/// The point at which the parabola is of class 1.
pub(super) const POINT: [f32; 6] = [0.81, 0.13, 0.45, 0.62, 0.05, 0.38];

/// A linear network of three classes that is of class 0 at `from`: class 1 gains by the slope and lies `gap` below
/// there, class 2 is out of reach.
pub(super) fn plane(from: &[f32], slope: &[f32], gap: f32, point: &[f32]) -> Said {
    let gained: f32 =
        point.iter().zip(from).zip(slope).map(|((point, from), slope)| (point - from) * slope).sum();
    (vec![0.0, gained - gap, -100.0], vec![vec![0.0; slope.len()], slope.to_vec(), vec![0.0; slope.len()]])
}

/// A subject whose pixels are one row.
pub(super) fn subject(image: &[f32], label: usize, threat: Threat) -> Subject {
    let shape = [1, 1, image.len()];
    Subject { image: image.to_vec(), shape, label, threat, step_size: 0.0, seed: 3, restart: 0, place: 7 }
}

/// The gradient by the pixels of a function with this slope by the logits.
pub(super) fn gradient(slope: &[f32], slopes: &[Vec<f32>]) -> Vec<f32> {
    let of = |place: usize| slope.iter().zip(slopes).map(|(slope, slopes)| slope * slopes[place]).sum();
    (0..slopes[0].len()).map(of).collect()
}

/// Lets an attack search to its end, and gives what it wants to be judged by.
pub(super) fn ended(
    attack: &dyn Attack,
    subject: Subject,
    network: &dyn Fn(&[f32]) -> Said,
) -> Option<Vec<f32>> {
    let mut search = attack.begin(subject);
    loop {
        match asked(&mut *search, attack.climbs(), network) {
            Next::Ask => {}
            Next::Judge => return Some(search.point().to_vec()),
            Next::Exhausted => return None,
        }
    }
}

/// Asks the network at a search's point, and lets it go on.
pub(super) fn asked(search: &mut dyn Search, climbs: bool, network: &dyn Fn(&[f32]) -> Said) -> Next {
    let (logits, slopes) = network(search.point());
    let mut slope = vec![0.0; logits.len()];
    if !search.is_led() {
        search.slope(&logits, &mut slope);
        let climbs = climbs && !search.is_query();
        let gradient = if climbs { gradient(&slope, &slopes) } else { Vec::new() };
        return search.learn(&logits, &gradient);
    }
    let (image, mut stand) = search.depart().expect("it comes home after each step");
    let image = image.to_vec();
    let (next, stride) = search.lead(&logits, &mut slope);
    if next == Next::Judge {
        return search.arrive(&stand.point);
    }
    // Who begins anew has a point of its own.
    if search.point().is_empty() {
        walk(&stride, &image, &gradient(&slope, &slopes), &mut stand);
        search.settle(stand);
    }
    next
}

/// Takes a step of one image as an engine does.
pub(super) fn walk(stride: &Stride, image: &[f32], gradient: &[f32], stand: &mut Stand) {
    let Stand { point, before, best, best_gradient } = stand;
    best_gradient.resize(gradient.len(), 0.0);
    stride.take(image, gradient, Standing { point, before, best, best_gradient });
}
