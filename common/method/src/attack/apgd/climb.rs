//! All ascents of Auto-PGD on one image, one after the other.

use engine::Stride;
use serde::{Deserialize, Serialize};

use super::ascent::Ascent;
use super::{Apgd, Climbs};
use crate::attack::lead::Stand;
use crate::attack::margin::{Loss, targets};
use crate::attack::search::{Next, Search, Subject, Unreadable, restored, saved};
use crate::rng::Purpose;
use crate::threat::Norm;

/// All ascents on one image.
pub(super) struct Climb {
    attack: Apgd,
    subject: Subject,
    state: State,
}

#[derive(Serialize, Deserialize)]
struct State {
    /// What is climbed; empty until the clean image has said which classes are near.
    losses: Vec<Loss>,
    /// Classes to be ranked, and the distance of each boundary that is known so far.
    candidates: Vec<usize>,
    distances: Vec<f64>,
    /// The ascent under way.
    at: usize,
    /// The loss at the point.
    value: f32,
    ascent: Ascent,
}

impl Climb {
    /// At the first question: the random start of the only ascent, or the image, which says where to go.
    pub fn new(attack: Apgd, subject: Subject) -> Self {
        let ascent = Ascent::new(&attack, subject.image.clone(), subject.threat.eps as f32);
        let (losses, candidates, distances) = (Vec::new(), Vec::new(), Vec::new());
        let state = State { losses, candidates, distances, at: 0, value: 0.0, ascent };
        let climbs = attack.climbs;
        let mut climb = Self { attack, subject, state };
        if let Climbs::One(loss) = climbs {
            climb.state.losses = vec![loss];
            climb.restart();
        }
        climb
    }

    /// Begins the ascent on `losses[at]`, if there is one.
    fn go_on(&mut self) -> Next {
        if self.state.at == self.state.losses.len() {
            return Next::Exhausted;
        }
        self.restart();
        Next::Ask
    }

    /// Begins the ascent on `losses[at]` at a random point on the edge of the ball.
    fn restart(&mut self) {
        let Subject { image, threat, .. } = &self.subject;
        let mut offsets = vec![0.0; image.len()];
        let draws = self.subject.draws(Purpose::Apgd, self.attack.climbs.kind() << 12 | self.state.at);
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
        &self.state.ascent.stand.point
    }

    /// At the image itself only which classes are near is wanted.
    fn is_query(&self) -> bool {
        self.state.losses.is_empty() && matches!(self.attack.climbs, Climbs::Likeliest(_))
    }

    fn slope(&mut self, logits: &[f32], slope: &mut [f32]) {
        let label = self.subject.label;
        let state = &mut self.state;
        if let Climbs::Nearest { candidates, .. } = self.attack.climbs {
            if state.candidates.is_empty() {
                state.candidates = targets(logits, label, candidates);
            }
            if let Some(&candidate) = state.candidates.get(state.distances.len()) {
                state.value = -Loss::Difference(candidate).at(logits, label, slope);
            }
        }
    }

    fn learn(&mut self, logits: &[f32], gradient: &[f32]) -> Next {
        if self.subject.is_wrong(logits) {
            return Next::Judge;
        }
        let state = &mut self.state;
        if let Climbs::Nearest { targets, .. } = self.attack.climbs {
            // Without any slope the boundary is nowhere near.
            let steepness = self.subject.threat.norm.steepness(gradient);
            let distance = if steepness > 0.0 { f64::from(state.value) / steepness } else { f64::INFINITY };
            state.distances.push(distance);
            if state.distances.len() < state.candidates.len() {
                return Next::Ask;
            }
            state.losses = nearest(&state.candidates, &state.distances, targets);
        } else if let Climbs::Likeliest(count) = self.attack.climbs {
            let others = targets(logits, self.subject.label, count);
            state.losses = others.into_iter().map(Loss::DlrTowards).collect();
        }
        self.go_on()
    }

    fn is_led(&self) -> bool {
        !self.state.losses.is_empty()
    }

    fn depart(&mut self) -> Option<(&[f32], Stand)> {
        let stand = std::mem::take(&mut self.state.ascent.stand);
        (!stand.point.is_empty()).then_some((&self.subject.image, stand))
    }

    fn lead(&mut self, logits: &[f32], slope: &mut [f32]) -> (Next, Stride) {
        let state = &mut self.state;
        let ball = self.subject.threat.ball();
        state.value = state.losses[state.at].at(logits, self.subject.label, slope);
        if self.subject.is_wrong(logits) {
            return (Next::Judge, Stride::none(ball));
        }
        if let Some(stride) = state.ascent.step(ball, state.value) {
            return (Next::Ask, stride);
        }
        state.at += 1;
        (self.go_on(), Stride::none(ball))
    }

    fn settle(&mut self, stand: Stand) {
        self.state.ascent.stand = stand;
    }

    fn arrive(&mut self, end: &[f32]) -> Next {
        self.state.ascent.stand.point = end.to_vec();
        Next::Judge
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

/// Towards the candidates at the least distances, the nearest first; of equals the likelier comes first. What has no
/// slope is infinitely far.
fn nearest(candidates: &[usize], distances: &[f64], count: usize) -> Vec<Loss> {
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by(|&a, &b| distances[a].total_cmp(&distances[b]));
    order.into_iter().take(count).map(|place| Loss::DlrTowards(candidates[place])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attack::find;
    use crate::attack::known::{self, POINT};
    use crate::threat::Threat;

    /// Distances by PyTorch 2.15's autograd: in linf 0.135 to class 3, 0.180 to class 0, 0.302 to class 2, in l2 0.265,
    /// 0.321 and 0.580. By their logits they are likely in the order 3, 2, 0.
    #[test]
    fn targets_are_ranked_by_the_first_order_distance_and_not_by_their_logits() {
        let distances =
            [(3, 0.135_238_66, 0.265_284), (2, 0.302_230_45, 0.580_203), (0, 0.180_065_29, 0.320_681_42)];
        let (logits, slopes) = known::parabola(&POINT);
        let candidates = targets(&logits, 1, 9);
        assert_eq!(candidates, [3, 2, 0]);
        for norm in [Norm::Linf, Norm::L2] {
            let mut found = Vec::new();
            for (class, linf, l2) in distances {
                let mut slope = [0.0; 4];
                let gap = -Loss::Difference(class).at(&logits, 1, &mut slope);
                let distance = f64::from(gap) / norm.steepness(&known::gradient(&slope, &slopes));
                let wanted = if norm == Norm::Linf { linf } else { l2 };
                assert!((distance - wanted).abs() < 1e-5, "{class}: {distance}, not {wanted}");
                found.push(distance);
            }
            let order = [3, 0, 2].map(Loss::DlrTowards);
            assert_eq!(nearest(&candidates, &found, 9), order);
            assert_eq!(nearest(&candidates, &found, 2), order[..2]);
        }
    }

    /// A search that ranks goes on from there: its first two ascents start at points of their own on the edge of the
    /// ball, after one question for each candidate at the image itself.
    #[test]
    fn one_gradient_is_asked_for_each_candidate_before_the_first_ascent() {
        let subject = known::subject(&POINT, 1, Threat::linf(1e-3));
        let mut search = find("malt:targets=2:steps=5").unwrap().begin(subject);
        let mut asked = Vec::new();
        loop {
            asked.push(search.point().to_vec());
            if known::asked(&mut *search, true, &known::parabola) != Next::Ask {
                break;
            }
        }
        // Three candidates, then twice a start and five steps.
        assert_eq!(asked.len(), 3 + 2 * 6);
        assert!(asked[..3].iter().all(|point| point[..] == POINT[..]));
        for start in [&asked[3], &asked[9]] {
            assert!((Norm::Linf.between(&POINT, start) - 1e-3).abs() < 1e-6, "{start:?}");
        }
        assert_ne!(asked[3], asked[9]);
    }

    #[test]
    fn no_two_kinds_of_ascents_share_their_starts() {
        let start = |name: &str| {
            let mut search = find(name).unwrap().begin(known::subject(&POINT, 1, Threat::linf(1e-3)));
            while search.point()[..] == POINT[..] {
                known::asked(&mut *search, true, &known::parabola);
            }
            search.point().iter().map(|pixel| pixel.to_bits()).collect::<Vec<_>>()
        };
        let starts: std::collections::BTreeSet<_> =
            ["apgd-ce", "apgd-dlr", "apgd-t", "malt"].into_iter().map(start).collect();
        assert_eq!(starts.len(), 4);
    }
}
