//! Sixteen f32 at a time, on three instruction sets, so that every kernel is written once.
//!
//! A kernel is a [`Kernel`]: plain generic code over [`Simd`]. [`Isa::run`] picks the instruction set once per call
//! and compiles the kernel's whole body with it. Everything inside must be `#[inline(always)]`, closures included:
//! what is not inlined is compiled for the baseline machine, correct but slow.

#![allow(unsafe_code, clippy::missing_safety_doc)]

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

/// The arithmetic of sixteen f32.
///
/// # Safety
///
/// Pointers must be valid for sixteen f32 (no alignment is asked for), and the machine must have the instruction
/// set; [`Isa::run`] sees to the second.
pub(crate) trait Simd: Copy + Send + Sync + 'static {
    /// Sixteen f32.
    type V: Copy;
    /// Vectors in the widest panel of output channels that the registers hold beside enough rows.
    const PANEL: usize;

    unsafe fn load(from: *const f32) -> Self::V;
    unsafe fn store(to: *mut f32, v: Self::V);
    /// Past the caches: for what is read much later.
    unsafe fn stream(to: *mut f32, v: Self::V);
    unsafe fn splat(x: f32) -> Self::V;
    unsafe fn zero() -> Self::V;
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`; rounded once where the machine can.
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `c - a * b`; likewise.
    unsafe fn fnma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `max(v, 0)`; what is not a number stays so.
    unsafe fn relu(v: Self::V) -> Self::V;
    /// `min(v, limit)`; likewise.
    unsafe fn at_most(v: Self::V, limit: Self::V) -> Self::V;
    /// One bit per lane: `a < b`.
    unsafe fn less(a: Self::V, b: Self::V) -> u16;
    /// Lanes whose bit is set; zero elsewhere.
    unsafe fn keep(v: Self::V, bits: u16) -> Self::V;
}

/// Work that is compiled once per instruction set.
pub(crate) trait Kernel {
    /// What it gives.
    type Output;
    /// The body; mark it `#[inline(always)]`.
    fn run<S: Simd>(self) -> Self::Output;
}

/// An instruction set of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Isa {
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
                return if is_x86_feature_detected!("avx512f") { Self::Avx512 } else { Self::Avx2 };
            }
        }
        Self::Portable
    }

    /// Every set that this machine can run, best first: what tests go through.
    #[cfg(test)]
    pub(crate) fn available() -> Vec<Self> {
        match Self::detect() {
            Self::Avx512 => vec![Self::Avx512, Self::Avx2, Self::Portable],
            Self::Avx2 => vec![Self::Avx2, Self::Portable],
            Self::Portable => vec![Self::Portable],
        }
    }

    /// Vectors in the widest panel of output channels: see [`Simd::PANEL`].
    pub(crate) const fn panel(self) -> usize {
        match self {
            Self::Avx512 => Avx512::PANEL,
            Self::Avx2 => Avx2::PANEL,
            Self::Portable => Portable::PANEL,
        }
    }

    /// Runs a kernel on this instruction set.
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `detect` is the only source of these values outside tests, and tests ask `available`.
            Self::Avx512 => unsafe { avx512::run(kernel) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Self::Avx2 => unsafe { avx2::run(kernel) },
            _ => kernel.run::<Portable>(),
        }
    }
}
