//! Bringing an image to another size, bit for bit as `Image.resize(size, Image.Resampling.BILINEAR)` of Pillow up to 12.
//!
//! A triangle as wide as the step between two target pixels weighs the source pixels, so that shrinking averages
//! (antialiasing) and growing interpolates. Weights are whole numbers of 22 bits after the point; rows are resized
//! first, rounded to eight bits, then columns. Source: `src/libImaging/Resample.c` of Pillow, whose arithmetic is
//! followed and whose values the tests hold. Pillow 13 begins with the axis that is cheaper, and where that is the columns,
//! a few values differ by one level.

use crate::ImageShape;

/// Bits after the point of a weight: 32 less eight of the pixel and two for sums beyond it.
const BITS: u32 = 32 - 8 - 2;

/// What one target pixel is made of, along one axis.
struct Window {
    /// The first source pixel.
    first: usize,
    /// The weight of it and of those that follow.
    weights: Vec<i32>,
}

/// The windows of `to` target pixels over `from` source pixels.
fn windows(from: usize, to: usize) -> Vec<Window> {
    let scale = from as f64 / to as f64;
    let reach = scale.max(1.0);
    let window = |target: usize| {
        let center = (target as f64 + 0.5) * scale;
        // Both are truncated, after a negative one became 0.
        let first = (center - reach + 0.5).max(0.0) as usize;
        let end = ((center + reach + 0.5) as usize).min(from);
        let triangle =
            |source: usize| (1.0 - ((source as f64 - center + 0.5) * (1.0 / reach)).abs()).max(0.0);
        let weights: Vec<f64> = (first..end).map(triangle).collect();
        let sum: f64 = weights.iter().sum();
        let fixed = |weight: f64| {
            let weight = if sum == 0.0 { weight } else { weight / sum };
            (0.5 + weight * f64::from(1 << BITS)) as i32
        };
        Window { first, weights: weights.into_iter().map(fixed).collect() }
    };
    (0..to).map(window).collect()
}

/// Half, then weighted pixels, then the whole part within eight bits.
fn weighed(window: &Window, pixel: impl Fn(usize) -> u8) -> u8 {
    let sum = window
        .weights
        .iter()
        .enumerate()
        .fold(1 << (BITS - 1), |sum, (at, &weight)| sum + i32::from(pixel(window.first + at)) * weight);
    (sum >> BITS).clamp(0, 255) as u8
}

/// Resizes an image, (H, W, C), to the height and width of `to`, whose channels are those of `from`.
///
/// `pixels` are the values of `from`, `out` takes those of `to`.
pub(super) fn bilinear(pixels: &[u8], from: ImageShape, to: ImageShape, out: &mut [u8]) {
    let channels = from.channels;
    let (line, short) = (from.width * channels, to.width * channels);
    let narrowed: Vec<u8>;
    let rows = if from.width == to.width {
        pixels
    } else {
        let windows = windows(from.width, to.width);
        let mut rows = vec![0; from.height * short];
        for (row, source) in rows.chunks_exact_mut(short).zip(pixels.chunks_exact(line)) {
            for (pixel, window) in row.chunks_exact_mut(channels).zip(&windows) {
                for (channel, value) in pixel.iter_mut().enumerate() {
                    *value = weighed(window, |at| source[at * channels + channel]);
                }
            }
        }
        narrowed = rows;
        &narrowed
    };
    if from.height == to.height {
        out.copy_from_slice(rows);
        return;
    }
    for (row, window) in out.chunks_exact_mut(short).zip(&windows(from.height, to.height)) {
        for (at, value) in row.iter_mut().enumerate() {
            *value = weighed(window, |y| rows[y * short + at]);
        }
    }
}
