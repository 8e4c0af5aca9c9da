//! Batch normalisation of channels-last maps, in passes over chunks with sums in f64 between them.
//!
//! Forward: [`channel_sums`] of each chunk; the chunks' sums added in their order; [`BatchMoments::of_batch`];
//! [`BatchMoments::coefficients`]; [`affine`] of each chunk. Backward: [`channel_gradient_sums`] of each chunk;
//! the sums added; [`BatchMoments::gradients`]; [`affine_gradient`] of each chunk. Under running statistics the
//! moments are [`BatchMoments::of_running`] and the rest is the same.
//!
//! Coefficients subtract the mean first: a product with a rounded scale would lose the digits of a channel whose mean
//! is large beside its deviation. What rounding the mean itself loses is in the constant that is added last.

// Everything inside a kernel must be inlined into it: see `simd`.
#![allow(clippy::inline_always)]

mod sums;
#[cfg(test)]
mod tests;

pub(crate) use sums::{
    channel_gradient_sums, channel_gradient_sums_onward, channel_sums, channel_sums_onward,
};

use crate::cpu::vector::epilogue::Epilogue;
use crate::cpu::vector::pointwise::{At, Pointwise, Sizes, fill};
use crate::cpu::vector::simd::{Isa, Simd, prefetch};

/// f32 by which a walk over maps that lie beyond the caches asks ahead: what a core works off while memory answers.
const AHEAD: usize = 2 << 10;

/// The learned values of one normalisation, one per real channel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Learned<'a> {
    pub(crate) gamma: &'a [f32],
    pub(crate) beta: &'a [f32],
    /// Added to the variance.
    pub(crate) eps: f64,
}

/// Where the moments come from, for their part in the gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moments {
    /// This batch: so many values per channel.
    Batch { count: usize },
    /// Constants.
    Running,
}

/// Mean and variance of each real channel.
#[derive(Clone, Debug, Default)]
pub(crate) struct BatchMoments {
    pub(crate) mean: Vec<f64>,
    /// Divided by the count: what normalises.
    pub(crate) variance: Vec<f64>,
    /// Divided by one less: what the running statistics take. The same as `variance` for a single value.
    pub(crate) unbiased: Vec<f64>,
}

/// f32 of the coefficients of [`affine`] for maps of so many f32 per pixel.
pub(crate) const fn coefficients_len(pixel: usize) -> usize {
    3 * pixel
}

/// f32 of the coefficients of [`affine_gradient`].
pub(crate) const fn gradient_coefficients_len(pixel: usize) -> usize {
    4 * pixel
}

impl BatchMoments {
    /// From the sums of a whole batch, `[2][pixel]`, of `count` values per channel.
    pub(crate) fn of_batch(&mut self, sums: &[f64], count: usize, channels: usize) {
        let n = count as f64;
        let (values, squares) = sums.split_at(sums.len() / 2);
        self.clear();
        for (sum, squares) in values.iter().zip(squares).take(channels) {
            let mean = sum / n;
            let variance = (squares / n - mean * mean).max(0.0);
            self.mean.push(mean);
            self.variance.push(variance);
            self.unbiased.push(variance * n / (count.max(2) - 1) as f64);
        }
    }

    /// The running statistics.
    pub(crate) fn of_running(&mut self, mean: &[f32], variance: &[f32]) {
        self.clear();
        self.mean.extend(mean.iter().map(|&m| f64::from(m)));
        self.variance.extend(variance.iter().map(|&v| f64::from(v)));
        self.unbiased.extend_from_slice(&self.variance);
    }

    fn clear(&mut self) {
        self.mean.clear();
        self.variance.clear();
        self.unbiased.clear();
    }

    /// What [`affine`] multiplies and adds, `[3][pixel]`: centre, scale, shift. Zeros in the padding.
    pub(crate) fn coefficients(&self, learned: Learned<'_>, into: &mut [f32]) {
        let pixel = into.len() / 3;
        into.fill(0.0);
        for c in 0..self.mean.len() {
            let scale = f64::from(learned.gamma[c]) * self.inverse_deviation(c, learned.eps);
            let centre = self.mean[c] as f32;
            into[c] = centre;
            into[pixel + c] = scale as f32;
            into[2 * pixel + c] =
                (f64::from(learned.beta[c]) - (self.mean[c] - f64::from(centre)) * scale) as f32;
        }
    }

    /// From the gradient's sums over the batch, `[2][pixel]`: adds to the gradients of gamma and beta, and gives what
    /// [`affine_gradient`] multiplies and adds, `[4][pixel]`, zeros in the padding.
    pub(crate) fn gradients(
        &self,
        sums: &[f64],
        moments: Moments,
        learned: Learned<'_>,
        [gamma, beta]: [&mut [f32]; 2],
        into: &mut [f32],
    ) {
        let pixel = into.len() / 4;
        into.fill(0.0);
        for c in 0..self.mean.len() {
            let inverse = self.inverse_deviation(c, learned.eps);
            let centre = self.mean[c] as f32;
            let rest = self.mean[c] - f64::from(centre);
            let sum = sums[c];
            let product = sums[pixel + c] - rest * sum;
            gamma[c] += (product * inverse) as f32;
            beta[c] += sum as f32;
            let scale = f64::from(learned.gamma[c]) * inverse;
            into[c] = centre;
            into[pixel + c] = scale as f32;
            if let Moments::Batch { count } = moments {
                let slope = scale * inverse * inverse * product / count as f64;
                into[2 * pixel + c] = slope as f32;
                into[3 * pixel + c] = (scale * sum / count as f64 - slope * rest) as f32;
            }
        }
    }

    fn inverse_deviation(&self, channel: usize, eps: f64) -> f64 {
        (self.variance[channel] + eps).sqrt().recip()
    }
}

/// `(x - centre) * scale + shift` per channel, finished.
pub(crate) fn affine(isa: Isa, from: &[f32], coefficients: &[f32], to: &mut [f32], epilogue: &Epilogue<'_>) {
    let pixel = coefficients.len() / 3;
    assert!(from.len() == to.len() && coefficients.len() == coefficients_len(pixel), "maps differ in length");
    fill(isa, Affine { from, coefficients, pixel }, Sizes::of(to.len(), pixel), to, epilogue);
}

#[derive(Clone, Copy)]
struct Affine<'a> {
    from: &'a [f32],
    coefficients: &'a [f32],
    pixel: usize,
}

impl Pointwise for Affine<'_> {
    #[inline(always)]
    #[allow(unsafe_code)]
    unsafe fn value<S: Simd>(self, at: At) -> S::V {
        // SAFETY: `affine` checked the lengths.
        unsafe {
            let coefficients = self.coefficients.as_ptr().add(at.channel);
            let from = self.from.as_ptr().add(at.offset);
            prefetch(from.wrapping_add(AHEAD));
            let x = S::sub(S::load(from), S::load(coefficients));
            S::fma(x, S::load(coefficients.add(self.pixel)), S::load(coefficients.add(2 * self.pixel)))
        }
    }
}

/// The gradient of the normalised map's input: `g * scale - (x - centre) * slope - shift` per channel, finished.
pub(crate) fn affine_gradient(
    isa: Isa,
    gradient: &[f32],
    input: &[f32],
    coefficients: &[f32],
    to: &mut [f32],
    epilogue: &Epilogue<'_>,
) {
    let pixel = coefficients.len() / 4;
    assert!(gradient.len() == to.len() && input.len() == to.len(), "maps differ in length");
    assert!(coefficients.len() == gradient_coefficients_len(pixel), "four coefficients per channel");
    fill(
        isa,
        AffineGradient { gradient, input, coefficients, pixel },
        Sizes::of(to.len(), pixel),
        to,
        epilogue,
    );
}

#[derive(Clone, Copy)]
struct AffineGradient<'a> {
    gradient: &'a [f32],
    input: &'a [f32],
    coefficients: &'a [f32],
    pixel: usize,
}

impl Pointwise for AffineGradient<'_> {
    #[inline(always)]
    #[allow(unsafe_code)]
    unsafe fn value<S: Simd>(self, at: At) -> S::V {
        // SAFETY: `affine_gradient` checked the lengths.
        unsafe {
            let coefficients = self.coefficients.as_ptr().add(at.channel);
            let coefficient = |i: usize| S::load(coefficients.add(i * self.pixel));
            let [input, gradient] = [self.input, self.gradient].map(|map| map.as_ptr().add(at.offset));
            prefetch(input.wrapping_add(AHEAD));
            prefetch(gradient.wrapping_add(AHEAD));
            let x = S::sub(S::load(input), coefficient(0));
            let g = S::load(gradient);
            S::sub(S::fnma(x, coefficient(2), S::mul(g, coefficient(1))), coefficient(3))
        }
    }
}
