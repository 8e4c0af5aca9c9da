//! Randomness as a pure function: Philox4x32-10 of (seed, purpose, epoch, image, block).
//!
//! No state, so there is nothing to save, nothing depends on threads or batch size, and a plan of views made on one
//! machine is the plan on every other. Source: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as
//! 1, 2, 3", SC 2011.

/// What a draw is for; the first word of the counter, so purposes never share draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Purpose {
    /// Initial values; `image` is the number of the tensor.
    Init = 0,
    /// The order of an epoch.
    Order = 1,
    /// The view of an image in an epoch.
    View = 2,
    /// Which views `random:K` picks; `block` is the view.
    Pick = 3,
    /// Where an attack in training starts.
    Start = 4,
    /// Which images are held out.
    Holdout = 5,
    /// Where an attack in evaluation starts; `epoch` is the restart.
    Eval = 6,
    /// Where the ascents of APGD start; `epoch` is the restart and the ascent.
    Apgd = 7,
    /// The squares of Square; `epoch` is the restart and the part.
    Square = 8,
    /// Initial values of what is trained beside the student; `image` is the number of the tensor.
    Head = 9,
    /// Which positions of a feature map are masked; `block` is the tap and the position.
    Mask = 10,
    /// Which images have a label, where a share of them does.
    Labelled = 11,
    /// The changes of a strong view.
    Strong = 12,
}

/// One stream of draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    seed: u64,
    purpose: Purpose,
    epoch: u32,
    image: u32,
}

impl Stream {
    /// The stream of a seed and purpose for one epoch and image.
    ///
    /// Epochs, images and blocks are 32-bit words of Philox's counter; readers refuse data sets beyond that.
    pub fn new(seed: u64, purpose: Purpose, epoch: usize, image: usize) -> Self {
        Self { seed, purpose, epoch: epoch as u32, image: image as u32 }
    }

    /// Two 64-bit draws of a block.
    pub fn draws(&self, block: usize) -> [u64; 2] {
        let counter = [self.purpose as u32, self.epoch, self.image, block as u32];
        let [a, b, c, d] = philox4x32_10(counter, [self.seed as u32, (self.seed >> 32) as u32]);
        [u64::from(a) | u64::from(b) << 32, u64::from(c) | u64::from(d) << 32]
    }

    /// The first 64-bit draw of block 0.
    pub fn draw(&self) -> u64 {
        self.draws(0)[0]
    }

    /// Two values uniform in [0, 1), multiples of 2^-53, of a block.
    pub fn units(&self, block: usize) -> [f64; 2] {
        self.draws(block).map(unit)
    }

    /// Fills with values uniform in [0, 1), multiples of 2^-53; value i is draw i % 2 of block i / 2.
    pub fn uniforms(&self, values: &mut [f64]) {
        for (block, pair) in values.chunks_mut(2).enumerate() {
            for (value, unit) in pair.iter_mut().zip(self.units(block)) {
                *value = unit;
            }
        }
    }

    /// Fills with standard normals by Box-Muller, in f64 through a portable `libm`, so that the bits do not depend
    /// on the machine's mathematics library. A block gives two: cosine, then sine.
    pub fn normals(&self, values: &mut [f64]) {
        for (block, pair) in values.chunks_mut(2).enumerate() {
            let [first, second] = self.draws(block);
            // 1 - u lies in (0, 1], so the logarithm is finite.
            let radius = libm::sqrt(-2.0 * libm::log(1.0 - unit(first)));
            let angle = 2.0 * std::f64::consts::PI * unit(second);
            for (value, part) in pair.iter_mut().zip([libm::cos(angle), libm::sin(angle)]) {
                *value = radius * part;
            }
        }
    }
}

/// An index below `n` from a 64-bit draw: the high half of the product, nearly uniform for any small n.
pub fn below(draw: u64, n: usize) -> usize {
    ((u128::from(draw) * n as u128) >> 64) as usize
}

fn unit(draw: u64) -> f64 {
    (draw >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}

/// Ten rounds of Philox4x32.
fn philox4x32_10(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
    const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
    for _ in 0..10 {
        let first = u64::from(MULTIPLIERS[0]) * u64::from(counter[0]);
        let second = u64::from(MULTIPLIERS[1]) * u64::from(counter[2]);
        counter = [
            (second >> 32) as u32 ^ counter[1] ^ key[0],
            second as u32,
            (first >> 32) as u32 ^ counter[3] ^ key[1],
            first as u32,
        ];
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    counter
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers published with Random123 (`kat_vectors`, philox4x32 10).
    #[test]
    fn philox_gives_the_published_answers() {
        let answers: [([u32; 4], [u32; 2], [u32; 4]); 3] = [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([u32::MAX; 4], [u32::MAX; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ];
        for (counter, key, expected) in answers {
            assert_eq!(philox4x32_10(counter, key), expected);
        }
    }

    #[test]
    fn an_index_stays_below_its_bound_and_reaches_both_ends() {
        assert_eq!(below(0, 162), 0);
        assert_eq!(below(u64::MAX, 162), 161);
        assert_eq!(below(1 << 63, 2), 1);
        assert_eq!(below((1 << 63) - 1, 2), 0);
    }
}
