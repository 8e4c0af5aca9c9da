//! Which images each step of an epoch has: all of them in turn, or few with a label and many without.

use data::Dataset;
use method::rng::{Purpose, Stream};
use method::view::{epoch_order, pass_order};

use crate::error::RunError;

/// An image in a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Visit {
    /// Its index in the data set.
    pub image: usize,
    /// How often the epoch has had it before: keys its views, so that few images with a label are seen in many ways.
    pub pass: usize,
    /// Whether its label may be read.
    pub is_labelled: bool,
}

impl Visit {
    /// The only one of an epoch, of an image that has its label.
    pub fn once(image: usize) -> Self {
        Self { image, pass: 0, is_labelled: true }
    }
}

/// The images of a run and how a batch is made of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Course {
    /// Images with a label.
    labelled: Vec<usize>,
    /// Images without, that the run learns from all the same.
    unlabelled: Vec<usize>,
    /// Images of a step; the last step of an epoch may have fewer.
    batch: usize,
    /// How many images without a label a batch holds for each that has one.
    each: usize,
}

impl Course {
    /// Over images that all have their labels.
    pub fn of(labelled: Vec<usize>, batch: usize) -> Self {
        Self { labelled, unlabelled: Vec::new(), batch, each: 0 }
    }

    /// Over images of which these alone have their labels. Whoever takes no image without a label (no `each`) learns from
    /// these alone.
    pub fn with_few(train: &[usize], labelled: Vec<usize>, each: Option<usize>, batch: usize) -> Self {
        let Some(each) = each else { return Self::of(labelled, batch) };
        let is_not = |image: &usize| labelled.binary_search(image).is_err();
        let unlabelled = train.iter().copied().filter(is_not).collect();
        Self { labelled, unlabelled, batch, each }
    }

    /// One of its images.
    pub fn first(&self) -> usize {
        self.labelled[0]
    }

    /// Images with a label, and images without.
    pub fn images(&self) -> [usize; 2] {
        [self.labelled.len(), self.unlabelled.len()]
    }

    /// Of a batch, images with a label and without: at least one of each.
    fn parts(&self) -> [usize; 2] {
        let labelled = (self.batch / (1 + self.each)).max(1);
        [labelled, self.batch.saturating_sub(labelled).max(1)]
    }

    /// Steps of an epoch.
    pub fn steps(&self) -> usize {
        match self.images() {
            [labelled, 0] => labelled.div_ceil(self.batch),
            [_, unlabelled] => unlabelled.div_ceil(self.parts()[1]),
        }
    }

    /// Images of an epoch's steps, each as often as it is visited.
    pub fn visits(&self) -> usize {
        match self.images() {
            [labelled, 0] => labelled,
            [_, unlabelled] => unlabelled + self.steps() * self.parts()[0],
        }
    }

    /// The steps of an epoch. Images without a label come once, in the order of all draws; images with one as often as it
    /// takes, each pass over them in an order of its own.
    pub fn epoch(&self, seed: u64, epoch: usize) -> Vec<Vec<Visit>> {
        if self.unlabelled.is_empty() {
            let order = epoch_order(seed, epoch, &self.labelled);
            return order
                .chunks(self.batch)
                .map(|images| images.iter().copied().map(Visit::once).collect())
                .collect();
        }
        let [few, many] = self.parts();
        let mut labelled = (0..).flat_map(|pass| {
            let order = pass_order(seed, epoch, pass, &self.labelled);
            order.into_iter().map(move |image| Visit { image, pass, is_labelled: true })
        });
        let order = epoch_order(seed, epoch, &self.unlabelled);
        let step = |images: &[usize]| {
            let others = images.iter().map(|&image| Visit { image, pass: 0, is_labelled: false });
            labelled.by_ref().take(few).chain(others).collect()
        };
        order.chunks(many).map(step).collect()
    }
}

/// The images that have a label where a share of them does: the same number of each class, those with the smallest draws
/// under `seed`, so that a larger share holds a smaller one. Of a class with fewer images, all. Ascending; refused where the
/// share is less than an image of each class. Source: FixMatch, arXiv:2001.07685, section 4.1, which draws the same number of
/// each class.
pub fn with_labels(
    dataset: &Dataset,
    train: &[usize],
    share: f64,
    seed: u64,
) -> Result<Vec<usize>, RunError> {
    let classes = dataset.classes();
    let wanted = share * train.len() as f64;
    // A share that is written in decimals may be a rounding below what it stands for.
    if wanted < classes as f64 * (1.0 - 1e-9) {
        let least = (classes as f64 / train.len() as f64 * 1e6).ceil() / 1e6;
        return Err(RunError::Refused(format!(
            "--labelled {share}: {wanted:.1} of {} images, less than one of each of {classes} classes\nhint: {least} is one of each",
            train.len()
        )));
    }
    let of_each = (wanted / classes as f64).round().max(1.0) as usize;
    let mut drawn: Vec<_> =
        train.iter().map(|&image| (Stream::new(seed, Purpose::Labelled, 0, image).draw(), image)).collect();
    drawn.sort_unstable();
    let mut taken = vec![0; classes];
    let takes = |&(_, image): &(u64, usize)| {
        let taken = &mut taken[dataset.labels()[image] as usize];
        *taken += 1;
        *taken <= of_each
    };
    let mut labelled: Vec<usize> = drawn.into_iter().filter(takes).map(|(_, image)| image).collect();
    labelled.sort_unstable();
    Ok(labelled)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use data::{DatasetSpec, Split};

    use super::*;

    fn digits() -> Dataset {
        DatasetSpec::sample().load(Split::Train).unwrap().limit(600)
    }

    /// Images by what is said of them.
    fn images(visits: &[Visit], is_labelled: bool) -> Vec<usize> {
        visits.iter().filter(|visit| visit.is_labelled == is_labelled).map(|visit| visit.image).collect()
    }

    #[test]
    fn labels_are_of_every_class_alike_and_a_larger_share_holds_a_smaller_one() {
        let (dataset, train) = (digits(), (0..600).collect::<Vec<_>>());
        let of = |share, seed| with_labels(&dataset, &train, share, seed).unwrap();
        let few = of(0.1, 3);
        for class in 0..10 {
            assert_eq!(few.iter().filter(|&&image| dataset.labels()[image] == class).count(), 6, "{class}");
        }
        let more = of(0.2, 3);
        assert!(few.iter().all(|image| more.contains(image)) && more.len() == 120);
        // Ten of six hundred, in as many decimals as a person writes.
        assert_eq!(of(0.016667, 3).len(), 10);
        for share in [0.0, 0.001, 0.0166] {
            let refused = with_labels(&dataset, &train, share, 3).unwrap_err().to_string();
            assert!(refused.contains("less than one of each of 10 classes\nhint: 0.016667 is"), "{refused}");
        }
        assert_ne!(of(0.1, 4), few);
        // Six hundred images have at most some seventy of a class: of those all, and no image twice.
        let all = of(0.999, 3);
        assert!(all.len() > 550 && all.windows(2).all(|pair| pair[0] < pair[1]));
    }

    /// FixMatch's seven for one.
    #[test]
    fn a_batch_has_seven_images_without_a_label_for_each_with_one_and_an_epoch_has_each_of_those_once() {
        let train: Vec<usize> = (0..600).filter(|image| image % 5 > 0).collect();
        let labelled: Vec<usize> = train.iter().copied().take(9).collect();
        let course = Course::with_few(&train, labelled.clone(), Some(7), 64);
        let steps = course.epoch(1, 2);
        assert_eq!(
            (steps.len(), steps.iter().map(Vec::len).sum::<usize>()),
            (course.steps(), course.visits())
        );
        let mut without = Vec::new();
        for step in &steps {
            assert_eq!(images(step, true).len(), 8);
            without.extend(images(step, false));
        }
        assert!(steps[..steps.len() - 1].iter().all(|step| step.len() == 64));
        without.sort_unstable();
        assert_eq!(without, train[9..]);
        // Nine images in nine steps of eight: each pass has every one, and no two visits are alike.
        let visits: Vec<Visit> = steps.concat().into_iter().filter(|visit| visit.is_labelled).collect();
        for (pass, visits) in visits.chunks_exact(9).enumerate() {
            assert!(visits.iter().all(|visit| visit.pass == pass));
            assert_eq!(visits.iter().map(|visit| visit.image).collect::<BTreeSet<_>>().len(), 9);
        }
        assert_ne!(steps[0][..8], course.epoch(1, 3)[0][..8], "another epoch, another order");
    }

    #[test]
    fn whoever_takes_no_image_without_a_label_learns_from_the_labelled_alone_as_from_a_whole_set() {
        let train: Vec<usize> = (0..100).collect();
        let few = Course::with_few(&train, vec![3, 5, 8], None, 2);
        assert_eq!(few, Course::of(vec![3, 5, 8], 2));
        let order: Vec<usize> = few.epoch(1, 0).concat().iter().map(|visit| visit.image).collect();
        assert_eq!(order, epoch_order(1, 0, &[3, 5, 8]));
        assert_eq!((few.steps(), few.visits()), (2, 3));
    }
}
