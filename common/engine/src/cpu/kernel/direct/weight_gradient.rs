//! The weight gradient: for each value that a place reads, its product with the place's gradient, summed over places.
//!
//! A part is `[panel][value of the runs][lane]`: what a tile adds to lies in a row. Loops, from the outside: groups of images; segments of
//! places, whose gradients stay in the first cache; panels of output channels; runs; tiles of R values by W vectors.
//!
//! Segments are part of the result's definition, for they are where sums are rounded. Where an image has many places,
//! a segment is at most [`SEGMENT`] of them, summed from zero and then added to the part, so that errors do not pile
//! up. Where it has few, the sum goes on from the part's value through all images of the call: the same chain however
//! many images a call has, and the part, which is large for such layers, is read once per group.

use rayon::prelude::*;

use super::phases::{Phases, Stretch};
use crate::cpu::kernel::conv::{Part, WeightGradient};
use crate::cpu::vector::simd::{BLOCK, Isa, Kernel, Simd};
use crate::cpu::vector::tile::{MAX_ROWS, Panel, Panels, columns_by_panel, rows, with_tile};
use crate::plan::ConvShape;

/// Places of a segment, at most.
const SEGMENT: usize = 128;

/// Images with fewer places than this go on from the part's value.
const FEW_PLACES: usize = 128;

/// f32 of source that a group of images may have beside small and large parts: large ones are worth being read less
/// often.
const GROUP: [usize; 2] = [64 << 10, 256 << 10];

/// f32 of a large part.
const LARGE: usize = 128 << 10;

/// Weights from which finishing is worth a thread pool.
const PARALLEL: usize = 1 << 16;

/// The weight gradient of any convolution and of fully connected layers; groups are computed as if dense.
#[derive(Debug)]
pub(crate) struct DirectWeightGradient {
    isa: Isa,
    shape: ConvShape,
    phases: Phases,
    panels: Panels,
    /// Of one image, in order.
    segments: Vec<Vec<Strip>>,
    /// Images of a group.
    group: usize,
}

/// Places at constant distances, of one image: offsets of the first in source and gradient.
#[derive(Clone, Copy, Debug)]
struct Strip {
    read: usize,
    gradient: usize,
    count: usize,
}

impl DirectWeightGradient {
    pub(crate) fn new(isa: Isa, shape: ConvShape) -> Self {
        let phases = Phases::forward(&shape);
        let panels = Panels::new(isa, shape.output[0]);
        let source = GROUP[usize::from(phases.depth() * panels.channels() > LARGE)];
        let group = (source / phases.source.read_len()).max(1);
        let segments = segments(&phases, &shape);
        Self { isa, shape, phases, panels, segments, group }
    }

    /// The values that a place reads.
    fn runs(&self) -> &[Stretch] {
        &self.phases.all[0].runs
    }

    /// Sums of few places go on from image to image.
    fn goes_on(&self) -> bool {
        self.phases.all[0].places.len() < FEW_PLACES
    }

    /// Where a part holds a panel's sums for one of a place's values.
    fn offset(&self, panel: Panel, value: usize) -> usize {
        panel.channel * self.phases.depth() + value * panel.blocks * BLOCK
    }

    /// The sum over all parts of a vector of output channels, for one of a place's values.
    fn sum(&self, parts: &[f32], value: usize, channel: usize) -> [f32; BLOCK] {
        let mut sum = [0.0; BLOCK];
        let panel = self.panels.get(channel / (self.panels.get(0).blocks * BLOCK));
        let offset = self.offset(panel, value) + channel - panel.channel;
        for part in parts.chunks_exact(self.part_len()) {
            let lanes = &part[offset..][..BLOCK];
            for (sum, &lane) in sum.iter_mut().zip(lanes) {
                *sum += f64::from(lane);
            }
        }
        sum.map(|sum| sum as f32)
    }

    /// Finishes BLOCK output channels from `first` on: their slice of PyTorch's gradient.
    fn finish_channels(&self, parts: &[f32], first: usize, gradient: &mut [f32]) {
        let channels = self.shape.input[0];
        let taps = &self.phases.all[0].taps;
        let in_group = channels / self.shape.groups;
        let out_group = self.shape.output[0] / self.shape.groups;
        // A block of channels at a time, so that what is read and what is written stay in the first cache.
        for begin in (0..channels).step_by(BLOCK) {
            let block = begin..channels.min(begin + BLOCK);
            for (t, &tap) in taps.iter().enumerate() {
                let mut sums = [[0.0; BLOCK]; BLOCK];
                for (sums, c) in sums.iter_mut().zip(block.clone()) {
                    *sums = self.sum(parts, t * channels + c, first);
                }
                for (lane, gradient) in gradient.chunks_exact_mut(in_group * taps.len()).enumerate() {
                    // A group has no weight to other groups' inputs.
                    let group = (first + lane) / out_group * in_group;
                    let met = block.start.max(group)..block.end.min(group + in_group);
                    if met.is_empty() {
                        continue;
                    }
                    let to = gradient[(met.start - group) * taps.len() + tap..].iter_mut();
                    for (to, sums) in to.step_by(taps.len()).zip(&sums[met.start - begin..met.end - begin]) {
                        *to += sums[lane];
                    }
                }
            }
        }
    }
}

/// Cuts an image's places into strips and segments.
fn segments(phases: &Phases, shape: &ConvShape) -> Vec<Vec<Strip>> {
    let phase = &phases.all[0];
    let [rows, cols] = phase.grid;
    let step = shape.stride[1] * phases.source.pixel;
    let read = |place: usize| phase.places[place].read as usize;
    // Where a row begins a step after the last place of the one above, the image is a single strip.
    let seamless = rows == 1 || read(cols) == cols * step;
    let strip = if seamless { rows * cols } else { cols };
    let few = rows * cols < FEW_PLACES;
    let mut segments = Vec::<Vec<Strip>>::new();
    let mut places = SEGMENT;
    for first in (0..rows * cols).step_by(strip) {
        let longest = if few { strip } else { strip.div_ceil(strip.div_ceil(SEGMENT)) };
        for start in (0..strip).step_by(longest) {
            let count = longest.min(strip - start);
            let place = first + start;
            let strip = Strip { read: read(place), gradient: place * shape.output_pixel(), count };
            match segments.last_mut() {
                Some(segment) if few || places + count <= SEGMENT => segment.push(strip),
                _ => {
                    segments.push(vec![strip]);
                    places = 0;
                }
            }
            places += count;
        }
    }
    segments
}

impl WeightGradient for DirectWeightGradient {
    fn part_len(&self) -> usize {
        self.phases.depth() * self.panels.channels()
    }

    fn scratch_len(&self, images: usize) -> usize {
        self.group.min(images) * self.phases.source.copy_len()
    }

    fn run(&self, images: usize, input: &[f32], gradient: &[f32], part: Part<'_>, scratch: &mut [f32]) {
        let input = &input[..images * self.phases.source.len()];
        let gradient = &gradient[..images * self.shape.output_len()];
        let part = Part { sums: &mut part.sums[..self.part_len()], ..part };
        let scratch = &mut scratch[..self.scratch_len(images)];
        self.isa.run(Call { of: self, input, gradient, part, scratch });
    }

    fn finish(&self, parts: &[f32], gradient: &mut [f32]) {
        let per_channel = self.shape.weight_len() / self.shape.output[0];
        let finish = |(i, gradient): (usize, &mut [f32])| self.finish_channels(parts, i * BLOCK, gradient);
        if gradient.len() < PARALLEL {
            gradient.chunks_mut(BLOCK * per_channel).enumerate().for_each(finish);
        } else {
            gradient.par_chunks_mut(BLOCK * per_channel).enumerate().for_each(finish);
        }
    }
}

/// One call, its slices cut to size.
struct Call<'a> {
    of: &'a DirectWeightGradient,
    input: &'a [f32],
    gradient: &'a [f32],
    part: Part<'a>,
    scratch: &'a mut [f32],
}

impl Kernel for Call<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Self { of, mut part, .. } = self;
        let source = &of.phases.source;
        let (read_len, gradient_len) = (source.read_len(), of.shape.output_len());
        let images = self.input.len() / source.len();
        let group = images.div_ceil(images.div_ceil(of.group));
        let groups = self.input.chunks(group * source.len());
        for (input, gradient) in groups.zip(self.gradient.chunks(group * gradient_len)) {
            let images = input.len() / source.len();
            let read = source.lay_out(input, self.scratch);
            if !of.goes_on() {
                for (read, gradient) in read.chunks_exact(read_len).zip(gradient.chunks_exact(gradient_len)) {
                    for strips in &of.segments {
                        of.sweep::<S>(&Segment { read, gradient, images: 1, strips }, &mut part);
                    }
                }
                continue;
            }
            let strips = &of.segments[0];
            let step = of.shape.stride[1] * source.pixel;
            if strips.len() == 1 && read_len == strips[0].count * step {
                // Images follow one another as places do.
                let strips = [Strip { count: images * strips[0].count, ..strips[0] }];
                of.sweep::<S>(&Segment { read, gradient, images: 1, strips: &strips }, &mut part);
            } else {
                of.sweep::<S>(&Segment { read, gradient, images, strips }, &mut part);
            }
        }
    }
}

/// Places that are summed in one go.
struct Segment<'a> {
    read: &'a [f32],
    gradient: &'a [f32],
    images: usize,
    strips: &'a [Strip],
}

impl DirectWeightGradient {
    #[inline(always)]
    fn sweep<S: Simd>(&self, segment: &Segment<'_>, part: &mut Part<'_>) {
        for panel in self.panels.iter() {
            let mut value = 0;
            for run in self.runs() {
                let tiles = run.len.div_ceil(rows(self.isa, panel.blocks));
                let (height, taller) = (run.len / tiles, run.len % tiles);
                let mut offset = run.offset;
                for t in 0..tiles {
                    let height = height + usize::from(t < taller);
                    let tile = Tile { of: self, segment, offset, panel, begun: part.begun };
                    let part = part.sums[self.offset(panel, value)..].as_mut_ptr();
                    // SAFETY: strips lie inside the segment's images, runs inside the halo, and the part has a row of
                    // the panel for each value.
                    #[allow(unsafe_code)]
                    unsafe {
                        with_tile!(height, panel.blocks, multiply::<S>(&tile, part));
                    }
                    value += height;
                    offset += height;
                }
            }
        }
        part.begun = true;
    }
}

/// Some values of a run beside a panel.
struct Tile<'a> {
    of: &'a DirectWeightGradient,
    segment: &'a Segment<'a>,
    /// Of the first value, from a place's.
    offset: usize,
    panel: Panel,
    /// Whether the part holds sums.
    begun: bool,
}

/// Adds the products of R values with W vectors of gradients to a part, or begins it with them.
///
/// # Safety
///
/// The segment's strips lie inside its images; `part` is valid for R times W vectors.
#[inline(always)]
#[allow(unsafe_code)]
unsafe fn multiply<S: Simd, const R: usize, const W: usize>(tile: &Tile<'_>, part: *mut f32) {
    const { assert!(R <= MAX_ROWS) };
    let Tile { of, segment, offset, panel, begun } = tile;
    let goes_on = of.goes_on();
    let steps = [of.shape.stride[1] * of.phases.source.pixel, of.shape.output_pixel()];
    // SAFETY: the caller's promise.
    unsafe {
        let mut acc = [[S::zero(); W]; R];
        if goes_on && *begun {
            for r in 0..R {
                for j in 0..W {
                    acc[r][j] = S::load(part.add((r * W + j) * S::LANES));
                }
            }
        }
        let mut read = segment.read.as_ptr().add(*offset);
        let mut gradient = segment.gradient.as_ptr().add(panel.channel);
        for _ in 0..segment.images {
            for strip in segment.strips {
                let a = (read.add(strip.read), steps[0]);
                let b = (gradient.add(strip.gradient), steps[1]);
                columns_by_panel::<S, R, W>(strip.count, a, b, &mut acc);
            }
            read = read.wrapping_add(of.phases.source.read_len());
            gradient = gradient.wrapping_add(of.shape.output_len());
        }
        for r in 0..R {
            for j in 0..W {
                let to = part.add((r * W + j) * S::LANES);
                let sum = if goes_on || !begun { acc[r][j] } else { S::add(S::load(to), acc[r][j]) };
                S::store(to, sum);
            }
        }
    }
}
