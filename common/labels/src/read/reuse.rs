//! Taking a label set's answers into another one, so that no row is asked for twice.

use std::collections::HashSet;

use crate::error::{Error, Result};
use crate::folder::parameters::{difference, plain};
use crate::folder::records::Parent;
use crate::folder::teacher::Teacher;
use crate::read::lookup::LabelSet;
use crate::row::dataset::Dataset;
use crate::row::dtype::Dtype;
use crate::write::spec::Spec;

impl LabelSet {
    /// The labelled images.
    pub fn dataset(&self) -> Dataset {
        let record = &self.manifest().dataset;
        Dataset {
            name: record.name.clone(),
            split: record.split.clone(),
            shape: [record.height, record.width, record.channels],
            class_names: record.class_names.clone(),
            classes: record.classes,
            hashes: (0..self.images()).map(|image| self.image_hash(image)).collect(),
            labels: (0..self.images()).map(|image| self.label(image)).collect(),
        }
    }

    /// What a label set names of those that it takes this one's answers from: this one, by what its rows hash to, once for each
    /// engine that answered some of them, and those that it took its own from.
    pub fn as_parents(&self) -> Vec<Parent> {
        let manifest = self.manifest();
        let content_hash = self.content_hash();
        let mut parents = manifest.parents.clone();
        let mut known: HashSet<Parent> = parents.iter().cloned().collect();
        for (by, _) in manifest.answerers() {
            let this = Parent {
                content_hash,
                images: manifest.dataset.images,
                views: manifest.views,
                engine: by.engine,
                device: by.device,
            };
            // Builds of one engine are not told apart here.
            if known.insert(this.clone()) {
                parents.push(this);
            }
        }
        parents
    }

    /// Refuses a label set whose answers are not those that a label set of this spec would be written from: of other images,
    /// as far as both have them, another augmentation, another teacher or precision, in coarser numbers, or without its maps.
    pub fn check_reusable(&self, spec: &Spec) -> Result<()> {
        let found = self.manifest();
        if found.dataset.classes != spec.dataset.classes {
            return Err(Error::WrongClasses {
                dir: self.dir().into(),
                wanted: spec.dataset.classes,
                found: found.dataset.classes,
            });
        }
        self.check_common(&spec.dataset)?;
        // Where the weights came from changes no answer, and what ran them only its rounding: the set names it as a parent.
        let network = |teacher: &Teacher| Teacher {
            origin: String::new(),
            engine: String::new(),
            device: String::new(),
            ..teacher.clone()
        };
        let (ours, theirs) = (network(&spec.teacher), network(&found.teacher));
        let differs = |parameter: &str, wanted: String, found: String| Error::NotReusable {
            dir: self.dir().into(),
            parameter: parameter.into(),
            wanted,
            found,
        };
        if let Some((parameter, wanted, found)) = difference("teacher", &plain(&ours), &plain(&theirs)) {
            return Err(differs(&parameter, wanted, found));
        }
        if spec.augment != found.augment {
            return Err(differs("augmentation", spec.augment.to_string(), found.augment.to_string()));
        }
        let (ours, theirs) = (spec.coding(), found.coding());
        let (same, plain) = ((spec.dtype, spec.top_k) == (found.dtype, found.top_k), theirs.is_plain());
        // What was left out of a row cannot be had again, and what it cost was measured once.
        if !same && !plain {
            return Err(differs("stored form", ours.to_string(), theirs.to_string()));
        }
        let coarser = |wanted, found| (wanted, found) == (Dtype::F32, Dtype::F16);
        if coarser(spec.dtype, found.dtype) {
            return Err(differs("dtype", spec.dtype.to_string(), found.dtype.to_string()));
        }
        let Some(wanted) = &spec.features else { return Ok(()) };
        match &found.features {
            None => Err(differs("feature maps", wanted.to_string(), "none".into())),
            Some(found) if wanted.maps != found.maps => {
                Err(differs("feature maps", wanted.to_string(), found.to_string()))
            }
            Some(found) if coarser(wanted.dtype, found.dtype) => {
                Err(differs("dtype of the feature maps", wanted.dtype.to_string(), found.dtype.to_string()))
            }
            Some(_) => Ok(()),
        }
    }

    /// Writes the answer to a row, its K logits and the values of its feature maps where `out` has room for more, as
    /// [`Session::write`](crate::Session::write) takes it; `false`, with `out` as it was, where the set does not hold the row.
    /// Where not every logit is stored as a float, what is left out of them has gone.
    ///
    /// Panics unless `out` has K or K + F values.
    pub fn answer(&self, image: usize, view: u16, out: &mut [f32]) -> bool {
        let Some(logits) = self.logits(image, view) else { return false };
        let (head, maps) = out.split_at_mut(self.classes());
        logits.copy_to(head);
        if !maps.is_empty() {
            self.features(image, view).expect("K + F values are asked of sets with maps").copy_to(maps);
        }
        true
    }

    /// Writes a row as it was kept when it was answered ([`Coding::keep`](crate::Coding::keep)), for a label set that keeps its
    /// answers likewise; `false`, with `out` as it was, where the set does not hold the row.
    ///
    /// Panics unless `out` has as many numbers as [`Coding::kept`](crate::Coding::kept) says, or those without the feature maps.
    pub fn kept(&self, image: usize, view: u16, out: &mut [f32]) -> bool {
        let Some(row) = self.stored(image, view) else { return false };
        row.keep(out);
        true
    }
}
