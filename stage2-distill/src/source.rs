//! What a step learns from: the views of its images, and what a run's teachers say of them.

mod reading;
mod teacher;

use candle_core::{Device, Tensor};
use data::{Dataset, DatasetSpec};
use engine::{Engine, Images};
use method::model::Task;
use method::objective::{Epoch, Needs, Objective};
use method::transform::Transforms;
use method::view::{Augment, ViewPlan};

use crate::config::Config;
use crate::error::RunError;
use crate::list;
use crate::step::{Batch, Seen};

pub use teacher::Teacher;
use teacher::{Asking, Named};

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
        let (needs, views) = (objective.needs(), objective.views());
        let transforms = reading::transforms(config, dataset, needs.teacher.wants_clean())?;
        let asking = Asking { config, dataset, task };
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
        Ok(Self { teacher: teacher.teacher, second: second.teacher, plan, needs, transforms, views })
    }

    /// What the teachers are and which labels are softened, by content: part of what a resumed run must find unchanged.
    pub fn identity(&self) -> Vec<String> {
        let second = self.second.identity().into_iter().map(|identity| format!("second {identity}"));
        let softened = self.transforms.soften.as_ref();
        let softened = softened.map(|softening| format!("softened {}", list::identity(&softening.images)));
        self.teacher.identity().into_iter().chain(second).chain(softened).collect()
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
            let says = |teacher: &Teacher, wanted: bool| {
                if wanted { teacher.clean(engine, &rows, &images) } else { Ok(None) }
            };
            let Needs { teacher, second, .. } = &self.needs;
            let teacher = says(&self.teacher, teacher.wants_clean())?;
            let teacher =
                teacher.map(|said| reading::read(&self.transforms, dataset, places, said)).transpose()?;
            let second = says(&self.second, second.wants_clean())?;
            Ok(Seen { images, teacher, second })
        };
        let labels: Vec<u32> = places.iter().map(|&place| dataset.labels()[place] as u32).collect();
        let labels = Tensor::new(labels, &Device::Cpu)?;
        let further = (1..self.views).map(&seen).collect::<Result<_, _>>()?;
        Ok(Batch { further, ..Batch::of(seen(0)?, labels, places.to_vec(), epoch) })
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
        let supply = Supply {
            teacher: Teacher::default(),
            second: Teacher::default(),
            plan,
            needs: Needs::cached_labels(),
            transforms: Transforms::default(),
            views: 3,
        };
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
