//! Every combination of steps beside plain arithmetic, on every instruction set of the machine.

use super::*;
use crate::cpu::vector::simd::{Isa, Kernel};

struct Tile<'a> {
    epilogue: Epilogue<'a>,
    values: &'a [f32],
    to: &'a mut [f32],
    offsets: &'a [usize],
}

impl Kernel for Tile<'_> {
    type Output = ();
    #[inline(always)]
    #[allow(unsafe_code)]
    fn run<S: Simd>(self) {
        let (values, to) = (self.values.as_ptr(), self.to.as_mut_ptr());
        // SAFETY: the test's slices hold a block for each offset.
        unsafe {
            let form = self.epilogue.known();
            self.epilogue.tile::<S>(form, values, BLOCK / S::LANES, 0, to, self.offsets);
        }
    }
}

/// Every combination of steps, those that are known beforehand among them, on values below 0, within 0 to 6 and above.
#[test]
fn a_tile_is_finished_step_by_step_whatever_is_known_of_them() {
    let offsets = [2 * BLOCK, 0, BLOCK];
    let half = |i: usize, shift: f32| (i * 7 % 41) as f32 / 2.0 + shift;
    let values: Vec<f32> = (0..3 * BLOCK).map(|i| half(i, -9.0)).collect();
    let bias: Vec<f32> = (0..BLOCK).map(|i| half(i + 3, -10.0)).collect();
    let [residual, held] = [5, 11].map(|by| (0..3 * BLOCK).map(|i| half(i * by, -8.0)).collect::<Vec<_>>());
    let gate = [0x5a3c, 0xffff, 0x0f01];
    for case in 0..96 {
        let [biased, added, accumulates, kept, gated] = [1, 2, 4, 8, 16].map(|bit| case & bit != 0);
        let activation = [Activation::None, Activation::Relu, Activation::Relu6][case >> 5];
        for isa in Isa::available() {
            let (mut to, mut bits) = (held.clone(), vec![0xaaaa; 3]);
            let mut epilogue = Epilogue::new().accumulate(accumulates).activation(activation);
            epilogue = if biased { epilogue.bias(&bias) } else { epilogue };
            epilogue = if added { epilogue.residual(&residual) } else { epilogue };
            epilogue = if kept { epilogue.bits_out(&mut bits) } else { epilogue };
            epilogue = if gated { epilogue.gate(&gate) } else { epilogue };
            isa.run(Tile { epilogue, values: &values, to: &mut to, offsets: &offsets });
            for (i, &value) in values.iter().enumerate() {
                let (place, lane) = (offsets[i / BLOCK] + i % BLOCK, i % BLOCK);
                let mut wanted = value + if biased { bias[lane] } else { 0.0 };
                wanted += if added { residual[place] } else { 0.0 };
                wanted += if accumulates { held[place] } else { 0.0 };
                let (slopes, most) = match activation {
                    Activation::None => (0xaaaa >> lane & 1 == 1, f32::INFINITY),
                    Activation::Relu => (wanted > 0.0, f32::INFINITY),
                    Activation::Relu6 => (wanted > 0.0 && wanted < 6.0, 6.0),
                };
                if activation != Activation::None {
                    wanted = wanted.clamp(0.0, most);
                }
                let bit = bits[place / BLOCK] >> lane & 1 == 1;
                assert_eq!(
                    bit,
                    if kept { slopes } else { 0xaaaa >> lane & 1 == 1 },
                    "{isa:?}, {case}: {place}"
                );
                let closed = gated && gate[place / BLOCK] >> lane & 1 == 0;
                let wanted = if closed { 0.0 } else { wanted };
                assert!(
                    (to[place] - wanted).abs() < 1e-9,
                    "{isa:?}, {case}: {place} is {}, not {wanted}",
                    to[place]
                );
            }
        }
    }
}
