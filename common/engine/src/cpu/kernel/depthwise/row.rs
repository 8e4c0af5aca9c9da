//! Rows of windows three columns wide: neighbours slide over their source and share its loads.
//!
//! A block of neighbours for one vector of channels stays in registers. Each value is the chain of its taps in the
//! order of rows, then columns of the kernel, zeros where the window hangs over the side.

use super::{Line, Maps};
use crate::cpu::vector::axis::Meeting;
use crate::cpu::vector::epilogue::{Activated, Activated6, Asked, Form, Gated, Known, Stored};
use crate::cpu::vector::simd::Simd;

/// A block: where it begins, and which of its loads hang over the sides.
#[derive(Clone, Copy)]
struct Block {
    rows: Meeting,
    /// Offset of the first row's first load, if that were inside, for channel 0.
    from: isize,
    first_outside: bool,
    last_outside: bool,
    /// Offset of its first value for channel 0.
    to: usize,
}

/// Calls `$f::<S, F, N>` with the number of neighbours, at most `$most`, as a constant: with the epilogue's form as F where they
/// are so many, which most rows are made of.
macro_rules! with_block {
    ($n:expr, $most:literal: $($fewer:literal)*, $form:expr, $f:ident::<$s:ident, $stride:literal>$args:tt) => {
        match ($n, $form) {
            $(($fewer, _) => $f::<$s, Asked, $fewer, $stride>$args,)*
            (_, Known::Stored) => $f::<$s, Stored, $most, $stride>$args,
            (_, Known::Activated) => $f::<$s, Activated, $most, $stride>$args,
            (_, Known::Activated6) => $f::<$s, Activated6, $most, $stride>$args,
            (_, Known::Gated) => $f::<$s, Gated, $most, $stride>$args,
            _ => $f::<$s, Asked, $most, $stride>$args,
        }
    };
}

/// Neighbours that the registers hold beside the weights.
const WIDEST: usize = 8;

/// A row with stride 1; the taps in their order, or against it.
///
/// # Safety
///
/// The call's pointers are valid for all images, and the line is inside them.
#[inline(always)]
#[allow(unsafe_code)]
pub(super) unsafe fn slide<S: Simd>(call: &Maps<'_>, line: &Line, before: usize, flipped: bool) {
    // SAFETY: the caller's promise; at most one column hangs over either side.
    unsafe {
        let mut x = 0;
        while x < call.gather.to[1] {
            let n = (call.gather.to[1] - x).min(WIDEST);
            let block = block(call, line, x, x as isize - before as isize, n + 2);
            let order = if flipped { [2, 1, 0] } else { [0, 1, 2] };
            with_block!(n, 8: 1 2 3 4 5 6 7, call.form, window::<S, 1>(call, line, block, order));
            x += n;
        }
    }
}

/// A row with stride 2.
///
/// # Safety
///
/// As for [`slide`].
#[inline(always)]
#[allow(unsafe_code)]
pub(super) unsafe fn skip<S: Simd>(call: &Maps<'_>, line: &Line, before: usize) {
    // SAFETY: the caller's promise; at most one column hangs over either side.
    unsafe {
        let mut x = 0;
        while x < call.gather.to[1] {
            let n = (call.gather.to[1] - x).min(WIDEST);
            let block = block(call, line, x, 2 * x as isize - before as isize, 2 * n + 1);
            with_block!(n, 8: 1 2 3 4 5 6 7, call.form, window::<S, 2>(call, line, block, [0, 1, 2]));
            x += n;
        }
    }
}

/// A row of the gradient of stride 2: even columns meet the middle tap, odd ones the two outer taps.
///
/// # Safety
///
/// As for [`slide`].
#[inline(always)]
#[allow(unsafe_code)]
pub(super) unsafe fn spread<S: Simd>(call: &Maps<'_>, line: &Line) {
    let width = call.gather.to[1];
    // SAFETY: the caller's promise; the last load alone hangs over the side.
    unsafe {
        let mut x = 0;
        while x < width.div_ceil(2) {
            let n = (width.div_ceil(2) - x).min(WIDEST / 2);
            let block = block(call, line, 2 * x, x as isize, n + 1);
            with_block!(n, 4: 1 2 3, call.form, pairs::<S, 2>(call, line, block, 2 * (x + n) > width));
            x += n;
        }
    }
}

/// The block that begins at column `x` and loads `loads` columns from column `first`.
#[inline(always)]
fn block(call: &Maps<'_>, line: &Line, x: usize, first: isize, loads: usize) -> Block {
    let gather = &call.gather;
    let rows = gather.rows.run(line.y);
    let row = (line.from + rows.source * gather.source[1] * gather.pixel) as isize;
    Block {
        rows,
        from: row + first * gather.pixel as isize,
        first_outside: first < 0,
        last_outside: first + loads as isize > gather.source[1] as isize,
        to: line.to + (line.y * gather.to[1] + x) * gather.pixel,
    }
}

/// `N` neighbours of a window of three columns.
///
/// # Safety
///
/// As for [`slide`]; all loads of the block are inside the source but those that it names.
#[inline(always)]
#[allow(unsafe_code)]
unsafe fn window<S: Simd, F: Form, const N: usize, const STRIDE: usize>(
    call: &Maps<'_>,
    line: &Line,
    block: Block,
    order: [usize; 3],
) {
    let gather = &call.gather;
    let pixel = gather.pixel;
    let source_step = gather.rows.source_step() * (gather.source[1] * pixel) as isize;
    let tap_step = gather.rows.tap_step() * 3 * pixel;
    // SAFETY: the caller's promise.
    unsafe {
        for channel in line.channels.clone().step_by(S::LANES) {
            let mut sums = [S::zero(); N];
            let mut from = call.from.wrapping_offset(block.from).wrapping_add(channel);
            let mut weights = call.weights.wrapping_add(block.rows.tap * 3 * pixel + channel);
            for _ in 0..block.rows.count {
                let [w0, w1, w2] = order.map(|tap| S::load(weights.add(tap * pixel)));
                let at = |column: usize| from.wrapping_add(column * pixel);
                let mut left = if block.first_outside { S::zero() } else { S::load(from) };
                let mut middle = S::load(at(1));
                for (i, sum) in sums.iter_mut().enumerate() {
                    let column = i * STRIDE + 2;
                    let outside = i + 1 == N && block.last_outside;
                    let right = if outside { S::zero() } else { S::load(at(column)) };
                    *sum = S::fma(right, w2, S::fma(middle, w1, S::fma(left, w0, *sum)));
                    if STRIDE == 1 {
                        (left, middle) = (middle, right);
                    } else if i + 1 < N {
                        (left, middle) = (right, S::load(at(column + 1)));
                    }
                }
                from = from.wrapping_offset(source_step);
                weights = weights.wrapping_add(tap_step);
            }
            finish::<S, F, N>(call, sums, N, channel, block.to + channel, pixel);
        }
    }
}

/// `N` pairs of an even and an odd column; the last odd one may lie outside.
///
/// # Safety
///
/// As for [`window`].
#[inline(always)]
#[allow(unsafe_code)]
unsafe fn pairs<S: Simd, F: Form, const N: usize, const STRIDE: usize>(
    call: &Maps<'_>,
    line: &Line,
    block: Block,
    last_odd_outside: bool,
) {
    let gather = &call.gather;
    let pixel = gather.pixel;
    let source_step = gather.rows.source_step() * (gather.source[1] * pixel) as isize;
    let tap_step = gather.rows.tap_step() * 3 * pixel;
    // SAFETY: the caller's promise.
    unsafe {
        for channel in line.channels.clone().step_by(S::LANES) {
            let (mut even, mut odd) = ([S::zero(); N], [S::zero(); N]);
            let mut from = call.from.wrapping_offset(block.from).wrapping_add(channel);
            let mut weights = call.weights.wrapping_add(block.rows.tap * 3 * pixel + channel);
            for _ in 0..block.rows.count {
                let [w0, w1, w2] = [0, 1, 2].map(|tap| S::load(weights.add(tap * pixel)));
                let mut here = S::load(from);
                for i in 0..N {
                    let outside = i + 1 == N && block.last_outside;
                    let next = if outside { S::zero() } else { S::load(from.wrapping_add((i + 1) * pixel)) };
                    even[i] = S::fma(here, w1, even[i]);
                    odd[i] = S::fma(here, w2, S::fma(next, w0, odd[i]));
                    here = next;
                }
                from = from.wrapping_offset(source_step);
                weights = weights.wrapping_add(tap_step);
            }
            let to = block.to + channel;
            finish::<S, F, N>(call, even, N, channel, to, STRIDE * pixel);
            finish::<S, F, N>(
                call,
                odd,
                N - usize::from(last_odd_outside),
                channel,
                to + pixel,
                STRIDE * pixel,
            );
        }
    }
}

/// Finishes the first `n` of N vectors, the first at offset `to` and each `step` behind the one before.
///
/// # Safety
///
/// The epilogue is of the form, and these places are the caller's.
#[inline(always)]
#[allow(unsafe_code)]
unsafe fn finish<S: Simd, F: Form, const N: usize>(
    call: &Maps<'_>,
    sums: [S::V; N],
    n: usize,
    channel: usize,
    to: usize,
    step: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let bias = call.epilogue.bias_at::<S, F>(channel);
        if F::STEPS.is_some() {
            for (i, sum) in sums.into_iter().enumerate() {
                if i + 1 < N || n == N {
                    call.epilogue.finish_as::<S, F>(sum, bias, call.to, to + i * step);
                }
            }
        } else {
            // From memory, in a loop: there is much to ask, and many numbers of neighbours.
            let sums = sums.as_ptr().cast::<f32>();
            for i in 0..n {
                let sum = S::load(sums.add(i * S::LANES));
                call.epilogue.finish_as::<S, F>(sum, bias, call.to, to + i * step);
            }
        }
    }
}
