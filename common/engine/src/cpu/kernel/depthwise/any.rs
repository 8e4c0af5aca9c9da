//! Rows of windows of any width, stride and padding, tap by tap.

use super::{Line, Maps};
use crate::cpu::vector::axis::Meeting;
use crate::cpu::vector::simd::Simd;

/// Neighbours that share the loads of their weights where they meet the same taps.
const NEIGHBOURS: usize = 4;

/// One row.
///
/// # Safety
///
/// The call's pointers are valid for all images, and the line is inside them.
#[inline(always)]
#[allow(unsafe_code)]
pub(super) unsafe fn line<S: Simd>(call: &Maps<'_>, line: &Line) {
    let gather = &call.gather;
    let (rows, width) = (gather.rows.run(line.y), gather.to[1]);
    let mut x = 0;
    while x < width {
        let first = gather.columns.run(x);
        let alike = |run: Meeting| run.tap == first.tap && run.count == first.count;
        // SAFETY: the caller's promise.
        unsafe {
            if x + NEIGHBOURS <= width && (1..NEIGHBOURS).all(|i| alike(gather.columns.run(x + i))) {
                values::<S, NEIGHBOURS>(call, line, rows, first, x);
                x += NEIGHBOURS;
            } else {
                values::<S, 1>(call, line, rows, first, x);
                x += 1;
            }
        }
    }
}

/// `N` neighbours that meet the same taps of the columns.
///
/// # Safety
///
/// As for [`line`](fn@line).
#[inline(always)]
#[allow(unsafe_code)]
unsafe fn values<S: Simd, const N: usize>(
    call: &Maps<'_>,
    line: &Line,
    rows: Meeting,
    columns: Meeting,
    x: usize,
) {
    let gather = &call.gather;
    let pixel = gather.pixel;
    let column_step = gather.columns.source_step() * pixel as isize;
    let row_step = gather.rows.source_step() * (gather.source[1] * pixel) as isize;
    let mut starts = [0; N];
    for (i, start) in starts.iter_mut().enumerate() {
        let column = gather.columns.run(x + i).source;
        *start = line.from + (rows.source * gather.source[1] + column) * pixel;
    }
    // SAFETY: the caller's promise; runs name only what is inside.
    unsafe {
        for channel in line.channels.clone().step_by(S::LANES) {
            let mut sums = [S::zero(); N];
            for i in 0..rows.count {
                let row = (rows.tap + i * gather.rows.tap_step()) * gather.taps[1];
                for j in 0..columns.count {
                    let tap = row + columns.tap + j * gather.columns.tap_step();
                    let weight = S::load(call.weights.add(tap * pixel + channel));
                    let away = i as isize * row_step + j as isize * column_step;
                    for (sum, start) in sums.iter_mut().zip(starts) {
                        *sum = S::fma(S::load(call.from.add(start + channel).offset(away)), weight, *sum);
                    }
                }
            }
            for (i, sum) in sums.into_iter().enumerate() {
                let to = line.to + (line.y * gather.to[1] + x + i) * pixel + channel;
                call.epilogue.finish::<S>(sum, channel, call.to, to);
            }
        }
    }
}
