//! The register tile at the heart of every dense kernel: a few rows times a panel of output channels.
//!
//! A panel is [`Panel::blocks`] blocks of output channels, its weights packed `[k][width]` so that one pass over k
//! reads them in order. Each value is one chain of multiply-adds in the order of k, whatever the tile's height: a
//! row's result does not depend on which rows share its tile.
//!
//! The loops work on a copy of their sums and count by themselves: over a range and through the reference, the compiler keeps
//! two sets of them alive and lets some of both go to the stack. A test reads the machine code for that.

use super::simd::{BLOCK, InstructionSet, Isa, Simd, padded};

/// The largest number of rows of any tile.
pub(crate) const MAX_ROWS: usize = 14;

/// Rows of a full tile beside two vectors of half a block.
pub(crate) const FULL_ROWS: usize = 6;

/// Rows of a tile beside a [narrow](Panel::is_narrow) panel, for which a panel's own rows are too few to keep the multipliers
/// busy.
pub(crate) const NARROW_ROWS: usize = 10;

/// How output channels are split into panels for an instruction set: equal widths where possible, else one narrower
/// panel at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Panels {
    /// Blocks of output channels altogether.
    blocks: usize,
    /// Blocks of every panel but possibly the last.
    widest: usize,
}

/// One panel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Panel {
    /// Its first output channel.
    pub(crate) channel: usize,
    /// Its blocks, 1 to 4.
    pub(crate) blocks: usize,
}

impl Panel {
    /// Whether it is a vector of so many lanes and a vector of padding, in a map of so many channels.
    #[inline(always)]
    pub(crate) const fn is_narrow(self, lanes: usize, channels: usize) -> bool {
        lanes < BLOCK && channels - self.channel <= lanes
    }
}

impl Panels {
    pub(crate) fn new(isa: Isa, channels: usize) -> Self {
        let blocks = padded(channels) / BLOCK;
        let widest = (1..=isa.panel()).rev().find(|&w| w >= 3 && blocks.is_multiple_of(w));
        Self { blocks, widest: widest.unwrap_or(isa.panel()).min(blocks) }
    }

    /// Output channels altogether, padded.
    pub(crate) fn channels(self) -> usize {
        self.blocks * BLOCK
    }

    pub(crate) fn len(self) -> usize {
        self.blocks.div_ceil(self.widest)
    }

    pub(crate) fn get(self, index: usize) -> Panel {
        let first = index * self.widest;
        Panel { channel: first * BLOCK, blocks: self.widest.min(self.blocks - first) }
    }

    /// Rows of the tile that fills the registers beside the widest panel.
    pub(crate) fn rows(self, isa: Isa) -> usize {
        rows(isa, self.widest)
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = Panel> {
        (0..self.len()).map(move |index| self.get(index))
    }
}

/// Rows of a full tile beside a panel of this many blocks. Widths and heights that do not occur on a machine give
/// its nearest.
pub(crate) const fn rows(isa: Isa, blocks: usize) -> usize {
    match isa.set() {
        InstructionSet::Avx512 => match blocks {
            4 => 6,
            3 => 8,
            2 => 12,
            _ => MAX_ROWS,
        },
        InstructionSet::Avx2 | InstructionSet::Neon => FULL_ROWS,
        InstructionSet::Portable => 4,
    }
}

/// `acc[i][j] += sum over k of row_i[k] * panel[k][j]`: rows lie anywhere, each contiguous in k.
///
/// # Safety
///
/// Every row is valid for `k` values, the panel for `k` groups of W vectors `panel_stride` apart.
#[inline(always)]
#[allow(unsafe_code)]
pub(crate) unsafe fn rows_by_panel<S: Simd, const R: usize, const W: usize>(
    k: usize,
    rows: [*const f32; R],
    (mut panel, panel_stride): (*const f32, usize),
    acc: &mut [[S::V; W]; R],
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = *acc;
        let mut i = 0;
        while i < k {
            let mut weights = [S::zero(); W];
            for (j, weights) in weights.iter_mut().enumerate() {
                *weights = S::load(panel.add(j * S::LANES));
            }
            for r in 0..R {
                let x = S::splat(*rows[r].add(i));
                for j in 0..W {
                    sums[r][j] = S::fma(x, weights[j], sums[r][j]);
                }
            }
            panel = panel.add(panel_stride);
            i += 1;
        }
        *acc = sums;
    }
}

/// `acc[i][j] += sum over k of a[k][i] * b[k][j]`: the product of a weight gradient, where k runs over positions.
///
/// # Safety
///
/// `a` is valid for `k` groups of R values `a_stride` apart, `b` for `k` groups of W vectors `b_stride` apart.
#[inline(always)]
#[allow(unsafe_code)]
pub(crate) unsafe fn columns_by_panel<S: Simd, const R: usize, const W: usize>(
    k: usize,
    (mut a, a_stride): (*const f32, usize),
    (mut b, b_stride): (*const f32, usize),
    acc: &mut [[S::V; W]; R],
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = *acc;
        let mut left = k;
        while left > 0 {
            let mut right = [S::zero(); W];
            for (j, right) in right.iter_mut().enumerate() {
                *right = S::load(b.add(j * S::LANES));
            }
            for r in 0..R {
                let x = S::splat(*a.add(r));
                for j in 0..W {
                    sums[r][j] = S::fma(x, right[j], sums[r][j]);
                }
            }
            a = a.add(a_stride);
            b = b.add(b_stride);
            left -= 1;
        }
        *acc = sums;
    }
}

/// Calls `$f::<S, R, W>($args)` with the tile's height and width, known only at run time, as constants.
///
/// Heights above what a width has registers for cannot occur: [`rows`] bounds them.
macro_rules! with_tile {
    ($rows:expr, $blocks:expr, $f:ident::<$s:ident>($($arg:expr),* $(,)?)) => {
        if $s::LANES < $crate::cpu::vector::simd::BLOCK {
            with_tile!(@match $rows, 2 * $blocks, $f::<$s>($($arg),*), [2: 1 2 3 4 5 6])
        } else {
            with_tile!(@match $rows, $blocks, $f::<$s>($($arg),*),
                [4: 1 2 3 4 5 6] [3: 1 2 3 4 5 6 7 8] [2: 1 2 3 4 5 6 7 8 9 10 11 12]
                [1: 1 2 3 4 5 6 7 8 9 10 11 12 13 14])
        }
    };
    (@match $rows:expr, $vectors:expr, $f:ident::<$s:ident>$args:tt, $([$w:literal: $($r:literal)*])*) => {
        match ($vectors, $rows) {
            $($(($w, $r) => with_tile!(@call $f::<$s, $r, $w>$args),)*)*
            (vectors, rows) => unreachable!("a tile of {rows} rows by {vectors} vectors"),
        }
    };
    (@call $f:ident::<$s:ident, $r:literal, $w:literal>($($arg:expr),*)) => {
        $f::<$s, $r, $w>($($arg),*)
    };
}
pub(crate) use with_tile;

/// Calls `$f::<S, R>($args)` with the height of a tile beside a [narrow](Panel::is_narrow) panel as a constant.
macro_rules! with_narrow {
    ($rows:expr, $f:ident::<$s:ident>$args:tt) => {
        match $rows {
            1 => $f::<$s, 1>$args,
            2 => $f::<$s, 2>$args,
            3 => $f::<$s, 3>$args,
            4 => $f::<$s, 4>$args,
            5 => $f::<$s, 5>$args,
            6 => $f::<$s, 6>$args,
            7 => $f::<$s, 7>$args,
            8 => $f::<$s, 8>$args,
            9 => $f::<$s, 9>$args,
            $crate::cpu::vector::tile::NARROW_ROWS => $f::<$s, { $crate::cpu::vector::tile::NARROW_ROWS }>$args,
            rows => unreachable!("a narrow tile of {rows} rows"),
        }
    };
}
pub(crate) use with_narrow;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::vector::simd::Kernel;

    /// Runs a tile of the given size over rows, and gives the accumulators.
    struct Product<'a> {
        rows: usize,
        blocks: usize,
        k: usize,
        x: &'a [f32],
        panel: &'a [f32],
    }

    impl Kernel for Product<'_> {
        type Output = Vec<f32>;
        #[inline(always)]
        fn run<S: Simd>(self) -> Vec<f32> {
            let mut y = vec![0.0; self.rows * self.blocks * BLOCK];
            // SAFETY: the test's slices have these sizes.
            #[allow(unsafe_code)]
            unsafe {
                with_tile!(self.rows, self.blocks, tile::<S>(self.k, self.x, self.panel, &mut y));
            }
            y
        }
    }

    #[inline(always)]
    #[allow(unsafe_code)]
    unsafe fn tile<S: Simd, const R: usize, const W: usize>(
        k: usize,
        x: &[f32],
        panel: &[f32],
        y: &mut [f32],
    ) {
        // SAFETY: the test's slices have these sizes.
        unsafe {
            let mut acc = [[S::zero(); W]; R];
            let mut rows = [x.as_ptr(); R];
            for (i, row) in rows.iter_mut().enumerate() {
                *row = x.as_ptr().add(i * k);
            }
            rows_by_panel::<S, R, W>(k, rows, (panel.as_ptr(), W * S::LANES), &mut acc);
            for r in 0..R {
                for j in 0..W {
                    S::store(y.as_mut_ptr().add((r * W + j) * S::LANES), acc[r][j]);
                }
            }
        }
    }

    #[test]
    fn every_tile_multiplies_small_integers_exactly() {
        for isa in Isa::available() {
            for blocks in 1..=isa.panel() {
                for rows in 1..=rows(isa, blocks) {
                    let (k, width) = (5, blocks * BLOCK);
                    let x: Vec<f32> = (0..rows * k).map(|i| (i % 7) as f32 - 3.0).collect();
                    let panel: Vec<f32> = (0..k * width).map(|i| (i % 5) as f32 - 2.0).collect();
                    let y = isa.run(Product { rows, blocks, k, x: &x, panel: &panel });
                    for r in 0..rows {
                        for j in 0..width {
                            let wanted: f32 = (0..k).map(|i| x[r * k + i] * panel[i * width + j]).sum();
                            assert!(
                                y[r * width + j].to_bits() == wanted.to_bits(),
                                "{isa:?} {rows}x{blocks}"
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn panels_cover_every_channel_once() {
        for isa in Isa::available() {
            for channels in 1..700 {
                let mut next = 0;
                for panel in Panels::new(isa, channels).iter() {
                    assert_eq!(panel.channel, next);
                    assert!(panel.blocks >= 1 && panel.blocks <= isa.panel());
                    next += panel.blocks * BLOCK;
                }
                assert_eq!(next, padded(channels));
            }
        }
    }
}
