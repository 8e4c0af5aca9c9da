//! Changes of values, in the integer and single-precision arithmetic of Pillow.

use crate::ImageShape;

/// Each value looked up in its channel's table, which is made of that channel's histogram.
pub(super) fn by_channel(pixels: &[u8], shape: ImageShape, table: fn(&[u64; 256]) -> [u8; 256]) -> Vec<u8> {
    let mut out = pixels.to_vec();
    for channel in 0..shape.channels {
        let mut histogram = [0; 256];
        for &value in pixels.iter().skip(channel).step_by(shape.channels) {
            histogram[usize::from(value)] += 1;
        }
        let table = table(&histogram);
        for value in out.iter_mut().skip(channel).step_by(shape.channels) {
            *value = table[usize::from(*value)];
        }
    }
    out
}

/// `ImageOps.autocontrast` without a cutoff.
pub(super) fn stretched(histogram: &[u64; 256]) -> [u8; 256] {
    let there = |value: &usize| histogram[*value] > 0;
    let low = (0..256).find(there).unwrap_or(0);
    let high = (0..256).rev().find(there).unwrap_or(0);
    if high <= low {
        return std::array::from_fn(|value| value as u8);
    }
    let scale = 255.0 / (high - low) as f64;
    let offset = -(low as f64) * scale;
    // Truncated, then clamped: both in one cast.
    std::array::from_fn(|value| (value as f64 * scale + offset) as u8)
}

/// `ImageOps.equalize`.
pub(super) fn equalised(histogram: &[u64; 256]) -> [u8; 256] {
    let levels = histogram.iter().filter(|&&count| count > 0).count();
    let last = histogram.iter().rev().find(|&&count| count > 0).copied().unwrap_or(0);
    let step = (histogram.iter().sum::<u64>() - last) / 255;
    if levels <= 1 || step == 0 {
        return std::array::from_fn(|value| value as u8);
    }
    let mut below = step / 2;
    std::array::from_fn(|value| {
        let level = below / step;
        below += histogram[value];
        level.min(255) as u8
    })
}

/// `Image.blend(from, to, factor)` for factors in [0, 1]: in f32, and truncated.
pub(super) fn blend(from: &[u8], to: &[u8], factor: f32) -> Vec<u8> {
    let between = |(&from, &to): (&u8, &u8)| {
        let (from, to) = (f32::from(from), f32::from(to));
        (from + factor * (to - from)) as u8
    };
    from.iter().zip(to).map(between).collect()
}

/// The grey of each pixel: ITU-R 601-2 in 16 bits, rounded.
fn greys(pixels: &[u8], shape: ImageShape) -> impl Iterator<Item = u8> {
    pixels.chunks_exact(shape.channels).map(|pixel| match *pixel {
        [red, green, blue] => {
            let sum = u32::from(red) * 19_595 + u32::from(green) * 38_470 + u32::from(blue) * 7_471;
            ((sum + 0x8000) >> 16) as u8
        }
        _ => pixel[0],
    })
}

/// The mean of the greys, rounded.
pub(super) fn mean_grey(pixels: &[u8], shape: ImageShape) -> u8 {
    let sum: u64 = greys(pixels, shape).map(u64::from).sum();
    (sum as f64 / (shape.height * shape.width) as f64 + 0.5) as u8
}

/// The image in grey, in as many channels as it has.
pub(super) fn greyed(pixels: &[u8], shape: ImageShape) -> Vec<u8> {
    greys(pixels, shape).flat_map(|grey| std::iter::repeat_n(grey, shape.channels)).collect()
}

/// `ImageFilter.SMOOTH`: a pixel with its eight neighbours, it five times; pixels of the border stay.
pub(super) fn smoothed(pixels: &[u8], shape: ImageShape) -> Vec<u8> {
    let ImageShape { height, width, channels } = shape;
    let at = |y: usize, x: usize, channel: usize| (y * width + x) * channels + channel;
    let mut out = pixels.to_vec();
    for y in 1..height.saturating_sub(1) {
        for x in 1..width.saturating_sub(1) {
            for channel in 0..channels {
                let mut sum = 4 * u32::from(pixels[at(y, x, channel)]);
                for row in y - 1..=y + 1 {
                    for column in x - 1..=x + 1 {
                        sum += u32::from(pixels[at(row, column, channel)]);
                    }
                }
                // Of thirteen parts, rounded: a sum is never half way between.
                out[at(y, x, channel)] = ((2 * sum + 13) / 26) as u8;
            }
        }
    }
    out
}
