//! Each image less its mean, over its deviation, all channels together.
//!
//! Moments are summed in f64: an image has few values, and all later ones hang on them.

use crate::cpu::vector::epilogue::Epilogue;
use crate::cpu::vector::pointwise::{At, Pointwise, Sizes, fill};
use crate::cpu::vector::simd::{Isa, Simd};
use crate::plan::Value;

/// How images lie in a map.
#[derive(Clone, Copy)]
pub(crate) struct Images {
    pub(crate) channels: usize,
    /// f32 from one place to the next.
    pub(crate) pixel: usize,
    pub(crate) positions: usize,
}

impl Images {
    /// Those of a value, whose channels are padded.
    pub(crate) fn of(value: &Value) -> Self {
        Self { channels: value.shape[0], pixel: value.pixel, positions: value.shape[1] * value.shape[2] }
    }

    fn sizes(self) -> Sizes {
        Sizes { pixel: self.pixel, image: self.pixel * self.positions }
    }

    /// The values of each image, without padding.
    fn values(self, map: &[f32]) -> impl Iterator<Item = impl Iterator<Item = f64> + Clone> {
        map.chunks_exact(self.sizes().image).map(move |image| {
            image.chunks_exact(self.pixel).flat_map(move |pixel| &pixel[..self.channels]).map(|&v| v.into())
        })
    }

    /// Mean, deviation, and whether the deviation is the image's own and not the least that counts.
    fn moments(self, values: impl Iterator<Item = f64> + Clone) -> (f64, f64, bool) {
        let count = (self.channels * self.positions) as f64;
        let mean = values.clone().sum::<f64>() / count;
        let variance = values.map(|v| (v - mean).powi(2)).sum::<f64>() / (count - 1.0);
        (mean, variance.max(1.0 / count).sqrt(), variance > 1.0 / count)
    }
}

/// (x - mean) / max(std, 1 / sqrt(n)) of each image.
pub(crate) fn standardize(isa: Isa, from: &[f32], images: Images, to: &mut [f32]) {
    assert_eq!(from.len(), to.len(), "maps differ in length");
    let shares: Vec<[f32; 3]> = images
        .values(from)
        .map(|values| {
            let (mean, deviation, _) = images.moments(values);
            [(1.0 / deviation) as f32, 0.0, (-mean / deviation) as f32]
        })
        .collect();
    fill(isa, Mixed { a: from, b: from, shares: &shares }, images.sizes(), to, &Epilogue::new());
}

/// Its gradient: with y the result, g its gradient, s the deviation,
/// (g - mean(g) - y sum(g y) / (n - 1)) / s, without the last term where the deviation is the least that counts.
pub(crate) fn standardize_gradient(
    isa: Isa,
    gradient: &[f32],
    from: &[f32],
    images: Images,
    to: &mut [f32],
    epilogue: &Epilogue<'_>,
) {
    assert!(from.len() == to.len() && gradient.len() == to.len(), "maps differ in length");
    let count = (images.channels * images.positions) as f64;
    let shares: Vec<[f32; 3]> = images
        .values(from)
        .zip(images.values(gradient))
        .map(|(values, gradients)| {
            let (mean, deviation, own) = images.moments(values.clone());
            let mean_gradient = gradients.clone().sum::<f64>() / count;
            let product: f64 = gradients.zip(values).map(|(g, x)| g * (x - mean) / deviation).sum();
            let along = if own { product / (count - 1.0) / deviation.powi(2) } else { 0.0 };
            let shift = along * mean - mean_gradient / deviation;
            [(1.0 / deviation) as f32, -along as f32, shift as f32]
        })
        .collect();
    fill(isa, Mixed { a: gradient, b: from, shares: &shares }, images.sizes(), to, epilogue);
}

/// `a * shares[0] + b * shares[1] + shares[2]`, the shares of each image.
#[derive(Clone, Copy)]
struct Mixed<'a> {
    a: &'a [f32],
    b: &'a [f32],
    shares: &'a [[f32; 3]],
}

impl Pointwise for Mixed<'_> {
    #[inline(always)]
    #[allow(unsafe_code)]
    unsafe fn value<S: Simd>(self, at: At) -> S::V {
        let [of_a, of_b, shift] = self.shares[at.image];
        // SAFETY: the lengths are equal.
        unsafe {
            let (a, b) = (S::load(self.a.as_ptr().add(at.offset)), S::load(self.b.as_ptr().add(at.offset)));
            S::fma(a, S::splat(of_a), S::fma(b, S::splat(of_b), S::splat(shift)))
        }
    }
}
