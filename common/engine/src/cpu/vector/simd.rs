//! A vector of f32 at a time, on several instruction sets, so that every kernel is written once.
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

use std::str::FromStr;

mod avx2;
mod avx512;
mod neon;
mod portable;

use avx2::Avx2;
use avx512::Avx512;
use neon::Neon;
use portable::Portable;

/// Channels that lie side by side in every map, equal on all machines, so that only the kernels know which one they run
/// on; a vector is a block, or half of one.
pub(crate) use crate::plan::{BLOCK, padded};

/// The arithmetic of a vector, safe because nobody but [`Isa::run`] can name a type that has it: a kernel gets one
/// where the machine has the instruction set, or not at all. Only memory is left to promise.
pub(crate) trait Simd: Copy + Send + Sync + 'static {
    /// So many f32, in one register where the machine has such.
    type V: Copy;
    /// Lanes of a vector: 8 or [`BLOCK`].
    const LANES: usize;
    /// Blocks in the widest panel of output channels that the registers hold beside enough rows.
    const PANEL: usize;
    /// Whether a full tile of a product, whose panel is two vectors, is finished in its registers where its epilogue's form is
    /// known, and not by way of memory: where that was seen to be faster.
    const FINISHES: bool = false;

    /// # Safety
    ///
    /// The pointer is valid for a vector; no alignment is asked for.
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
    /// One bit per lane, the first one lowest: `a < b`.
    fn less(a: Self::V, b: Self::V) -> u16;
    /// One bit per lane, likewise: `low < v` and `v < high`.
    #[inline(always)]
    fn between(low: Self::V, v: Self::V, high: Self::V) -> u16 {
        Self::less(low, v) & Self::less(v, high)
    }
    /// Lanes whose bit is set; zero elsewhere.
    fn keep(v: Self::V, bits: u16) -> Self::V;
    /// The lanes of both by turns, a's first: those of the lower halves, then those of the upper.
    fn interleave(a: Self::V, b: Self::V) -> [Self::V; 2];

    /// The bits of the vector at `place`, of one bit a value, those of a block in a u16.
    ///
    /// # Safety
    ///
    /// The pointer is valid for the bits of that place, which is a multiple of the lanes.
    #[inline(always)]
    unsafe fn load_bits(from: *const u16, place: usize) -> u16 {
        let within = place % BLOCK;
        // SAFETY: the caller's promise.
        unsafe { *from.add(place / BLOCK) >> within }
    }

    /// Lanes of the vector at `place` whose [bit](Self::load_bits) is set; zero elsewhere.
    ///
    /// # Safety
    ///
    /// As for [`load_bits`](Self::load_bits).
    #[inline(always)]
    unsafe fn gate(v: Self::V, from: *const u16, place: usize) -> Self::V {
        // SAFETY: the caller's promise.
        Self::keep(v, unsafe { Self::load_bits(from, place) })
    }

    /// Writes the bits of the vector at `place`.
    ///
    /// # Safety
    ///
    /// As for [`load_bits`](Self::load_bits); nobody else writes bits of that block.
    #[inline(always)]
    unsafe fn store_bits(to: *mut u16, place: usize, bits: u16) {
        // SAFETY: the caller's promise. A half block's bits are a byte, the lower half's first on every machine below.
        unsafe {
            if Self::LANES == BLOCK {
                *to.add(place / BLOCK) = bits;
            } else {
                *to.cast::<u8>().add(place / 8) = bits as u8;
            }
        }
    }

    /// The lanes of a vector; what is beyond them is zero.
    #[inline(always)]
    fn lanes(v: Self::V) -> [f32; BLOCK] {
        let mut lanes = [0.0; BLOCK];
        // SAFETY: an array of a block.
        unsafe { Self::store(lanes.as_mut_ptr(), v) }
        lanes
    }

    /// The vector at a place of a slice, which must have it.
    #[inline(always)]
    fn at(from: &[f32], place: usize) -> Self::V {
        // SAFETY: a slice of a vector.
        unsafe { Self::load(from[place..place + Self::LANES].as_ptr()) }
    }
}

/// Orders stores past the caches before whatever tells other threads that they are done.
#[inline(always)]
pub(crate) fn fence() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: part of every x86-64.
    unsafe {
        std::arch::x86_64::_mm_sfence();
    }
}

/// Asks for the line of memory at a place that is read soon; any address will do.
#[inline(always)]
pub(crate) fn prefetch(at: *const f32) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch of an address that is not there does nothing.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
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
pub(crate) struct Isa(InstructionSet);

/// The instruction sets that the processor's engine has kernels for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InstructionSet {
    /// 32 registers of sixteen lanes.
    Avx512,
    /// 16 registers of eight lanes, with fused multiply-add.
    Avx2,
    /// 32 registers of four lanes, part of every aarch64.
    Neon,
    /// Whatever the compiler's baseline is.
    Portable,
}

impl InstructionSet {
    /// All of them, best first.
    pub const ALL: [Self; 4] = [Self::Avx512, Self::Avx2, Self::Neon, Self::Portable];

    /// The name that command lines take; `cpu-` before it is the engine's.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2",
            Self::Neon => "neon",
            Self::Portable => "portable",
        }
    }
}

impl FromStr for InstructionSet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|set| set.name() == names::plain(text));
        found.ok_or_else(|| {
            format!("unknown instruction set `{text}`\nhint: known: {}", Self::ALL.map(Self::name).join(", "))
        })
    }
}

impl Isa {
    /// This one, where the machine can run it.
    pub(crate) fn of(set: InstructionSet) -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        let narrow = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        let has = match set {
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512 => narrow && is_x86_feature_detected!("avx512f"),
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 => narrow,
            #[cfg(target_arch = "aarch64")]
            InstructionSet::Neon => true,
            InstructionSet::Portable => true,
            #[allow(unreachable_patterns)]
            _ => false,
        };
        has.then_some(Self(set))
    }

    /// Every set that this machine can run, best first.
    pub(crate) fn available() -> impl Iterator<Item = Self> {
        InstructionSet::ALL.into_iter().filter_map(Self::of)
    }

    /// The best that this machine has.
    pub(crate) fn detect() -> Self {
        Self::available().next().expect("every machine runs plain Rust")
    }

    /// The one whose speed a test prints: the best, or what `RSLAD_ISA` names.
    #[cfg(test)]
    pub(crate) fn timed() -> Self {
        let named = std::env::var("RSLAD_ISA").ok();
        named.map_or_else(Self::detect, |name| {
            let set = name.parse().unwrap_or_else(|error| panic!("RSLAD_ISA: {error}"));
            Self::of(set).unwrap_or_else(|| panic!("RSLAD_ISA: this machine has no {name}"))
        })
    }

    /// Which one it is.
    pub(crate) const fn set(self) -> InstructionSet {
        self.0
    }

    /// Lanes of a vector: see [`Simd::LANES`].
    pub(crate) const fn lanes(self) -> usize {
        match self.0 {
            InstructionSet::Avx512 => Avx512::LANES,
            InstructionSet::Avx2 => Avx2::LANES,
            InstructionSet::Neon => Neon::LANES,
            InstructionSet::Portable => Portable::LANES,
        }
    }

    /// Blocks in the widest panel of output channels: see [`Simd::PANEL`].
    pub(crate) const fn panel(self) -> usize {
        match self.0 {
            InstructionSet::Avx512 => Avx512::PANEL,
            InstructionSet::Avx2 => Avx2::PANEL,
            InstructionSet::Neon => Neon::PANEL,
            InstructionSet::Portable => Portable::PANEL,
        }
    }

    /// Runs a kernel on this instruction set.
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the machine has the set, or the value would not exist.
            InstructionSet::Avx512 => unsafe { avx512::run(kernel) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            InstructionSet::Avx2 => unsafe { avx2::run(kernel) },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: as above.
            InstructionSet::Neon => unsafe { neon::run(kernel) },
            _ => kernel.run::<Portable>(),
        }
    }
}
