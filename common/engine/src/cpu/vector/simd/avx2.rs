//! AVX2 with fused multiply-add: a vector is one register, half a block.

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

    /// Lanes whose bit is set among the lowest eight of their lane of `bits`; zero elsewhere.
    #[inline(always)]
    unsafe fn with_bits(v: __m256, bits: __m256i) -> __m256 {
        // SAFETY: registers alone, and only `Avx2` calls it.
        unsafe {
            let lanes = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
            let set = _mm256_cmpeq_epi32(_mm256_and_si256(bits, lanes), lanes);
            _mm256_and_ps(v, _mm256_castsi256_ps(set))
        }
    }

    // SAFETY of every body: the trait's contract gives valid pointers, and only `Isa::run` can name the type.
    #[allow(clippy::undocumented_unsafe_blocks)]
    impl Simd for Avx2 {
        type V = __m256;
        const LANES: usize = 8;
        const PANEL: usize = 1;
        const FINISHES: bool = true;

        #[inline(always)]
        unsafe fn load(from: *const f32) -> __m256 {
            unsafe { _mm256_loadu_ps(from) }
        }
        #[inline(always)]
        unsafe fn store(to: *mut f32, v: __m256) {
            unsafe { _mm256_storeu_ps(to, v) }
        }
        #[inline(always)]
        unsafe fn stream(to: *mut f32, v: __m256) {
            unsafe {
                if (to as usize).is_multiple_of(32) {
                    _mm256_stream_ps(to, v);
                } else {
                    _mm256_storeu_ps(to, v);
                }
            }
        }
        #[inline(always)]
        unsafe fn gate(v: __m256, from: *const u16, place: usize) -> __m256 {
            // The vector's bits are a byte, which goes from memory to every lane without a general register.
            unsafe { with_bits(v, _mm256_set1_epi8(*from.cast::<i8>().add(place / 8))) }
        }
        of_registers! {
            fn splat(x: f32) -> __m256 {
                _mm256_set1_ps(x)
            }
            fn zero() -> __m256 {
                _mm256_setzero_ps()
            }
            fn add(a: __m256, b: __m256) -> __m256 {
                _mm256_add_ps(a, b)
            }
            fn sub(a: __m256, b: __m256) -> __m256 {
                _mm256_sub_ps(a, b)
            }
            fn mul(a: __m256, b: __m256) -> __m256 {
                _mm256_mul_ps(a, b)
            }
            fn fma(a: __m256, b: __m256, c: __m256) -> __m256 {
                _mm256_fmadd_ps(a, b, c)
            }
            fn fnma(a: __m256, b: __m256, c: __m256) -> __m256 {
                _mm256_fnmadd_ps(a, b, c)
            }
            fn relu(v: __m256) -> __m256 {
                // max gives its second operand where either is not a number.
                _mm256_max_ps(_mm256_setzero_ps(), v)
            }
            fn at_most(v: __m256, limit: __m256) -> __m256 {
                _mm256_min_ps(limit, v)
            }
            fn less(a: __m256, b: __m256) -> u16 {
                _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_LT_OQ>(a, b)) as u16
            }
            fn between(low: __m256, v: __m256, high: __m256) -> u16 {
                let both = _mm256_and_ps(_mm256_cmp_ps::<_CMP_LT_OQ>(low, v), _mm256_cmp_ps::<_CMP_LT_OQ>(v, high));
                _mm256_movemask_ps(both) as u16
            }
            fn keep(v: __m256, bits: u16) -> __m256 {
                with_bits(v, _mm256_set1_epi32(i32::from(bits)))
            }
            fn interleave(a: __m256, b: __m256) -> [__m256; 2] {
                // Each works within the lower and the upper four lanes.
                let (low, high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
                [_mm256_permute2f128_ps::<0x20>(low, high), _mm256_permute2f128_ps::<0x31>(low, high)]
            }
        }
    }
}
