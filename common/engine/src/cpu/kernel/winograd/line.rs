//! The one-dimensional transforms of Lavin and Gray, and their nesting into two dimensions.
//!
//! F(m x m, 3 x 3) works on tiles of n = m + 2 values. F(2) uses the nodes 0, 1, -1, infinity; F(4) uses 0, +-0.75,
//! +-1.5, infinity instead of the paper's 0, +-1, +-2: half the error at the same cost. Each transform exists for
//! both sizes; the lengths tell which.

#![allow(unsafe_code, clippy::needless_range_loop)]

use std::marker::PhantomData;
use std::ops::Range;

use crate::cpu::vector::epilogue::{Epilogue, Form};
use crate::cpu::vector::simd::Simd;

/// A linear map of `A` values to `B`, in every lane.
pub(super) trait Line<const A: usize, const B: usize> {
    /// Applies it.
    fn apply<S: Simd>(x: [S::V; A]) -> [S::V; B];
}

/// n input values to n frequencies: the paper's B transposed.
pub(super) struct Input;
/// n frequencies of a product to m output values: A transposed.
pub(super) struct Output;
/// 3 taps to n frequencies: G.
pub(super) struct Weight;
/// m values of an output's gradient to n frequencies: the G of F(3, m).
pub(super) struct Gradient;
/// n frequencies of a product to the gradients of 3 taps: the A transposed of F(3, m).
pub(super) struct Taps;

/// Where a square of values comes from.
pub(super) trait Source {
    /// The first lane of row `i`, column `j`.
    fn at(&self, i: usize, j: usize) -> *const f32;

    /// Whether there is a column `j`; one that is not is all zeros.
    #[inline(always)]
    fn has(&self, _j: usize) -> bool {
        true
    }
}

/// Where a square of values goes.
pub(super) trait Sink {
    /// # Safety
    ///
    /// The destination of row `i`, column `j` takes a vector.
    unsafe fn put<S: Simd>(&self, i: usize, j: usize, v: S::V);
}

/// Applies `L` to the columns, then to the rows of an A x A square; gives a B x B square.
///
/// # Safety
///
/// The source is valid for a vector at every place of the columns that it has, the sink for one at every place.
#[inline(always)]
pub(super) unsafe fn square<S: Simd, L: Line<A, B>, const A: usize, const B: usize>(
    source: &impl Source,
    sink: &impl Sink,
) {
    // SAFETY: the caller's promise.
    unsafe {
        // Loops over places: over values, the compiler copies all of `half` once more.
        let mut half = [[S::zero(); A]; B];
        for j in 0..A {
            if !source.has(j) {
                continue;
            }
            let mut column = [S::zero(); A];
            for i in 0..A {
                column[i] = S::load(source.at(i, j));
            }
            let column = L::apply::<S>(column);
            for i in 0..B {
                half[i][j] = column[i];
            }
        }
        for i in 0..B {
            let row = L::apply::<S>(half[i]);
            for j in 0..B {
                sink.put::<S>(i, j, row[j]);
            }
        }
    }
}

/// Equally spaced vectors.
#[derive(Clone, Copy)]
pub(super) struct Grid {
    pub(super) base: *const f32,
    /// f32 from one row to the next.
    pub(super) row: usize,
    /// f32 from one column to the next.
    pub(super) column: usize,
}

impl Source for Grid {
    #[inline(always)]
    fn at(&self, i: usize, j: usize) -> *const f32 {
        self.base.wrapping_add(i * self.row + j * self.column)
    }
}

/// A square over the edge of a map.
pub(super) struct Edge<'a, const A: usize> {
    /// Each of A equally spaced pixels; zeros where the row is outside.
    pub(super) rows: &'a [*const f32; A],
    /// f32 from one pixel to the next.
    pub(super) pixel: usize,
    /// f32 from a pixel to the vector.
    pub(super) channel: usize,
    /// Columns inside.
    pub(super) columns: Range<usize>,
}

impl<const A: usize> Source for Edge<'_, A> {
    #[inline(always)]
    fn at(&self, i: usize, j: usize) -> *const f32 {
        self.rows[i].wrapping_add(j * self.pixel + self.channel)
    }

    #[inline(always)]
    fn has(&self, j: usize) -> bool {
        self.columns.contains(&j)
    }
}

/// N x N frequencies, one every `stride` f32; `STREAM` writes past the caches.
pub(super) struct Planes<const N: usize, const STREAM: bool> {
    pub(super) to: *mut f32,
    pub(super) stride: usize,
}

impl<const N: usize, const STREAM: bool> Sink for Planes<N, STREAM> {
    #[inline(always)]
    unsafe fn put<S: Simd>(&self, i: usize, j: usize, v: S::V) {
        let to = self.to.wrapping_add((i * N + j) * self.stride);
        // SAFETY: the caller's promise.
        unsafe { if STREAM { S::stream(to, v) } else { S::store(to, v) } }
    }
}

/// The part of an output tile that lies inside the map, through an epilogue of form F; that of a `WHOLE` tile is all of it,
/// which is not looked at again.
pub(super) struct Pixels<'a, F, const WHOLE: bool> {
    pub(super) epilogue: &'a Epilogue<'a>,
    pub(super) form: PhantomData<F>,
    pub(super) to: *mut f32,
    /// Place of the tile's first pixel in the destination, at this channel.
    pub(super) offset: usize,
    pub(super) channel: usize,
    /// f32 from one row to the next.
    pub(super) row: usize,
    /// f32 from one pixel to the next.
    pub(super) pixel: usize,
    /// Rows and columns inside the map.
    pub(super) inside: [usize; 2],
}

impl<F: Form, const WHOLE: bool> Sink for Pixels<'_, F, WHOLE> {
    #[inline(always)]
    unsafe fn put<S: Simd>(&self, i: usize, j: usize, v: S::V) {
        if WHOLE || i < self.inside[0] && j < self.inside[1] {
            let offset = self.offset + i * self.row + j * self.pixel;
            // SAFETY: the caller's promise.
            unsafe {
                let bias = self.epilogue.bias_at::<S, F>(self.channel);
                self.epilogue.finish_as::<S, F>(v, bias, self.to, offset);
            }
        }
    }
}

mod two {
    use super::{Gradient, Input, Line, Output, Simd, Taps, Weight};

    impl Line<4, 4> for Input {
        #[inline(always)]
        fn apply<S: Simd>(d: [S::V; 4]) -> [S::V; 4] {
            [S::sub(d[0], d[2]), S::add(d[2], d[1]), S::sub(d[2], d[1]), S::sub(d[3], d[1])]
        }
    }

    impl Line<4, 2> for Output {
        #[inline(always)]
        fn apply<S: Simd>(m: [S::V; 4]) -> [S::V; 2] {
            [S::add(m[0], S::add(m[1], m[2])), S::add(S::sub(m[1], m[2]), m[3])]
        }
    }

    impl Line<3, 4> for Weight {
        #[inline(always)]
        fn apply<S: Simd>(g: [S::V; 3]) -> [S::V; 4] {
            let half = S::splat(0.5);
            let even = S::add(g[0], g[2]);
            [g[0], S::mul(half, S::add(even, g[1])), S::mul(half, S::sub(even, g[1])), g[2]]
        }
    }

    impl Line<2, 4> for Gradient {
        #[inline(always)]
        fn apply<S: Simd>(y: [S::V; 2]) -> [S::V; 4] {
            let half = S::splat(0.5);
            [y[0], S::mul(half, S::add(y[0], y[1])), S::mul(half, S::sub(y[0], y[1])), y[1]]
        }
    }

    impl Line<4, 3> for Taps {
        #[inline(always)]
        fn apply<S: Simd>(m: [S::V; 4]) -> [S::V; 3] {
            let even = S::add(m[1], m[2]);
            [S::add(m[0], even), S::sub(m[1], m[2]), S::add(even, m[3])]
        }
    }
}

mod four {
    use super::{Gradient, Input, Line, Output, Simd, Taps, Weight};

    /// The nodes are 0, +-P, +-Q, infinity; their powers are exact in f32.
    const P: f32 = 0.75;
    const Q: f32 = 1.5;
    const P2: f32 = P * P;
    const Q2: f32 = Q * Q;
    const P3: f32 = P2 * P;
    const Q3: f32 = Q2 * Q;
    /// One over the product of a node's distances to the other finite ones: at 0, +-P, +-Q.
    const AT_ZERO: f32 = 1.0 / (P2 * Q2);
    const AT_P: f32 = 1.0 / (2.0 * P2 * (P2 - Q2));
    const AT_Q: f32 = 1.0 / (2.0 * Q2 * (Q2 - P2));

    impl Line<6, 6> for Input {
        #[inline(always)]
        fn apply<S: Simd>(d: [S::V; 6]) -> [S::V; 6] {
            let (p2, q2) = (S::splat(P2), S::splat(Q2));
            let (p, q) = (S::splat(P), S::splat(Q));
            let (sum, product) = (S::splat(P2 + Q2), S::splat(P2 * Q2));
            let (even_p, odd_p) = (S::fnma(q2, d[2], d[4]), S::fnma(q2, d[1], d[3]));
            let (even_q, odd_q) = (S::fnma(p2, d[2], d[4]), S::fnma(p2, d[1], d[3]));
            [
                S::fma(product, d[0], S::fnma(sum, d[2], d[4])),
                S::fma(p, odd_p, even_p),
                S::fnma(p, odd_p, even_p),
                S::fma(q, odd_q, even_q),
                S::fnma(q, odd_q, even_q),
                S::fma(product, d[1], S::fnma(sum, d[3], d[5])),
            ]
        }
    }

    /// Sums and differences at the nodes +-P and +-Q.
    #[inline(always)]
    fn pairs<S: Simd>(m: [S::V; 6]) -> [S::V; 4] {
        [S::add(m[1], m[2]), S::sub(m[1], m[2]), S::add(m[3], m[4]), S::sub(m[3], m[4])]
    }

    impl Line<6, 4> for Output {
        #[inline(always)]
        fn apply<S: Simd>(m: [S::V; 6]) -> [S::V; 4] {
            let [even_p, odd_p, even_q, odd_q] = pairs::<S>(m);
            [
                S::add(m[0], S::add(even_p, even_q)),
                S::fma(S::splat(P), odd_p, S::mul(S::splat(Q), odd_q)),
                S::fma(S::splat(P2), even_p, S::mul(S::splat(Q2), even_q)),
                S::fma(S::splat(P3), odd_p, S::fma(S::splat(Q3), odd_q, m[5])),
            ]
        }
    }

    impl Line<6, 3> for Taps {
        #[inline(always)]
        fn apply<S: Simd>(m: [S::V; 6]) -> [S::V; 3] {
            let [even_p, odd_p, even_q, odd_q] = pairs::<S>(m);
            [
                S::add(m[0], S::add(even_p, even_q)),
                S::fma(S::splat(P), odd_p, S::mul(S::splat(Q), odd_q)),
                S::fma(S::splat(P2), even_p, S::fma(S::splat(Q2), even_q, m[5])),
            ]
        }
    }

    /// A polynomial at all nodes, from its even and odd parts at P and Q, its lowest and its highest coefficient.
    #[inline(always)]
    fn nodes<S: Simd>([low, high]: [S::V; 2], even: [S::V; 2], odd: [S::V; 2]) -> [S::V; 6] {
        let (p, q) = (S::splat(AT_P), S::splat(AT_Q));
        [
            S::mul(S::splat(AT_ZERO), low),
            S::mul(p, S::add(even[0], odd[0])),
            S::mul(p, S::sub(even[0], odd[0])),
            S::mul(q, S::add(even[1], odd[1])),
            S::mul(q, S::sub(even[1], odd[1])),
            high,
        ]
    }

    impl Line<3, 6> for Weight {
        #[inline(always)]
        fn apply<S: Simd>(g: [S::V; 3]) -> [S::V; 6] {
            let even = [S::fma(S::splat(P2), g[2], g[0]), S::fma(S::splat(Q2), g[2], g[0])];
            let odd = [S::mul(S::splat(P), g[1]), S::mul(S::splat(Q), g[1])];
            nodes::<S>([g[0], g[2]], even, odd)
        }
    }

    impl Line<4, 6> for Gradient {
        #[inline(always)]
        fn apply<S: Simd>(y: [S::V; 4]) -> [S::V; 6] {
            let even = [S::fma(S::splat(P2), y[2], y[0]), S::fma(S::splat(Q2), y[2], y[0])];
            let odd = [
                S::mul(S::splat(P), S::fma(S::splat(P2), y[3], y[1])),
                S::mul(S::splat(Q), S::fma(S::splat(Q2), y[3], y[1])),
            ];
            nodes::<S>([y[0], y[3]], even, odd)
        }
    }
}
