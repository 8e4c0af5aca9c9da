//! Which positions of a map are masked: in every image others, as many in each.

use candle_core::{Device, Result, Tensor};

use crate::objective::Targets;
use crate::rng::{Purpose, Stream};

/// The fewest positions that are masked.
const FEWEST: usize = 2;

/// How many of so many positions are masked.
pub(super) fn count(positions: usize, share: f64) -> usize {
    ((positions as f64 * share) as usize).max(FEWEST)
}

/// The positions of a batch, counted through it: position p of image n is `n * positions + p`.
pub(super) struct Mask {
    /// The visible ones, image by image, ascending.
    pub(super) visible: Tensor,
    /// The masked ones, likewise.
    pub(super) masked: Tensor,
    /// Of each position, its place among the visible ones and, behind those, the masked ones.
    pub(super) places: Tensor,
    /// Masked positions of an image.
    pub(super) count: usize,
    /// Positions of an image.
    pub(super) positions: usize,
}

impl Mask {
    /// For each image those `count` positions with the smallest draws of stream (mask, epoch, image), whose block is 65,536
    /// times the tap and the position.
    pub(super) fn draw(targets: &Targets, tap: usize, positions: usize, count: usize) -> Result<Self> {
        let images = targets.places.len();
        let (mut visible, mut masked) = (Vec::<u32>::new(), Vec::<u32>::new());
        let mut places = vec![0u32; images * positions];
        let behind = images * (positions - count);
        for (number, &image) in targets.places.iter().enumerate() {
            let stream = Stream::new(targets.seed, Purpose::Mask, targets.epoch.number, image);
            let mut order: Vec<usize> = (0..positions).collect();
            order.sort_by_key(|&position| stream.draws((tap << 16) | position)[0]);
            let mut is_masked = vec![false; positions];
            for &position in &order[..count] {
                is_masked[position] = true;
            }
            for (position, is_masked) in is_masked.into_iter().enumerate() {
                let at = number * positions + position;
                let (list, before) = if is_masked { (&mut masked, behind) } else { (&mut visible, 0) };
                places[at] = (before + list.len()) as u32;
                list.push(at as u32);
            }
        }
        let tensor = |values: Vec<u32>| Tensor::new(values, &Device::Cpu);
        Ok(Self {
            visible: tensor(visible)?,
            masked: tensor(masked)?,
            places: tensor(places)?,
            count,
            positions,
        })
    }

    /// Visible positions of an image.
    pub(super) fn visible_count(&self) -> usize {
        self.positions - self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objective::Epoch;
    use crate::schedule::Schedule;

    fn drawn(epoch: usize, places: &[usize], tap: usize) -> Mask {
        let epoch = Epoch { number: epoch, of: 9, schedule: Schedule::Cosine };
        let labels = Tensor::new(vec![0u32; places.len()], &Device::Cpu).unwrap();
        let targets = Targets { seed: 5, ..Targets::new(epoch, places.to_vec(), labels) };
        Mask::draw(&targets, tap, 12, 5).unwrap()
    }

    fn list(tensor: &Tensor) -> Vec<u32> {
        tensor.to_vec1().unwrap()
    }

    #[test]
    fn every_position_is_visible_or_masked_and_is_found_again() {
        let mask = drawn(1, &[4, 9, 2], 0);
        let (visible, masked) = (list(&mask.visible), list(&mask.masked));
        assert_eq!((visible.len(), masked.len(), mask.visible_count()), (21, 15, 7));
        for image in 0..3u32 {
            let of_image = |list: &[u32]| list.iter().filter(|&&at| at / 12 == image).count();
            assert_eq!((of_image(&visible), of_image(&masked)), (7, 5));
        }
        let both = [visible, masked].concat();
        for (position, place) in list(&mask.places).into_iter().enumerate() {
            assert_eq!(both[place as usize], position as u32);
        }
    }

    #[test]
    fn masks_depend_on_image_epoch_and_tap_and_on_nothing_else() {
        let of_image = |mask: &Mask, number: usize| -> Vec<u32> {
            list(&mask.masked)[number * 5..][..5].iter().map(|at| at % 12).collect()
        };
        let alone = of_image(&drawn(1, &[9], 0), 0);
        assert_eq!(of_image(&drawn(1, &[4, 9, 2], 0), 1), alone, "neighbours do not matter");
        assert_ne!(of_image(&drawn(2, &[9], 0), 0), alone);
        assert_ne!(of_image(&drawn(1, &[8], 0), 0), alone);
        assert_ne!(of_image(&drawn(1, &[9], 1), 0), alone);
    }

    #[test]
    fn shares_are_rounded_down_to_two_positions_or_more() {
        // zongdaoming/dpk: int(num_patches * ratio), at least 2.
        assert_eq!([(64, 0.6), (49, 0.15), (4, 0.15), (16, 0.9)].map(|(n, r)| count(n, r)), [38, 7, 2, 14]);
    }
}
