//! The forms that datasets have on disk, one file each. A reader checks every row and returns decoded u8 pixels.

pub(crate) mod cifar_binary;
pub(crate) mod cifar_python;
pub(crate) mod encoded;
pub(crate) mod files;
pub(crate) mod idx;
mod jpeg;
mod netpbm;
pub(crate) mod npy;
mod orientation;
pub(crate) mod parquet;
mod png;
mod resize;
pub(crate) mod table;

use rayon::prelude::*;

/// Turns planar images (C, H, W) into interleaved ones (H, W, C), in parallel.
pub(crate) fn interleave(planar: &[u8], shape: crate::ImageShape) -> Vec<u8> {
    let plane = shape.height * shape.width;
    let mut images = vec![0; planar.len()];
    images.par_chunks_exact_mut(shape.values()).zip(planar.par_chunks_exact(shape.values())).for_each(
        |(to, from)| {
            for (at, pixel) in to.chunks_exact_mut(shape.channels).enumerate() {
                for (channel, value) in pixel.iter_mut().enumerate() {
                    *value = from[channel * plane + at];
                }
            }
        },
    );
    images
}
