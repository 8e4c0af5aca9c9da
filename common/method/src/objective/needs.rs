//! What an objective asks of other networks than the student: a teacher, a second one, the student's moving average.

/// The images of one forward of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// The clean views; where a step has several of each image, the first, which is the one attacked.
    Clean,
    /// The adversarial images x' that the attack found.
    Adversarial,
    /// Their opposites x - (x' - x), which may leave the pixel range.
    Opposite,
    /// The further clean view of this number, from 1, below [`Objective::views`](super::Objective::views).
    Further(usize),
    /// The strong view: another clean view, then [changed](super::Objective::strong) as no label set has it.
    Strong,
}

impl Forward {
    /// Whether these are clean views, which a label set may hold.
    pub fn is_clean(self) -> bool {
        matches!(self, Self::Clean | Self::Further(_))
    }
}

/// What one other network is asked in a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// About which images: its logits are constants there.
    pub about: Vec<Forward>,
    /// Whether every step of the attack asks it as well, with its image gradient: [`Answers::teacher`](crate::attack::Answers).
    pub climbed: bool,
    /// About which images it gives its feature maps at the run's taps, constants; the student gives its own in its forwards
    /// of the same images.
    pub maps: Vec<Forward>,
}

impl Asked {
    /// About these images.
    pub fn about(about: impl Into<Vec<Forward>>) -> Self {
        Self { about: about.into(), climbed: false, maps: Vec::new() }
    }

    /// For its feature maps of these images.
    pub fn for_maps(maps: impl Into<Vec<Forward>>) -> Self {
        Self { maps: maps.into(), ..Self::default() }
    }

    /// The same, and at every step of the attack.
    #[must_use]
    pub fn climbed(self) -> Self {
        Self { climbed: true, ..self }
    }

    /// Whether it is never asked.
    pub fn is_nothing(&self) -> bool {
        self.about.is_empty() && !self.climbed && self.maps.is_empty()
    }

    /// Whether it must be at hand, since no label set can answer: it is asked about images that the attack makes.
    pub fn is_live(&self) -> bool {
        self.climbed || self.about.iter().chain(&self.maps).any(|forward| !forward.is_clean())
    }

    /// Whether its feature maps are asked for: a label set answers where it was made with them.
    pub fn wants_maps(&self) -> bool {
        !self.maps.is_empty()
    }

    /// Whether it is asked about clean views, which a label set may answer.
    pub fn wants_clean(&self) -> bool {
        self.about.iter().any(|forward| forward.is_clean())
    }

    /// All that either asks.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        for (all, others) in [(&mut self.about, other.about), (&mut self.maps, other.maps)] {
            for forward in others {
                if !all.contains(&forward) {
                    all.push(forward);
                }
            }
        }
        Self { climbed: self.climbed || other.climbed, ..self }
    }
}

/// What an objective learns from, besides images and hard labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// A teacher: a label set does where it is not [live](Asked::is_live).
    pub teacher: Asked,
    /// A second teacher, likewise.
    pub second: Asked,
    /// The student's moving average, under running statistics; never climbed.
    pub average: Vec<Forward>,
}

impl Needs {
    /// Hard labels are enough.
    pub fn nothing() -> Self {
        Self::default()
    }

    /// The teacher's logits on the clean views: from a label set, or from a teacher run online.
    pub fn cached_labels() -> Self {
        Self::teacher(Asked::about([Forward::Clean]))
    }

    /// A teacher that is asked this.
    pub fn teacher(teacher: Asked) -> Self {
        Self { teacher, ..Self::default() }
    }

    /// Whether label sets can answer all that it asks of teachers, and it asks something. Where feature maps are among it,
    /// these are label sets that [hold them](Asked::wants_maps).
    pub fn is_cached(&self) -> bool {
        let is_cached = |asked: &Asked| !asked.is_nothing() && !asked.is_live();
        is_cached(&self.teacher) && (self.second.is_nothing() || is_cached(&self.second))
    }

    /// All that either needs.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let average = Asked::about(self.average).and(Asked::about(other.average)).about;
        Self { teacher: self.teacher.and(other.teacher), second: self.second.and(other.second), average }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_set_answers_about_clean_views_and_nothing_else() {
        let cached = Needs::teacher(Asked::about([Forward::Clean, Forward::Further(1)]));
        assert!(cached.is_cached() && cached.teacher.wants_clean() && !cached.teacher.is_live());
        for live in [
            Asked::about([Forward::Clean, Forward::Adversarial]),
            Asked::about([Forward::Opposite]),
            Asked::about([Forward::Clean]).climbed(),
        ] {
            assert!(live.is_live() && !Needs::teacher(live.clone()).is_cached());
            assert!(!cached.clone().and(Needs { second: live, ..Needs::nothing() }).is_cached());
        }
        assert!(!Needs::nothing().is_cached() && Needs::nothing().teacher.is_nothing());
        let maps = Asked::for_maps([Forward::Clean]);
        assert!(!maps.is_nothing() && !maps.is_live() && !maps.wants_clean());
        assert!(cached.and(Needs::teacher(maps)).is_cached(), "it may hold them");
        let made = Asked::for_maps([Forward::Adversarial]);
        assert!(made.is_live() && !Needs::teacher(made).is_cached());
    }

    #[test]
    fn two_that_ask_the_same_ask_once() {
        let both = Asked::about([Forward::Clean])
            .and(Asked::about([Forward::Adversarial, Forward::Clean]).climbed());
        assert_eq!(both, Asked::about([Forward::Clean, Forward::Adversarial]).climbed());
        let maps = Asked::for_maps([Forward::Clean]);
        assert_eq!(maps.clone().and(maps.clone()), maps);
    }
}
