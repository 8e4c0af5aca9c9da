//! AVX2 with fused multiply-add: a vector is two registers.

#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Avx2, run};

#[cfg(not(target_arch = "x86_64"))]
pub(super) use super::portable::Portable as Avx2;

#[cfg(target_arch = "x86_64")]
mod x86 {
    #[allow(clippy::wildcard_imports)]
    use std::arch::x86_64::*;

    use super::super::{Kernel, Simd};

    #[derive(Clone, Copy)]
    pub(in super::super) struct Avx2;

    #[target_feature(enable = "avx2,fma")]
    pub(in super::super) unsafe fn run<K: Kernel>(kernel: K) -> K::Output {
        kernel.run::<Avx2>()
    }

    #[derive(Clone, Copy)]
    pub(in super::super) struct Pair(__m256, __m256);

    // SAFETY of every body: the trait's contract gives valid pointers, and only `Isa::run` can name the type.
    #[allow(clippy::undocumented_unsafe_blocks)]
    impl Simd for Avx2 {
        type V = Pair;
        const PANEL: usize = 1;

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Pair {
            unsafe { Pair(_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))) }
        }
        #[inline(always)]
        unsafe fn store(to: *mut f32, v: Pair) {
            unsafe {
                _mm256_storeu_ps(to, v.0);
                _mm256_storeu_ps(to.add(8), v.1);
            }
        }
        #[inline(always)]
        unsafe fn stream(to: *mut f32, v: Pair) {
            unsafe { Self::store(to, v) }
        }
        of_registers! {
            fn splat(x: f32) -> Pair {
                Pair(_mm256_set1_ps(x), _mm256_set1_ps(x))
            }
            fn zero() -> Pair {
                Pair(_mm256_setzero_ps(), _mm256_setzero_ps())
            }
            fn add(a: Pair, b: Pair) -> Pair {
                Pair(_mm256_add_ps(a.0, b.0), _mm256_add_ps(a.1, b.1))
            }
            fn sub(a: Pair, b: Pair) -> Pair {
                Pair(_mm256_sub_ps(a.0, b.0), _mm256_sub_ps(a.1, b.1))
            }
            fn mul(a: Pair, b: Pair) -> Pair {
                Pair(_mm256_mul_ps(a.0, b.0), _mm256_mul_ps(a.1, b.1))
            }
            fn fma(a: Pair, b: Pair, c: Pair) -> Pair {
                Pair(_mm256_fmadd_ps(a.0, b.0, c.0), _mm256_fmadd_ps(a.1, b.1, c.1))
            }
            fn fnma(a: Pair, b: Pair, c: Pair) -> Pair {
                Pair(_mm256_fnmadd_ps(a.0, b.0, c.0), _mm256_fnmadd_ps(a.1, b.1, c.1))
            }
            fn relu(v: Pair) -> Pair {
                // max gives its second operand where either is not a number.
                let zero = _mm256_setzero_ps();
                Pair(_mm256_max_ps(zero, v.0), _mm256_max_ps(zero, v.1))
            }
            fn at_most(v: Pair, limit: Pair) -> Pair {
                Pair(_mm256_min_ps(limit.0, v.0), _mm256_min_ps(limit.1, v.1))
            }
            fn less(a: Pair, b: Pair) -> u16 {
                let low = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_LT_OQ>(a.0, b.0));
                let high = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_LT_OQ>(a.1, b.1));
                (low | high << 8) as u16
            }
            fn keep(v: Pair, bits: u16) -> Pair {
                let lanes = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
                let half = |v: __m256, bits: i32| {
                    let set = _mm256_and_si256(_mm256_set1_epi32(bits), lanes);
                    _mm256_and_ps(v, _mm256_castsi256_ps(_mm256_cmpeq_epi32(set, lanes)))
                };
                Pair(half(v.0, i32::from(bits & 0xff)), half(v.1, i32::from(bits >> 8)))
            }
        }
    }
}
