//! What happens to a value between the accumulators and memory, so that no map is read again for it.

use std::hint::assert_unchecked;

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

/// Calls `$on.$f::<S, F>` with the form of an epilogue of which all is known; gives `$asked` where it is not.
macro_rules! with_form {
    ($form:expr, $on:ident.$f:ident::<$s:ident, _ $(, $more:tt)*>$args:tt, else $asked:expr) => {{
        use $crate::cpu::vector::epilogue::{Activated, Activated6, Biased, Gated, Joined, Known, Rejoined, Stored};
        match $form {
            Known::Stored => $on.$f::<$s, Stored $(, $more)*>$args,
            Known::Biased => $on.$f::<$s, Biased $(, $more)*>$args,
            Known::Activated => $on.$f::<$s, Activated $(, $more)*>$args,
            Known::Activated6 => $on.$f::<$s, Activated6 $(, $more)*>$args,
            Known::Rejoined => $on.$f::<$s, Rejoined $(, $more)*>$args,
            Known::Gated => $on.$f::<$s, Gated $(, $more)*>$args,
            Known::Joined => $on.$f::<$s, Joined $(, $more)*>$args,
            Known::Asked => $asked,
        }
    }};
}
pub(crate) use with_form;

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
    pub(crate) unsafe fn finish<S: Simd>(&self, v: S::V, channel: usize, to: *mut f32, offset: usize) {
        // SAFETY: the caller's promise.
        unsafe { self.finish_as::<S, Asked>(v, self.bias_at::<S, Asked>(channel), to, offset) }
    }

    /// Finishes a tile whose values lie in `values`, row after row of some vectors of channels: row i from `channel` on, to
    /// `to + offsets[i]`. What there is to do is asked once for all of them.
    ///
    /// # Safety
    ///
    /// As for [`finish`](Self::finish), for every vector; `values` is valid for all of them, `form` is what is
    /// [known](Self::known), and vectors that make up whole blocks begin at one.
    #[inline(always)]
    #[allow(unsafe_code)]
    pub(crate) unsafe fn tile<S: Simd>(
        &self,
        form: Known,
        values: *const f32,
        vectors: usize,
        channel: usize,
        to: *mut f32,
        offsets: &[usize],
    ) {
        // SAFETY: the caller's promise; the form is this epilogue's.
        unsafe {
            with_form!(
                form,
                self.rows::<S, _>(values, vectors, channel, to, offsets),
                else self.rows::<S, Asked>(values, vectors, channel, to, offsets)
            );
        }
    }

    /// What is known of it.
    #[inline(always)]
    pub(crate) fn known(&self) -> Known {
        Known::of(Present {
            bias: self.bias.is_some(),
            residual: self.residual.is_some(),
            accumulate: self.accumulate,
            activation: self.activation,
            bits_out: self.bits_out.is_some(),
            gate: self.bits_in.is_some(),
        })
    }

    /// # Safety
    ///
    /// As for [`tile`](Self::tile); the epilogue is of the form.
    #[inline(always)]
    #[allow(unsafe_code)]
    unsafe fn rows<S: Simd, F: Form>(
        self,
        values: *const f32,
        vectors: usize,
        channel: usize,
        to: *mut f32,
        offsets: &[usize],
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            match vectors {
                1 => self.rows_of::<S, F, 1>(values, channel, to, offsets),
                2 => self.rows_of::<S, F, 2>(values, channel, to, offsets),
                3 if S::LANES == BLOCK => self.rows_of::<S, F, 3>(values, channel, to, offsets),
                4 if S::LANES == BLOCK => self.rows_of::<S, F, 4>(values, channel, to, offsets),
                _ => unreachable!("a panel is at most four vectors wide, two where these are half a block"),
            }
        }
    }

    /// Rows of W vectors.
    ///
    /// # Safety
    ///
    /// As for [`tile`](Self::tile); the epilogue is of the form.
    #[inline(always)]
    #[allow(unsafe_code)]
    unsafe fn rows_of<S: Simd, F: Form, const W: usize>(
        self,
        mut values: *const f32,
        channel: usize,
        to: *mut f32,
        offsets: &[usize],
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            let mut biases = [None; W];
            for (j, bias) in biases.iter_mut().enumerate() {
                *bias = self.bias_at::<S, F>(channel + j * S::LANES);
            }
            for &offset in offsets {
                // So that it is known where in a word of bits its own begin.
                assert_unchecked(!(W * S::LANES).is_multiple_of(BLOCK) || offset.is_multiple_of(BLOCK));
                for (j, bias) in biases.into_iter().enumerate() {
                    self.finish_as::<S, F>(S::load(values), bias, to, offset + j * S::LANES);
                    values = values.wrapping_add(S::LANES);
                }
            }
        }
    }

    /// [`tile`](Self::tile) of R rows of W vectors that are still in registers, of an epilogue whose form is known.
    ///
    /// # Safety
    ///
    /// As for [`tile`](Self::tile); the epilogue is of the form.
    #[inline(always)]
    #[allow(unsafe_code)]
    pub(crate) unsafe fn registers<S: Simd, F: Form, const R: usize, const W: usize>(
        self,
        sums: [[S::V; W]; R],
        channel: usize,
        to: *mut f32,
        offsets: [usize; R],
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            for (sums, offset) in sums.into_iter().zip(offsets) {
                for (j, sum) in sums.into_iter().enumerate() {
                    let bias = self.bias_at::<S, F>(channel + j * S::LANES);
                    self.finish_as::<S, F>(sum, bias, to, offset + j * S::LANES);
                }
            }
        }
    }

    /// The bias of the channels from `channel` on, of an epilogue whose form is known.
    ///
    /// # Safety
    ///
    /// As for [`finish_as`](Self::finish_as).
    #[inline(always)]
    #[allow(unsafe_code)]
    pub(crate) unsafe fn bias_at<S: Simd, F: Form>(self, channel: usize) -> Option<S::V> {
        // SAFETY: the caller's promise.
        unsafe { F::of(|steps| steps.bias, self.bias).map(|bias| S::load(bias.as_ptr().add(channel))) }
    }

    /// [`finish`](Self::finish) of an epilogue whose form is known, with the [bias](Self::bias_at) of the vector's channels.
    ///
    /// # Safety
    ///
    /// As for [`finish`](Self::finish); the epilogue is of the form.
    #[inline(always)]
    #[allow(unsafe_code)]
    pub(crate) unsafe fn finish_as<S: Simd, F: Form>(
        self,
        mut v: S::V,
        bias: Option<S::V>,
        to: *mut f32,
        offset: usize,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            if let Some(bias) = bias {
                v = S::add(v, bias);
            }
            if let Some(residual) = F::of(|steps| steps.residual, self.residual) {
                v = S::add(v, S::load(residual.as_ptr().add(offset)));
            }
            if F::of(|steps| steps.accumulate, self.accumulate.then_some(())).is_some() {
                v = S::add(v, S::load(to.add(offset)));
            }
            match F::STEPS.map_or(self.activation, |steps| steps.activation) {
                Activation::None => {}
                Activation::Relu => {
                    if let Some(bits) = F::of(|steps| steps.bits_out, self.bits_out) {
                        S::store_bits(bits.start(), offset, S::less(S::zero(), v));
                    }
                    v = S::relu(v);
                }
                Activation::Relu6 => {
                    let six = S::splat(6.0);
                    if let Some(bits) = F::of(|steps| steps.bits_out, self.bits_out) {
                        S::store_bits(bits.start(), offset, S::between(S::zero(), v, six));
                    }
                    v = S::at_most(S::relu(v), six);
                }
            }
            if let Some(bits) = F::of(|steps| steps.gate, self.bits_in) {
                v = S::gate(v, bits.as_ptr(), offset);
            }
            S::store(to.add(offset), v);
        }
    }
}

/// Which steps are there, without their operands.
#[derive(Clone, Copy, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)]
pub(crate) struct Present {
    bias: bool,
    residual: bool,
    accumulate: bool,
    activation: Activation,
    bits_out: bool,
    gate: bool,
}

impl Present {
    const NONE: Self = Self {
        bias: false,
        residual: false,
        accumulate: false,
        activation: Activation::None,
        bits_out: false,
        gate: false,
    };
}

/// What is known of an epilogue before it runs: its steps, or nothing, and each is asked for.
pub(crate) trait Form {
    const STEPS: Option<Present>;

    /// A step's operand, if the step is there: where the steps are known, that is not asked of the operand.
    ///
    /// # Safety
    ///
    /// What is known is so.
    #[inline(always)]
    #[allow(unsafe_code)]
    unsafe fn of<T>(step: impl Fn(&Present) -> bool, operand: Option<T>) -> Option<T> {
        match &Self::STEPS {
            None => operand,
            // SAFETY: the caller's promise.
            Some(steps) => step(steps).then(|| unsafe { operand.unwrap_unchecked() }),
        }
    }
}

/// Forms that are known whole, and the name of each.
macro_rules! forms {
    ($($(#[$doc:meta])* $name:ident: { $($steps:tt)* })*) => {
        $(
            $(#[$doc])*
            pub(crate) struct $name;

            impl Form for $name {
                const STEPS: Option<Present> = Some(Present { $($steps)* ..Present::NONE });
            }
        )*

        /// The name of each form.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Known {
            $($name,)*
            Asked,
        }

        impl Known {
            /// The form of these steps.
            #[inline(always)]
            fn of(steps: Present) -> Self {
                $(if $name::STEPS == Some(steps) {
                    return Self::$name;
                })*
                Self::Asked
            }
        }
    };
}

forms! {
    /// A convolution before a normalisation that needs its moments, and its image gradient.
    Stored: {}
    /// The end of a bottleneck.
    Biased: { bias: true, }
    /// Any layer of an attack on its way forwards,
    Activated: { bias: true, activation: Activation::Relu, bits_out: true, }
    /// the same of networks whose activations end at 6,
    Activated6: { bias: true, activation: Activation::Relu6, bits_out: true, }
    /// the end of a residual block,
    Rejoined: { bias: true, residual: true, activation: Activation::Relu, bits_out: true, }
    /// any layer on the way back,
    Gated: { gate: true, }
    /// and the beginning of a block, where the shortcut's gradient lies already.
    Joined: { accumulate: true, gate: true, }
}

/// Any epilogue.
pub(crate) struct Asked;

impl Form for Asked {
    const STEPS: Option<Present> = None;
}

#[cfg(test)]
mod tests;
