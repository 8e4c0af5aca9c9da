//! Plain Rust over arrays, for the compiler to vectorise as the baseline machine allows.

use super::Simd;

#[derive(Clone, Copy)]
pub(super) struct Portable;

/// As many as two registers of most machines hold.
const LANES: usize = 8;

type V = [f32; LANES];

#[inline(always)]
fn map(mut a: V, f: impl Fn(f32) -> f32) -> V {
    for a in &mut a {
        *a = f(*a);
    }
    a
}

#[inline(always)]
fn zip(mut a: V, b: V, f: impl Fn(f32, f32) -> f32) -> V {
    for i in 0..LANES {
        a[i] = f(a[i], b[i]);
    }
    a
}

// SAFETY of the pointers: the trait's contract. Products and sums round twice: without the instruction a fused one
// is a call per lane.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Simd for Portable {
    type V = V;
    const LANES: usize = LANES;
    const PANEL: usize = 1;

    #[inline(always)]
    unsafe fn load(from: *const f32) -> V {
        unsafe { from.cast::<V>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, v: V) {
        unsafe { to.cast::<V>().write_unaligned(v) }
    }
    #[inline(always)]
    unsafe fn stream(to: *mut f32, v: V) {
        unsafe { Self::store(to, v) }
    }
    #[inline(always)]
    fn splat(x: f32) -> V {
        [x; LANES]
    }
    #[inline(always)]
    fn zero() -> V {
        [0.0; LANES]
    }
    #[inline(always)]
    fn add(a: V, b: V) -> V {
        zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(a: V, b: V) -> V {
        zip(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(a: V, b: V) -> V {
        zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn fma(a: V, b: V, c: V) -> V {
        zip(zip(a, b, |a, b| a * b), c, |ab, c| ab + c)
    }
    #[inline(always)]
    fn fnma(a: V, b: V, c: V) -> V {
        zip(zip(a, b, |a, b| a * b), c, |ab, c| c - ab)
    }
    #[inline(always)]
    fn relu(v: V) -> V {
        map(v, |v| if v <= 0.0 { 0.0 } else { v })
    }
    #[inline(always)]
    fn at_most(v: V, limit: V) -> V {
        zip(v, limit, |v, limit| if v > limit { limit } else { v })
    }
    #[inline(always)]
    fn less(a: V, b: V) -> u16 {
        (0..LANES).fold(0, |bits, i| bits | u16::from(a[i] < b[i]) << i)
    }
    #[inline(always)]
    fn keep(mut v: V, bits: u16) -> V {
        for (i, v) in v.iter_mut().enumerate() {
            if bits >> i & 1 == 0 {
                *v = 0.0;
            }
        }
        v
    }
    #[inline(always)]
    fn interleave(a: V, b: V) -> [V; 2] {
        [0, LANES / 2]
            .map(|from| std::array::from_fn(|i| if i % 2 == 0 { a[from + i / 2] } else { b[from + i / 2] }))
    }
}
