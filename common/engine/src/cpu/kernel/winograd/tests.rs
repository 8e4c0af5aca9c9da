//! Against plain f64 loops, on every instruction set.

use super::*;
use crate::cpu::kernel::conv::tests::{epilogues_hold, run};
use crate::cpu::kernel::conv::{Part, WeightGradient};
use crate::cpu::oracle::{
    channels_first, channels_last, each_product, normals, random_shapes, relative_rms, tell_errors, within,
};
use crate::cpu::vector::epilogue::Epilogue;
use crate::cpu::vector::simd::{BLOCK, padded};
use crate::graph::Padding;

mod speed;

const TILES: [Tile; 2] = [Tile::Two, Tile::Four];

/// The error that a tile may have, relative RMS.
fn bound(tile: Tile) -> f64 {
    match tile {
        Tile::Two => 2e-6,
        Tile::Four => 5e-6,
    }
}

/// A 3x3 convolution of `input` (channels, rows, columns) to `out` channels; padding top, bottom, left, right.
fn shape(input: [usize; 3], out: usize, [top, bottom, left, right]: [usize; 4]) -> ConvShape {
    ConvShape {
        input,
        output: [out, input[1] + top + bottom - 2, input[2] + left + right - 2],
        kernel: [3, 3],
        stride: [1, 1],
        padding: Padding { top, bottom, left, right },
        groups: 1,
        dense_input: false,
    }
}

/// Odd, non-square, smaller than a tile, larger than a group; channels above and below whole vectors and panels.
fn shapes() -> Vec<ConvShape> {
    vec![
        shape([16, 32, 32], 16, [1; 4]),
        shape([3, 9, 7], 5, [1; 4]),
        shape([17, 1, 1], 33, [1; 4]),
        shape([16, 1, 5], 16, [2, 0, 1, 1]),
        shape([20, 3, 3], 40, [0; 4]),
        shape([33, 13, 6], 49, [2; 4]),
        shape([64, 8, 11], 80, [0, 1, 2, 1]),
        shape([5, 2, 15], 130, [1, 2, 0, 2]),
        shape([48, 12, 10], 96, [1; 4]),
        shape([210, 4, 5], 200, [1, 1, 0, 2]),
        shape([1, 40, 4], 1, [1; 4]),
    ]
}

/// A convolution's values in PyTorch's layouts, in f64.
struct Case {
    shape: ConvShape,
    images: usize,
    input: Vec<Vec<f64>>,
    gradient: Vec<Vec<f64>>,
    weight: Vec<f64>,
    scale: Vec<f32>,
}

impl Case {
    fn new(shape: ConvShape, images: usize, seed: u64) -> Self {
        let maps = |[c, h, w]: [usize; 3], seed: u64| {
            (0..images as u64).map(|image| normals(c * h * w, seed * 97 + image)).collect()
        };
        let scale = (0..shape.output[0]).map(|o| 0.5 + o as f32 / 64.0).collect();
        Self {
            images,
            input: maps(shape.input, 2 * seed + 3),
            gradient: maps(shape.output, 2 * seed + 4),
            weight: normals(shape.weight_len(), seed + 1000),
            shape,
            scale,
        }
    }

    fn weight_f32(&self) -> Vec<f32> {
        self.weight.iter().map(|&w| w as f32).collect()
    }

    fn scaled(&self, weight: usize) -> f64 {
        self.weight[weight] * f64::from(self.scale[weight / (self.shape.weight_len() / self.shape.output[0])])
    }

    fn output(&self) -> Vec<f64> {
        let mut all = Vec::new();
        for input in &self.input {
            let mut output = vec![0.0; self.shape.output.iter().product()];
            each_product(&self.shape, |o, i, w| output[o] += input[i] * self.scaled(w));
            all.extend(output);
        }
        all
    }

    fn image_gradient(&self) -> Vec<f64> {
        let mut all = Vec::new();
        for gradient in &self.gradient {
            let mut image = vec![0.0; self.shape.input.iter().product()];
            each_product(&self.shape, |o, i, w| image[i] += gradient[o] * self.scaled(w));
            all.extend(image);
        }
        all
    }

    fn weight_gradient(&self) -> Vec<f64> {
        let mut sums = vec![0.0; self.shape.weight_len()];
        for (input, gradient) in self.input.iter().zip(&self.gradient) {
            each_product(&self.shape, |o, i, w| sums[w] += input[i] * gradient[o]);
        }
        sums
    }
}

/// Maps as the kernels see them.
fn maps(images: &[Vec<f64>], shape: [usize; 3]) -> Vec<f32> {
    images.iter().flat_map(|image| channels_last(image, shape, padded(shape[0]))).collect()
}

/// Maps as PyTorch sees them.
fn unmap(map: &[f32], shape: [usize; 3]) -> Vec<f64> {
    let pixel = padded(shape[0]);
    map.chunks_exact(shape[1] * shape[2] * pixel)
        .flat_map(|image| channels_first(image, shape, pixel))
        .collect()
}

/// Packs and runs `call` images at a time, over a destination and scratch of rubbish.
fn run_all(
    product: &dyn MapProduct,
    case: &Case,
    call: usize,
    from: &[Vec<f64>],
    shapes: [[usize; 3]; 2],
) -> Vec<f32> {
    let mut packed = vec![f32::NAN; product.packed_len()];
    product.pack(&case.weight_f32(), Some(&case.scale), &mut packed);
    let mut all = Vec::new();
    for from in from.chunks(call) {
        let [_, height, width] = shapes[1];
        let mut to = vec![f32::NAN; from.len() * height * width * padded(shapes[1][0])];
        run(product, &packed, from.len(), &maps(from, shapes[0]), &mut to, &Epilogue::new());
        all.extend(to);
    }
    all
}

fn forward(isa: Isa, tile: Tile, case: &Case, call: usize) -> Vec<f32> {
    let product = Winograd::forward(isa, case.shape, tile);
    run_all(&product, case, call, &case.input, [case.shape.input, case.shape.output])
}

fn image_gradient(isa: Isa, tile: Tile, case: &Case, call: usize) -> Vec<f32> {
    let product = Winograd::image_gradient(isa, case.shape, tile);
    run_all(&product, case, call, &case.gradient, [case.shape.output, case.shape.input])
}

/// The weight gradient of `part` images each, `call` images at a time, added to ones; in pieces where it is `spread`. A large
/// layer's is formed of the whole batch.
fn weight_gradient(isa: Isa, tile: Tile, case: &Case, [part, call]: [usize; 2], spread: bool) -> Vec<f32> {
    let layer = WinogradWeightGradient::new(isa, case.shape, tile);
    if layer.cooperative() {
        let mut sums = vec![1.0; case.shape.weight_len()];
        large(&layer, case, Part { sums: &mut sums, begun: true, spread });
        return sums;
    }
    // Whatever a step before left there.
    let mut parts = vec![f32::NAN; layer.part_len() * case.images.div_ceil(part)];
    let batch = case.input.chunks(part).zip(case.gradient.chunks(part));
    for ((inputs, gradients), part) in batch.zip(parts.chunks_exact_mut(layer.part_len())) {
        for (i, (input, gradient)) in inputs.chunks(call).zip(gradients.chunks(call)).enumerate() {
            let mut scratch = vec![f32::NAN; layer.scratch_len(input.len())];
            let (x, y) = (maps(input, case.shape.input), maps(gradient, case.shape.output));
            layer.run(input.len(), &x, &y, Part { sums: part, begun: i > 0, spread }, &mut scratch);
        }
    }
    let mut sums = vec![1.0; case.shape.weight_len()];
    layer.finish(&parts, &mut sums, true);
    sums
}

/// A large layer's weight gradient of the whole batch, added to a part or written over it.
fn large(layer: &WinogradWeightGradient, case: &Case, part: Part<'_>) {
    let mut scratch = vec![f32::NAN; layer.scratch_len(case.images)];
    let (x, y) = (maps(&case.input, case.shape.input), maps(&case.gradient, case.shape.output));
    layer.run(case.images, &x, &y, part, &mut scratch);
}

/// Asserts that all three kernels agree with the loops, with both tiles on every instruction set.
fn check(case: &Case) {
    // Ones that were there before cost digits of small sums, which the truth shares.
    let sums: Vec<f64> = case.weight_gradient().iter().map(|&sum| sum + 1.0).collect();
    let truth = [case.output(), case.image_gradient(), sums];
    for isa in Isa::available() {
        for tile in TILES {
            agree(isa, tile, case, &truth);
        }
    }
}

/// Asserts that output, image gradient and weight gradient are those given.
fn agree(isa: Isa, tile: Tile, case: &Case, [output, image, sums]: &[Vec<f64>; 3]) {
    let close = |name: &str, found: &[f64], truth: &[f64]| {
        let error = relative_rms(found, truth);
        let name = format!("{name} in tiles of {tile:?}");
        within(isa, &name, error, bound(tile), || format!("{:?} x {}", case.shape, case.images));
    };
    let found = unmap(&forward(isa, tile, case, case.images), case.shape.output);
    close("forward", &found, output);
    let found = unmap(&image_gradient(isa, tile, case, case.images), case.shape.input);
    close("image gradient", &found, image);
    let found = weight_gradient(isa, tile, case, [case.images; 2], false);
    close("weight gradient", &found.iter().map(|&sum| sum.into()).collect::<Vec<_>>(), sums);
}

#[test]
fn every_kernel_agrees_with_plain_loops_at_every_shape_class() {
    for (seed, shape) in shapes().into_iter().enumerate() {
        let case = Case::new(shape, 1 + seed % 3, seed as u64);
        check(&case);
    }
}

#[test]
fn results_do_not_depend_on_images_per_call_or_threads() {
    for (seed, shape) in shapes().into_iter().enumerate() {
        let case = Case::new(shape, 5, seed as u64);
        for isa in Isa::available() {
            for tile in TILES {
                let results = |threads: usize, call: usize| {
                    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
                    pool.install(|| {
                        let used = |map: Vec<f32>, shape: [usize; 3]| unmap(&map, shape);
                        (
                            used(forward(isa, tile, &case, call), case.shape.output),
                            used(image_gradient(isa, tile, &case, call), case.shape.input),
                            weight_gradient(isa, tile, &case, [5, call], threads > 1),
                        )
                    })
                };
                let one = results(1, 5);
                assert!(one == results(3, 1), "{isa:?} {tile:?} {shape:?}: one image per call");
                assert!(one == results(2, 2), "{isa:?} {tile:?} {shape:?}: two images per call");
            }
        }
    }
}

#[test]
fn a_gradient_that_is_begun_is_what_was_added_to_zeros() {
    for shape in shapes() {
        let case = Case::new(shape, 2, 11);
        for isa in Isa::available() {
            for tile in TILES {
                let layer = WinogradWeightGradient::new(isa, shape, tile);
                let gradient = |begun: bool| {
                    // What is written over is whatever a step before left there.
                    let mut found = vec![if begun { 0.0 } else { f32::NAN }; shape.weight_len()];
                    if layer.cooperative() {
                        large(&layer, &case, Part { sums: &mut found, begun, spread: true });
                    } else {
                        let mut part = vec![f32::NAN; layer.part_len()];
                        large(&layer, &case, Part { sums: &mut part, begun: false, spread: true });
                        layer.finish(&part, &mut found, begun);
                    }
                    found
                };
                assert!(gradient(true) == gradient(false), "{isa:?} {tile:?} {shape:?}");
            }
        }
    }
}

#[test]
fn a_large_layer_sums_over_all_blocks_of_its_tiles() {
    // More tiles than the scratch holds: the same image often has so many times its gradient.
    const OFTEN: usize = 40;
    let shape = shape([208, 16, 16], 208, [1; 4]);
    let one = Case::new(shape, 1, 5);
    let truth: Vec<f64> = one.weight_gradient().iter().map(|sum| sum * OFTEN as f64).collect();
    let often = |map: &[Vec<f64>]| vec![map[0].clone(); OFTEN];
    let many = Case { images: OFTEN, input: often(&one.input), gradient: often(&one.gradient), ..one };
    for tile in TILES {
        let layer = WinogradWeightGradient::new(Isa::detect(), shape, tile);
        assert!(layer.cooperative() && layer.phases(OFTEN).len() > 2, "{tile:?} is not cut");
        let mut found = vec![f32::NAN; shape.weight_len()];
        large(&layer, &many, Part { sums: &mut found, begun: false, spread: false });
        let found: Vec<f64> = found.into_iter().map(f64::from).collect();
        let error = relative_rms(&found, &truth);
        assert!(error <= bound(tile), "{tile:?} {error:e}");
    }
}

#[test]
fn parts_sum_to_the_whole() {
    for (seed, shape) in shapes().into_iter().enumerate() {
        let case = Case::new(shape, 5, seed as u64);
        let truth = case.weight_gradient();
        for isa in Isa::available() {
            for tile in TILES {
                let sums = weight_gradient(isa, tile, &case, [2, 1], false);
                let found: Vec<f64> = sums.iter().map(|&sum| f64::from(sum) - 1.0).collect();
                let error = relative_rms(&found, &truth);
                assert!(error <= 2.0 * bound(tile), "{isa:?} {tile:?} {error:e}: {shape:?}");
            }
        }
    }
}

#[test]
fn an_image_gradient_of_dense_channels_is_padded() {
    let mut shape = shape([3, 9, 10], 20, [1; 4]);
    shape.dense_input = true;
    let case = Case::new(shape, 2, 7);
    for isa in Isa::available() {
        for tile in TILES {
            let image = image_gradient(isa, tile, &case, 2);
            assert_eq!(image.len(), 2 * 9 * 10 * BLOCK);
            assert!(relative_rms(&unmap(&image, shape.input), &case.image_gradient()) <= bound(tile));
        }
    }
}

/// Forms that are known beforehand have code of their own, tiles over the edge of the map are asked for each step, and panels
/// that are a vector and padding multiply the vector.
#[test]
fn epilogues_give_what_their_steps_make_of_the_products() {
    for (shape, isa) in shapes().into_iter().flat_map(|shape| Isa::available().map(move |isa| (shape, isa))) {
        let case = Case::new(shape, 2, 9);
        for tile in TILES {
            let known = |which: &str, product: &Winograd, from: &[Vec<f64>], shapes: [[usize; 3]; 2]| {
                let mut packed = vec![f32::NAN; product.packed_len()];
                product.pack(&case.weight_f32(), None, &mut packed);
                let which = format!("{isa:?} {tile:?} {shape:?}{which}");
                epilogues_hold(&which, product, &packed, (&maps(from, shapes[0]), shapes[1]), 2);
            };
            let [input, output] = [shape.input, shape.output];
            known("", &Winograd::forward(isa, shape, tile), &case.input, [input, output]);
            known(", back", &Winograd::image_gradient(isa, shape, tile), &case.gradient, [output, input]);
        }
    }
}

#[test]
#[ignore = "two minutes"]
fn every_kernel_agrees_with_plain_loops_at_ten_thousand_random_shapes() {
    let mut state = 1u64;
    let mut below = |n: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % n as usize
    };
    for seed in 0..random_shapes() {
        let padding = [0; 4].map(|_| below(3));
        let [top, bottom, left, right] = padding;
        let height = 3usize.saturating_sub(top + bottom).max(1) + below(9);
        let width = 3usize.saturating_sub(left + right).max(1) + below(9);
        let shape = shape([1 + below(40), height, width], 1 + below(40), padding);
        let case = Case::new(shape, 1 + below(3), seed);
        check(&case);
    }
    tell_errors("winograd");
}

#[test]
#[ignore = "a second"]
fn a_large_batch_does_not_lose_digits_of_the_weight_gradient() {
    let case = Case::new(shape([16, 32, 32], 16, [1; 4]), 128, 3);
    let truth = case.weight_gradient();
    for tile in TILES {
        let sums = weight_gradient(Isa::detect(), tile, &case, [128; 2], false);
        let found: Vec<f64> = sums.iter().map(|&sum| f64::from(sum) - 1.0).collect();
        let error = relative_rms(&found, &truth);
        println!("{tile:?}: {error:.2e}");
        assert!(error <= bound(tile), "{tile:?} {error:e}");
    }
}
