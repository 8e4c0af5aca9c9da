//! What follows the sums, in both directions: every step at once against f64, and each known form against its steps.

use super::*;
use crate::cpu::vector::epilogue::Known;
use crate::plan::Activation;

#[test]
fn the_epilogue_meets_every_output_of_both_directions_once() {
    for shape in shapes() {
        let case = Case::new(shape, 2, 9);
        for isa in Isa::available() {
            let forward = Direct::forward(isa, shape);
            let weights = packed(&forward, &case.weight(), None);
            epilogue_holds(&forward, &weights, (&case.inputs(), shape.output), &case.output);
            let backward = Direct::image_gradient(isa, shape);
            let weights = packed(&backward, &case.weight(), None);
            epilogue_holds(&backward, &weights, (&case.gradients(), shape.input), &case.input_gradient);
        }
    }
}

/// Bias, residual, what was there, ReLU and its bits, a gate: compared with the same in f64.
fn epilogue_holds(
    kernel: &impl MapProduct,
    packed: &[f32],
    (from, map): (&[f32], [usize; 3]),
    product: &[Vec<f64>],
) {
    let (pixel, images) = (padded(map[0]), product.len());
    let len = pixel * map[1] * map[2];
    let values = |seed| -> Vec<f32> { normals(images * len, seed).iter().map(|&x| x as f32).collect() };
    let (held, residual, bias) = (values(1), values(2), &values(3)[..pixel]);
    let gate: Vec<u16> = (0..images * len / BLOCK).map(|i| (i * 40_503) as u16).collect();
    let mut bits = vec![0u16; gate.len()];
    let mut to = held.clone();
    let epilogue = Epilogue::new().bias(bias).residual(&residual).accumulate(true);
    let epilogue = epilogue.activation(Activation::Relu).bits_out(&mut bits).gate(&gate);
    run(kernel, packed, images, from, &mut to, &epilogue);
    for (i, product) in product.iter().enumerate() {
        let product = channels_last(product, map, pixel);
        let size = 1.0
            + product
                .iter()
                .enumerate()
                .fold(0.0f32, |m, (p, v)| if p % pixel < map[0] { m.max(v.abs()) } else { m });
        for (p, product) in product.into_iter().enumerate().filter(|(p, _)| p % pixel < map[0]) {
            let at = i * len + p;
            let wanted = product + bias[p % pixel] + residual[at] + held[at];
            let open = gate[at / BLOCK] >> (at % BLOCK) & 1 == 1;
            let bit = bits[at / BLOCK] >> (at % BLOCK) & 1 == 1;
            if wanted.abs() > 1e-4 {
                assert_eq!(bit, wanted > 0.0, "bit {p} of image {i}");
            }
            let wanted = if open { wanted.max(0.0) } else { 0.0 };
            assert!((to[at] - wanted).abs() < 1e-5 * size, "{} is not {wanted} at {p} of image {i}", to[at]);
        }
    }
}

/// Forms that are known beforehand have code of their own, on some sets without a way through memory.
#[test]
fn an_epilogue_that_is_known_gives_what_its_steps_make_of_the_sums() {
    for shape in shapes() {
        let case = Case::new(shape, 3, 11);
        for isa in Isa::available() {
            let forward = Direct::forward(isa, shape);
            let weights = packed(&forward, &case.weight(), None);
            known_epilogues_hold(
                &format!("{isa:?} {shape:?}"),
                &forward,
                &weights,
                (&case.inputs(), shape.output),
            );
            let backward = Direct::image_gradient(isa, shape);
            let weights = packed(&backward, &case.weight(), None);
            known_epilogues_hold(
                &format!("{isa:?} {shape:?}, back"),
                &backward,
                &weights,
                (&case.gradients(), shape.input),
            );
        }
    }
}

fn known_epilogues_hold(
    which: &str,
    kernel: &impl MapProduct,
    packed: &[f32],
    (from, map): (&[f32], [usize; 3]),
) {
    let (pixel, images) = (padded(map[0]), 3);
    let len = images * pixel * map[1] * map[2];
    let mut sums = vec![f32::NAN; len];
    run(kernel, packed, images, from, &mut sums, &Epilogue::new());
    let bias: Vec<f32> = normals(pixel, 3).iter().map(|&x| x as f32).collect();
    let gate: Vec<u16> = (0..len / BLOCK).map(|i| (i * 40_503) as u16).collect();
    let (relu, relu6) = (Activation::Relu, Activation::Relu6);
    let cases = [
        (true, Activation::None, false, Known::Biased),
        (true, relu, false, Known::Activated),
        (true, relu6, false, Known::Activated6),
        (false, Activation::None, true, Known::Gated),
    ];
    for (biased, activation, gated, form) in cases {
        let mut bits = vec![0xaaaa; gate.len()];
        let mut to = vec![f32::NAN; len];
        let mut epilogue = Epilogue::new().activation(activation);
        epilogue = if biased { epilogue.bias(&bias) } else { epilogue };
        epilogue = if activation == Activation::None { epilogue } else { epilogue.bits_out(&mut bits) };
        epilogue = if gated { epilogue.gate(&gate) } else { epilogue };
        assert_eq!(epilogue.known(), form);
        run(kernel, packed, images, from, &mut to, &epilogue);
        for (i, &sum) in sums.iter().enumerate() {
            let value = if biased { sum + bias[i % pixel] } else { sum };
            let most = if activation == relu6 { 6.0 } else { f32::INFINITY };
            let open = !gated || gate[i / BLOCK] >> (i % BLOCK) & 1 == 1;
            let wanted = match activation {
                Activation::None => {
                    if open {
                        value
                    } else {
                        0.0
                    }
                }
                _ => value.clamp(0.0, most),
            };
            // A zero is a zero, whichever its sign.
            let same = (to[i] + 0.0).to_bits() == (wanted + 0.0).to_bits();
            assert!(same, "{which}, {form:?}: {} is not {wanted} at {i}", to[i]);
            if activation != Activation::None {
                let bit = bits[i / BLOCK] >> (i % BLOCK) & 1 == 1;
                assert_eq!(bit, value > 0.0 && value < most, "{which}, {form:?}: bit {i} of {value}");
            }
        }
    }
}
