//! Sums per channel of a chunk: in f32 over a block of positions, in f64 over blocks.

use crate::cpu::vector::simd::{BLOCK, Isa, Kernel, Simd, fence};

/// Positions whose sum is formed in f32.
const POSITIONS: usize = 128;

/// Adds each channel's sum and sum of squares to `sums`, `[2][pixel]`.
///
/// Blocks are summed about a value near their own mean, so that a large mean costs the variance no digits.
pub(crate) fn channel_sums(isa: Isa, map: &[f32], pixel: usize, sums: &mut [f64]) {
    check(map, pixel, sums);
    isa.run(Chunk { of: Values { map }, len: map.len(), pixel, sums });
}

/// The same, and the map goes to `to` past the caches.
pub(crate) fn channel_sums_onward(isa: Isa, map: &[f32], pixel: usize, sums: &mut [f64], to: &mut [f32]) {
    check(map, pixel, sums);
    assert!(map.len() == to.len(), "maps differ in length");
    isa.run(Chunk { of: Onward { of: Values { map }, to: to.as_mut_ptr() }, len: map.len(), pixel, sums });
}

/// Adds each channel's sum of `gradient`, and of `gradient * (input - centre)`, to `sums`, `[2][pixel]`.
///
/// `centre` is the first of the forward's coefficients.
pub(crate) fn channel_gradient_sums(
    isa: Isa,
    gradient: &[f32],
    input: &[f32],
    centre: &[f32],
    pixel: usize,
    sums: &mut [f64],
) {
    check(gradient, pixel, sums);
    assert!(gradient.len() == input.len() && centre.len() >= pixel, "maps differ in length");
    isa.run(Chunk { of: Products { gradient, input, centre }, len: gradient.len(), pixel, sums });
}

/// The same, and the gradient goes to `to` past the caches.
pub(crate) fn channel_gradient_sums_onward(
    isa: Isa,
    gradient: &[f32],
    input: &[f32],
    centre: &[f32],
    pixel: usize,
    sums: &mut [f64],
    to: &mut [f32],
) {
    check(gradient, pixel, sums);
    let lens = [input.len(), to.len()];
    assert!(lens == [gradient.len(); 2] && centre.len() >= pixel, "maps differ in length");
    let of = Onward { of: Products { gradient, input, centre }, to: to.as_mut_ptr() };
    isa.run(Chunk { of, len: gradient.len(), pixel, sums });
}

fn check(map: &[f32], pixel: usize, sums: &[f64]) {
    assert!(pixel.is_multiple_of(BLOCK) && pixel > 0, "a pixel of {pixel} values is not whole vectors");
    assert!(
        map.len().is_multiple_of(pixel) && sums.len() == 2 * pixel,
        "{} values, {} sums",
        map.len(),
        sums.len()
    );
}

/// The terms of two sums.
///
/// # Safety
///
/// Offsets are inside the maps, channels inside a pixel.
#[allow(unsafe_code)]
trait Terms: Copy {
    /// What is subtracted in a block of `positions` whose first vector is at `offset`.
    unsafe fn centre<S: Simd>(self, offset: usize, positions: usize, pixel: usize, channel: usize) -> S::V;

    /// The vector of the map at `offset`.
    unsafe fn load<S: Simd>(self, offset: usize) -> S::V;

    /// Both sums with that vector added.
    unsafe fn add<S: Simd>(self, sums: [S::V; 2], centre: S::V, vector: S::V, offset: usize) -> [S::V; 2];

    /// What is done when all are added.
    #[inline(always)]
    fn end(self) {}

    /// Sums of a block as they are without the centre.
    fn widen(self, sums: [f64; 2], centre: f64, positions: f64) -> [f64; 2];
}

#[derive(Clone, Copy)]
struct Values<'a> {
    map: &'a [f32],
}

#[allow(unsafe_code)]
impl Terms for Values<'_> {
    #[inline(always)]
    unsafe fn centre<S: Simd>(self, offset: usize, positions: usize, pixel: usize, _channel: usize) -> S::V {
        // The mean of four positions: one alone may be far out.
        // SAFETY: the trait's contract.
        unsafe {
            let at =
                |quarter: usize| S::load(self.map.as_ptr().add(offset + positions * quarter / 4 * pixel));
            S::mul(S::add(S::add(at(0), at(1)), S::add(at(2), at(3))), S::splat(0.25))
        }
    }

    #[inline(always)]
    unsafe fn load<S: Simd>(self, offset: usize) -> S::V {
        // SAFETY: the trait's contract.
        unsafe { S::load(self.map.as_ptr().add(offset)) }
    }

    #[inline(always)]
    unsafe fn add<S: Simd>(
        self,
        [sum, squares]: [S::V; 2],
        centre: S::V,
        vector: S::V,
        _offset: usize,
    ) -> [S::V; 2] {
        let x = S::sub(vector, centre);
        [S::add(sum, x), S::fma(x, x, squares)]
    }

    #[inline(always)]
    fn widen(self, [sum, squares]: [f64; 2], centre: f64, positions: f64) -> [f64; 2] {
        [sum + positions * centre, squares + centre * (2.0 * sum + positions * centre)]
    }
}

#[derive(Clone, Copy)]
struct Products<'a> {
    gradient: &'a [f32],
    input: &'a [f32],
    centre: &'a [f32],
}

#[allow(unsafe_code)]
impl Terms for Products<'_> {
    #[inline(always)]
    unsafe fn centre<S: Simd>(
        self,
        _offset: usize,
        _positions: usize,
        _pixel: usize,
        channel: usize,
    ) -> S::V {
        // SAFETY: the trait's contract.
        unsafe { S::load(self.centre.as_ptr().add(channel)) }
    }

    #[inline(always)]
    unsafe fn load<S: Simd>(self, offset: usize) -> S::V {
        // SAFETY: the trait's contract.
        unsafe { S::load(self.gradient.as_ptr().add(offset)) }
    }

    #[inline(always)]
    unsafe fn add<S: Simd>(
        self,
        [sum, products]: [S::V; 2],
        centre: S::V,
        vector: S::V,
        offset: usize,
    ) -> [S::V; 2] {
        // SAFETY: the trait's contract.
        let x = S::sub(unsafe { S::load(self.input.as_ptr().add(offset)) }, centre);
        [S::add(sum, vector), S::fma(vector, x, products)]
    }

    #[inline(always)]
    fn widen(self, sums: [f64; 2], _centre: f64, _positions: f64) -> [f64; 2] {
        sums
    }
}

/// The same terms of a map that is handed on.
#[derive(Clone, Copy)]
struct Onward<T> {
    of: T,
    /// As long as the map.
    to: *mut f32,
}

#[allow(unsafe_code)]
impl<T: Terms> Terms for Onward<T> {
    #[inline(always)]
    unsafe fn centre<S: Simd>(self, offset: usize, positions: usize, pixel: usize, channel: usize) -> S::V {
        // SAFETY: the trait's contract.
        unsafe { self.of.centre::<S>(offset, positions, pixel, channel) }
    }

    #[inline(always)]
    unsafe fn load<S: Simd>(self, offset: usize) -> S::V {
        // SAFETY: the trait's contract.
        unsafe {
            let vector = self.of.load::<S>(offset);
            S::stream(self.to.add(offset), vector);
            vector
        }
    }

    #[inline(always)]
    unsafe fn add<S: Simd>(self, sums: [S::V; 2], centre: S::V, vector: S::V, offset: usize) -> [S::V; 2] {
        // SAFETY: the trait's contract.
        unsafe { self.of.add::<S>(sums, centre, vector, offset) }
    }

    #[inline(always)]
    fn widen(self, sums: [f64; 2], centre: f64, positions: f64) -> [f64; 2] {
        self.of.widen(sums, centre, positions)
    }

    #[inline(always)]
    fn end(self) {
        fence();
    }
}

struct Chunk<'a, T> {
    of: T,
    len: usize,
    pixel: usize,
    sums: &'a mut [f64],
}

impl<T: Terms> Kernel for Chunk<'_, T> {
    type Output = ();

    #[inline(always)]
    #[allow(unsafe_code)]
    fn run<S: Simd>(self) {
        let Self { of, len, pixel, sums } = self;
        let positions = len / pixel;
        for first in (0..positions).step_by(POSITIONS) {
            let count = POSITIONS.min(positions - first);
            let mut channel = 0;
            while channel < pixel {
                let place = Place { offset: first * pixel + channel, count, pixel, channel };
                // SAFETY: the place is inside the maps, whose lengths were checked.
                // Four chains at a time, whatever the number of channels: additions take a few cycles.
                channel += S::LANES
                    * unsafe {
                        match (pixel - channel) / S::LANES {
                            4.. => block::<S, T, 4, 1>(of, place, sums),
                            2 | 3 => block::<S, T, 2, 2>(of, place, sums),
                            _ => block::<S, T, 1, 4>(of, place, sums),
                        }
                    };
            }
        }
        of.end();
    }
}

/// A block: its first vector, its positions.
#[derive(Clone, Copy)]
struct Place {
    offset: usize,
    count: usize,
    pixel: usize,
    channel: usize,
}

/// Adds a block's sums for `W` vectors of channels, positions dealt out to `U` chains. Gives `W`.
///
/// # Safety
///
/// As for [`Terms`], for every position of the block.
#[inline(always)]
#[allow(unsafe_code)]
unsafe fn block<S: Simd, T: Terms, const W: usize, const U: usize>(
    of: T,
    place: Place,
    into: &mut [f64],
) -> usize {
    let Place { offset, count, pixel, channel } = place;
    // SAFETY: the caller's promise.
    unsafe {
        let mut centres = [S::zero(); W];
        for (w, centre) in centres.iter_mut().enumerate() {
            *centre = of.centre::<S>(offset + w * S::LANES, count, pixel, channel + w * S::LANES);
        }
        let mut sums = [[[S::zero(); 2]; W]; U];
        let mut position = 0;
        while position < count {
            for (u, sums) in sums.iter_mut().enumerate().take(count - position) {
                for (w, sums) in sums.iter_mut().enumerate() {
                    let at = offset + (position + u) * pixel + w * S::LANES;
                    *sums = of.add::<S>(*sums, centres[w], of.load::<S>(at), at);
                }
            }
            position += U;
        }
        for w in 0..W {
            let mut total = sums[0][w];
            for sums in &sums[1..] {
                total = [S::add(total[0], sums[w][0]), S::add(total[1], sums[w][1])];
            }
            let (values, centre) = ([S::lanes(total[0]), S::lanes(total[1])], S::lanes(centres[w]));
            let (first, second) = into.split_at_mut(pixel);
            for lane in 0..S::LANES {
                let sums = [f64::from(values[0][lane]), f64::from(values[1][lane])];
                let [sum, other] = of.widen(sums, f64::from(centre[lane]), count as f64);
                first[channel + w * S::LANES + lane] += sum;
                second[channel + w * S::LANES + lane] += other;
            }
        }
    }
    W
}
