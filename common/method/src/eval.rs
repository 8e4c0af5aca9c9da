//! Judging a student: clean accuracy, and accuracy under attacks that no training run chose for itself.
//!
//! Attacks only propose images. Here, and nowhere else, they are projected, checked and counted, so that no attack
//! can be generous to itself.

mod exam;
mod hunt;
mod report;

pub use exam::{EvalError, Exam, Progress, Settings, argmax};
pub use report::{Report, Score};

use std::cell::RefCell;

use candle_core::{DType, Device, Tensor};

use self::exam::{correct, judged, labels};
use self::hunt::Hunt;
use crate::attack::{Aim, At, Attack, Starts, VANISHED, Victim};
use crate::rng::Purpose;

/// Which images the student classifies right, in order.
pub fn clean(
    victim: &Victim,
    exam: &dyn Exam,
    places: &[usize],
    batch: usize,
    progress: &mut Progress,
) -> Result<Vec<bool>, EvalError> {
    let mut right = Vec::with_capacity(places.len());
    for part in places.chunks(batch.max(1)) {
        right.extend(correct(&victim.logits(&exam.images(part)?)?, &labels(exam, part))?);
        if !progress(right.len(), places.len()) {
            return Err(EvalError::Interrupted);
        }
    }
    Ok(right)
}

/// What became of an image under attacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Classified wrong without any attack.
    Wrong,
    /// Right clean, and wrong under the attack at this place of the list.
    Broken {
        /// The place.
        by: usize,
    },
    /// Right clean and under every attack.
    Standing,
    /// The same, and every run of every attack met a gradient that vanished there: nothing was tried, and counting it as
    /// right flatters.
    Blind,
}

impl Fate {
    /// Whether it counts as right.
    pub fn stands(self) -> bool {
        matches!(self, Self::Standing | Self::Blind)
    }

    /// Whether it counted as right when the attack at this place of the list was done.
    pub fn stands_after(self, place: usize) -> bool {
        self.stands() || matches!(self, Self::Broken { by } if by > place)
    }
}

/// What becomes of each image under a chain of attacks, each of which sees only the images still standing.
///
/// `clean` says which are right to begin with: only those are attacked, by every restart of every attack, and only as
/// long as they hold. Nothing is lost by that: under running statistics an image's fate does not depend on its
/// neighbours. Each result is projected into the ball, checked, and classified in a forward of its own; with eps 0 the
/// result is that of the clean images. `progress` hears of each restart of each attack anew.
pub fn robust(
    victim: &Victim,
    exam: &dyn Exam,
    places: &[usize],
    clean: &[bool],
    attacks: &[&dyn Attack],
    settings: &Settings,
    progress: &mut Progress,
) -> Result<Vec<Fate>, EvalError> {
    let fate = |&right: &bool| if right { Fate::Standing } else { Fate::Wrong };
    let mut fates: Vec<Fate> = clean.iter().map(fate).collect();
    let mut tried = vec![attacks.is_empty(); places.len()];
    for (by, attack) in attacks.iter().enumerate() {
        for restart in 0..settings.restarts.max(1) {
            let standing: Vec<usize> = (0..places.len()).filter(|&i| fates[i].stands()).collect();
            if let Some(searching) = attack.searching() {
                if settings.threat.eps == 0.0 {
                    // There is nowhere to search.
                    break;
                }
                let hunt = Hunt { victim, exam, attack: *attack, searching, restart, settings };
                for i in hunt.broken(places, &standing, &mut tried, progress)? {
                    fates[i] = Fate::Broken { by };
                }
                continue;
            }
            let mut done = 0;
            for part in standing.chunks(settings.batch.max(1)) {
                let part_places: Vec<usize> = part.iter().map(|&i| places[i]).collect();
                let outcomes = withstood(victim, exam, &part_places, *attack, restart, settings)?;
                for (&i, outcome) in part.iter().zip(outcomes) {
                    tried[i] |= !outcome.blind;
                    if !outcome.right {
                        fates[i] = Fate::Broken { by };
                    }
                }
                done += part.len();
                if !progress(done, standing.len()) {
                    return Err(EvalError::Interrupted);
                }
            }
        }
    }
    for (fate, tried) in fates.iter_mut().zip(tried) {
        if fate.stands() && !tried {
            *fate = Fate::Blind;
        }
    }
    Ok(fates)
}

/// What one run of an attack did to an image.
struct Outcome {
    right: bool,
    /// Whether it met a gradient that vanished.
    blind: bool,
}

/// What becomes of a batch under one run of an attack.
fn withstood(
    victim: &Victim,
    exam: &dyn Exam,
    places: &[usize],
    attack: &dyn Attack,
    restart: usize,
    settings: &Settings,
) -> Result<Vec<Outcome>, EvalError> {
    let Settings { threat, step_size, seed, .. } = *settings;
    let images = exam.images(places)?;
    let labels = labels(exam, places);
    let classes = Tensor::new(labels.as_slice(), &Device::Cpu)?;
    let starts = Starts { seed, purpose: Purpose::Eval, epoch: restart, images: places };
    let blind = RefCell::new(vec![false; places.len()]);
    let watch = |at: &At| {
        let largest = at.gradient.abs()?.flatten_from(1)?.max(1)?.to_dtype(DType::F64)?.to_vec1::<f64>()?;
        for (blind, largest) in blind.borrow_mut().iter_mut().zip(largest) {
            *blind |= largest < VANISHED;
        }
        Ok(())
    };
    let aim = Aim { classes: &classes, starts, threat, step_size, watch: &watch };
    let found = attack.perturb(victim, &images, &aim)?;
    let right = judged(victim, exam, places, &images, &found, attack, threat)?;
    let outcome = |(right, blind)| Outcome { right, blind };
    Ok(right.into_iter().zip(blind.into_inner()).map(outcome).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use engine::graph::{Builder, Op};
    use engine::params::Precision;
    use engine::{EngineError, Network, Params, Reference};

    use super::*;
    use crate::attack::{Next, Search, Searching, Subject};
    use crate::threat::Threat;

    /// One pixel an image; class 1 where it is above a half.
    struct Pixels(Vec<f32>);

    impl Exam for Pixels {
        fn labels(&self) -> &[i32] {
            &[1, 1, 1, 1]
        }

        fn images(&self, places: &[usize]) -> candle_core::Result<Tensor> {
            let pixels: Vec<f32> = places.iter().map(|&place| self.0[place]).collect();
            Tensor::from_vec(pixels, (places.len(), 1, 1, 1), &Device::Cpu)
        }
    }

    /// Takes this much from every pixel; remembers which images it was given.
    struct Darken(f64, Mutex<Vec<usize>>);

    impl Attack for Darken {
        fn name(&self) -> String {
            "darken".into()
        }

        fn perturb(&self, _: &Victim, images: &Tensor, aim: &Aim) -> Result<Tensor, EngineError> {
            self.1.lock().unwrap().extend(aim.starts.images);
            Ok((images - self.0)?)
        }
    }

    /// Logits 0 and pixel - 1/2.
    fn threshold() -> (Network, Params) {
        let (mut builder, input) = Builder::new([1, 1, 1]);
        let flat = builder.node("flat", Op::Flatten, &[input]).unwrap();
        builder.node("linear", Op::Linear { out: 2, bias: true }, &[flat]).unwrap();
        let network = builder.finish("threshold").unwrap();
        let mut params = Params::zeros(network.layout(), Precision::F32);
        params.trainable_mut().set(1, 1.0);
        params.trainable_mut().set(3, -0.5);
        (network, params)
    }

    #[test]
    fn images_leave_a_chain_where_they_fall_and_no_attack_leaves_the_ball() {
        let (network, params) = threshold();
        let engine = Reference::new(1).unwrap();
        let victim = Victim::new(&engine, &network, &params);
        let exam = Pixels(vec![0.4, 0.55, 0.65, 0.9]);
        let places = [0, 1, 2, 3];
        let settings =
            Settings { threat: Threat { eps: 0.2 }, step_size: 0.1, restarts: 1, seed: 0, batch: 2 };
        let right = clean(&victim, &exam, &places, 3, &mut |_, _| true).unwrap();
        assert_eq!(right, [false, true, true, true]);
        // The second would take all; the ball leaves it two tenths.
        let chain = [Darken(0.1, Mutex::default()), Darken(1.0, Mutex::default())];
        let attacks: Vec<&dyn Attack> = chain.iter().map(|attack| attack as _).collect();
        let fates = robust(&victim, &exam, &places, &right, &attacks, &settings, &mut |_, _| true).unwrap();
        let broken = |by| Fate::Broken { by };
        assert_eq!(fates, [Fate::Wrong, broken(0), broken(1), Fate::Standing]);
        assert_eq!(*chain[0].1.lock().unwrap(), [1, 2, 3]);
        assert_eq!(*chain[1].1.lock().unwrap(), [2, 3]);
    }

    /// The logits of class 1 are a million times as large: what is decided stays, softmax saturates, and the gradient of
    /// cross-entropy is exactly zero wherever the class is right by more than 1e-4.
    #[test]
    fn images_at_which_the_gradient_vanished_stand_and_are_told_apart() {
        let (network, mut params) = threshold();
        let engine = Reference::new(1).unwrap();
        let exam = Pixels(vec![0.4, 0.55, 0.65, 0.9]);
        let places = [0, 1, 2, 3];
        let settings =
            Settings { threat: Threat { eps: 0.1 }, step_size: 0.05, restarts: 2, seed: 0, batch: 3 };
        let right = [false, true, true, true];
        let fates = |params: &Params, attacks: &[&dyn Attack]| {
            let victim = Victim::new(&engine, &network, params);
            robust(&victim, &exam, &places, &right, attacks, &settings, &mut |_, _| true).unwrap()
        };
        let pgd = crate::attack::find("pgd5").unwrap();
        let broken = Fate::Broken { by: 0 };
        let seeing = fates(&params, &[pgd.as_ref()]);
        assert_eq!(seeing, [Fate::Wrong, broken, Fate::Standing, Fate::Standing]);
        params.trainable_mut().set(1, 1e6);
        params.trainable_mut().set(3, -0.5e6);
        assert_eq!(fates(&params, &[pgd.as_ref()])[2..], [Fate::Blind, Fate::Blind]);
        assert!(Fate::Blind.stands());
        // An attack that asks for no gradient has none that could vanish.
        let darken = Darken(0.1, Mutex::default());
        assert_eq!(fates(&params, &[pgd.as_ref(), &darken])[2..], [Fate::Standing, Fate::Standing]);
    }

    /// Claims at once to have found this much less than each pixel, whatever the network says there.
    struct Boast(f32);

    impl Search for Claim {
        fn point(&self) -> &[f32] {
            &self.0
        }

        fn slope(&mut self, _: &[f32], _: &mut [f32]) {}

        fn learn(&mut self, _: &[f32], _: &[f32]) -> Next {
            Next::Found
        }
    }

    struct Claim([f32; 1]);

    impl Searching for Boast {
        fn climbs(&self) -> bool {
            false
        }

        fn begin(&self, subject: Subject) -> Box<dyn Search> {
            Box::new(Claim([subject.image[0] - self.0]))
        }
    }

    impl Attack for Boast {
        fn name(&self) -> String {
            "boast".into()
        }

        fn perturb(&self, _: &Victim, _: &Tensor, _: &Aim) -> Result<Tensor, EngineError> {
            unreachable!("a search is judged image by image")
        }

        fn searching(&self) -> Option<&dyn Searching> {
            Some(self)
        }
    }

    #[test]
    fn what_a_search_claims_is_brought_into_the_ball_and_classified_again() {
        let (network, params) = threshold();
        let engine = Reference::new(1).unwrap();
        let victim = Victim::new(&engine, &network, &params);
        let exam = Pixels(vec![0.4, 0.55, 0.65, 0.9]);
        let (places, right) = ([0, 1, 2, 3], [false, true, true, true]);
        let settings =
            Settings { threat: Threat { eps: 0.2 }, step_size: 0.1, restarts: 1, seed: 0, batch: 2 };
        // The threshold is a half: 0.1 less takes one image, 0.8 less no more than the 0.2 that the ball leaves of it.
        for (claim, taken) in [(0.0, 0), (0.1, 1), (0.8, 2)] {
            let fates =
                robust(&victim, &exam, &places, &right, &[&Boast(claim)], &settings, &mut |_, _| true);
            let broken = fates.unwrap().into_iter().filter(|fate| *fate == Fate::Broken { by: 0 }).count();
            assert_eq!(broken, taken, "{claim}");
        }
    }
}
