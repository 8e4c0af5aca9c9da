//! Channels joined and parted, maps as vectors in PyTorch's order.

use crate::cpu::vector::epilogue::Epilogue;
use crate::cpu::vector::simd::{BLOCK, Isa, Kernel, Simd, padded};

/// Writes a map's channels into a wider one from its channel `first` on: one part of a concatenation. What remains of
/// the last vector becomes zero; parts come in the order of their channels.
pub(crate) fn channels_into(from: &[f32], channels: usize, to: &mut [f32], to_pixel: usize, first: usize) {
    let pixel = padded(channels);
    assert!(
        from.len() / pixel == to.len() / to_pixel && first + channels <= to_pixel,
        "maps differ in length"
    );
    for (from, to) in from.chunks_exact(pixel).zip(to.chunks_exact_mut(to_pixel)) {
        let end = first + channels;
        to[first..end].copy_from_slice(&from[..channels]);
        to[end..padded(end)].fill(0.0);
    }
}

/// A map's channels from channel `first` on of a wider one, zeros in all others.
pub(crate) fn channels_between_zeros(
    from: &[f32],
    channels: usize,
    to: &mut [f32],
    to_pixel: usize,
    first: usize,
) {
    channels_into(from, channels, to, to_pixel, first);
    for to in to.chunks_exact_mut(to_pixel) {
        to[..first].fill(0.0);
        to[first + channels..].fill(0.0);
    }
}

/// The other way round, finished: the channels from `first` on of a wider map, as many as fill the destination's.
pub(crate) fn take_channels(
    isa: Isa,
    from: &[f32],
    from_pixel: usize,
    first: usize,
    channels: usize,
    to: &mut [f32],
    epilogue: &Epilogue<'_>,
) {
    let pixel = padded(channels);
    assert!(
        from.len() / from_pixel == to.len() / pixel && first + channels <= from_pixel,
        "maps differ in length"
    );
    isa.run(Gathered { to, pixel, epilogue, of: Slice { from, from_pixel, first, channels } });
}

/// Each image as its vector in (channel, row, column) order, padded with zeros to whole vectors.
pub(crate) fn map_to_features(from: &[f32], [channels, height, width]: [usize; 3], to: &mut [f32]) {
    let (pixel, positions) = (padded(channels), height * width);
    let features = channels * positions;
    assert_eq!(from.len() / (pixel * positions), to.len() / padded(features), "maps differ in length");
    for (from, to) in from.chunks_exact(pixel * positions).zip(to.chunks_exact_mut(padded(features))) {
        for (c, row) in to[..features].chunks_exact_mut(positions).enumerate() {
            for (position, value) in row.iter_mut().enumerate() {
                *value = from[position * pixel + c];
            }
        }
        to[features..].fill(0.0);
    }
}

/// The other way round, finished: the gradient of the map.
pub(crate) fn features_to_map(
    isa: Isa,
    from: &[f32],
    [channels, height, width]: [usize; 3],
    to: &mut [f32],
    epilogue: &Epilogue<'_>,
) {
    let (pixel, positions) = (padded(channels), height * width);
    let features = padded(channels * positions);
    assert_eq!(from.len() / features, to.len() / (pixel * positions), "maps differ in length");
    isa.run(Gathered { to, pixel, epilogue, of: Features { from, vector: features, positions, channels } });
}

/// Where a block of channels comes from.
trait Lanes: Copy {
    /// The channels of the pixel number `place` from `channel` on, a block of them; zeros in the padding.
    fn lanes(self, place: usize, channel: usize) -> [f32; BLOCK];
}

#[derive(Clone, Copy)]
struct Slice<'a> {
    from: &'a [f32],
    from_pixel: usize,
    first: usize,
    channels: usize,
}

impl Lanes for Slice<'_> {
    #[inline(always)]
    fn lanes(self, place: usize, channel: usize) -> [f32; BLOCK] {
        let mut lanes = [0.0; BLOCK];
        let count = BLOCK.min(self.channels - channel);
        let at = place * self.from_pixel + self.first + channel;
        lanes[..count].copy_from_slice(&self.from[at..at + count]);
        lanes
    }
}

#[derive(Clone, Copy)]
struct Features<'a> {
    from: &'a [f32],
    /// f32 of one image's vector.
    vector: usize,
    positions: usize,
    channels: usize,
}

impl Lanes for Features<'_> {
    #[inline(always)]
    fn lanes(self, place: usize, channel: usize) -> [f32; BLOCK] {
        let mut lanes = [0.0; BLOCK];
        let (image, position) = (place / self.positions, place % self.positions);
        for (lane, c) in lanes.iter_mut().zip(channel..self.channels) {
            *lane = self.from[image * self.vector + c * self.positions + position];
        }
        lanes
    }
}

struct Gathered<'a, L> {
    of: L,
    pixel: usize,
    to: &'a mut [f32],
    epilogue: &'a Epilogue<'a>,
}

impl<L: Lanes> Kernel for Gathered<'_, L> {
    type Output = ();

    #[inline(always)]
    #[allow(unsafe_code)]
    fn run<S: Simd>(self) {
        let Self { of, pixel, to, epilogue } = self;
        epilogue.check(to.len(), pixel);
        for block in (0..to.len() / pixel * pixel).step_by(BLOCK) {
            let lanes = of.lanes(block / pixel, block % pixel);
            for lane in (0..BLOCK).step_by(S::LANES) {
                let offset = block + lane;
                // SAFETY: the offset is inside the destination.
                unsafe {
                    epilogue.finish::<S>(S::at(&lanes, lane), offset % pixel, to.as_mut_ptr(), offset);
                }
            }
        }
    }
}
