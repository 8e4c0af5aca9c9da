//! Auto-PGD: projected gradient ascent that finds its own step size. Source: Croce and Hein, arXiv:2003.01690.

mod ascent;

use serde::{Deserialize, Serialize};

use self::ascent::Ascent;
use super::margin::{Loss, fewer_targets, short_ratio, targets};
use super::row::{Attack, Row};
use super::search::{Next, Search, Subject, Unreadable, restored, saved};
use super::word::Wanted;
use crate::options::Choice;
use crate::rng::Purpose;
use crate::threat::Norm;

pub(super) static CROSS_ENTROPY: Row = Row {
    name: "apgd-ce",
    summary: "Auto-PGD on cross-entropy, 100 steps (arXiv:2003.01690)",
    example: "apgd-ce",
    options: &[STEPS, RHO],
    make: |wanted| boxed(wanted, "apgd-ce", Climbs::One(Loss::CrossEntropy)),
};

pub(super) static DLR: Row = Row {
    name: "apgd-dlr",
    summary: "Auto-PGD on the difference of logits ratio, 100 steps",
    example: "apgd-dlr",
    options: &[STEPS, RHO],
    make: |wanted| boxed(wanted, "apgd-dlr", Climbs::One(Loss::Dlr)),
};

pub(super) static TARGETED: Row = Row {
    name: "apgd-t",
    summary: "Auto-PGD towards each of the nine likeliest other classes, 100 steps each",
    example: "apgd-t",
    options: &[TARGETS, STEPS, RHO],
    make: |wanted| boxed(wanted, "apgd-t", Climbs::Likeliest(wanted.count("targets"))),
};

pub(super) static NEAREST: Row = Row {
    name: "malt",
    summary: "the same towards the nine nearest of 100, by a first-order margin (arXiv:2407.02240)",
    example: "malt",
    options: &[TARGETS, CANDIDATES, STEPS, RHO],
    make: |wanted| {
        let [targets, candidates] = ["targets", "candidates"].map(|key| wanted.count(key));
        boxed(wanted, "malt", Climbs::Nearest { targets, candidates })
    },
};

const STEPS: Choice = Choice {
    key: "steps",
    default: 100.0,
    least: 1.0,
    most: 1e5,
    is_whole: true,
    help: "steps of an ascent",
};
const RHO: Choice = Choice {
    key: "rho",
    default: 0.75,
    least: 0.0,
    most: 1.0,
    is_whole: false,
    help: "share of the steps to a checkpoint that must raise the loss",
};
const TARGETS: Choice = Choice {
    key: "targets",
    default: 9.0,
    least: 1.0,
    most: 4095.0,
    is_whole: true,
    help: "classes aimed at",
};
const CANDIDATES: Choice = Choice {
    key: "candidates",
    default: 100.0,
    least: 1.0,
    most: 4095.0,
    is_whole: true,
    help: "likeliest other classes that are ranked",
};

fn boxed(wanted: &Wanted, name: &str, climbs: Climbs) -> Option<Box<dyn Attack>> {
    let apgd = || Apgd {
        name: wanted.reported.clone(),
        climbs,
        steps: wanted.count("steps"),
        rho: wanted.options.get("rho") as f32,
    };
    (wanted.name == name).then(|| Box::new(apgd()) as Box<dyn Attack>)
}

/// What the ascents on an image climb, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Climbs {
    /// One loss.
    One(Loss),
    /// The targeted difference of logits ratio, towards this many other classes from the likeliest on.
    Likeliest(usize),
    /// The same, towards this many of the likeliest candidates: those whose boundary is nearest if the network were
    /// linear, `(z_y - z_t) / |gradient of (z_y - z_t)|` in the dual norm. One gradient for each candidate.
    Nearest { targets: usize, candidates: usize },
}

impl Climbs {
    /// A number that no two kinds of ascents share, which sets their draws apart.
    fn kind(self) -> usize {
        match self {
            Self::One(Loss::CrossEntropy) => 0,
            Self::One(Loss::Dlr) => 1,
            Self::One(_) => 2,
            Self::Likeliest(_) => 3,
            Self::Nearest { .. } => 4,
        }
    }
}

/// APGD, in either ball.
#[derive(Clone, Debug)]
pub(super) struct Apgd {
    /// The name under which it is reported.
    pub name: String,
    pub climbs: Climbs,
    /// Steps of an ascent.
    pub steps: usize,
    /// Share of steps since the last checkpoint that must have raised the loss.
    pub rho: f32,
}

impl Attack for Apgd {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn climbs(&self) -> bool {
        true
    }

    fn begin(&self, subject: Subject) -> Box<dyn Search> {
        let point = subject.image.clone();
        let ascent = Ascent::new(self, point, subject.threat.eps as f32);
        let state = State {
            losses: Vec::new(),
            candidates: Vec::new(),
            distances: Vec::new(),
            at: 0,
            value: 0.0,
            ascent,
        };
        let mut climb = Climb { attack: self.clone(), subject, state };
        if let Climbs::One(loss) = self.climbs {
            climb.state.losses = vec![loss];
            climb.restart();
        }
        Box::new(climb)
    }

    fn remark(&self, classes: usize) -> Option<String> {
        match self.climbs {
            Climbs::One(Loss::Dlr) => short_ratio(&self.name, 3, classes),
            Climbs::One(_) => None,
            Climbs::Likeliest(targets) | Climbs::Nearest { targets, .. } => {
                let remarks =
                    [fewer_targets(&self.name, targets, classes), short_ratio(&self.name, 4, classes)];
                let remarks: Vec<String> = remarks.into_iter().flatten().collect();
                (!remarks.is_empty()).then(|| remarks.join("\n"))
            }
        }
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
        &self.state.ascent.point
    }

    fn slope(&mut self, logits: &[f32], slope: &mut [f32]) {
        let label = self.subject.label;
        let state = &mut self.state;
        if let Some(loss) = state.losses.get(state.at) {
            state.value = loss.at(logits, label, slope);
        } else if let Climbs::Nearest { candidates, .. } = self.attack.climbs {
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
        if !state.losses.is_empty() {
            if state.ascent.step(&self.subject, state.value, gradient) {
                return Next::Ask;
            }
            state.at += 1;
        } else if let Climbs::Nearest { targets, .. } = self.attack.climbs {
            state.distances.push(f64::from(state.value) / self.subject.threat.norm.steepness(gradient));
            if state.distances.len() < state.candidates.len() {
                return Next::Ask;
            }
            state.losses = nearest(&state.candidates, &state.distances, targets);
        } else if let Climbs::Likeliest(count) = self.attack.climbs {
            let others = targets(logits, self.subject.label, count);
            state.losses = others.into_iter().map(Loss::DlrTowards).collect();
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
            let (logits, slopes) = known::parabola(search.point());
            let mut slope = [0.0; 4];
            search.slope(&logits, &mut slope);
            if search.learn(&logits, &known::gradient(&slope, &slopes)) != Next::Ask {
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
                let (logits, slopes) = known::parabola(search.point());
                search.slope(&logits, &mut [0.0; 4]);
                search.learn(&logits, &slopes[3]);
            }
            search.point().iter().map(|pixel| pixel.to_bits()).collect::<Vec<_>>()
        };
        let starts: std::collections::BTreeSet<_> =
            ["apgd-ce", "apgd-dlr", "apgd-t", "malt"].into_iter().map(start).collect();
        assert_eq!(starts.len(), 4);
    }

    /// On a linear network the best point is known, so each breaks it just beyond the distance of its boundary and not
    /// just below: scipy's lengths, as in `fab/reach.rs`.
    #[test]
    fn every_kind_breaks_a_linear_network_beyond_the_distance_of_its_boundary_alone() {
        let slope = [-0.55, -0.78, 0.75, 1.63, 0.27, -1.23];
        let from = [0.81, 0.81, 0.52, 0.29, 0.05, 0.38];
        for (ball, distance) in
            [(Threat::linf as fn(f64) -> Threat, 0.076_775_43), (Threat::l2, 0.167_305_45)]
        {
            for name in ["apgd-ce", "apgd-dlr", "apgd-t", "malt"] {
                let broken = |eps: f64| {
                    let network = |point: &[f32]| known::plane(&from, &slope, 0.4, point);
                    known::ended(find(name).unwrap().as_ref(), known::subject(&from, 0, ball(eps)), &network)
                };
                assert!(broken(distance * 0.99).is_none(), "{name}");
                let point = broken(distance * 1.01).unwrap_or_else(|| panic!("{name} at {distance}"));
                let threat = ball(distance * 1.01);
                assert!(threat.norm.between(&from, &point) <= threat.eps + 1e-6, "{name}: {point:?}");
            }
        }
    }
}
