//! Cutting a view out of an image: pixel / 255, zero-pad, crop, then mirror.
//!
//! A pixel is the f32 quotient u8 / 255. An f64 run widens that f32, so that both precisions see the same image.

use labels::{Augment, View};
use rayon::prelude::*;

use crate::{Dataset, ImageShape};

/// The f32 pixel of each u8.
static LEVELS: [f32; 256] = {
    let mut levels = [0.0; 256];
    let mut value = 0;
    while value < 256 {
        levels[value] = value as f32 / 255.0;
        value += 1;
    }
    levels
};

/// Writes one view of one image, (C, H, W) in [0, 1], into `out`. The padding is 0.
///
/// `pixels` is (H, W, C) u8. Panics if a slice is not `shape.values()` long or the view is not one of `augment`'s.
pub fn cut<T: From<f32> + Copy>(
    pixels: &[u8],
    shape: ImageShape,
    augment: Augment,
    view: View,
    out: &mut [T],
) {
    let ImageShape { height, width, channels } = shape;
    assert!(pixels.len() == shape.values() && out.len() == shape.values(), "an image fills its slices");
    assert!(augment.id(view).is_some(), "the view belongs to the augmentation");
    let pad = usize::from(augment.pad);
    let (crop_y, crop_x) = (usize::from(view.crop_y), usize::from(view.crop_x));
    // Columns of the crop that lie on the image, not on its padding: there `x + crop_x - pad` is in 0..width.
    let from = pad.saturating_sub(crop_x).min(width);
    let to = (width + pad).saturating_sub(crop_x).clamp(from, width);
    out.fill(T::from(0.0));
    for y in 0..height {
        let Some(source_y) = (y + crop_y).checked_sub(pad).filter(|&source| source < height) else {
            continue;
        };
        let source_row = &pixels[source_y * width * channels..][..width * channels];
        for channel in 0..channels {
            let row = &mut out[(channel * height + y) * width..][..width];
            for x in from..to {
                let value = source_row[(x + crop_x - pad) * channels + channel];
                row[if view.flip { width - 1 - x } else { x }] = T::from(LEVELS[usize::from(value)]);
            }
        }
    }
}

impl Dataset {
    /// The pixels of views by their ids, in [0, 1] in (N, C, H, W) order, and that shape.
    ///
    /// Panics where [`Dataset::gather`] does: rows come from a plan of the same augmentation.
    pub fn views<T: From<f32> + Copy + Send>(
        &self,
        augment: Augment,
        rows: &[(usize, u16)],
    ) -> (Vec<T>, (usize, usize, usize, usize)) {
        let view = |&(image, id): &(usize, u16)| {
            (image, augment.view(id).expect("rows hold the augmentation's views"))
        };
        let rows: Vec<_> = rows.iter().map(view).collect();
        let mut pixels = vec![T::from(0.0); rows.len() * self.shape().values()];
        self.gather(augment, &rows, &mut pixels);
        let [channels, height, width] = self.shape().input();
        (pixels, (rows.len(), channels, height, width))
    }

    /// Writes one view per row, (N, C, H, W) in [0, 1], into `out`, in parallel.
    ///
    /// A row is an image's index and a view of it. Panics if `out` is not `rows.len()` images long, an index is not below
    /// `len()`, or a view is not one of `augment`'s.
    pub fn gather<T: From<f32> + Copy + Send>(
        &self,
        augment: Augment,
        rows: &[(usize, View)],
        out: &mut [T],
    ) {
        let shape = self.shape();
        assert_eq!(out.len(), rows.len() * shape.values(), "the buffer holds one image per row");
        out.par_chunks_exact_mut(shape.values())
            .zip(rows)
            .for_each(|(out, &(image, view))| cut(self.pixels(image), shape, augment, view, out));
    }
}
