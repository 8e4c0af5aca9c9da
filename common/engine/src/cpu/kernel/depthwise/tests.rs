//! Against plain f64 loops, on every instruction set of the machine.

use super::*;
use crate::cpu::kernel::conv::{Part, WeightGradient};
use crate::cpu::oracle::{
    aligned, channels_first, channels_last, each_product, normals, random_shapes, relative_rms, seconds,
    tell_errors, within,
};
use crate::cpu::vector::simd::padded;
use crate::graph::{Conv2d, Padding};
use crate::plan::Activation;

const TOLERANCE: f64 = 2e-6;

fn shape(input: [usize; 3], kernel: [usize; 2], stride: [usize; 2], sides: [usize; 4]) -> Option<ConvShape> {
    let [top, bottom, left, right] = sides;
    let padding = Padding { top, bottom, left, right };
    let conv = Conv2d { out: input[0], kernel, stride, padding, groups: input[0], bias: false };
    conv.output(input[1], input[2]).map(|_| ConvShape::new(&conv, input, false))
}

/// Shapes of every class: each method, tails of blocks, narrow maps, windows that hang over the sides.
fn shapes() -> Vec<ConvShape> {
    let mut all = Vec::new();
    for input in [[16, 8, 8], [3, 7, 5], [40, 4, 19], [33, 13, 10], [17, 1, 1], [24, 2, 3], [32, 9, 16]] {
        for (kernel, stride) in
            [([3, 3], [1, 1]), ([3, 3], [2, 2]), ([3, 3], [1, 2]), ([3, 3], [3, 3]), ([5, 5], [1, 1])]
                .into_iter()
                .chain([
                    ([5, 5], [2, 2]),
                    ([1, 3], [1, 1]),
                    ([7, 3], [2, 1]),
                    ([2, 4], [1, 3]),
                    ([1, 1], [2, 1]),
                ])
        {
            for sides in [[1; 4], [0; 4], [0, 1, 0, 1], [1, 0, 1, 0], [2; 4], [3, 1, 0, 2]] {
                all.extend(shape(input, kernel, stride, sides));
            }
        }
    }
    all
}

struct Truth {
    images: usize,
    input: Vec<f64>,
    weight: Vec<f64>,
    gradient: Vec<f64>,
    forward: Vec<f64>,
    image_gradient: Vec<f64>,
    weight_gradient: Vec<f64>,
}

fn truth(shape: &ConvShape, images: usize, seed: u64) -> Truth {
    let [from, to]: [usize; 2] = [shape.input, shape.output].map(|s| s.iter().product());
    let (input, gradient) = (normals(images * from, seed), normals(images * to, seed + 1));
    let weight = normals(shape.weight_len(), seed + 2);
    let (mut forward, mut image_gradient) = (vec![0.0; images * to], vec![0.0; images * from]);
    let mut weight_gradient = vec![0.0; weight.len()];
    for image in 0..images {
        each_product(shape, |o, i, w| {
            forward[image * to + o] += input[image * from + i] * weight[w];
            image_gradient[image * from + i] += gradient[image * to + o] * weight[w];
            weight_gradient[w] += input[image * from + i] * gradient[image * to + o];
        });
    }
    Truth { images, input, weight, gradient, forward, image_gradient, weight_gradient }
}

fn as_f32(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&v| v as f32).collect()
}

fn maps(values: &[f64], size: [usize; 3]) -> Vec<f32> {
    let images = values.chunks_exact(size.iter().product());
    images.flat_map(|image| channels_last(image, size, padded(size[0]))).collect()
}

fn images(maps: &[f32], size: [usize; 3]) -> Vec<f64> {
    let pixel = padded(size[0]);
    maps.chunks_exact(pixel * size[1] * size[2]).flat_map(|map| channels_first(map, size, pixel)).collect()
}

fn product(kernel: &dyn MapProduct, weight: &[f64], images: usize, from: &[f32], len: usize) -> Vec<f32> {
    let mut packed = vec![f32::NAN; kernel.packed_len()];
    kernel.pack(&as_f32(weight), None, &mut packed);
    let mut to = vec![f32::NAN; len];
    let epilogue = Epilogue::new();
    kernel.run(Job { packed: &packed, images, from, to: &mut to, epilogue, scratch: &mut [] });
    to
}

fn check(isa: Isa, shape: &ConvShape, truth: &Truth) {
    let (input, gradient) = (maps(&truth.input, shape.input), maps(&truth.gradient, shape.output));
    let close = |what: &str, found: &[f64], wanted: &[f64]| {
        let error = relative_rms(found, wanted);
        within(isa, what, error, TOLERANCE, || format!("{shape:?}, {} images", truth.images));
    };
    let n = truth.images;
    let forward = Depthwise::forward(isa, *shape);
    let found = product(&forward, &truth.weight, n, &input, n * shape.output_len());
    close("forward", &images(&found, shape.output), &truth.forward);
    let backward = Depthwise::image_gradient(isa, *shape);
    let found = product(&backward, &truth.weight, n, &gradient, n * shape.input_len());
    close("image gradient", &images(&found, shape.input), &truth.image_gradient);
    let weights = DepthwiseWeightGradient::new(isa, *shape);
    // One image in the first part, the others in the second, on top of a gradient of ones.
    let mut parts = vec![f32::NAN; 2 * weights.part_len()];
    let mut scratch = vec![f32::NAN; weights.scratch_len(n)];
    let (first, second) = parts.split_at_mut(weights.part_len());
    let afresh = |sums| Part { sums, begun: false, spread: false };
    weights.run(1, &input, &gradient, afresh(first), &mut scratch);
    let others = (&input[shape.input_len()..], &gradient[shape.output_len()..]);
    weights.run(n - 1, others.0, others.1, afresh(second), &mut scratch);
    let mut found = vec![1.0; shape.weight_len()];
    weights.finish(&parts, &mut found, true);
    let found: Vec<f64> = found.into_iter().map(f64::from).collect();
    let wanted: Vec<f64> = truth.weight_gradient.iter().map(|w| w + 1.0).collect();
    close("weight gradient", &found, &wanted);
    let mut begun = vec![f32::NAN; shape.weight_len()];
    weights.finish(&parts, &mut begun, false);
    let begun: Vec<f64> = begun.into_iter().map(f64::from).collect();
    close("weight gradient", &begun, &truth.weight_gradient);
}

#[test]
fn every_shape_class_agrees_with_f64() {
    for (seed, shape) in shapes().into_iter().enumerate() {
        let truth = truth(&shape, 1 + seed % 3, seed as u64);
        for isa in Isa::available() {
            check(isa, &shape, &truth);
        }
    }
}

#[test]
#[ignore = "ten thousand shapes: ten seconds"]
fn ten_thousand_random_shapes_agree_with_f64() {
    let mut state = 1_u64;
    let mut below = |n: u64| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((state >> 33) % n) as usize
    };
    let mut done = 0;
    while done < random_shapes() {
        let input = [2 + below(40), 1 + below(12), 1 + below(20)];
        let kernel = if below(2) == 0 { [3, 3] } else { [1 + below(6), 1 + below(6)] };
        let stride = [1 + below(3), 1 + below(3)];
        let sides = if below(2) == 0 { [1; 4] } else { std::array::from_fn(|_| below(4)) };
        let Some(shape) = shape(input, kernel, stride, sides) else { continue };
        let truth = truth(&shape, 1 + below(3), done);
        for isa in Isa::available() {
            check(isa, &shape, &truth);
        }
        done += 1;
    }
    tell_errors("depthwise");
}

#[test]
fn an_image_has_the_same_bits_alone_and_among_others() {
    for isa in Isa::available() {
        for shape in shapes() {
            let truth = truth(&shape, 3, 7);
            let input = maps(&truth.input, shape.input);
            let kernel = Depthwise::forward(isa, shape);
            let together = product(&kernel, &truth.weight, 3, &input, 3 * shape.output_len());
            let alone =
                product(&kernel, &truth.weight, 1, &input[2 * shape.input_len()..], shape.output_len());
            assert_eq!(alone, together[2 * shape.output_len()..], "{isa:?} {shape:?}");
        }
    }
}

#[test]
fn scale_bias_residual_and_relu_are_applied_in_place_of_later_passes() {
    let shape = shape([20, 6, 7], [3, 3], [2, 2], [1; 4]).expect("the kernel fits");
    let truth = truth(&shape, 2, 3);
    for isa in Isa::available() {
        let kernel = Depthwise::forward(isa, shape);
        let scale: Vec<f32> = (0..20).map(|c| 0.5 + c as f32).collect();
        let bias: Vec<f32> = (0..32).map(|c| c as f32 - 8.0).collect();
        let residual = as_f32(&normals(2 * shape.output_len(), 5));
        let mut packed = vec![0.0; kernel.packed_len()];
        kernel.pack(&as_f32(&truth.weight), Some(&scale), &mut packed);
        let mut to = vec![0.0; 2 * shape.output_len()];
        let mut bits = vec![0; to.len() / BLOCK];
        let epilogue =
            Epilogue::new().bias(&bias).residual(&residual).activation(Activation::Relu).bits_out(&mut bits);
        let from = &maps(&truth.input, shape.input);
        kernel.run(Job { packed: &packed, images: 2, from, to: &mut to, epilogue, scratch: &mut [] });
        let plane = shape.output[1] * shape.output[2];
        let residual = images(&residual, shape.output);
        let wanted: Vec<f64> = (0..truth.forward.len())
            .map(|i| {
                let channel = i / plane % 20;
                let linear = truth.forward[i] * f64::from(scale[channel]) + f64::from(bias[channel]);
                (linear + residual[i]).max(0.0)
            })
            .collect();
        assert!(relative_rms(&images(&to, shape.output), &wanted) < TOLERANCE, "{isa:?}");
        for (i, &value) in to.iter().enumerate() {
            assert_eq!(bits[i / BLOCK] >> (i % BLOCK) & 1 == 1, value > 0.0);
        }
    }
}

#[test]
#[ignore = "prints speeds"]
fn speed() {
    let isa = Isa::timed();
    for (channels, size, stride, kernel) in [
        (32, 32, 1, 3),
        (96, 32, 1, 3),
        (144, 32, 1, 3),
        (144, 32, 2, 3),
        (192, 16, 1, 3),
        (192, 16, 2, 3),
        (384, 8, 1, 3),
        (576, 8, 2, 3),
        (960, 4, 1, 3),
        (144, 16, 1, 5),
        (240, 16, 2, 5),
    ] {
        let shape =
            shape([channels, size, size], [kernel; 2], [stride; 2], [kernel / 2; 4]).expect("it fits");
        let images = ((1 << 18) / shape.input_len()).clamp(1, 8);
        let flops = 2.0 * (kernel * kernel * images * shape.output_len()) as f64;
        let mut buffers: [Vec<f32>; 7] = Default::default();
        let forward = Depthwise::forward(isa, shape);
        let backward = Depthwise::image_gradient(isa, shape);
        let weights = DepthwiseWeightGradient::new(isa, shape);
        let mut lens = [shape.input_len(), shape.output_len()].map(|len| images * len).into_iter().cycle();
        let mut taken = buffers.iter_mut().enumerate().map(|(seed, buffer)| {
            let len = if seed < 4 { lens.next().expect("it cycles") } else { weights.part_len() };
            aligned(&as_f32(&normals(len, seed as u64)), buffer)
        });
        let mut take = || taken.next().expect("seven are enough");
        let (input, gradient, input_gradient, output) = (&*take(), &*take(), take(), take());
        let (packed, part, scratch) = (take(), take(), take());
        forward.pack(&as_f32(&normals(shape.weight_len(), 3)), None, packed);
        let bias = vec![0.1; shape.output_pixel()];
        let mut bits = vec![0; output.len() / BLOCK];
        let gate = vec![0x5a5a; input_gradient.len() / BLOCK];
        let rate = |seconds: f64| flops / seconds / 1e9;
        let plain = seconds(|| {
            let epilogue = Epilogue::new();
            forward.run(Job { packed, images, from: input, to: output, epilogue, scratch: &mut [] });
        });
        let fused = seconds(|| {
            let epilogue = Epilogue::new().bias(&bias).activation(Activation::Relu6).bits_out(&mut bits);
            forward.run(Job { packed, images, from: input, to: output, epilogue, scratch: &mut [] });
        });
        let image = seconds(|| {
            let epilogue = Epilogue::new().gate(&gate);
            let (from, to) = (&*gradient, &mut *input_gradient);
            backward.run(Job { packed, images, from, to, epilogue, scratch: &mut [] });
        });
        let weight = seconds(|| {
            weights.run(images, input, gradient, Part { sums: part, begun: false, spread: false }, scratch);
        });
        println!(
            "{channels:4} at {size:2} stride {stride} kernel {kernel}, {images} images: forward {:5.0}, fused {:5.0}, \
             image gradient {:5.0}, weight gradient {:5.0} GFLOP/s",
            rate(plain),
            rate(fused),
            rate(image),
            rate(weight)
        );
    }
}

/// Epilogues that are known beforehand and others, on rows of whole blocks, of fewer neighbours and of both.
#[test]
fn a_row_is_finished_as_if_it_had_been_stored_first() {
    let relu = |kept, biased| (biased, Activation::Relu, kept, false);
    let finishes = [
        (false, Activation::None, false, false),
        (false, Activation::None, false, true),
        (true, Activation::None, false, false),
        (true, Activation::Relu6, true, false),
        relu(true, true),
        relu(false, true),
        relu(true, false),
        (true, Activation::Relu6, true, true),
    ];
    for (width, stride) in [(8, 1), (19, 1), (5, 1), (16, 2), (15, 2), (19, 2), (10, 2)] {
        let shape = shape([40, 4, width], [3, 3], [stride; 2], [1; 4]).expect("the kernel fits");
        let pixel = shape.output_pixel();
        let weight: Vec<f64> = normals(shape.weight_len(), 1).iter().map(|w| 3.0 * w).collect();
        for isa in Isa::available() {
            let forward = (Depthwise::forward(isa, shape), [shape.input, shape.output]);
            let backward = (Depthwise::image_gradient(isa, shape), [shape.output, shape.input]);
            for (kernel, [read, written]) in [forward, backward] {
                let from = maps(&normals(2 * read.iter().product::<usize>(), 2), read);
                let len = 2 * pixel * written[1] * written[2];
                let stored = product(&kernel, &weight, 2, &from, len);
                let bias: Vec<f32> = (0..pixel).map(|c| c as f32 / 8.0 - 2.0).collect();
                let gate: Vec<u16> = (0..(len + pixel) / BLOCK).map(|i| (i * 40_503) as u16).collect();
                let mut packed = vec![0.0; kernel.packed_len()];
                kernel.pack(&as_f32(&weight), None, &mut packed);
                for (biased, activation, kept, gated) in finishes {
                    // A pixel more than there is: nothing may be written there.
                    let (mut to, mut bits) = (vec![f32::NAN; len + pixel], vec![0; (len + pixel) / BLOCK]);
                    let mut epilogue = Epilogue::new().activation(activation);
                    epilogue = if biased { epilogue.bias(&bias) } else { epilogue };
                    epilogue = if kept { epilogue.bits_out(&mut bits) } else { epilogue };
                    epilogue = if gated { epilogue.gate(&gate) } else { epilogue };
                    let (packed, from) = (&packed, &from);
                    kernel.run(Job { packed, images: 2, from, to: &mut to, epilogue, scratch: &mut [] });
                    assert!(to[len..].iter().all(|value| value.is_nan()), "{isa:?} {shape:?}");
                    for (i, &value) in stored.iter().enumerate() {
                        let value = value + if biased { bias[i % pixel] } else { 0.0 };
                        let (slopes, active) = match activation {
                            Activation::None => (false, value),
                            Activation::Relu => (value > 0.0, value.max(0.0)),
                            Activation::Relu6 => (value > 0.0 && value < 6.0, value.clamp(0.0, 6.0)),
                        };
                        let bit = |bits: &[u16]| bits[i / BLOCK] >> (i % BLOCK) & 1 == 1;
                        let wanted = if gated && !bit(&gate) { 0.0 } else { active };
                        let case = format!("{isa:?} {shape:?} {activation:?} {biased} {kept} {gated}: {i}");
                        assert!((to[i] - wanted).abs() < 1e-9, "{case} is {}, not {wanted}", to[i]);
                        assert_eq!(bit(&bits), kept && slopes, "{case}");
                    }
                }
            }
        }
    }
}
