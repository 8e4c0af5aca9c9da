//! What follows the sums, in both directions: every step at once against f64, and each form against its steps.

use super::*;
use crate::cpu::kernel::conv::tests::epilogues_hold;
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
fn epilogues_give_what_their_steps_make_of_the_sums() {
    for shape in shapes() {
        let case = Case::new(shape, 3, 11);
        for isa in Isa::available() {
            let forward = Direct::forward(isa, shape);
            let weights = packed(&forward, &case.weight(), None);
            epilogues_hold(
                &format!("{isa:?} {shape:?}"),
                &forward,
                &weights,
                (&case.inputs(), shape.output),
                3,
            );
            let backward = Direct::image_gradient(isa, shape);
            let weights = packed(&backward, &case.weight(), None);
            epilogues_hold(
                &format!("{isa:?} {shape:?}, back"),
                &backward,
                &weights,
                (&case.gradients(), shape.input),
                3,
            );
        }
    }
}
