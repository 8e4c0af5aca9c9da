//! Ten thousand random shapes, once.

use super::*;
use crate::cpu::oracle::{random_shapes, tell_errors};

/// Small numbers from a seed.
struct Dice(u64);

impl Dice {
    /// Between both, inclusive.
    fn roll(&mut self, low: usize, high: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        low + (self.0 >> 20) as usize % (high - low + 1)
    }
}

fn shape(dice: &mut Dice) -> ConvShape {
    let groups = if dice.roll(0, 4) == 0 { dice.roll(2, 4) } else { 1 };
    let channels = groups * dice.roll(1, 40 / groups);
    let out = groups * dice.roll(1, 90 / groups);
    let kernel = [dice.roll(1, 5), dice.roll(1, 5)];
    let stride = [dice.roll(1, 3), dice.roll(1, 3)];
    let padding = [(); 4].map(|()| dice.roll(0, 3));
    let [top, bottom, left, right] = padding;
    let height = dice.roll(kernel[0].saturating_sub(top + bottom).max(1), 9);
    let width = dice.roll(kernel[1].saturating_sub(left + right).max(1), 9);
    let dense_input = channels <= 3 && dice.roll(0, 1) == 0;
    ConvShape { groups, dense_input, ..conv([channels, height, width], out, kernel, stride, padding) }
}

#[test]
#[ignore = "minutes; run after a change to the kernels"]
fn ten_thousand_random_shapes_are_within_two_millionths_of_f64() {
    let mut dice = Dice(0x5EED_0123_4567_89AB);
    for i in 0..random_shapes() {
        let shape = shape(&mut dice);
        let case = Case::new(shape, dice.roll(1, 3), i);
        for isa in Isa::available() {
            check(isa, &case);
        }
    }
    tell_errors("direct");
}
