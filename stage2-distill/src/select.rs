//! Which epoch is best: PGD-20 on images that training never saw.

use cli::Unchanged;
use data::Dataset;
use method::attack::{self, Victim};
use method::eval::{self, Score, Settings};
use method::rng::{Purpose, Stream};
use method::schedule::{Milestones, Schedule};
use method::threat::Threat;
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::error::RunError;

/// Training sets from this size on give up some images.
const ENOUGH_IMAGES: usize = 5_000;
/// How many.
const HELD_OUT: usize = 1_000;
/// The attack that selects.
pub const SELECTED_BY: &str = "pgd20";
/// RSLAD's authors judge the test split after every so many epochs, and after each from their first drop of the rate on.
pub const PAPER_EVERY: usize = 20;
/// Change of a pixel per step in their attack, for their eps of 8/255.
const PAPER_STEP: f64 = 0.003;

/// The images trained on and the images held out, both in ascending order.
pub struct Split {
    /// Trained on.
    pub train: Vec<usize>,
    /// Held out.
    pub held_out: Vec<usize>,
}

/// How many of so many training images are held out.
pub fn held_out(config: &Config, images: usize) -> usize {
    let usual = if images >= ENOUGH_IMAGES { HELD_OUT } else { 0 };
    if config.paper_selection { 0 } else { config.holdout.unwrap_or(usual) }
}

/// Splits `dataset`. The draw is keyed by the identity of the images, so that every seed and method holds out the same.
pub fn split(dataset: &Dataset, config: &Config) -> Result<Split, RunError> {
    let images = dataset.len();
    let count = held_out(config, images);
    if count >= images {
        return Err(RunError::Refused(format!(
            "holdout is {count} of {images} images: nothing would be left to train on\nhint: lower --holdout"
        )));
    }
    let identity = dataset.record().hash();
    let key = u64::from_le_bytes(identity.0[..8].try_into().expect("a digest has 32 bytes"));
    let mut draws: Vec<(u64, usize)> =
        (0..images).map(|image| (Stream::new(key, Purpose::Holdout, 0, image).draw(), image)).collect();
    draws.sort_unstable();
    let mut held_out: Vec<usize> = draws[..count].iter().map(|&(_, image)| image).collect();
    held_out.sort_unstable();
    let train = (0..images).filter(|image| held_out.binary_search(image).is_err()).collect();
    Ok(Split { train, held_out })
}

/// How a student did on the selection images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The epoch, from 1.
    pub epoch: usize,
    /// Images right clean.
    pub clean: usize,
    /// Images right clean and under attack.
    pub robust: usize,
    /// Images in all.
    pub images: usize,
}

impl Standing {
    /// Whether this replaces `best`: more images withstood the attack, or as many in a later epoch.
    pub fn beats(&self, best: Option<&Self>) -> bool {
        best.is_none_or(|best| self.robust >= best.robust)
    }

    /// Percent of images right clean.
    pub fn clean_percent(&self) -> f64 {
        100.0 * self.clean as f64 / self.images as f64
    }

    /// Percent of images right clean and under attack.
    pub fn robust_percent(&self) -> f64 {
        100.0 * self.robust as f64 / self.images as f64
    }
}

/// Whether the student is judged after this epoch, counted from 1.
///
/// On held-out images after every one. On the test split as often as RSLAD's authors do: after epochs 20, 40 .. 200 of
/// 300 and after each from 215 on; in shorter runs the second part is scaled, as the drop of the rate that it begins
/// with. The last epoch always is.
pub fn judges(config: &Config, epoch: usize) -> bool {
    !config.paper_selection || epoch >= judges_each_from(config) || epoch.is_multiple_of(PAPER_EVERY)
}

/// The epoch from which on each is judged on the test split.
pub fn judges_each_from(config: &Config) -> usize {
    let milestones = match config.schedule() {
        Schedule::After(milestones) => milestones,
        Schedule::Multistep | Schedule::Cosine | Schedule::OneCycle => Milestones::of(config.epochs),
    };
    milestones.epochs().next().unwrap_or(config.epochs).min(config.epochs)
}

/// Change of a pixel per step: a quarter of eps; on the test split RSLAD's authors' 0.003, in proportion for another eps.
fn step_size(config: &Config) -> f64 {
    if config.paper_selection {
        // The quotient is exactly 1 for their eps.
        PAPER_STEP * (config.eps.value() / (8.0 / 255.0))
    } else {
        config.eps.usual_step().value()
    }
}

/// Judges a student on the selection images. `progress` is told the share done and may stop.
///
/// Differences from RSLAD's authors: their attack's start is cut to [0, 1], here only what follows it is; and they attack
/// images that are wrong clean, too, a few of which the attack puts right.
pub fn judge(
    victim: &Victim,
    dataset: &Dataset,
    places: &[usize],
    config: &Config,
    epoch: usize,
    progress: &mut eval::Progress,
) -> Result<Standing, RunError> {
    let exam = Unchanged(dataset);
    let attack = attack::find(SELECTED_BY).expect("the selecting attack is in the table");
    let settings = Settings {
        threat: Threat::linf(config.eps.value()),
        step_size: step_size(config),
        restarts: 1,
        seed: config.seed,
        batch: config.batch,
    };
    let clean = eval::clean(victim, &exam, places, settings.batch, progress)?.right;
    let fates = eval::robust(victim, &exam, places, &clean, &[attack.as_ref()], &settings, progress)?;
    let robust: Vec<bool> = fates.into_iter().map(eval::Fate::stands).collect();
    let count = |right: &[bool]| {
        Score::count(right, places.iter().map(|&p| dataset.labels()[p]), dataset.classes()).right
    };
    Ok(Standing { epoch, clean: count(&clean), robust: count(&robust), images: places.len() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Layers;

    fn config(settings: &[&str]) -> Config {
        let mut layers = Layers::defaults();
        for setting in ["data=sample", "student=tiny-cnn", "objective=sat"].iter().chain(settings) {
            layers.set(setting).unwrap();
        }
        layers.resolve().unwrap()
    }

    fn judged(settings: &[&str]) -> Vec<usize> {
        let config = config(settings);
        (1..=config.epochs).filter(|&epoch| judges(&config, epoch)).collect()
    }

    /// `resnet18_rslad_cifar10.py` of `zibojia/RSLAD`: `epoch % 20 == 0 and epoch < 215`, or `epoch >= 215`; 96 in all.
    #[test]
    fn the_papers_selection_judges_when_its_authors_do() {
        let theirs: Vec<usize> = (1..=10).map(|k| 20 * k).chain(215..=300).collect();
        assert_eq!(judged(&["paper-selection=true"]), theirs);
        assert_eq!(theirs.len(), 96);
        assert_eq!(judged(&["paper-selection=true", "epochs=10"]), [7, 8, 9, 10]);
        assert_eq!(judged(&["paper-selection=true", "epochs=1"]), [1]);
        let late = ["paper-selection=true", "epochs=45", "milestones=74,89,99"];
        assert_eq!(judged(&late), [20, 40, 45], "the last one always");
        assert_eq!(judged(&["epochs=3"]), [1, 2, 3], "held-out images are judged after every epoch");
    }

    #[test]
    fn the_papers_selection_steps_by_its_authors_0_003() {
        let of = |settings: &[&str]| step_size(&config(settings));
        assert_eq!(of(&["paper-selection=true"]).to_bits(), 0.003f64.to_bits());
        assert!((of(&["paper-selection=true", "eps=4/255"]) - 0.0015).abs() < 1e-15);
        assert_eq!(of(&[]).to_bits(), (2.0f64 / 255.0).to_bits());
    }

    #[test]
    fn ties_go_to_the_later_epoch() {
        let at = |epoch, robust| Standing { epoch, clean: 9, robust, images: 10 };
        assert!(at(1, 0).beats(None));
        assert!(at(2, 5).beats(Some(&at(1, 5))));
        assert!(!at(3, 4).beats(Some(&at(2, 5))));
    }
}
