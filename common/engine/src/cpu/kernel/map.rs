//! What happens to maps between convolutions: images in and gradients out, sums and products, functions of each value,
//! channels joined and parted, maps as vectors.
//!
//! Maps are channels-last, `pixel` f32 from one place to the next; a vector of features is a map of one place. All
//! functions work on a few whole images on the calling thread.

// Everything inside a kernel must be inlined into it: see `simd`.
#![allow(clippy::inline_always)]

mod arithmetic;
mod channels;
mod elementwise;
mod image;
mod mean_sparse;
mod standardize;
#[cfg(test)]
mod tests;

pub(crate) use arithmetic::{channel_products, multiply, multiply_channels, rework, store};
pub(crate) use channels::{
    channels_between_zeros, channels_into, features_to_map, map_to_features, take_channels,
};
pub(crate) use elementwise::elementwise;
pub(crate) use image::{Normalisation, images_to_map, map_to_images};
pub(crate) use mean_sparse::mean_sparse;
pub(crate) use standardize::{Images, standardize, standardize_gradient};
