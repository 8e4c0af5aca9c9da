//! FAB: the shortest way over the decision boundary. Source: Croce and Hein, arXiv:1907.02044, in its targeted form.

mod reach;

use serde::{Deserialize, Serialize};

use self::reach::{Reach, gain};
use super::margin::{Loss, fewer_targets, targets};
use super::row::{Attack, Row};
use super::search::{Next, Search, Subject, Unreadable, restored, saved};
use crate::options::Choice;

pub(super) static ROW: Row = Row {
    name: "fab-t",
    summary: "the nearest boundary to each of nine other classes, 100 steps each (arXiv:1907.02044)",
    example: "fab-t",
    options: &[
        Choice {
            key: "targets",
            default: 9.0,
            least: 1.0,
            most: 4095.0,
            is_whole: true,
            help: "classes aimed at",
        },
        Choice {
            key: "steps",
            default: 100.0,
            least: 1.0,
            most: 1e5,
            is_whole: true,
            help: "steps towards each",
        },
    ],
    make: |wanted| {
        let [targets, steps] = ["targets", "steps"].map(|key| wanted.count(key));
        let fab = Fab { name: wanted.reported.clone(), targets, steps };
        (wanted.name == "fab-t").then(|| Box::new(fab) as Box<dyn Attack>)
    },
};

/// Targeted FAB in either norm; from the image itself, nothing in it is random.
#[derive(Clone, Debug)]
pub(super) struct Fab {
    /// The name under which it is reported.
    pub name: String,
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
/// Two lengths of zero are to be in proportion, too.
const LEAST_LENGTH: f32 = 1e-8;

impl Attack for Fab {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn climbs(&self) -> bool {
        true
    }

    /// It begins at the image.
    fn is_random(&self) -> bool {
        false
    }

    fn begin(&self, subject: Subject) -> Box<dyn Search> {
        let point = subject.image.clone();
        let state = State { targets: Vec::new(), at: 0, taken: 0, is_step: false, point };
        Box::new(Way { attack: self.clone(), subject, state })
    }

    fn remark(&self, classes: usize) -> Option<String> {
        fewer_targets(&self.name, self.targets, classes)
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

    /// Nearly every step leads beyond the boundary, from where it goes back at once: a gradient there would be thrown
    /// away.
    fn is_query(&self) -> bool {
        self.state.is_step
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
        if is_wrong && threat.norm.between(image, &self.state.point) as f32 <= threat.eps as f32 {
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
            }
            return Next::Ask;
        }
        let Some(&target) = self.state.targets.get(self.state.at) else { return Next::Exhausted };
        let gap = logits[*label] - logits[target];
        // On the plane the difference of logits, as the gradient predicts it, is zero.
        let from_image = gap - gain(gradient, &self.state.point, image) as f32;
        let reach = |amount, from: &[f32]| Reach::of(threat.norm, amount, from, gradient);
        let (Some(near), Some(home)) = (reach(gap, &self.state.point), reach(from_image, image)) else {
            // A gradient of zeros leads nowhere, here or ever.
            return self.next_target();
        };
        let [to_plane, from_home] = [near.length, home.length].map(|length| length.max(LEAST_LENGTH));
        let pull = (to_plane / (to_plane + from_home)).clamp(0.0, ALPHA_MOST);
        let moves = near.moves.iter().zip(&home.moves);
        for ((point, image), (near, home)) in self.state.point.iter_mut().zip(image).zip(moves) {
            let (ahead, back) = (*point + ETA * near, image + ETA * home);
            *point = (ahead * (1.0 - pull) + back * pull).clamp(0.0, 1.0);
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
    fn next_target(&mut self) -> Next {
        self.state.at += 1;
        self.state.taken = 0;
        self.state.point.copy_from_slice(&self.subject.image);
        if self.state.at < self.state.targets.len() { Next::Ask } else { Next::Exhausted }
    }
}

#[cfg(test)]
mod tests {
    use crate::attack::find;
    use crate::attack::known;
    use crate::attack::search::Next;
    use crate::threat::Threat;

    /// scipy's lengths of the shortest ways to these planes, as in `fab/reach.rs`: FAB overshoots by at most 1.05 and then
    /// closes in, so a hundredth beyond is found and a hundredth short of it cannot be.
    #[test]
    fn on_a_linear_network_the_exact_distance_decides_in_both_norms() {
        let from = [[0.81, 0.81, 0.52, 0.29, 0.05, 0.38], [0.43, 0.97, 0.9, 0.84, 0.39, 0.49]];
        let slopes = [[-0.55, -0.78, 0.75, 1.63, 0.27, -1.23], [-0.63, -0.49, -0.71, 0.55, -0.06, -0.59]];
        for (plane, gap, linf, l2) in [
            (0, 0.4, 0.076_775_43, 0.167_305_45),
            (0, 3.0, 0.672_631_6, 1.388_059_3),
            (1, 0.9, 0.327_419_35, 0.683_580_8),
        ] {
            for threat in [Threat::linf(linf), Threat::l2(l2)] {
                let found = |share: f64| {
                    let threat = Threat { eps: threat.eps * share, ..threat };
                    let network = |point: &[f32]| known::plane(&from[plane], &slopes[plane], gap, point);
                    let subject = known::subject(&from[plane], 0, threat);
                    known::ended(find("fab-t").unwrap().as_ref(), subject, &network)
                };
                assert!(found(0.99).is_none(), "{threat:?}");
                let point = found(1.01).unwrap_or_else(|| panic!("{threat:?}"));
                assert!(threat.norm.between(&from[plane], &point) <= threat.eps * 1.01 + 1e-6);
            }
        }
    }

    #[test]
    fn a_network_without_slopes_ends_the_search_at_once() {
        let network = |_: &[f32]| (vec![1.0, 0.0, 0.0], vec![vec![0.0; 3]; 3]);
        let subject = known::subject(&[0.5; 3], 0, Threat::l2(0.5));
        assert!(known::ended(find("fab-t").unwrap().as_ref(), subject, &network).is_none());
    }

    /// One pixel of 0.5 and the difference of logits `0.3 - x`: the boundary is at 0.3, a step of 1.05 times the way
    /// leads to 0.29 (less what the pull back takes), and 0.9 of that from the image is 0.311.
    #[test]
    fn where_a_step_led_it_asks_for_logits_alone_and_goes_back_or_asks_the_same_point_for_its_slope() {
        let subject = known::subject(&[0.5], 0, Threat::linf(0.01));
        let mut search = find("fab-t:targets=1").unwrap().begin(subject);
        let logits = |x: f32| [x, 0.3];
        assert!(!search.is_query());
        let mut slope = [0.0; 2];
        search.slope(&logits(0.5), &mut slope);
        assert_eq!(search.learn(&logits(0.5), &[-1.0]), Next::Ask);
        let led = search.point()[0];
        assert!(search.is_query() && (led - 0.29).abs() < 1e-3, "{led}");
        assert_eq!(search.learn(&logits(led), &[]), Next::Ask);
        let back = search.point()[0];
        assert!(!search.is_query() && (back - 0.311).abs() < 1e-3, "{back}");
        search.slope(&logits(back), &mut slope);
        assert_eq!(search.learn(&logits(back), &[-1.0]), Next::Ask);
        let led = search.point()[0];
        // The network turns out to be right there.
        assert!(search.is_query());
        assert_eq!(search.learn(&[1.0, 0.0], &[]), Next::Ask);
        assert!(!search.is_query() && search.point()[0].to_bits() == led.to_bits());
    }
}
