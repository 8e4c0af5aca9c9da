//! What happens to a value between the accumulators and memory, so that no map is read again for it.

use super::memory::Shared;
use super::simd::{BLOCK, Simd};
use crate::plan::Activation;

/// In this order: bias, residual, what the destination held, activation, its bits out, a gate's bits in.
///
/// Offsets are those of the destination; residual and bits are laid out like it, bits one per value, packed in u16
/// per block of channels. A kernel asks once per call whether they are long enough ([`check`](Self::check)); threads that share an
/// epilogue write disjoint parts of the destination, so of the bits.
#[derive(Clone, Copy)]
pub(crate) struct Epilogue<'a> {
    bias: Option<&'a [f32]>,
    residual: Option<&'a [f32]>,
    /// Adds to the destination instead of overwriting it.
    accumulate: bool,
    activation: Activation,
    bits_out: Option<Shared<'a, u16>>,
    bits_in: Option<&'a [u16]>,
}

impl<'a> Epilogue<'a> {
    /// Stores what was computed.
    pub(crate) const fn new() -> Self {
        Self {
            bias: None,
            residual: None,
            accumulate: false,
            activation: Activation::None,
            bits_out: None,
            bits_in: None,
        }
    }

    /// Adds one value per (padded) output channel.
    #[must_use]
    pub(crate) const fn bias(mut self, bias: &'a [f32]) -> Self {
        self.bias = Some(bias);
        self
    }

    /// Adds a map laid out like the destination.
    #[must_use]
    pub(crate) const fn residual(mut self, map: &'a [f32]) -> Self {
        self.residual = Some(map);
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
    pub(crate) fn bits_out(mut self, bits: &'a mut [u16]) -> Self {
        self.bits_out = Some(Shared::new(bits));
        self
    }

    /// Sets values to zero where the bit is not set: the backward of an activation.
    #[must_use]
    pub(crate) const fn gate(mut self, bits: &'a [u16]) -> Self {
        self.bits_in = Some(bits);
        self
    }

    /// Holds a kernel's caller to what [`finish`](Self::finish) relies on, for a destination of `len` values, `pixel` from
    /// one place to the next.
    pub(crate) fn check(&self, len: usize, pixel: usize) {
        assert!(self.bias.is_none_or(|bias| bias.len() >= pixel), "a bias is shorter than {pixel} channels");
        assert!(self.residual.is_none_or(|map| map.len() >= len), "a residual is shorter than {len} values");
        let blocks = len.div_ceil(BLOCK);
        assert!(
            self.bits_in.is_none_or(|bits| bits.len() >= blocks)
                && self.bits_out.is_none_or(|bits| bits.len() >= blocks),
            "bits are shorter than {blocks} blocks"
        );
    }

    /// Finishes one vector and stores it at `to + offset`.
    ///
    /// # Safety
    ///
    /// `channel` and `offset` are multiples of the lanes, inside a pixel and the destination, for whose sizes
    /// [`check`](Self::check) was asked; nobody else writes there.
    #[inline(always)]
    #[allow(unsafe_code)]
    pub(crate) unsafe fn finish<S: Simd>(&self, mut v: S::V, channel: usize, to: *mut f32, offset: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            if let Some(bias) = self.bias {
                v = S::add(v, S::load(bias.as_ptr().add(channel)));
            }
            if let Some(residual) = self.residual {
                v = S::add(v, S::load(residual.as_ptr().add(offset)));
            }
            if self.accumulate {
                v = S::add(v, S::load(to.add(offset)));
            }
            match self.activation {
                Activation::None => {}
                Activation::Relu => {
                    if let Some(bits) = self.bits_out {
                        S::store_bits(bits.start(), offset, S::less(S::zero(), v));
                    }
                    v = S::relu(v);
                }
                Activation::Relu6 => {
                    let six = S::splat(6.0);
                    if let Some(bits) = self.bits_out {
                        S::store_bits(bits.start(), offset, S::less(S::zero(), v) & S::less(v, six));
                    }
                    v = S::at_most(S::relu(v), six);
                }
            }
            if let Some(bits) = self.bits_in {
                v = S::keep(v, S::load_bits(bits.as_ptr(), offset));
            }
            S::store(to.add(offset), v);
        }
    }
}
