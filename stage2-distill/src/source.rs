//! What a step learns from: the views of its images, and what a run's teachers say of them.

mod reading;
mod strong;
pub(crate) mod taps;
mod teacher;

use candle_core::{Device, Tensor};
use data::{Dataset, DatasetSpec};
use engine::{Album, Cutting, Engine, Images, Network, Shelf};
use method::objective::{Epoch, Forward, Needs, Objective, UNLABELLED};
use method::rng::{Purpose, Stream};
use method::taps::{MapShapes, Taps, shapes};
use method::transform::Transforms;
use method::view::{Augment, View, ViewPlan};
use zoo::Task;

use crate::config::Config;
use crate::course::Visit;
use crate::error::RunError;
use crate::list;
use crate::step::{Batch, Seen};

use taps::Giver;
pub use teacher::Teacher;
use teacher::{Asking, Heard, Named, Question};

/// The teachers and the views they can answer for.
pub struct Supply {
    /// The teacher.
    pub teacher: Teacher,
    /// A second one, for an objective that has two.
    pub second: Teacher,
    /// Which view an image has in an epoch.
    pub plan: ViewPlan,
    /// Which of them are asked about the clean views.
    pub needs: Needs,
    /// What is done to the first one's answers about those.
    pub transforms: Transforms,
    /// How many views of each image a step has.
    pub views: usize,
    /// Whether it also has a strong one.
    pub strong: bool,
    /// Where the student and the teacher give feature maps.
    pub taps: Taps,
    /// Where an engine keeps the images that views are cut out of.
    pub shelf: Shelf,
}

impl Supply {
    /// Opens what the configuration names and checks it against the images, the student and the objective. Label sets were
    /// just fetched, and hashed, where `asked` has another name for them.
    pub fn open(
        asked: &Config,
        config: &Config,
        objective: &dyn Objective,
        spec: &DatasetSpec,
        dataset: &Dataset,
        student: &Network,
    ) -> Result<Self, RunError> {
        let task = task(dataset);
        let (needs, views, strong) = (objective.needs(), objective.views(), objective.strong());
        taps::check(config)?;
        let transforms = reading::transforms(config, dataset, needs.teacher.wants_clean())?;
        let asking = Asking { asked, config, dataset, task };
        let teacher = asking.open(&Named::teacher(config), &needs.teacher)?;
        let second = asking.open(&Named::second(config), &needs.second)?;
        let plan = match (teacher.plan, second.plan) {
            (Some(plan), Some(other)) if plan != other => {
                return Err(RunError::Refused(format!(
                    "labels hold views {} of {}, second-labels {} of {}\nhint: both teachers answer about the same views: label both with the same --views and augmentation",
                    plan.views, plan.augment, other.views, other.augment
                )));
            }
            (Some(plan), _) | (None, Some(plan)) => plan,
            (None, None) => {
                let augment: Augment = config.augment.as_deref().unwrap_or(spec.default_augment()).parse()?;
                ViewPlan::all(augment)
            }
        };
        let (teacher, second) = (teacher.teacher, second.teacher);
        let giver = match &teacher.network {
            _ if !teacher.held.is_empty() => Giver::Labels(&teacher.held),
            Some(loaded) => Giver::Network(&loaded.network),
            None => Giver::Nobody,
        };
        let taps = taps::choose(config, &needs, student, giver)?;
        Ok(Self { teacher, second, plan, needs, transforms, views, strong, taps, shelf: Shelf::default() })
    }

    /// The shapes of the feature maps that the student and the teacher give.
    pub fn map_shapes(&self, student: &Network) -> MapShapes {
        let Taps { student: of_student, teacher } = &self.taps;
        let network = self.teacher.network.as_ref();
        MapShapes {
            student: shapes(student, of_student),
            teacher: match network {
                Some(loaded) if self.teacher.held.is_empty() => shapes(&loaded.network, teacher),
                _ => self.teacher.held_shapes(),
            },
        }
    }

    /// What the teachers are and which labels are softened, by content: part of what a resumed run must find unchanged.
    pub fn identity(&self) -> Vec<String> {
        let second = self.second.identity().into_iter().map(|identity| format!("second {identity}"));
        let softened = self.transforms.soften.as_ref();
        let softened = softened.map(|softening| format!("softened {}", list::identity(&softening.images)));
        self.teacher.identity().into_iter().chain(second).chain(softened).collect()
    }

    /// The images `(N, C, H, W)` of these visits in the views that this seed and epoch draw.
    pub fn images(
        &self,
        dataset: &Dataset,
        visits: &[Visit],
        seed: u64,
        epoch: Epoch,
    ) -> Result<Images, RunError> {
        let (values, shape) = dataset.views::<f32>(self.plan.augment, &self.rows(visits, seed, epoch, 0));
        Ok(pixels(values, shape)?)
    }

    /// Views of images, cut where the engine computes if it keeps the data set's, and here if not: the same bits.
    fn cut(&self, engine: &dyn Engine, dataset: &Dataset, rows: &[(usize, u16)]) -> Result<Images, RunError> {
        let augment = self.plan.augment;
        let album = Album { pixels: dataset.images(), shape: dataset.shape().input(), shelf: &self.shelf };
        let moved = |crop: u16| crop as i16 - augment.pad as i16;
        let cutting = |&(image, id): &(usize, u16)| {
            let View { crop_y, crop_x, flip } = augment.view(id).expect("rows hold the augmentation's views");
            Cutting { image, down: moved(crop_y), right: moved(crop_x), mirrored: flip }
        };
        if let Some(images) = engine.cut(&album, &rows.iter().map(cutting).collect::<Vec<_>>())? {
            return Ok(images);
        }
        let (values, shape) = dataset.views::<f32>(augment, rows);
        Ok(pixels(values, shape)?)
    }

    /// Images and views of the view of this number: 0 is the one attacked, the last one that under strong changes. Each
    /// pass over an image draws all of them anew.
    fn rows(&self, visits: &[Visit], seed: u64, epoch: Epoch, number: usize) -> Vec<(usize, u16)> {
        let of_a_pass = self.views + usize::from(self.strong);
        let view = |visit: &Visit| match visit.pass * of_a_pass + number {
            0 => self.plan.draw(seed, epoch.number, visit.image),
            number => self.plan.draw_further(seed, epoch.number, visit.image, number),
        };
        visits.iter().map(|visit| (visit.image, view(visit))).collect()
    }

    /// The strong view of each image.
    fn strong_views(
        &self,
        dataset: &Dataset,
        visits: &[Visit],
        seed: u64,
        epoch: Epoch,
    ) -> Result<Images, RunError> {
        let rows = self.rows(visits, seed, epoch, self.views);
        let (mut values, shape) = dataset.views::<f32>(self.plan.augment, &rows);
        let drawn = |visit: &Visit| {
            let stream = Stream::new(seed, Purpose::Strong, epoch.number, visit.image);
            strong::drawn(&stream, visit.pass, dataset.shape())
        };
        data::change(&mut values, dataset.shape(), &visits.iter().map(drawn).collect::<Vec<_>>());
        Ok(pixels(values, shape)?)
    }

    /// What a step learns from: these images, the labels that they have, and what the teacher says of them.
    pub fn batch(
        &self,
        engine: &dyn Engine,
        dataset: &Dataset,
        visits: &[Visit],
        seed: u64,
        epoch: Epoch,
    ) -> Result<Batch, RunError> {
        let seen = |number| -> Result<Seen, RunError> {
            let rows = self.rows(visits, seed, epoch, number);
            let images = self.cut(engine, dataset, &rows)?;
            let Needs { teacher, second, .. } = &self.needs;
            let forward = if number == 0 { Forward::Clean } else { Forward::Further(number) };
            let taps = teacher.maps.contains(&forward).then_some(self.taps.teacher.as_slice());
            let says = |teacher: &Teacher, logits: bool, maps| {
                teacher.clean(engine, &rows, &images, Question { logits, maps })
            };
            let Heard { logits, maps } = says(&self.teacher, teacher.wants_clean(), taps)?;
            let teacher =
                logits.map(|said| reading::read(&self.transforms, dataset, visits, said)).transpose()?;
            let second = says(&self.second, second.wants_clean(), None)?.logits;
            Ok(Seen { images, teacher, second, maps })
        };
        let label =
            |visit: &Visit| if visit.is_labelled { dataset.labels()[visit.image] as u32 } else { UNLABELLED };
        let labels = Tensor::new(visits.iter().map(label).collect::<Vec<_>>(), &Device::Cpu)?;
        let further = (1..self.views).map(&seen).collect::<Result<_, _>>()?;
        let strong = self.strong.then(|| self.strong_views(dataset, visits, seed, epoch)).transpose()?;
        let places = visits.iter().map(|visit| visit.image).collect();
        Ok(Batch { further, strong, ..Batch::of(seen(0)?, labels, places, epoch) })
    }
}

fn pixels(values: Vec<f32>, shape: (usize, usize, usize, usize)) -> candle_core::Result<Images> {
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
        let mut supply = Supply {
            teacher: Teacher::default(),
            second: Teacher::default(),
            plan,
            needs: Needs::cached_labels(),
            transforms: Transforms::default(),
            views: 3,
            strong: true,
            taps: Taps::default(),
            shelf: Shelf::default(),
        };
        let epoch = Epoch { number: 5, of: 9, schedule: Schedule::Cosine };
        let engine = engine::Reference::new(1).unwrap();
        let (places, visits) = ([11, 3], [11, 3].map(Visit::once));
        let batch = supply.batch(&engine, &dataset, &visits, 7, epoch).unwrap();
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
        let values =
            |images: &Images| images.tensor().unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let strong = values(batch.strong.as_ref().unwrap());
        assert!(strong.iter().all(|value| (0.0..=1.0).contains(value)));
        let weak = [&batch.clean].into_iter().chain(&batch.further).map(|seen| values(&seen.images));
        assert!(weak.into_iter().all(|weak| weak != strong), "no view is the strong one");
        supply.strong = false;
        assert!(supply.batch(&engine, &dataset, &visits, 7, epoch).unwrap().strong.is_none());
    }

    #[test]
    fn a_label_may_be_hidden_and_another_pass_sees_an_image_otherwise() {
        let spec: DatasetSpec = "sample".parse().unwrap();
        let dataset = spec.load(data::Split::Train).unwrap().limit(20);
        let supply = Supply {
            teacher: Teacher::default(),
            second: Teacher::default(),
            plan: ViewPlan::all("crop2+flip".parse().unwrap()),
            needs: Needs::nothing(),
            transforms: Transforms::default(),
            views: 1,
            strong: true,
            taps: Taps::default(),
            shelf: Shelf::default(),
        };
        let epoch = Epoch { number: 5, of: 9, schedule: Schedule::Cosine };
        let engine = engine::Reference::new(1).unwrap();
        let batch = |pass, is_labelled| {
            let visits: Vec<_> = (0..20).map(|image| Visit { image, pass, is_labelled }).collect();
            supply.batch(&engine, &dataset, &visits, 7, epoch).unwrap()
        };
        let (known, hidden) = (batch(0, true), batch(1, false));
        let labels: Vec<i32> =
            known.labels.to_vec1::<u32>().unwrap().into_iter().map(|label| label as i32).collect();
        assert_eq!(labels, dataset.labels());
        assert_eq!(hidden.labels.to_vec1::<u32>().unwrap(), [UNLABELLED; 20]);
        let apart = |one: &Images, other: &Images| {
            let images =
                |images: &Images| images.tensor().unwrap().flatten_from(1).unwrap().to_vec2::<f32>().unwrap();
            images(one).iter().zip(images(other)).filter(|(one, other)| **one != *other).count()
        };
        // Of 50 views a second draw is another one but once in fifty.
        assert!(apart(&known.clean.images, &hidden.clean.images) >= 17);
        assert!(apart(known.strong.as_ref().unwrap(), hidden.strong.as_ref().unwrap()) >= 19);
    }
}
