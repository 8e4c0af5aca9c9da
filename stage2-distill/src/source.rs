//! Where the teacher's logits come from: a label set on disk, or the teacher itself, run as the student trains.
//!
//! Both answer the same question about the same pixels, so an f32 label set and the online teacher give the same
//! student, bit for bit.

use std::path::Path;

use candle_core::{Device, Tensor};
use data::{Dataset, DatasetSpec};
use engine::params::Precision;
use engine::{Engine, Images};
use labels::{Check, LabelSet, Wanted};
use method::attack::Victim;
use method::model::{self, Loaded, Task};
use method::objective::{Epoch, Needs, Objective};
use method::view::{Augment, ViewPlan};

use crate::config::Config;
use crate::error::RunError;
use crate::step::{Batch, Seen};

/// The teacher of a run.
pub enum Source {
    /// The objective needs none.
    Nobody,
    /// A label set.
    Labels(Box<LabelSet>),
    /// A network run online.
    Online(Box<Loaded>),
}

/// The teacher and the views it can answer for.
pub struct Supply {
    /// Where logits come from.
    pub source: Source,
    /// Which view an image has in an epoch.
    pub plan: ViewPlan,
    /// Whether the objective wants to know what it says of the clean views.
    pub about_clean: bool,
    /// How many views of each image a step has.
    pub views: usize,
}

impl Supply {
    /// Opens what the configuration names and checks it against the images and the objective.
    pub fn open(
        config: &Config,
        objective: &dyn Objective,
        spec: &DatasetSpec,
        dataset: &Dataset,
        task: Task,
    ) -> Result<Self, RunError> {
        let said = [&config.weights_key, &config.mean, &config.std, &config.normalize];
        if config.teacher.is_none() && said.iter().any(|said| said.is_some()) {
            return Err(RunError::Refused(
                "weights-key, mean, std and normalize say what a teacher's file does not, and no teacher is run\nhint: add --teacher WEIGHTS, or drop them; a label set records its own teacher's"
                    .into(),
            ));
        }
        let (needs, views) = (objective.needs(), objective.views());
        let teacherless = config.labels.is_none() && config.teacher.is_none();
        match needs {
            Needs::CachedLabels if teacherless => {
                return Err(RunError::Refused(format!(
                    "objective {} learns from a teacher, and none was given\nhint: pass --labels FOLDER, which `label run` wrote, or --teacher WEIGHTS to run one online",
                    config.objective
                )));
            }
            Needs::LiveTeacher { .. } if config.teacher.is_none() => {
                return Err(RunError::Refused(format!(
                    "objective {} asks the teacher about adversarial images, which no label set can answer\nhint: pass --teacher WEIGHTS{}",
                    config.objective,
                    if config.labels.is_some() { " in place of --labels" } else { "" }
                )));
            }
            Needs::Nothing if config.teacher.is_some() => {
                return Err(RunError::Refused(format!(
                    "objective {} has no use for a teacher\nhint: drop --teacher{}, or choose --objective rslad",
                    config.objective,
                    if config.labels.is_some() { " and --labels" } else { "" }
                )));
            }
            _ => {}
        }
        if let Some(folder) = &config.labels {
            let set = LabelSet::open(Path::new(folder), Check::Hashes)?;
            for note in set.notes() {
                cli::say(format_args!("note: {note}"));
            }
            // More epochs than fit are more than any plan has.
            let plan = Some((u32::try_from(config.epochs).unwrap_or(u32::MAX), config.seed));
            set.check_against(&Wanted { dataset: &dataset.record(), augment: None, plan })?;
            let manifest = set.manifest();
            let plan = ViewPlan { augment: manifest.augment, views: manifest.views };
            let source = if needs == Needs::Nothing { Source::Nobody } else { Source::Labels(Box::new(set)) };
            return Ok(Self { source, plan, about_clean: needs.clean_labels(), views });
        }
        let augment: Augment = config.augment.as_deref().unwrap_or(spec.default_augment()).parse()?;
        let source = match &config.teacher {
            None => Source::Nobody,
            Some(path) => {
                let (key, inputs) = (&config.weights_key, [&config.mean, &config.std, &config.normalize]);
                let said = cli::foreign(config.arch.clone(), key.clone(), inputs)?;
                let loaded = model::load(Path::new(path), said, task, Precision::F32)?;
                cli::say_notes(Path::new(path), &loaded.notes);
                Source::Online(Box::new(loaded))
            }
        };
        Ok(Self { source, plan: ViewPlan::all(augment), about_clean: needs.clean_labels(), views })
    }

    /// What the teacher is, by content: part of what a resumed run must find unchanged.
    pub fn identity(&self) -> Option<String> {
        match &self.source {
            Source::Nobody => None,
            Source::Labels(set) => Some(format!("labels {}", set.manifest().content_hash)),
            Source::Online(teacher) => Some(format!("teacher {}", teacher.blake3)),
        }
    }

    /// The teacher of a run that has one at hand, to be asked about any image.
    pub fn teacher<'a>(&'a self, engine: &'a dyn Engine) -> Option<Victim<'a>> {
        match &self.source {
            Source::Online(teacher) => Some(Victim::new(engine, &teacher.network, &teacher.params)),
            Source::Nobody | Source::Labels(_) => None,
        }
    }

    /// The images `(N, C, H, W)` at `places` in the views that this seed and epoch draw.
    pub fn images(
        &self,
        dataset: &Dataset,
        places: &[usize],
        seed: u64,
        epoch: Epoch,
    ) -> Result<Images, RunError> {
        Ok(pixels(dataset, self.plan.augment, &self.rows(places, seed, epoch, 0))?)
    }

    /// Images and views of the view of this number: 0 is the one attacked.
    fn rows(&self, places: &[usize], seed: u64, epoch: Epoch, number: usize) -> Vec<(usize, u16)> {
        let view = |place| match number {
            0 => self.plan.draw(seed, epoch.number, place),
            _ => self.plan.draw_further(seed, epoch.number, place, number),
        };
        places.iter().map(|&place| (place, view(place))).collect()
    }

    /// What a step learns from: these images, their labels, and what the teacher says of them.
    pub fn batch(
        &self,
        engine: &dyn Engine,
        dataset: &Dataset,
        places: &[usize],
        seed: u64,
        epoch: Epoch,
    ) -> Result<Batch, RunError> {
        let seen = |number| -> Result<Seen, RunError> {
            let rows = self.rows(places, seed, epoch, number);
            let images = pixels(dataset, self.plan.augment, &rows)?;
            let teacher = if self.about_clean { self.logits(engine, &rows, &images)? } else { None };
            Ok(Seen { images, teacher })
        };
        let labels: Vec<u32> = places.iter().map(|&place| dataset.labels()[place] as u32).collect();
        let labels = Tensor::new(labels, &Device::Cpu)?;
        let further = (1..self.views).map(&seen).collect::<Result<_, _>>()?;
        Ok(Batch { further, ..Batch::of(seen(0)?, labels, places.to_vec(), epoch) })
    }

    /// The teacher's logits `(N, K)` f32 for views whose pixels are `images`; none without a teacher.
    fn logits(
        &self,
        engine: &dyn Engine,
        rows: &[(usize, u16)],
        images: &Images,
    ) -> Result<Option<Tensor>, RunError> {
        match &self.source {
            Source::Nobody => Ok(None),
            Source::Online(_) => {
                Ok(self.teacher(engine).map(|teacher| teacher.logits(images)).transpose()?)
            }
            Source::Labels(set) => {
                let classes = set.classes();
                let mut values = vec![0.0f32; rows.len() * classes];
                for (&(image, view), out) in rows.iter().zip(values.chunks_exact_mut(classes)) {
                    if !set.read(image, view, out) {
                        return Err(RunError::Refused(format!(
                            "the label set has no row for image {image}, view {view}\nhint: make it with --views all, or with a plan for this seed and at least as many epochs"
                        )));
                    }
                }
                Ok(Some(Tensor::from_vec(values, (rows.len(), classes), &Device::Cpu)?))
            }
        }
    }
}

fn pixels(dataset: &Dataset, augment: Augment, rows: &[(usize, u16)]) -> candle_core::Result<Images> {
    let (values, shape) = dataset.views::<f32>(augment, rows);
    Ok(Tensor::from_vec(values, shape, &Device::Cpu)?.into())
}

/// Image size and classes of a data set.
pub fn task(dataset: &Dataset) -> Task {
    Task { input: dataset.shape().input(), classes: dataset.classes() }
}

#[cfg(test)]
mod tests {
    use method::schedule::Schedule;

    use super::*;

    #[test]
    fn a_batch_has_as_many_views_of_its_images_as_the_objective_wants() {
        let spec: DatasetSpec = "sample".parse().unwrap();
        let dataset = spec.load(data::Split::Train).unwrap().limit(20);
        let plan = ViewPlan::all("crop2+flip".parse().unwrap());
        let supply = Supply { source: Source::Nobody, plan, about_clean: true, views: 3 };
        let epoch = Epoch { number: 5, of: 9, schedule: Schedule::Cosine };
        let engine = engine::Reference::new(1).unwrap();
        let places = [11, 3];
        let batch = supply.batch(&engine, &dataset, &places, 7, epoch).unwrap();
        assert_eq!(batch.further.len(), 2);
        for (number, seen) in (1..).zip(&batch.further) {
            let rows: Vec<_> =
                places.iter().map(|&place| (place, plan.draw_further(7, 5, place, number))).collect();
            let (pixels, _) = dataset.views::<f32>(plan.augment, &rows);
            assert_eq!(
                seen.images.tensor().unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap(),
                pixels
            );
        }
    }
}
