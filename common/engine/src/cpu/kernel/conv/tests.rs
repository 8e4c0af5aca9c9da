//! What every product of maps owes its callers.

use super::*;
use crate::cpu::oracle::normals;
use crate::cpu::vector::epilogue::Known;
use crate::cpu::vector::simd::{BLOCK, padded};
use crate::plan::Activation;

/// Runs a kernel over scratch of rubbish.
pub(crate) fn run(
    kernel: &dyn MapProduct,
    packed: &[f32],
    images: usize,
    from: &[f32],
    to: &mut [f32],
    epilogue: &Epilogue<'_>,
) {
    let mut scratch = vec![f32::NAN; kernel.scratch_len(images)];
    kernel.run(Job { packed, images, from, to, epilogue: *epilogue, scratch: &mut scratch });
}

/// Asserts that every form of an epilogue that has code of its own, and two that have none, give what their steps make of the
/// sums, to the bit, padding included; `map` is the destination's channels, rows and columns.
pub(crate) fn epilogues_hold(
    which: &str,
    kernel: &dyn MapProduct,
    packed: &[f32],
    (from, map): (&[f32], [usize; 3]),
    images: usize,
) {
    let pixel = padded(map[0]);
    let len = images * pixel * map[1] * map[2];
    let values = |seed, len| -> Vec<f32> { normals(len, seed).iter().map(|&x| x as f32).collect() };
    let mut sums = vec![f32::NAN; len];
    run(kernel, packed, images, from, &mut sums, &Epilogue::new());
    for (i, &sum) in sums.iter().enumerate() {
        assert!(sum.is_finite() && (i % pixel < map[0] || sum == 0.0), "{which}: a sum of {sum} at {i}");
    }
    let (bias, residual, held) = (values(3, pixel), values(4, len), values(5, len));
    let gate: Vec<u16> = (0..len / BLOCK).map(|i| (i * 40_503) as u16).collect();
    let (none, relu, relu6) = (Activation::None, Activation::Relu, Activation::Relu6);
    // Bias, residual, what the destination holds; activation; its bits, a gate.
    let cases = [
        ([true, false, false], none, [false, false], Known::Biased),
        ([true, false, false], relu, [true, false], Known::Activated),
        ([true, false, false], relu6, [true, false], Known::Activated6),
        ([true, true, false], relu, [true, false], Known::Rejoined),
        ([false, false, false], none, [false, true], Known::Gated),
        ([false, false, true], none, [false, true], Known::Joined),
        ([true, false, false], relu, [false, false], Known::Asked),
        ([true, true, true], relu6, [true, true], Known::Asked),
    ];
    for ([biased, joined, accumulates], activation, [kept, gated], form) in cases {
        let mut bits = vec![0xaaaa; gate.len()];
        let mut to = if accumulates { held.clone() } else { vec![f32::NAN; len] };
        let mut epilogue = Epilogue::new().activation(activation).accumulate(accumulates);
        epilogue = if biased { epilogue.bias(&bias) } else { epilogue };
        epilogue = if joined { epilogue.residual(&residual) } else { epilogue };
        epilogue = if kept { epilogue.bits_out(&mut bits) } else { epilogue };
        epilogue = if gated { epilogue.gate(&gate) } else { epilogue };
        assert_eq!(epilogue.known(), form);
        run(kernel, packed, images, from, &mut to, &epilogue);
        for (i, &sum) in sums.iter().enumerate() {
            let mut value = if biased { sum + bias[i % pixel] } else { sum };
            value = if joined { value + residual[i] } else { value };
            value = if accumulates { value + held[i] } else { value };
            let most = if activation == relu6 { 6.0 } else { f32::INFINITY };
            let activated = if activation == none { value } else { value.clamp(0.0, most) };
            let open = !gated || gate[i / BLOCK] >> (i % BLOCK) & 1 == 1;
            let wanted = if open { activated } else { 0.0 };
            // A zero is a zero, whichever its sign.
            let same = (to[i] + 0.0).to_bits() == (wanted + 0.0).to_bits();
            assert!(same, "{which}, {form:?}: {} is not {wanted} at {i}", to[i]);
            if kept {
                let bit = bits[i / BLOCK] >> (i % BLOCK) & 1 == 1;
                assert_eq!(bit, value > 0.0 && value < most, "{which}, {form:?}: bit {i} of {value}");
            }
        }
    }
}
