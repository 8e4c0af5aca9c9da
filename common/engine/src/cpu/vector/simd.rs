//! Sixteen f32 at a time, on three instruction sets, so that every kernel is written once.
//!
//! A kernel is a [`Kernel`]: plain generic code over [`Simd`]. [`Isa::run`] picks the instruction set once per call
//! and compiles the kernel's whole body with it. Everything inside must be `#[inline(always)]`, closures included:
//! what is not inlined is compiled for the baseline machine, correct but slow.

#![allow(unsafe_code)]

/// Functions of registers alone.
macro_rules! of_registers {
    ($(fn $name:ident($($x:ident: $of:ty),*) -> $to:ty $body:block)*) => {$(
        #[inline(always)]
        fn $name($($x: $of),*) -> $to {
            // SAFETY: no memory is touched, and only `Isa::run` can name the type, where the machine has the set.
            unsafe { $body }
        }
    )*};
}

mod avx2;
mod avx512;
mod portable;

use avx2::Avx2;
use avx512::Avx512;
use portable::Portable;

use crate::plan::BLOCK;
pub(crate) use crate::plan::padded;

/// Lanes of a vector: a block of channels, equal on all machines, so that only the kernels know which one they run on.
pub(crate) const LANES: usize = BLOCK;

/// The arithmetic of sixteen f32, safe because nobody but [`Isa::run`] can name a type that has it: a kernel gets one
/// where the machine has the instruction set, or not at all. Only memory is left to promise.
pub(crate) trait Simd: Copy + Send + Sync + 'static {
    /// Sixteen f32.
    type V: Copy;
    /// Vectors in the widest panel of output channels that the registers hold beside enough rows.
    const PANEL: usize;

    /// # Safety
    ///
    /// The pointer is valid for sixteen f32; no alignment is asked for.
    unsafe fn load(from: *const f32) -> Self::V;
    /// # Safety
    ///
    /// As for [`load`](Self::load).
    unsafe fn store(to: *mut f32, v: Self::V);
    /// Past the caches: for what is read much later.
    ///
    /// # Safety
    ///
    /// As for [`load`](Self::load).
    unsafe fn stream(to: *mut f32, v: Self::V);
    fn splat(x: f32) -> Self::V;
    fn zero() -> Self::V;
    fn add(a: Self::V, b: Self::V) -> Self::V;
    fn sub(a: Self::V, b: Self::V) -> Self::V;
    fn mul(a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`; rounded once where the machine can.
    fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `c - a * b`; likewise.
    fn fnma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `max(v, 0)`; what is not a number stays so.
    fn relu(v: Self::V) -> Self::V;
    /// `min(v, limit)`; likewise.
    fn at_most(v: Self::V, limit: Self::V) -> Self::V;
    /// One bit per lane: `a < b`.
    fn less(a: Self::V, b: Self::V) -> u16;
    /// Lanes whose bit is set; zero elsewhere.
    fn keep(v: Self::V, bits: u16) -> Self::V;

    /// The vector of these lanes.
    #[inline(always)]
    fn of(lanes: &[f32; LANES]) -> Self::V {
        // SAFETY: an array of sixteen.
        unsafe { Self::load(lanes.as_ptr()) }
    }

    /// The lanes of a vector.
    #[inline(always)]
    fn lanes(v: Self::V) -> [f32; LANES] {
        let mut lanes = [0.0; LANES];
        // SAFETY: an array of sixteen.
        unsafe { Self::store(lanes.as_mut_ptr(), v) }
        lanes
    }

    /// The vector at a place of a slice, which must have it.
    #[inline(always)]
    fn at(from: &[f32], place: usize) -> Self::V {
        // SAFETY: a slice of sixteen.
        unsafe { Self::load(from[place..place + LANES].as_ptr()) }
    }
}

/// Work that is compiled once per instruction set.
pub(crate) trait Kernel {
    /// What it gives.
    type Output;
    /// The body; mark it `#[inline(always)]`.
    fn run<S: Simd>(self) -> Self::Output;
}

/// An instruction set that this machine has: no value can be made where it does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Isa(Set);

/// The instruction sets that there are kernels for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Set {
    /// 32 registers of sixteen lanes.
    Avx512,
    /// 16 registers of eight lanes, with fused multiply-add.
    Avx2,
    /// Whatever the compiler's baseline is.
    Portable,
}

impl Isa {
    /// The best that this machine has.
    pub(crate) fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                return Self(if is_x86_feature_detected!("avx512f") { Set::Avx512 } else { Set::Avx2 });
            }
        }
        Self(Set::Portable)
    }

    /// Every set that this machine can run, best first: what tests go through.
    #[cfg(test)]
    pub(crate) fn available() -> Vec<Self> {
        let all = [Set::Avx512, Set::Avx2, Set::Portable];
        let best = Self::detect().0;
        all.into_iter().skip_while(|&set| set != best).map(Self).collect()
    }

    /// Which one it is.
    pub(crate) const fn set(self) -> Set {
        self.0
    }

    /// Vectors in the widest panel of output channels: see [`Simd::PANEL`].
    pub(crate) const fn panel(self) -> usize {
        match self.0 {
            Set::Avx512 => Avx512::PANEL,
            Set::Avx2 => Avx2::PANEL,
            Set::Portable => Portable::PANEL,
        }
    }

    /// Runs a kernel on this instruction set.
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the machine has the set, or the value would not exist.
            Set::Avx512 => unsafe { avx512::run(kernel) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Set::Avx2 => unsafe { avx2::run(kernel) },
            _ => kernel.run::<Portable>(),
        }
    }
}
