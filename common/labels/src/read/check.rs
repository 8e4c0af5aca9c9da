//! Whether a label set fits a run: its images, their order, their labels, the augmentation and the classes.

use std::collections::HashMap;

use crate::error::{Error, Result};
use crate::read::lookup::LabelSet;
use crate::row::augment::Augment;
use crate::row::dataset::Dataset;
use crate::row::digest::hex;

/// What a run is about to train on.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The run's images: the label set's, or the first of them.
    pub dataset: &'a Dataset,
    /// The augmentation the run was told to use; `None` takes the label set's.
    pub augment: Option<Augment>,
    /// Epochs and seed of the run; `None` where no schedule is known yet.
    pub plan: Option<(u32, u64)>,
}

impl LabelSet {
    /// Refuses a run that this label set does not fit, naming both values of what differs.
    ///
    /// A run on the first M images fits every label set whose images begin with those M. Names of datasets and splits only
    /// make the message better: image hashes and labels decide.
    pub fn check_against(&self, wanted: &Wanted) -> Result<()> {
        let dir = || self.dir().to_path_buf();
        let found = self.manifest();
        if wanted.dataset.classes != found.dataset.classes {
            return Err(Error::WrongClasses {
                dir: dir(),
                wanted: wanted.dataset.classes,
                found: found.dataset.classes,
            });
        }
        self.check_images(wanted.dataset)?;
        if let Some(augment) = wanted.augment
            && augment != found.augment
        {
            return Err(Error::WrongAugment {
                dir: dir(),
                wanted: augment.to_string(),
                found: found.augment.to_string(),
            });
        }
        if let Some((epochs, seed)) = wanted.plan
            && !found.views.serves(epochs, seed)
        {
            return Err(Error::WrongPlan { dir: dir(), epochs, seed, found: found.views.to_string() });
        }
        Ok(())
    }

    fn check_images(&self, wanted: &Dataset) -> Result<()> {
        self.check_common(wanted)?;
        if wanted.len() > self.images() {
            return Err(Error::TooFewImages {
                dir: self.dir().into(),
                wanted: wanted.len() as u64,
                found: self.images() as u64,
            });
        }
        Ok(())
    }

    /// Refuses other images and labels among those that both have.
    pub(crate) fn check_common(&self, wanted: &Dataset) -> Result<()> {
        let common = wanted.len().min(self.images());
        if let Some(image) = (0..common).find(|&image| self.image_hash(image) != wanted.hashes[image]) {
            return Err(self.wrong_image(wanted, image));
        }
        match (0..common).find(|&image| self.label(image) != wanted.labels[image]) {
            None => Ok(()),
            Some(image) => Err(Error::WrongLabel {
                dir: self.dir().into(),
                image: image as u64,
                wanted: wanted.labels[image],
                found: self.label(image),
            }),
        }
    }

    /// Why an image differs: another order, another split, or another dataset altogether.
    fn wrong_image(&self, wanted: &Dataset, image: usize) -> Error {
        let (dir, theirs) = (self.dir().to_path_buf(), &self.manifest().dataset);
        let places: HashMap<_, _> =
            (0..self.images()).rev().map(|place| (self.image_hash(place), place)).collect();
        // The same images in another order, not an image that two datasets happen to share.
        let known = wanted.hashes.iter().filter(|hash| places.contains_key(*hash)).count();
        if let Some(&place) = places.get(&wanted.hashes[image])
            && known * 2 > wanted.len()
        {
            return Error::WrongOrder { dir, wanted: image as u64, found: place as u64 };
        }
        if theirs.split != wanted.split {
            return Error::WrongSplit {
                dir,
                image: image as u64,
                wanted: wanted.split.clone(),
                found: theirs.split.clone(),
            };
        }
        Error::WrongDataset {
            dir,
            theirs: format!("{} {}", theirs.name, theirs.split),
            image: image as u64,
            wanted: format!("{} ({} {})", hex(&wanted.hashes[image]), wanted.name, wanted.split),
            found: hex(&self.image_hash(image)),
        }
    }
}
