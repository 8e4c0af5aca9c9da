//! Which epoch is best: PGD-20 on images that training never saw.

use data::Dataset;
use method::attack::{self, Victim};
use method::eval::{self, Score, Settings};
use method::rng::{Purpose, Stream};
use method::threat::Threat;
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::error::RunError;
use crate::source::Unchanged;

/// Training sets from this size on give up some images.
const ENOUGH_IMAGES: usize = 5_000;
/// How many.
const HELD_OUT: usize = 1_000;
/// The attack that selects.
pub const SELECTED_BY: &str = "pgd20";

/// The images trained on and the images held out, both in ascending order.
pub struct Split {
    /// Trained on.
    pub train: Vec<usize>,
    /// Held out.
    pub held_out: Vec<usize>,
}

/// Splits `dataset`. The draw is keyed by the identity of the images, so that every seed and method holds out the same.
pub fn split(dataset: &Dataset, config: &Config) -> Result<Split, RunError> {
    let images = dataset.len();
    let usual = if images >= ENOUGH_IMAGES { HELD_OUT } else { 0 };
    let count = if config.paper_selection { 0 } else { config.holdout.unwrap_or(usual) };
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

/// Judges a student on the selection images. `progress` is told the share done and may stop.
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
        threat: Threat { eps: config.eps.value() },
        step_size: config.eps.usual_step().value(),
        restarts: 1,
        seed: config.seed,
        batch: config.batch,
    };
    let clean = eval::clean(victim, &exam, places, settings.batch, progress)?;
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

    #[test]
    fn ties_go_to_the_later_epoch() {
        let at = |epoch, robust| Standing { epoch, clean: 9, robust, images: 10 };
        assert!(at(1, 0).beats(None));
        assert!(at(2, 5).beats(Some(&at(1, 5))));
        assert!(!at(3, 4).beats(Some(&at(2, 5))));
    }
}
