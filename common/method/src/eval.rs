//! Judging a student: clean accuracy, and accuracy under attacks that no training run chose for itself.
//!
//! Attacks only propose images. Here, and nowhere else, they are projected, checked and counted, so that no attack
//! can be generous to itself.

mod evidence;
mod exam;
mod fate;
mod finding;
mod report;
mod score;
mod summary;
mod trial;

pub use evidence::{Evidence, Outcome, Setting, Surrogate, Unmergeable, lesser_precision};
pub use exam::{EvalError, Exam, Logits, Progress, Settings, argmax};
pub use fate::Fate;
pub use finding::{Finding, findings};
pub use report::{Report, is_standard};
pub use score::Score;
pub use summary::Summary;
pub use trial::{Moment, Order, Stage, Trial, Watch, Work};

use self::exam::{correct, labels, rows};
use crate::attack::{Attack, Victim};

/// How a network does without any attack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clean {
    /// Which images it classifies right, in order.
    pub right: Vec<bool>,
    /// What its logits look like.
    pub logits: Logits,
}

/// Images of the data set that are asked about twice: its first.
const ASKED_TWICE: usize = 64;

/// Which images the student classifies right, in order.
pub fn clean(
    victim: &Victim,
    exam: &dyn Exam,
    places: &[usize],
    batch: usize,
    progress: &mut Progress,
) -> Result<Clean, EvalError> {
    let mut clean = Clean::default();
    for part in places.chunks(batch.max(1)) {
        let images = exam.images(part)?.into();
        let logits = rows(&victim.logits(&images)?)?;
        clean.right.extend(correct(&logits, &labels(exam, part)));
        clean.logits.distributions += logits.iter().filter(|row| is_distribution(row)).count();
        if part.iter().any(|&place| place < ASKED_TWICE) {
            let again = rows(&victim.logits(&images)?)?;
            let twice = part.iter().zip(logits.iter().zip(&again)).filter(|(place, _)| **place < ASKED_TWICE);
            let (asked, changed) = twice.fold((0, 0), |(asked, changed), (_, (one, two))| {
                (asked + 1, changed + usize::from(one != two))
            });
            clean.logits.asked_twice += asked;
            clean.logits.changed += changed;
        }
        if !progress(clean.right.len(), places.len()) {
            return Err(EvalError::Interrupted);
        }
    }
    Ok(clean)
}

/// Whether a row of answers is one of probabilities.
fn is_distribution(row: &[f64]) -> bool {
    row.iter().all(|value| (0.0..=1.0).contains(value)) && (row.iter().sum::<f64>() - 1.0).abs() < 1e-4
}

/// What becomes of each image under a suite, in one go; `progress` hears of each run of each attack anew.
pub fn robust(
    victim: &Victim,
    exam: &dyn Exam,
    places: &[usize],
    clean: &[bool],
    attacks: &[&dyn Attack],
    settings: &Settings,
    progress: &mut Progress,
) -> Result<Vec<Fate>, EvalError> {
    let trial = Trial { victim: *victim, climbed: *victim, exam, places, attacks, settings };
    let mut stage = trial.begin(clean);
    trial.run(&mut stage, &mut Passing(progress))?;
    Ok(stage.fates)
}

/// Keeps nothing.
struct Passing<'a, 'b>(&'a mut Progress<'b>);

impl Watch for Passing<'_, '_> {
    fn tell(&mut self, Moment { done, images, .. }: Moment) -> Order {
        if (self.0)(done as usize, images) { Order::Go } else { Order::Stop }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use candle_core::{Device, Tensor};
    use engine::graph::{Builder, Op};
    use engine::params::Precision;
    use engine::{Network, Params, Reference};

    use super::*;
    use crate::attack::{Next, Search, Subject, Unreadable};
    use crate::threat::Threat;

    /// One pixel an image; class 1 where it is above a half.
    pub(super) struct Pixels(pub Vec<f32>);

    impl Exam for Pixels {
        fn labels(&self) -> &[i32] {
            &[1, 1, 1, 1]
        }

        fn images(&self, places: &[usize]) -> candle_core::Result<Tensor> {
            let pixels: Vec<f32> = places.iter().map(|&place| self.0[place]).collect();
            Tensor::from_vec(pixels, (places.len(), 1, 1, 1), &Device::Cpu)
        }
    }

    /// Claims at once to have found this much less than each pixel, whatever the network says there; remembers which images
    /// it was given.
    struct Darken(f32, Mutex<Vec<usize>>);

    impl Attack for Darken {
        fn name(&self) -> String {
            "darken".into()
        }

        fn climbs(&self) -> bool {
            false
        }

        fn begin(&self, subject: Subject) -> Box<dyn Search> {
            self.1.lock().unwrap().push(subject.place);
            Box::new(Claim([subject.image[0] - self.0]))
        }
    }

    struct Claim([f32; 1]);

    impl Search for Claim {
        fn point(&self) -> &[f32] {
            &self.0
        }

        fn slope(&mut self, _: &[f32], _: &mut [f32]) {}

        fn learn(&mut self, _: &[f32], _: &[f32]) -> Next {
            Next::Judge
        }

        fn share(&self) -> f64 {
            0.0
        }

        fn save(&self) -> Vec<u8> {
            Vec::new()
        }

        fn restore(&mut self, _: &[u8]) -> Result<(), Unreadable> {
            Ok(())
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
        let settings = Settings { threat: Threat::linf(0.2), step_size: 0.1, restarts: 1, seed: 0, batch: 2 };
        let right = clean(&victim, &exam, &places, 3, &mut |_, _| true).unwrap().right;
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
            Settings { threat: Threat::linf(0.1), step_size: 0.05, restarts: 2, seed: 0, batch: 3 };
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

    #[test]
    fn what_a_search_claims_is_brought_into_the_ball_and_classified_again() {
        let (network, params) = threshold();
        let engine = Reference::new(1).unwrap();
        let victim = Victim::new(&engine, &network, &params);
        let exam = Pixels(vec![0.4, 0.55, 0.65, 0.9]);
        let (places, right) = ([0, 1, 2, 3], [false, true, true, true]);
        let settings = Settings { threat: Threat::linf(0.2), step_size: 0.1, restarts: 1, seed: 0, batch: 2 };
        // The threshold is a half: 0.1 less takes one image, 0.8 less no more than the 0.2 that the ball leaves of it.
        for (claim, taken) in [(0.0, 0), (0.1, 1), (0.8, 2)] {
            let fates = robust(
                &victim,
                &exam,
                &places,
                &right,
                &[&Darken(claim, Mutex::default())],
                &settings,
                &mut |_, _| true,
            );
            let broken = fates.unwrap().into_iter().filter(|fate| *fate == Fate::Broken { by: 0 }).count();
            assert_eq!(broken, taken, "{claim}");
        }
    }
}
