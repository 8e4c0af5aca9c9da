//! A convolution or its image gradient as one thing: places that each sum the same taps of a map.
//!
//! Along one axis, place `i` reads the source at `read_step * i + shift` for each tap, and writes the destination at
//! `write_first + write_step * i`. A convolution is one such rule. The image gradient of stride s is s of them, the
//! phases: destination `p + s * i` meets only the kernel's elements k with `p + before - k` divisible by s, at
//! `i + (p + before - k) / s`. Two axes give the product of their rules.

use super::source::Source;
use crate::cpu::vector::simd::{BLOCK, padded};
use crate::plan::ConvShape;

/// Products of a weight slice held in the second cache while all places pass by: also where long sums are cut, so
/// that their rounding errors do not pile up.
const PRODUCTS: usize = 1024;

/// What is read, what is written, and which weights meet.
#[derive(Debug)]
pub(super) struct Phases {
    pub(super) source: Source,
    /// Together they write every destination pixel exactly once.
    pub(super) all: Vec<Phase>,
    /// f32 per destination image.
    pub(super) write_len: usize,
    /// Channels of the destination.
    pub(super) channels: usize,
}

/// Places with the same taps.
#[derive(Debug)]
pub(super) struct Phase {
    /// Per image, row by row.
    pub(super) places: Vec<Place>,
    /// f32 from each place to the next, read and written, where they are the same from the first place of the first image to
    /// the last of the last.
    pub(super) even: Option<[usize; 2]>,
    /// Rows and columns of the places.
    pub(super) grid: [usize; 2],
    /// Elements of the kernel, as indices into rows times columns, in the order of the packed weights; each has a
    /// weight for every channel of the source.
    pub(super) taps: Vec<usize>,
    /// The values that one place reads, in the order of the packed weights.
    pub(super) runs: Vec<Stretch>,
    /// The runs once more, cut so that each block's weights are at most [`PRODUCTS`] products; at least one block.
    pub(super) blocks: Vec<Vec<Stretch>>,
}

/// Offsets of a place in a source image (with its halo) and in a destination image, in f32.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) read: u32,
    pub(super) write: u32,
}

impl Place {
    /// Read, written.
    #[inline(always)]
    pub(super) fn offsets(self) -> [usize; 2] {
        [self.read as usize, self.write as usize]
    }
}

/// Values that lie in a row, `offset` f32 from a place's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) offset: usize,
    pub(super) len: usize,
}

impl Phase {
    /// Products per output value.
    pub(super) fn depth(&self) -> usize {
        self.runs.iter().map(|run| run.len).sum()
    }
}

/// One rule along one axis.
struct Axis {
    count: usize,
    read_step: usize,
    write_first: usize,
    write_step: usize,
    taps: Vec<Tap>,
}

/// An element of the kernel, and where it reads.
struct Tap {
    index: usize,
    shift: isize,
}

impl Axis {
    fn forward(output: usize, kernel: usize, stride: usize, before: usize) -> Vec<Self> {
        let taps = (0..kernel).map(|index| Tap { index, shift: signed(index) - signed(before) }).collect();
        vec![Self { count: output, read_step: stride, write_first: 0, write_step: 1, taps }]
    }

    fn image_gradient(input: usize, kernel: usize, stride: usize, before: usize) -> Vec<Self> {
        let phase = |first: usize| {
            // From the last element to the first, so that what is read moves forwards.
            let meets = |&index: &usize| (first + before + kernel * stride - index).is_multiple_of(stride);
            let taps = (0..kernel).rev().filter(meets);
            let shift = |index| (signed(first + before) - signed(index)) / signed(stride);
            Self {
                count: (input - first).div_ceil(stride),
                read_step: 1,
                write_first: first,
                write_step: stride,
                taps: taps.map(|index| Tap { index, shift: shift(index) }).collect(),
            }
        };
        (0..stride.min(input)).map(phase).collect()
    }

    /// How far the rules reach before and after a source of this extent.
    fn reach(axes: &[Self], extent: usize) -> [usize; 2] {
        let (mut before, mut after) = (0, 0);
        for axis in axes {
            for tap in &axis.taps {
                let last = signed((axis.count - 1) * axis.read_step) + tap.shift;
                before = before.max(-tap.shift);
                after = after.max(last + 1 - signed(extent));
            }
        }
        [before, after].map(|reach| reach.try_into().expect("starts at zero and grows"))
    }
}

fn signed(n: usize) -> isize {
    n.try_into().expect("an extent of a map")
}

impl Phases {
    /// Input map to output map.
    pub(super) fn forward(shape: &ConvShape) -> Self {
        let axis =
            |i: usize, before| Axis::forward(shape.output[i + 1], shape.kernel[i], shape.stride[i], before);
        let (rows, cols) = (axis(0, shape.padding.top), axis(1, shape.padding.left));
        let [channels, height, width] = shape.input;
        let source = Source::new([height, width], channels, shape.input_pixel());
        Self::new(source, shape.output, [&rows, &cols], shape.kernel[1])
    }

    /// Gradient of the output to gradient of the input, whose channels are always padded to whole vectors.
    pub(super) fn image_gradient(shape: &ConvShape) -> Self {
        let axis = |i: usize, before| {
            Axis::image_gradient(shape.input[i + 1], shape.kernel[i], shape.stride[i], before)
        };
        let (rows, cols) = (axis(0, shape.padding.top), axis(1, shape.padding.left));
        let [channels, height, width] = shape.output;
        let source = Source::new([height, width], channels, shape.output_pixel());
        Self::new(source, shape.input, [&rows, &cols], shape.kernel[1])
    }

    fn new(
        source: Source,
        [channels, height, width]: [usize; 3],
        [rows, cols]: [&[Axis]; 2],
        kernel_cols: usize,
    ) -> Self {
        let [top, bottom] = Axis::reach(rows, source.extent[0]);
        let [left, right] = Axis::reach(cols, source.extent[1]);
        let source = source.with_halo([top, left], [bottom, right]);
        let pairs = rows.iter().flat_map(|row| cols.iter().map(move |col| (row, col)));
        let to = [height, width, padded(channels)];
        let all = pairs.map(|(row, col)| Phase::new(&source, row, col, to, kernel_cols)).collect();
        Self { source, all, write_len: to.iter().product(), channels }
    }

    /// Products per output value, over all phases: rows of the packed weights.
    pub(super) fn depth(&self) -> usize {
        self.all.iter().map(Phase::depth).sum()
    }

    /// The most places of any phase, per image.
    pub(super) fn most_places(&self) -> usize {
        self.all.iter().map(|phase| phase.places.len()).max().unwrap_or(0)
    }
}

impl Phase {
    fn new(source: &Source, row: &Axis, col: &Axis, to: [usize; 3], kernel_cols: usize) -> Self {
        let [_, width, pixel] = to;
        let short = |offset: usize| u32::try_from(offset).expect("an image of less than 16 GiB");
        let places = (0..row.count).flat_map(|y| {
            (0..col.count).map(move |x| {
                let to =
                    (row.write_first + y * row.write_step) * width + col.write_first + x * col.write_step;
                let from = source.offset(y * row.read_step, x * col.read_step);
                Place { read: short(from), write: short(to * pixel) }
            })
        });
        let (mut taps, mut runs) = (Vec::new(), Vec::<Stretch>::new());
        for y in &row.taps {
            for x in &col.taps {
                taps.push(y.index * kernel_cols + x.index);
                let [top, left] = source.before.map(signed);
                let [y, x] =
                    [y.shift + top, x.shift + left].map(|at| at.try_into().expect("inside the halo"));
                let next = Stretch { offset: source.offset(y, x), len: source.channels };
                match runs.last_mut() {
                    Some(run) if run.offset + run.len == next.offset => run.len += next.len,
                    _ => runs.push(next),
                }
            }
        }
        let blocks = blocks(&runs);
        let places: Vec<Place> = places.collect();
        let even = even(&places, [source.read_len(), to.iter().product()]);
        Self { places, even, grid: [row.count, col.count], taps, runs, blocks }
    }
}

/// f32 from each of an image's places to the next, and from its last to the next image's first, if always the same; images
/// are so long, read and written.
fn even(places: &[Place], image_len: [usize; 2]) -> Option<[usize; 2]> {
    let first = places.first()?.offsets();
    let next = [0, 1].map(|i| first[i] + image_len[i]);
    let offsets = || places.iter().map(|place| place.offsets());
    let mut steps = offsets()
        .zip(offsets().skip(1).chain([next]))
        .map(|(from, to)| [0, 1].map(|i| to[i].checked_sub(from[i])));
    let step = steps.next()?;
    let [Some(read), Some(write)] = step else { return None };
    steps.all(|other| other == step).then_some([read, write])
}

/// Cuts runs into the fewest blocks of at most [`PRODUCTS`] products, all but equally long.
fn blocks(runs: &[Stretch]) -> Vec<Vec<Stretch>> {
    let depth: usize = runs.iter().map(|run| run.len).sum();
    let count = depth.div_ceil(PRODUCTS).max(1);
    // Whole vectors, so that no block begins in the middle of a cache line.
    let size = depth.div_ceil(count).next_multiple_of(BLOCK);
    let (mut blocks, mut room) = (vec![Vec::new()], size);
    for &(mut run) in runs {
        while run.len > 0 {
            if room == 0 {
                blocks.push(Vec::new());
                room = size;
            }
            let len = run.len.min(room);
            blocks.last_mut().expect("starts with one").push(Stretch { offset: run.offset, len });
            run = Stretch { offset: run.offset + len, len: run.len - len };
            room -= len;
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Conv2d;

    #[test]
    fn places_are_even_where_every_step_is_that_from_image_to_image() {
        let shape = |layer, input| ConvShape::new(&layer, input, false);
        let even = |phases: Phases| phases.all.iter().map(|phase| phase.even).collect::<Vec<_>>();
        // By hand: 24 channels lie in 32, 40 in 48.
        let plain = shape(Conv2d::new(40, 1), [24, 6, 5]);
        assert_eq!(even(Phases::forward(&plain)), [Some([32, 48])]);
        assert_eq!(even(Phases::image_gradient(&plain)), [Some([48, 32])]);
        assert_eq!(even(Phases::forward(&ConvShape::linear(64, 10))), [Some([64, 16])]);
        // A halo between rows, a column that is left out, and places of one phase between those of the others.
        assert_eq!(even(Phases::forward(&shape(Conv2d::new(40, 3).padding(1), [24, 6, 5]))), [None]);
        let halved = shape(Conv2d::new(40, 1).stride(2), [24, 6, 5]);
        assert_eq!(even(Phases::forward(&halved)), [None]);
        assert_eq!(even(Phases::image_gradient(&halved)), [None; 4]);
        // Windows side by side, above a row that none begins in; one window an image.
        assert_eq!(even(Phases::forward(&shape(Conv2d::new(16, 2).stride(2), [16, 2, 4]))), [None]);
        assert_eq!(even(Phases::forward(&shape(Conv2d::new(16, 2).stride(2), [16, 2, 2]))), [Some([64, 16])]);
    }
}
