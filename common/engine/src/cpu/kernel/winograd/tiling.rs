//! Where the tiles of a 3x3 convolution lie: numbered image by image, row by row.

#![allow(unsafe_code)]

use super::line::{Edge, Grid, Line, Planes, square};
use crate::cpu::vector::simd::{Simd, padded};

/// A channels-last map, `[image][row][column][pixel]`.
#[derive(Clone, Copy)]
pub(super) struct Map {
    pub(super) height: usize,
    pub(super) width: usize,
    /// f32 from one pixel to the next: whole vectors.
    pub(super) pixel: usize,
}

impl Map {
    /// A map of these channels, rows and columns.
    pub(super) fn new([channels, height, width]: [usize; 3]) -> Self {
        Self { height, width, pixel: padded(channels) }
    }

    /// f32 per row.
    pub(super) fn row(&self) -> usize {
        self.width * self.pixel
    }

    /// f32 per image.
    pub(super) fn image(&self) -> usize {
        self.height * self.row()
    }

    /// Transforms the A x A patch whose first pixel is at (`y`, `x`), zero outside the map: vector `v` of its pixels
    /// goes to `to(v)`, a frequency every `stride` f32.
    ///
    /// # Safety
    ///
    /// `image` is an image of this map, `zeros` A pixels of zeros, and `to` gives valid destinations.
    #[inline(always)]
    pub(super) unsafe fn transform<S: Simd, L: Line<A, N>, const A: usize, const N: usize>(
        &self,
        (image, zeros): (*const f32, *const f32),
        [y, x]: [isize; 2],
        to: &impl Destination,
        stride: usize,
    ) {
        let (height, width) = (self.height as isize, self.width as isize);
        let end = A as isize;
        let start = image.wrapping_offset(y * self.row() as isize + x * self.pixel as isize);
        // SAFETY: the caller's promise; every row is inside the image or the zeros, and so are the columns that are asked for.
        unsafe {
            if y >= 0 && x >= 0 && y + end <= height && x + end <= width {
                for channel in (0..self.pixel).step_by(S::LANES) {
                    let source = Grid { base: start.add(channel), row: self.row(), column: self.pixel };
                    square::<S, L, A, N>(&source, &Planes::<N, false> { to: to.channel(channel), stride });
                }
                return;
            }
            let mut rows = [zeros; A];
            for (i, row) in rows.iter_mut().enumerate() {
                if (0..height).contains(&(y + i as isize)) {
                    *row = start.wrapping_add(i * self.row());
                }
            }
            let [first, last] = [-x, width - x].map(|column| column.clamp(0, end) as usize);
            for channel in (0..self.pixel).step_by(S::LANES) {
                let source = Edge { rows: &rows, pixel: self.pixel, channel, columns: first..last };
                square::<S, L, A, N>(&source, &Planes::<N, false> { to: to.channel(channel), stride });
            }
        }
    }
}

/// Where the frequencies of a vector of channels begin.
pub(super) trait Destination {
    fn channel(&self, channel: usize) -> *mut f32;
}

/// Channels side by side.
impl Destination for *mut f32 {
    #[inline(always)]
    fn channel(&self, channel: usize) -> *mut f32 {
        self.wrapping_add(channel)
    }
}

/// The tiles that cover an output map.
#[derive(Clone, Copy)]
pub(super) struct Tiling {
    /// Rows and columns of the output that one tile gives.
    pub(super) side: usize,
    /// Tiles in a row of tiles.
    columns: usize,
    /// Tiles of one image.
    pub(super) per_image: usize,
    /// Padding above and to the left of the input.
    padding: [usize; 2],
}

/// One tile.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) image: usize,
    /// Its first row and column in the output.
    pub(super) output: [usize; 2],
}

impl Tiling {
    /// Tiles of `side` x `side` over an output of these rows and columns.
    pub(super) fn new(side: usize, output: &Map, padding: [usize; 2]) -> Self {
        let columns = output.width.div_ceil(side);
        Self { side, columns, per_image: output.height.div_ceil(side) * columns, padding }
    }

    /// The place of a tile.
    #[inline(always)]
    pub(super) fn place(&self, tile: usize) -> Place {
        let (image, tile) = (tile / self.per_image, tile % self.per_image);
        Place { image, output: [tile / self.columns * self.side, tile % self.columns * self.side] }
    }

    /// First row and column of the input patch under a tile; negative in the padding.
    #[inline(always)]
    pub(super) fn patch(&self, place: Place) -> [isize; 2] {
        [0, 1].map(|axis| place.output[axis] as isize - self.padding[axis] as isize)
    }
}
