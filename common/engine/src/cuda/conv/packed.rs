//! Weights as a convolution's kernels read them: how many bytes, in which tiles, and who packs them.

use super::{Geometry, Tile, Way, int, row_bytes};
use crate::cuda::arguments::{Address, Pack};
use crate::cuda::device::{Grid, Kernels};
use crate::cuda::error::DeviceError;
use crate::cuda::precision::Storage;
use crate::plan::{Direction, padded};

/// Tiles of [`Way::Split`].
const SPLIT_TILES: [Tile; 3] = [
    Tile("split_128x160", 128, 160, 384),
    Tile("split_128x128", 128, 128, 384),
    Tile("split_128x64", 128, 64, 384),
];

/// Channels that a stage of [`Way::Split`] multiplies at once; fewer are filled up with zeros.
pub(super) const SPLIT_TERMS: usize = 32;

/// The most shared memory that a product asks for in this storage.
pub(in crate::cuda) const fn most_shared(storage: Storage, split: bool) -> usize {
    if split { split_shared(160, storage) } else { 256 * row_bytes(storage) }
}

/// Shared memory of a tile of [`Way::Split`]: the gates, and five stages of places and of weights.
pub(super) const fn split_shared(channels: usize, storage: Storage) -> usize {
    128 + 5 * (128 * 4 * SPLIT_TERMS + channels * 2 * halves(storage) * SPLIT_TERMS)
}

/// Halves that stand for a number in [`Way::Split`].
const fn halves(storage: Storage) -> usize {
    if matches!(storage, Storage::F32) { 2 } else { 1 }
}

impl Geometry {
    /// Channels of one group's result in a direction, and of what each is a sum over.
    fn rows_and_terms(&self, direction: Direction) -> [usize; 2] {
        match direction {
            Direction::Forward => [self.out_c, self.in_c],
            Direction::Image => [self.in_c, self.out_c],
        }
    }

    /// Bytes of the packed weights: of a product each as a map's value or its halves, of the others as f32.
    pub(in crate::cuda) fn packed_bytes(&self, direction: Direction, storage: Storage) -> usize {
        match self.way {
            Way::Product => self.shape.groups * self.in_c * self.out_c * self.taps() * storage.bytes(),
            Way::Split => {
                let [rows, _] = self.rows_and_terms(direction);
                self.split_bytes(direction, storage) + self.shape.groups * rows * size_of::<f32>()
            }
            Way::Depthwise => self.taps() * padded(self.shape.output[0]) * size_of::<f32>(),
            Way::Direct => self.shape.weight_len() * size_of::<f32>(),
        }
    }

    /// Bytes of the halves, which the numbers follow that undo their scale.
    pub(super) fn split_bytes(&self, direction: Direction, storage: Storage) -> usize {
        let [rows, terms] = self.rows_and_terms(direction);
        let weights = self.shape.groups * rows * terms.next_multiple_of(SPLIT_TERMS) * self.taps();
        weights * 2 * halves(storage)
    }

    /// The tile of a direction, by which the weights are packed. Small maps have few places: more tiles of fewer
    /// channels keep a card busy.
    pub(super) fn split_tile(&self, direction: Direction) -> &'static Tile {
        let [rows, _] = self.rows_and_terms(direction);
        let [_, height, width] = match direction {
            Direction::Forward => self.shape.output,
            Direction::Image => self.shape.input,
        };
        let fitting = SPLIT_TILES.iter().filter(|tile| tile.2 == 64 || height * width > 16);
        fitting.min_by_key(|tile| (rows.next_multiple_of(tile.2), usize::MAX - tile.2)).expect("one is of 64")
    }

    /// Packs the weights of a product, `packed` as they lie at the beginning of their bytes.
    pub(in crate::cuda) fn pack(
        &self,
        kernels: Kernels<'_>,
        direction: Direction,
        (weight, scale, packed): (Address, Address, Address),
    ) -> Result<(), DeviceError> {
        let shape = &self.shape;
        let pack = Pack {
            weight,
            scale,
            groups: int(shape.groups),
            real_out: int(shape.output[0] / shape.groups),
            real_in: int(shape.input[0] / shape.groups),
            out_c: int(self.out_c),
            in_c: int(self.in_c),
            taps: int(self.taps()),
            ..Pack::default()
        };
        let products = shape.groups * self.in_c * self.out_c * self.taps();
        let plain = Pack { plain: packed, out_c: int(padded(shape.output[0])), ..pack };
        let (name, grid, pack) = match (self.way, direction) {
            (Way::Product, Direction::Forward) => ("pack", Grid::of(products), Pack { packed, ..pack }),
            (Way::Product, Direction::Image) => {
                ("pack_transposed", Grid::of(products), Pack { packed, ..pack })
            }
            (Way::Split, _) => {
                let [rows, _] = self.rows_and_terms(direction);
                let pack = Pack {
                    packed,
                    plain: packed + self.split_bytes(direction, kernels.storage) as Address,
                    transposed: (direction == Direction::Image).into(),
                    tile: int(self.split_tile(direction).2 / 8),
                    ..pack
                };
                let grid = Grid { blocks: [shape.groups * rows, 1, 1], threads: [256, 1], shared: 32 };
                ("pack_split", grid, pack)
            }
            (Way::Depthwise, _) => ("pack_depthwise", Grid::of(self.taps() * padded(shape.output[0])), plain),
            (Way::Direct, _) => ("scale_weight", Grid::of(shape.weight_len()), plain),
        };
        kernels.launch(name, grid, &pack)
    }
}
