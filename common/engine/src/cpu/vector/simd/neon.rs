//! NEON, part of every aarch64: a vector is two of 32 registers of four lanes.

#[cfg(target_arch = "aarch64")]
pub(super) use arm::{Neon, run};

#[cfg(not(target_arch = "aarch64"))]
pub(super) use super::portable::Portable as Neon;

#[cfg(target_arch = "aarch64")]
mod arm {
    #[allow(clippy::wildcard_imports)]
    use std::arch::aarch64::*;

    use super::super::{Kernel, Simd};

    #[derive(Clone, Copy)]
    pub(in super::super) struct Neon;

    #[target_feature(enable = "neon")]
    pub(in super::super) unsafe fn run<K: Kernel>(kernel: K) -> K::Output {
        kernel.run::<Neon>()
    }

    #[derive(Clone, Copy)]
    pub(in super::super) struct Pair(float32x4_t, float32x4_t);

    /// All bits of the lanes whose bit is set, of the lower and of the upper four.
    #[inline(always)]
    unsafe fn masks(bits: u16) -> [uint32x4_t; 2] {
        unsafe {
            let all = vdupq_n_u32(u32::from(bits));
            [[1, 2, 4, 8], [16, 32, 64, 128]].map(|lanes: [u32; 4]| vtstq_u32(all, vld1q_u32(lanes.as_ptr())))
        }
    }

    /// A bit for each of four lanes.
    #[inline(always)]
    unsafe fn bits(lanes: uint32x4_t) -> u16 {
        unsafe { vaddvq_u32(vandq_u32(lanes, vld1q_u32([1, 2, 4, 8].as_ptr()))) as u16 }
    }

    // SAFETY of every body: the trait's contract gives valid pointers, and only `Isa::run` can name the type.
    #[allow(clippy::undocumented_unsafe_blocks)]
    impl Simd for Neon {
        type V = Pair;
        const LANES: usize = 8;
        const PANEL: usize = 1;

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Pair {
            unsafe { Pair(vld1q_f32(from), vld1q_f32(from.add(4))) }
        }
        #[inline(always)]
        unsafe fn store(to: *mut f32, v: Pair) {
            unsafe {
                vst1q_f32(to, v.0);
                vst1q_f32(to.add(4), v.1);
            }
        }
        #[inline(always)]
        unsafe fn stream(to: *mut f32, v: Pair) {
            unsafe { Self::store(to, v) }
        }
        of_registers! {
            fn splat(x: f32) -> Pair {
                Pair(vdupq_n_f32(x), vdupq_n_f32(x))
            }
            fn zero() -> Pair {
                Pair(vdupq_n_f32(0.0), vdupq_n_f32(0.0))
            }
            fn add(a: Pair, b: Pair) -> Pair {
                Pair(vaddq_f32(a.0, b.0), vaddq_f32(a.1, b.1))
            }
            fn sub(a: Pair, b: Pair) -> Pair {
                Pair(vsubq_f32(a.0, b.0), vsubq_f32(a.1, b.1))
            }
            fn mul(a: Pair, b: Pair) -> Pair {
                Pair(vmulq_f32(a.0, b.0), vmulq_f32(a.1, b.1))
            }
            fn fma(a: Pair, b: Pair, c: Pair) -> Pair {
                Pair(vfmaq_f32(c.0, a.0, b.0), vfmaq_f32(c.1, a.1, b.1))
            }
            fn fnma(a: Pair, b: Pair, c: Pair) -> Pair {
                Pair(vfmsq_f32(c.0, a.0, b.0), vfmsq_f32(c.1, a.1, b.1))
            }
            fn relu(v: Pair) -> Pair {
                // What is not a number comes through: `fmax` gives it wherever it meets one.
                let zero = vdupq_n_f32(0.0);
                Pair(vmaxq_f32(v.0, zero), vmaxq_f32(v.1, zero))
            }
            fn at_most(v: Pair, limit: Pair) -> Pair {
                Pair(vminq_f32(v.0, limit.0), vminq_f32(v.1, limit.1))
            }
            fn less(a: Pair, b: Pair) -> u16 {
                bits(vcltq_f32(a.0, b.0)) | bits(vcltq_f32(a.1, b.1)) << 4
            }
            fn keep(v: Pair, bits: u16) -> Pair {
                let [low, high] = masks(bits);
                let half = |v: float32x4_t, mask: uint32x4_t| {
                    vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(v), mask))
                };
                Pair(half(v.0, low), half(v.1, high))
            }
            fn interleave(a: Pair, b: Pair) -> [Pair; 2] {
                let of = |a: float32x4_t, b: float32x4_t| Pair(vzip1q_f32(a, b), vzip2q_f32(a, b));
                [of(a.0, b.0), of(a.1, b.1)]
            }
        }
    }
}
