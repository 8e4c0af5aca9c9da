//! Which view of an image a run sees, and which views a label set holds.
//!
//! Both are pure functions of (seed, epoch, image), so stage one can plan what a run in stage two will ask for,
//! and a resumed or repeated run sees the same pixels.

use std::ops::RangeInclusive;

pub use labels::{Augment, View, Views};

use crate::rng::{Purpose, Stream, below};

/// The images of one epoch in training order: sorted by their 64-bit draw, then by index.
///
/// `images` are indices into the data set, so a held-out image leaves the order of the others as it is.
pub fn epoch_order(seed: u64, epoch: usize, images: &[usize]) -> Vec<usize> {
    pass_order(seed, epoch, 0, images)
}

/// The same of one of several passes over few images within an epoch: by block `pass` of the same stream. The first, 0,
/// is the epoch's order.
pub fn pass_order(seed: u64, epoch: usize, pass: usize, images: &[usize]) -> Vec<usize> {
    let draw = |image| Stream::new(seed, Purpose::Order, epoch, image).draws(pass)[0];
    let mut order: Vec<(u64, usize)> = images.iter().map(|&image| (draw(image), image)).collect();
    order.sort_unstable();
    order.into_iter().map(|(_, image)| image).collect()
}

/// The view of an image that a run with `seed` draws in `epoch` when every view is to be had.
pub fn drawn_view(augment: Augment, seed: u64, epoch: usize, image: usize) -> u16 {
    below(Stream::new(seed, Purpose::View, epoch, image).draw(), augment.views() as usize) as u16
}

/// The `k` views of an image with the smallest draws under `seed`, in ascending order; all views where `k` is larger.
pub fn picked_views(augment: Augment, k: u32, seed: u64, image: usize) -> Vec<u16> {
    let stream = Stream::new(seed, Purpose::Pick, 0, image);
    let mut draws: Vec<(u64, u16)> =
        (0..augment.views()).map(|view| (stream.draws(view as usize)[0], view as u16)).collect();
    draws.sort_unstable();
    draws.truncate(k as usize);
    let mut views: Vec<u16> = draws.into_iter().map(|(_, view)| view).collect();
    views.sort_unstable();
    views
}

/// The views of each image that a label set holds, and which of them a run draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ViewPlan {
    /// The augmentation whose views these are.
    pub augment: Augment,
    /// The choice among them.
    pub views: Views,
}

impl ViewPlan {
    /// The plan of a run that has every view at hand: no label set, or one with `all`.
    pub fn all(augment: Augment) -> Self {
        Self { augment, views: Views::All }
    }

    /// The views that a label set holds of an image, in ascending order.
    pub fn rows(&self, image: usize) -> Vec<u16> {
        match self.views {
            Views::All => (0..self.augment.views()).map(|view| view as u16).collect(),
            Views::Plan { epochs, seed } => self.planned(epochs, seed..=seed, image),
            Views::Plans { epochs, first, last } => self.planned(epochs, first..=last, image),
            Views::Random { k, seed } => picked_views(self.augment, k, seed, image),
        }
    }

    /// The views of an image that runs of so many epochs with these seeds draw, in ascending order.
    fn planned(&self, epochs: u32, seeds: RangeInclusive<u64>, image: usize) -> Vec<u16> {
        let mut seen = vec![false; self.augment.views() as usize];
        let mut unseen = seen.len();
        let draws = seeds.flat_map(|seed| (0..epochs as usize).map(move |epoch| (seed, epoch)));
        for (seed, epoch) in draws {
            let view = drawn_view(self.augment, seed, epoch, image) as usize;
            unseen -= usize::from(!seen[view]);
            seen[view] = true;
            // A plan may name any number of epochs and seeds: once every view was drawn, more show nothing new.
            if unseen == 0 {
                break;
            }
        }
        (0..seen.len()).filter(|&view| seen[view]).map(|view| view as u16).collect()
    }

    /// The view of an image that a run with `seed` sees in `epoch`.
    ///
    /// With `random:K` the run draws among the K; otherwise among all, which a plan for this run contains.
    pub fn draw(&self, seed: u64, epoch: usize, image: usize) -> u16 {
        match self.views {
            Views::All | Views::Plan { .. } | Views::Plans { .. } => {
                drawn_view(self.augment, seed, epoch, image)
            }
            Views::Random { .. } => self.draw_held(seed, epoch, image, 0),
        }
    }

    /// The further view, of this number from 1, of an image in the same step: one of those that a label set holds,
    /// so that its answers are at hand, by block `number` of the stream that draws the first.
    pub fn draw_further(&self, seed: u64, epoch: usize, image: usize, number: usize) -> u16 {
        self.draw_held(seed, epoch, image, number)
    }

    fn draw_held(&self, seed: u64, epoch: usize, image: usize, block: usize) -> u16 {
        let held = self.rows(image);
        held[below(Stream::new(seed, Purpose::View, epoch, image).draws(block)[0], held.len())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CIFAR: Augment = Augment { pad: 4, flip: true };

    #[test]
    fn an_order_holds_every_image_once_and_ignores_who_else_is_there() {
        let all: Vec<usize> = (0..200).collect();
        let order = epoch_order(1, 3, &all);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, all);
        assert_ne!(order, epoch_order(1, 4, &all));
        let even: Vec<usize> = all.iter().copied().filter(|i| i % 2 == 0).collect();
        let expected: Vec<usize> = order.into_iter().filter(|i| i % 2 == 0).collect();
        assert_eq!(epoch_order(1, 3, &even), expected);
    }

    #[test]
    fn a_plan_holds_what_its_run_draws_and_little_else() {
        let plan = ViewPlan { augment: CIFAR, views: Views::Plan { epochs: 300, seed: 7 } };
        let mut rows = 0;
        for image in 0..50 {
            let held = plan.rows(image);
            rows += held.len();
            for epoch in 0..300 {
                assert!(held.contains(&plan.draw(7, epoch, image)));
            }
        }
        // 162 * (1 - (161/162)^300) = 136.7 distinct views per image, 45.6 % of 300.
        let share = rows as f64 / (50.0 * 300.0);
        assert!((share - 0.456).abs() < 0.005, "{share}");
    }

    #[test]
    fn a_plan_of_more_epochs_than_it_takes_to_see_every_view_holds_every_view() {
        let plan = |epochs| ViewPlan { augment: CIFAR, views: Views::Plan { epochs, seed: 7 } };
        let all: Vec<u16> = (0..162).collect();
        for image in 0..20 {
            // Draws 162 (ln 162 + 0.58) epochs on average until the last view: 5,000 are plenty, four billion no work.
            assert_eq!(plan(5_000).rows(image), all);
            assert_eq!(plan(u32::MAX).rows(image), all);
            let mut drawn: Vec<u16> = (0..300).map(|epoch| drawn_view(CIFAR, 7, epoch, image)).collect();
            drawn.sort_unstable();
            drawn.dedup();
            assert_eq!(plan(300).rows(image), drawn);
        }
    }

    #[test]
    fn a_plan_of_several_seeds_holds_what_each_of_their_runs_draws_and_nothing_else() {
        let rows =
            |views: &str, image| ViewPlan { augment: CIFAR, views: views.parse().unwrap() }.rows(image);
        for image in 0..50 {
            let mut each: Vec<u16> =
                ["plan:20@3", "plan:20@4", "plan:20@5"].iter().flat_map(|plan| rows(plan, image)).collect();
            each.sort_unstable();
            each.dedup();
            assert_eq!(rows("plan:20@3-5", image), each);
            assert_eq!(rows("plan:4294967295@0-18446744073709551615", image), (0..162).collect::<Vec<_>>());
        }
        let plans = ViewPlan { augment: CIFAR, views: Views::Plans { epochs: 20, first: 3, last: 5 } };
        assert_eq!(plans.draw(4, 7, 11), drawn_view(CIFAR, 4, 7, 11));
    }

    /// A union is the rows of both: whatever has a name.
    #[test]
    fn the_union_of_two_choices_holds_the_rows_of_both_and_no_others() {
        let names = [
            "plan:3@0",
            "plan:6@0",
            "plan:3@1",
            "plan:3@0-2",
            "plan:3@2-3",
            "random:3@1",
            "random:5@1",
            "all",
        ];
        let plans = names.map(|name| ViewPlan { augment: CIFAR, views: name.parse().unwrap() });
        let mut named = 0;
        for (one, other) in plans.iter().flat_map(|one| plans.iter().map(move |other| (one, other))) {
            let Some(views) = one.views.union(other.views) else { continue };
            named += 1;
            for image in 0..20 {
                let mut both = [one.rows(image), other.rows(image)].concat();
                both.sort_unstable();
                both.dedup();
                assert_eq!(
                    ViewPlan { augment: CIFAR, views }.rows(image),
                    both,
                    "{} {}",
                    one.views,
                    other.views
                );
            }
        }
        assert!(named > 20, "{named}");
    }

    #[test]
    fn random_views_are_distinct_and_the_run_stays_among_them() {
        let plan = ViewPlan { augment: CIFAR, views: Views::Random { k: 4, seed: 9 } };
        let held = plan.rows(11);
        assert_eq!(held.len(), 4);
        assert!(held.windows(2).all(|pair| pair[0] < pair[1]));
        let drawn: std::collections::BTreeSet<u16> = (0..100).map(|epoch| plan.draw(0, epoch, 11)).collect();
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), held, "in 100 epochs each of the four comes up");
        assert_eq!(ViewPlan { augment: Augment::NONE, ..plan }.rows(0), [0]);
    }

    #[test]
    fn further_views_are_held_by_the_label_set_and_other_draws_than_the_first() {
        for views in [Views::Plan { epochs: 20, seed: 3 }, Views::Random { k: 4, seed: 9 }, Views::All] {
            let plan = ViewPlan { augment: CIFAR, views };
            let same = |number| {
                let differs = |epoch| {
                    let further = plan.draw_further(3, epoch, 11, number);
                    assert!(plan.rows(11).contains(&further));
                    further == plan.draw(3, epoch, 11)
                };
                (0..20).filter(|&epoch| differs(epoch)).count()
            };
            assert!(same(1) < 12 && same(2) < 12, "chance gives about 20 of {} views", plan.rows(11).len());
        }
    }
}
