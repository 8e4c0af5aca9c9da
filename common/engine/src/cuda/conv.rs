//! Convolutions as launches: which kernel takes which, and its taps in either direction.

use self::packed::{SPLIT_TERMS, split_shared};
use super::arguments::{Address, Conv, Direct, Finish, MOST_TAPS, Tap, Taps, WeightGradient};
use super::device::{Grid, Kernels};
use super::error::DeviceError;
use super::precision::Storage;
use crate::plan::{ConvShape, Direction, padded};

mod packed;

pub(super) use self::packed::most_shared;

/// Which kernels run a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// An implicit matrix product on tensor cores.
    Product,
    /// The same of floats as halves, where tensor cores multiply by warpgroups (`kernels/warpgroup.cu`).
    Split,
    /// One channel after the other.
    Depthwise,
    /// Plain loops, for groups of odd sizes and very large kernels.
    Direct,
}

/// A convolution with its sizes as the kernels want them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Geometry {
    pub(super) shape: ConvShape,
    pub(super) way: Way,
    /// Padded channels of one group's input and output.
    pub(super) in_c: usize,
    pub(super) out_c: usize,
}

/// What a product reads and writes.
#[derive(Clone, Copy, Default)]
pub(super) struct Data {
    pub(super) from: Address,
    pub(super) weight: Address,
    pub(super) to: Address,
    pub(super) wide: Address,
    pub(super) bias: Address,
    pub(super) moments: Address,
    pub(super) finish: Finish,
}

/// A tile of a product: the kernel's name, places and channels of its result, threads.
struct Tile(&'static str, usize, usize, u32);

const TILES: [Tile; 4] = [
    Tile("conv_128x128", 128, 128, 256),
    Tile("conv_128x64", 128, 64, 256),
    Tile("conv_128x32", 128, 32, 128),
    Tile("conv_64x64", 64, 64, 128),
];

/// Bytes of shared memory for each row of a tile, over all stages of copies under way: rows are wider in bf16, whose chips
/// have the room.
const fn row_bytes(storage: Storage) -> usize {
    match storage {
        Storage::Bf16 => 3 * 128,
        _ => 4 * 64,
    }
}

/// Places of one block of sums over channels: of the kernels that sum alone, and of the moments that a product takes
/// along, whatever its tile.
pub(super) const SUMS_BLOCK: usize = 64;

impl Geometry {
    /// `warpgroups`: whether tensor cores multiply floats by warpgroups.
    pub(super) fn new(shape: ConvShape, warpgroups: bool) -> Self {
        let [ins, outs] = [shape.input[0], shape.output[0]];
        let (in_c, out_c) = match shape.groups {
            1 => (padded(ins), padded(outs)),
            groups => (ins / groups, outs / groups),
        };
        let whole = [in_c, out_c].iter().all(|channels| channels.is_multiple_of(8))
            && (shape.groups == 1 || [ins, outs].iter().all(|&channels| padded(channels) == channels));
        let way = if shape.is_depthwise() {
            Way::Depthwise
        } else if whole && shape.kernel[0] * shape.kernel[1] <= MOST_TAPS {
            // The shape alone decides, so that an image's numbers hang on no batch. Fewer channels would be padding.
            if warpgroups && in_c.min(out_c) >= SPLIT_TERMS { Way::Split } else { Way::Product }
        } else {
            Way::Direct
        };
        Self { shape, way, in_c, out_c }
    }

    pub(super) fn taps(&self) -> usize {
        self.shape.kernel[0] * self.shape.kernel[1]
    }

    /// Whether it runs on tensor cores, with channels padded group by group.
    pub(super) fn is_product(&self) -> bool {
        matches!(self.way, Way::Product | Way::Split)
    }

    /// How many launches a direction is.
    pub(super) fn launches(&self, direction: Direction) -> usize {
        match (self.way, direction) {
            (Way::Product | Way::Split, Direction::Image) => self.shape.stride.iter().product(),
            _ => 1,
        }
    }

    /// Queues it in one direction; gives the blocks that its moments come in, where it was asked for them.
    pub(super) fn run(
        &self,
        kernels: Kernels<'_>,
        direction: Direction,
        images: usize,
        data: Data,
    ) -> Result<usize, DeviceError> {
        match (self.way, direction) {
            (Way::Product | Way::Split, Direction::Forward) => self.forward(kernels, images, data),
            (Way::Product | Way::Split, Direction::Image) => self.image(kernels, images, data).map(|()| 0),
            (way, direction) => {
                let names = match way {
                    Way::Depthwise => ["depthwise_forward", "depthwise_image"],
                    _ => ["direct_forward", "direct_image"],
                };
                let forward = direction == Direction::Forward;
                let map = if forward { self.shape.output } else { self.shape.input };
                let chunks = images * map[1] * map[2] * padded(map[0]) / 8;
                let plain = Direct {
                    input: if forward { data.from } else { 0 },
                    gradient: if forward { 0 } else { data.from },
                    weight: data.weight,
                    bias: data.bias,
                    out: data.to,
                    wide: data.wide,
                    finish: data.finish,
                    ..self.direct(images)
                };
                kernels.launch(names[usize::from(!forward)], Grid::of(chunks), &plain).map(|()| 0)
            }
        }
    }

    fn forward(&self, kernels: Kernels<'_>, images: usize, data: Data) -> Result<usize, DeviceError> {
        let ConvShape { kernel, padding, stride, output, .. } = self.shape;
        let taps: Vec<Tap> = places(kernel)
            .map(|[y, x]| Tap {
                dy: small(y) - small(padding.top),
                dx: small(x) - small(padding.left),
                weight: int(y * kernel[1] + x),
            })
            .collect();
        let launch = Conv {
            in_h: int(self.shape.input[1]),
            in_w: int(self.shape.input[2]),
            in_pixel: int(padded(self.shape.input[0])),
            in_c: int(self.in_c),
            rows: int(output[1]),
            cols: int(output[2]),
            step_y: int(stride[0]),
            step_x: int(stride[1]),
            out_h: int(output[1]),
            out_w: int(output[2]),
            out_pixel: int(padded(output[0])),
            out_c: int(self.out_c),
            out_step_y: 1,
            out_step_x: 1,
            taps: int(taps.len()),
            tap: Taps::of(&taps),
            ..self.product(images, data)
        };
        self.launch(kernels, Direction::Forward, launch)
    }

    /// One launch for each class of input places that meets the same taps: as many as the strides multiply to.
    fn image(&self, kernels: Kernels<'_>, images: usize, data: Data) -> Result<(), DeviceError> {
        let ConvShape { kernel, padding, stride, input, output, .. } = self.shape;
        for [class_y, class_x] in places(stride) {
            let left_over = |len: usize, class: usize, step: usize| len.saturating_sub(class).div_ceil(step);
            let (rows, cols) =
                (left_over(input[1], class_y, stride[0]), left_over(input[2], class_x, stride[1]));
            let meets = |class: usize, before: usize, at: usize, step: usize| {
                let from = int(class + before) - int(at);
                (from.rem_euclid(int(step)) == 0).then(|| (from.div_euclid(int(step))) as i16)
            };
            let taps: Vec<Tap> = places(kernel)
                .filter_map(|[y, x]| {
                    Some(Tap {
                        dy: meets(class_y, padding.top, y, stride[0])?,
                        dx: meets(class_x, padding.left, x, stride[1])?,
                        weight: int(y * kernel[1] + x),
                    })
                })
                .collect();
            let launch = Conv {
                in_h: int(output[1]),
                in_w: int(output[2]),
                in_pixel: int(padded(output[0])),
                in_c: int(self.out_c),
                rows: int(rows),
                cols: int(cols),
                step_y: 1,
                step_x: 1,
                out_h: int(input[1]),
                out_w: int(input[2]),
                out_pixel: int(padded(input[0])),
                out_c: int(self.in_c),
                out_step_y: int(stride[0]),
                out_step_x: int(stride[1]),
                out_y: int(class_y),
                out_x: int(class_x),
                taps: int(taps.len()),
                tap: Taps::of(&taps),
                ..self.product(images, data)
            };
            self.launch(kernels, Direction::Image, launch)?;
        }
        Ok(())
    }

    fn product(&self, images: usize, data: Data) -> Conv {
        Conv {
            input: data.from,
            weight: data.weight,
            out: data.to,
            wide: data.wide,
            bias: data.bias,
            moments: data.moments,
            finish: data.finish,
            images: int(images),
            weight_taps: int(self.taps()),
            ..Conv::default()
        }
    }

    /// Every tile of a way adds in the same order: which one runs shows in the time alone.
    fn launch(
        &self,
        kernels: Kernels<'_>,
        direction: Direction,
        mut launch: Conv,
    ) -> Result<usize, DeviceError> {
        let places = (launch.images * launch.rows * launch.cols) as usize;
        let out_c = launch.out_c as usize;
        let blocks = |tile: &Tile| [places.div_ceil(tile.1), out_c.div_ceil(tile.2), self.shape.groups];
        let tile = if self.way == Way::Split {
            launch.unscale = launch.weight + self.split_bytes(direction, kernels.storage) as Address;
            self.split_tile(direction)
        } else {
            let fills = |tile: &&Tile| blocks(tile).iter().product::<usize>() >= kernels.processors();
            let fits = |tile: &&Tile| tile.2 <= out_c.next_power_of_two().max(32);
            TILES.iter().filter(fits).find(fills).unwrap_or(&TILES[if out_c > 32 { 3 } else { 2 }])
        };
        let Tile(name, rows, cols, threads) = *tile;
        let shared = match self.way {
            Way::Split => split_shared(cols, kernels.storage),
            _ => (rows + cols) * row_bytes(kernels.storage),
        };
        kernels.launch(name, Grid { blocks: blocks(tile), threads: [threads, 1], shared }, &launch)?;
        Ok(places.div_ceil(SUMS_BLOCK))
    }

    /// f32 of one part of the weight gradient.
    pub(super) fn part_len(&self) -> usize {
        match self.way {
            Way::Product | Way::Split => self.shape.groups * self.out_c * self.in_c * self.taps(),
            Way::Depthwise => self.taps() * padded(self.shape.output[0]),
            Way::Direct => self.shape.weight_len(),
        }
    }

    /// Parts that the weight gradient of so many images is formed in: enough to keep the device busy. A constant of
    /// the kind of chip and the batch.
    pub(super) fn parts(&self, processors: usize, images: usize) -> usize {
        let wanted = match self.way {
            Way::Product | Way::Split => {
                let tiles =
                    self.taps() * self.in_c.div_ceil(64) * self.out_c.div_ceil(64) * self.shape.groups;
                (4 * processors).div_ceil(tiles).min(self.places(images).div_ceil(32 * 8))
            }
            Way::Depthwise | Way::Direct => images,
        };
        let most = ((64 << 20) / (4 * self.part_len())).max(1);
        wanted.clamp(1, most)
    }

    fn places(&self, images: usize) -> usize {
        images * self.shape.output[1] * self.shape.output[2]
    }

    /// Queues the parts of its weight gradient; gives how many there are.
    pub(super) fn weight_gradient(
        &self,
        kernels: Kernels<'_>,
        images: usize,
        [input, gradient, parts]: [Address; 3],
    ) -> Result<usize, DeviceError> {
        let count = self.parts(kernels.processors(), images);
        if !self.is_product() {
            let plain = Direct { input, gradient, parts, parts_count: int(count), ..self.direct(images) };
            if self.way == Way::Direct {
                kernels.launch("direct_weight", Grid::of(self.shape.weight_len() * count), &plain)?;
            } else {
                let chunks = padded(self.shape.output[0]).div_ceil(64);
                let grid = Grid { blocks: [chunks, count, self.taps()], threads: [256, 1], shared: 8 << 10 };
                kernels.launch("depthwise_weight", grid, &plain)?;
            }
            return Ok(count);
        }
        let ConvShape { kernel, padding, stride, input: from, output, groups, .. } = self.shape;
        let taps: Vec<Tap> = places(kernel)
            .map(|[y, x]| Tap {
                dy: small(y) - small(padding.top),
                dx: small(x) - small(padding.left),
                weight: int(y * kernel[1] + x),
            })
            .collect();
        let each = self.places(images).div_ceil(count).next_multiple_of(32);
        let count = self.places(images).div_ceil(each);
        let launch = WeightGradient {
            input,
            gradient,
            parts,
            images: int(images),
            in_h: int(from[1]),
            in_w: int(from[2]),
            in_pixel: int(padded(from[0])),
            in_c: int(self.in_c),
            out_h: int(output[1]),
            out_w: int(output[2]),
            out_pixel: int(padded(output[0])),
            out_c: int(self.out_c),
            step_y: int(stride[0]),
            step_x: int(stride[1]),
            taps: int(taps.len()),
            groups: int(groups),
            places_per_part: int(each),
            tap: Taps::of(&taps),
        };
        let blocks = [self.taps() * self.in_c.div_ceil(64), self.out_c.div_ceil(64), groups * count];
        kernels.launch("weight_gradient", Grid { blocks, threads: [128, 1], shared: 32 << 10 }, &launch)?;
        Ok(count)
    }

    fn direct(&self, images: usize) -> Direct {
        let ConvShape { kernel, padding, stride, input, output, groups, .. } = self.shape;
        Direct {
            images: int(images),
            in_h: int(input[1]),
            in_w: int(input[2]),
            in_pixel: int(padded(input[0])),
            in_c: int(input[0]),
            out_h: int(output[1]),
            out_w: int(output[2]),
            out_pixel: int(padded(output[0])),
            out_c: int(output[0]),
            kernel_h: int(kernel[0]),
            kernel_w: int(kernel[1]),
            step_y: int(stride[0]),
            step_x: int(stride[1]),
            top: int(padding.top),
            left: int(padding.left),
            groups: int(groups),
            ..Direct::default()
        }
    }
}

/// Rows and columns of a small window.
fn places([height, width]: [usize; 2]) -> impl Iterator<Item = [usize; 2]> {
    (0..height).flat_map(move |y| (0..width).map(move |x| [y, x]))
}

/// A size as the kernels take it.
pub(super) fn int(size: usize) -> i32 {
    i32::try_from(size).expect("sizes of a batch fit 31 bits")
}

fn small(size: usize) -> i16 {
    i16::try_from(size).expect("windows are small")
}
