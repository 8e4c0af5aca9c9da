//! What a step of an objective costs, counted in passes of the networks.

use std::fmt;

use super::needs::{Asked, Forward, Needs};
use super::row::{Epoch, Objective};

/// What a step asks one teacher.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asks {
    /// Forwards that a label set answers, where there is one.
    pub cached: usize,
    /// Forwards about images that the step makes, or for feature maps.
    pub live: usize,
    /// Forwards with the image gradient, one at each step of the attack.
    pub climbed: usize,
    /// Of the live ones, those for feature maps of clean views. They give the labels of these, too, where no label set does.
    pub maps: usize,
    /// Forwards whose feature maps a label set holds; the labels of the same views are among them.
    pub held: usize,
}

impl Asks {
    fn of(asked: &Asked, attack_steps: usize) -> Self {
        let cached = asked.about.iter().filter(|forward| forward.is_clean()).count();
        let climbed = if asked.climbed { attack_steps } else { 0 };
        // Maps of images that are asked about live anyway cost no forward of their own.
        let costs = |forward: &&Forward| forward.is_clean() || !asked.about.contains(*forward);
        let costly = asked.maps.iter().filter(costs).count();
        let maps = asked.maps.iter().filter(|forward| forward.is_clean()).count();
        Self { cached, live: asked.about.len() - cached + costly, climbed, maps, held: 0 }
    }

    /// The same where a label set holds the feature maps of clean views.
    #[must_use]
    pub fn with_held_maps(self) -> Self {
        Self { live: self.live - self.maps, maps: 0, held: self.held + self.maps, ..self }
    }

    /// Forwards that a label set answers: for labels, for feature maps, or for both.
    pub fn answered(self) -> usize {
        self.cached.max(self.held)
    }

    /// Forwards in all, one with its image gradient counting once: with a label set, and where there is none.
    pub fn forwards(self, has_labels: bool) -> usize {
        let asked = if has_labels { 0 } else { self.answered().saturating_sub(self.maps) };
        self.live + self.climbed + asked
    }

    /// In teacher forwards, where a forward with its image gradient is two: those of a label set, and the others.
    pub fn cost(self) -> [usize; 2] {
        [self.answered(), self.live + 2 * self.climbed]
    }
}

/// Passes of one step, for each image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passes {
    /// Forwards of the student with the image gradient: the steps of the attack.
    pub attack: usize,
    /// Training forwards, each with all gradients; images that are forwarded again for the running statistics are computed
    /// once.
    pub training: usize,
    /// Forwards of the student, or of its average, without a gradient.
    pub judged: usize,
    /// What the teacher is asked.
    pub teacher: Asks,
    /// What a second one is asked.
    pub second: Asks,
}

impl Passes {
    /// Of a step of this epoch, under an attack of so many steps.
    pub fn of(objective: &dyn Objective, epoch: Epoch, attack_steps: usize) -> Self {
        let inner = objective.inner();
        let attack = if inner.is_some() { attack_steps } else { 0 };
        let mut forwards = Vec::<Forward>::new();
        for forward in objective.forwards(epoch) {
            if !forwards.contains(&forward) {
                forwards.push(forward);
            }
        }
        let Needs { teacher, second, average } = objective.needs_in(epoch);
        Self {
            attack,
            training: forwards.len(),
            judged: usize::from(inner.is_some_and(|inner| inner.from_own_clean)) + average.len(),
            teacher: Asks::of(&teacher, attack),
            second: Asks::of(&second, attack),
        }
    }

    /// The same where the teachers' label sets hold the feature maps that are asked for.
    #[must_use]
    pub fn with_held_maps(self) -> Self {
        Self { teacher: self.teacher.with_held_maps(), second: self.second.with_held_maps(), ..self }
    }

    /// The student's part in its forwards: an image gradient costs another, all gradients two others. At most: a training
    /// forward that the loss does not read goes without them.
    pub fn student(self) -> usize {
        2 * self.attack + 3 * self.training + self.judged
    }
}

/// In a line, what a step asks of teachers: `cached labels; live teacher: 2 forwards a step`.
impl fmt::Display for Passes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        let counted = |count, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        for (asks, which) in [(self.teacher, ""), (self.second, "second ")] {
            let cached = [(asks.cached, "labels"), (asks.held, "feature maps")];
            let cached: Vec<&str> =
                cached.into_iter().filter(|(count, _)| *count > 0).map(|(_, what)| what).collect();
            if !cached.is_empty() {
                parts.push(format!("{which}cached {}", cached.join(" and ")));
            }
            let mut live = Vec::new();
            if asks.live > 0 {
                live.push(counted(asks.live, "forward"));
            }
            if asks.climbed > 0 {
                live.push(counted(asks.climbed, "image gradient"));
            }
            if !live.is_empty() {
                parts.push(format!("live {which}teacher: {} a step", live.join(" and ")));
            }
        }
        if parts.is_empty() {
            parts.push("no teacher".into());
        }
        f.write_str(&parts.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::{compose, find};
    use super::*;
    use crate::schedule::Schedule;

    fn passes(name: &str, given: &[(&str, f64)], number: usize) -> Passes {
        let given: BTreeMap<_, _> = given.iter().map(|&(key, value)| (key.to_string(), value)).collect();
        let objective = compose(find(name).unwrap(), &given, false).unwrap();
        Passes::of(&*objective, Epoch { number, of: 200, schedule: Schedule::Multistep }, 10)
    }

    /// RSLAD's 26 student forwards and one of the teacher are those of its authors' loop: ten attack steps of two, two
    /// training passes of three, one `teacher(x)`. The others' teacher forwards are counted in their released loops:
    /// IAD-I.py and IAD-II.py of ZFancy/IAD, main.py of boyellow/AdaAD, saad.py of HongsinLee/saad, `rslad_IGDM_cifar100.py` of
    /// `Xavaitron/VLM_Distillation`, `mtard_resnet18_cifar10.py` of zhaoshiji123/MTARD; DPK's one forward of each network, whose
    /// maps and logits it reads, is that of `train_cifar_two_epoch` in zongdaoming/dpk: its logits are the cached ones here.
    #[test]
    fn a_steps_passes_are_those_of_the_released_loops() {
        let asks = |cached, live, climbed| Asks { cached, live, climbed, maps: 0, held: 0 };
        let mapped = |cached, live| Asks { cached, live, climbed: 0, maps: 1, held: 0 };
        let nothing = Asks::default();
        for (name, given, number, student, teacher, second) in [
            ("natural", &[][..], 0, 3, nothing, nothing),
            ("sat", &[], 0, 23, nothing, nothing),
            ("trades", &[], 0, 27, nothing, nothing),
            ("rslad", &[], 0, 26, asks(1, 0, 0), nothing),
            ("iad", &[], 59, 26, asks(1, 0, 0), nothing),
            ("iad", &[], 60, 26, asks(1, 1, 0), nothing),
            ("iad-ii", &[], 39, 23, asks(0, 1, 0), asks(0, 1, 0)),
            ("iad-ii", &[], 40, 26, asks(0, 1, 0), asks(0, 1, 0)),
            ("mtard", &[], 0, 26, asks(0, 1, 0), asks(1, 0, 0)),
            ("saad", &[], 0, 29, asks(1, 2, 0), nothing),
            ("adaad", &[], 0, 26, asks(0, 1, 10), nothing),
            ("adaiad", &[], 0, 26, asks(0, 1, 10), nothing),
            ("rslad", &[("igdm", 0.9)], 0, 29, asks(1, 2, 0), nothing),
            ("adaad", &[("igdm", 5.0)], 0, 29, asks(0, 2, 10), nothing),
            ("sat", &[("igdm", 60.0)], 0, 29, asks(0, 2, 0), nothing),
            ("kd", &[("dpk", 0.3)], 0, 3, mapped(1, 1), nothing),
            ("rslad", &[("dpk", 0.3)], 0, 26, mapped(1, 1), nothing),
            ("sat", &[("dpk", 0.3)], 0, 26, mapped(0, 1), nothing),
            ("rslad", &[("igdm", 0.9), ("dpk", 0.3)], 0, 29, mapped(1, 3), nothing),
        ] {
            let found = passes(name, given, number);
            assert_eq!((found.student(), found.teacher, found.second), (student, teacher, second), "{name}");
        }
    }

    /// One forward gives maps and logits, as `train_cifar_two_epoch` of zongdaoming/dpk has it.
    #[test]
    fn a_forward_for_maps_gives_the_labels_where_no_label_set_does() {
        let asked = |given: &[(&str, f64)]| {
            let teacher = passes("rslad", given, 0).teacher;
            [true, false].map(|has_labels| teacher.forwards(has_labels))
        };
        assert_eq!(asked(&[]), [0, 1]);
        assert_eq!(asked(&[("dpk", 0.3)]), [1, 1]);
        assert_eq!(asked(&[("igdm", 0.9), ("dpk", 0.3)]), [3, 3]);
    }

    /// Of the forwards above, the one of zongdaoming/dpk's `train_cifar_two_epoch` is of clean views, and goes; the two of
    /// IGDM, which are of images that the attack makes, stay.
    #[test]
    fn a_label_set_with_feature_maps_leaves_no_forward_about_clean_views() {
        for (name, given, cost, text) in [
            ("kd", &[("dpk", 0.3)][..], [1, 0], "cached labels and feature maps"),
            ("sat", &[("dpk", 0.3)], [1, 0], "cached feature maps"),
            (
                "rslad",
                &[("igdm", 0.9), ("dpk", 0.3)],
                [1, 2],
                "cached labels and feature maps; live teacher: 2 forwards a step",
            ),
        ] {
            let live = passes(name, given, 0);
            let held = live.with_held_maps();
            assert_eq!((held.teacher.cost(), held.to_string().as_str()), (cost, text), "{name}");
            let [with, without] = [true, false].map(|has_labels| held.teacher.forwards(has_labels));
            assert_eq!((with, without), (cost[1], live.teacher.forwards(false)), "{name}");
        }
    }

    #[test]
    fn a_line_says_what_is_asked() {
        assert_eq!(passes("sat", &[], 0).to_string(), "no teacher");
        assert_eq!(
            passes("rslad", &[("igdm", 1.0)], 0).to_string(),
            "cached labels; live teacher: 2 forwards a step"
        );
        assert_eq!(
            passes("mtard", &[], 0).to_string(),
            "live teacher: 1 forward a step; second cached labels"
        );
        assert_eq!(
            passes("adaad", &[], 0).to_string(),
            "live teacher: 1 forward and 10 image gradients a step"
        );
    }
}
