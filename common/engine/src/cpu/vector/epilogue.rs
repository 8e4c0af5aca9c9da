//! What happens to a value between the accumulators and memory, so that no map is read again for it.

use std::marker::PhantomData;

use super::simd::{LANES, Simd};
use crate::plan::Activation;

/// In this order: bias, residual, what the destination held, activation, its bits out, a gate's bits in.
///
/// Offsets are those of the destination; residual and bits are laid out like it, bits one per value, packed in u16
/// per vector.
#[derive(Clone, Copy)]
pub(crate) struct Epilogue<'a> {
    bias: *const f32,
    residual: *const f32,
    /// Adds to the destination instead of overwriting it.
    accumulate: bool,
    activation: Activation,
    bits_out: *mut u16,
    bits_in: *const u16,
    borrows: PhantomData<&'a mut [u16]>,
}

// SAFETY: the pointers stand for the shared and exclusive slices of the constructors.
#[allow(unsafe_code)]
unsafe impl Send for Epilogue<'_> {}
#[allow(unsafe_code)]
// SAFETY: kernels that share an epilogue between threads write disjoint parts of the destination, so of the bits.
unsafe impl Sync for Epilogue<'_> {}

impl<'a> Epilogue<'a> {
    /// Stores what was computed.
    pub(crate) const fn new() -> Self {
        Self {
            bias: std::ptr::null(),
            residual: std::ptr::null(),
            accumulate: false,
            activation: Activation::None,
            bits_out: std::ptr::null_mut(),
            bits_in: std::ptr::null(),
            borrows: PhantomData,
        }
    }

    /// Adds one value per (padded) output channel.
    #[must_use]
    pub(crate) const fn bias(mut self, bias: &'a [f32]) -> Self {
        self.bias = bias.as_ptr();
        self
    }

    /// Adds a map laid out like the destination.
    #[must_use]
    pub(crate) const fn residual(mut self, map: &'a [f32]) -> Self {
        self.residual = map.as_ptr();
        self
    }

    /// Adds to what the destination holds.
    #[must_use]
    pub(crate) const fn accumulate(mut self, accumulate: bool) -> Self {
        self.accumulate = accumulate;
        self
    }

    /// Applies an activation.
    #[must_use]
    pub(crate) const fn activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }

    /// Writes where the activation's derivative is 1: all that its backward needs.
    #[must_use]
    pub(crate) const fn bits_out(mut self, bits: &'a mut [u16]) -> Self {
        self.bits_out = bits.as_mut_ptr();
        self
    }

    /// Sets values to zero where the bit is not set: the backward of an activation.
    #[must_use]
    pub(crate) const fn gate(mut self, bits: &'a [u16]) -> Self {
        self.bits_in = bits.as_ptr();
        self
    }

    /// Finishes one vector and stores it at `to + offset`.
    ///
    /// # Safety
    ///
    /// `channel` and `offset` are multiples of the lanes, inside the bias and the destination; `offset` is inside
    /// the residual and the bits.
    #[inline(always)]
    #[allow(unsafe_code)]
    pub(crate) unsafe fn finish<S: Simd>(&self, mut v: S::V, channel: usize, to: *mut f32, offset: usize) {
        // SAFETY: the caller's promise; null pointers are skipped.
        unsafe {
            if !self.bias.is_null() {
                v = S::add(v, S::load(self.bias.add(channel)));
            }
            if !self.residual.is_null() {
                v = S::add(v, S::load(self.residual.add(offset)));
            }
            if self.accumulate {
                v = S::add(v, S::load(to.add(offset)));
            }
            match self.activation {
                Activation::None => {}
                Activation::Relu => {
                    if !self.bits_out.is_null() {
                        *self.bits_out.add(offset / LANES) = S::less(S::zero(), v);
                    }
                    v = S::relu(v);
                }
                Activation::Relu6 => {
                    let six = S::splat(6.0);
                    if !self.bits_out.is_null() {
                        *self.bits_out.add(offset / LANES) = S::less(S::zero(), v) & S::less(v, six);
                    }
                    v = S::at_most(S::relu(v), six);
                }
            }
            if !self.bits_in.is_null() {
                v = S::keep(v, *self.bits_in.add(offset / LANES));
            }
            S::store(to.add(offset), v);
        }
    }
}
