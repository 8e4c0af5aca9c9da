//! AVX-512: a vector is one register.

#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Avx512, run};

#[cfg(not(target_arch = "x86_64"))]
pub(super) use super::portable::Portable as Avx512;

#[cfg(target_arch = "x86_64")]
mod x86 {
    #[allow(clippy::wildcard_imports)]
    use std::arch::x86_64::*;

    use super::super::{Kernel, Simd};

    #[derive(Clone, Copy)]
    pub(in super::super) struct Avx512;

    #[target_feature(enable = "avx512f,avx2,fma")]
    pub(in super::super) unsafe fn run<K: Kernel>(kernel: K) -> K::Output {
        kernel.run::<Avx512>()
    }

    // SAFETY of every body: the trait's contract gives valid pointers, and only `Isa::run` can name the type.
    #[allow(clippy::undocumented_unsafe_blocks)]
    impl Simd for Avx512 {
        type V = __m512;
        const LANES: usize = 16;
        const PANEL: usize = 4;

        #[inline(always)]
        unsafe fn load(from: *const f32) -> __m512 {
            unsafe { _mm512_loadu_ps(from) }
        }
        #[inline(always)]
        unsafe fn store(to: *mut f32, v: __m512) {
            unsafe { _mm512_storeu_ps(to, v) }
        }
        #[inline(always)]
        unsafe fn stream(to: *mut f32, v: __m512) {
            unsafe {
                if (to as usize).is_multiple_of(64) {
                    _mm512_stream_ps(to, v);
                } else {
                    _mm512_storeu_ps(to, v);
                }
            }
        }
        of_registers! {
            fn splat(x: f32) -> __m512 {
                _mm512_set1_ps(x)
            }
            fn zero() -> __m512 {
                _mm512_setzero_ps()
            }
            fn add(a: __m512, b: __m512) -> __m512 {
                _mm512_add_ps(a, b)
            }
            fn sub(a: __m512, b: __m512) -> __m512 {
                _mm512_sub_ps(a, b)
            }
            fn mul(a: __m512, b: __m512) -> __m512 {
                _mm512_mul_ps(a, b)
            }
            fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
                _mm512_fmadd_ps(a, b, c)
            }
            fn fnma(a: __m512, b: __m512, c: __m512) -> __m512 {
                _mm512_fnmadd_ps(a, b, c)
            }
            fn relu(v: __m512) -> __m512 {
                // max gives its second operand where either is not a number.
                _mm512_max_ps(_mm512_setzero_ps(), v)
            }
            fn at_most(v: __m512, limit: __m512) -> __m512 {
                _mm512_min_ps(limit, v)
            }
            fn less(a: __m512, b: __m512) -> u16 {
                _mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b)
            }
            fn keep(v: __m512, bits: u16) -> __m512 {
                _mm512_maskz_mov_ps(bits, v)
            }
            fn interleave(a: __m512, b: __m512) -> [__m512; 2] {
                // From 16 on the lanes are b's.
                let lower = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
                let upper = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
                [_mm512_permutex2var_ps(a, lower, b), _mm512_permutex2var_ps(a, upper, b)]
            }
        }
    }
}
