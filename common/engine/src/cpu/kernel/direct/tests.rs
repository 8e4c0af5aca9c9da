//! Every shape class against f64, on every instruction set.

use super::weight_gradient::DirectWeightGradient;
use super::*;
use crate::cpu::kernel::conv::tests::run;
use crate::cpu::kernel::conv::{Part, WeightGradient};
use crate::cpu::oracle::{channels_first, channels_last, each_product, normals, relative_rms, within};
use crate::cpu::vector::epilogue::Epilogue;
use crate::cpu::vector::simd::{BLOCK, padded};
use crate::graph::{Conv2d, Padding};

mod epilogue;
mod random;
mod speed;

/// What the issue allows against f64.
const TOLERANCE: f64 = 2e-6;

fn conv(
    [channels, height, width]: [usize; 3],
    out: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 4],
) -> ConvShape {
    let [top, bottom, left, right] = padding;
    let output = |n: usize, k: usize, s: usize| (n - k) / s + 1;
    ConvShape {
        input: [channels, height, width],
        output: [
            out,
            output(height + top + bottom, kernel[0], stride[0]),
            output(width + left + right, kernel[1], stride[1]),
        ],
        kernel,
        stride,
        padding: Padding { top, bottom, left, right },
        groups: 1,
        dense_input: false,
    }
}

/// One or two of every class; small, for the portable instruction set and f64.
fn shapes() -> Vec<ConvShape> {
    let grouped = |shape, groups| ConvShape { groups, ..shape };
    let dense = |shape| ConvShape { dense_input: true, ..shape };
    let same = [1; 4];
    vec![
        conv([64, 8, 8], 64, [3, 3], [1, 1], same),
        conv([16, 7, 5], 16, [3, 3], [1, 1], same),
        conv([5, 9, 4], 21, [3, 3], [1, 1], [0, 2, 1, 0]),
        conv([24, 6, 6], 40, [1, 1], [1, 1], [0; 4]),
        conv([96, 5, 4], 80, [1, 1], [1, 1], [0; 4]),
        conv([32, 8, 8], 48, [1, 1], [2, 2], [0; 4]),
        conv([17, 9, 8], 33, [1, 1], [3, 2], [1, 0, 0, 2]),
        conv([32, 8, 8], 64, [3, 3], [2, 2], same),
        conv([33, 9, 7], 16, [3, 3], [2, 2], [0, 1, 0, 1]),
        conv([8, 11, 13], 7, [5, 3], [2, 3], [2, 1, 0, 2]),
        conv([3, 10, 12], 20, [2, 7], [3, 1], [3, 0, 4, 3]),
        conv([20, 5, 5], 18, [4, 4], [4, 4], [1, 2, 3, 0]),
        conv([3, 5, 7], 4, [1, 2], [1, 4], [4, 5, 6, 7]),
        dense(conv([3, 9, 8], 64, [3, 3], [1, 1], same)),
        dense(conv([1, 8, 7], 6, [5, 5], [1, 1], [0; 4])),
        dense(conv([3, 11, 10], 32, [3, 3], [2, 2], [0, 1, 0, 1])),
        dense(conv([3, 9, 9], 16, [4, 4], [4, 4], [0; 4])),
        grouped(conv([24, 6, 5], 48, [3, 3], [1, 1], same), 3),
        grouped(conv([40, 7, 7], 20, [3, 3], [2, 2], same), 4),
        conv([144, 6, 6], 20, [3, 3], [1, 1], same),
        conv([3, 1, 1100], 5, [1, 3], [1, 1], [0, 0, 1, 1]),
        conv([130, 20, 15], 17, [1, 1], [1, 1], [0; 4]),
        conv([1040, 2, 3], 20, [1, 1], [1, 1], [0; 4]),
        ConvShape::linear(64, 10),
        ConvShape::linear(37, 100),
        ConvShape::linear(2500, 20),
    ]
}

/// A convolution of some images with everything that f64 says about it.
struct Case {
    shape: ConvShape,
    images: usize,
    input: Vec<Vec<f64>>,
    gradient: Vec<Vec<f64>>,
    weight: Vec<f64>,
    output: Vec<Vec<f64>>,
    input_gradient: Vec<Vec<f64>>,
    weight_gradient: Vec<f64>,
}

impl Case {
    fn new(shape: ConvShape, images: usize, seed: u64) -> Self {
        let count = |map: [usize; 3]| map.iter().product::<usize>();
        let (inputs, outputs) = (count(shape.input), count(shape.output));
        let maps = |len, seed| (0..images as u64).map(|i| normals(len, seed + i)).collect::<Vec<_>>();
        let input = maps(inputs, seed + 10);
        let gradient = maps(outputs, seed + 20);
        let weight = normals(shape.weight_len(), seed + 30);
        let mut output = vec![vec![0.0; outputs]; images];
        let mut input_gradient = vec![vec![0.0; inputs]; images];
        let mut weight_gradient = vec![0.0; weight.len()];
        for i in 0..images {
            each_product(&shape, |o, x, w| {
                output[i][o] += input[i][x] * weight[w];
                input_gradient[i][x] += gradient[i][o] * weight[w];
                weight_gradient[w] += gradient[i][o] * input[i][x];
            });
        }
        Self { shape, images, input, gradient, weight, output, input_gradient, weight_gradient }
    }

    fn weight(&self) -> Vec<f32> {
        self.weight.iter().map(|&w| w as f32).collect()
    }

    fn inputs(&self) -> Vec<f32> {
        let pixel = self.shape.input_pixel();
        self.input.iter().flat_map(|x| channels_last(x, self.shape.input, pixel)).collect()
    }

    fn gradients(&self) -> Vec<f32> {
        let pixel = self.shape.output_pixel();
        self.gradient.iter().flat_map(|g| channels_last(g, self.shape.output, pixel)).collect()
    }

    /// The part of the weight gradient that calls of `chunk` images give.
    fn part(&self, kernel: &DirectWeightGradient, chunk: usize) -> Vec<f32> {
        self.part_of(kernel, chunk, false)
    }

    /// The same, in pieces for the threads of the pool where it is `spread`.
    fn part_of(&self, kernel: &DirectWeightGradient, chunk: usize, spread: bool) -> Vec<f32> {
        // Whatever a step before left there.
        let mut part = vec![f32::NAN; kernel.part_len()];
        let inputs = self.inputs();
        let gradients = self.gradients();
        let inputs = inputs.chunks(chunk * self.shape.input_len());
        let batch = inputs.zip(gradients.chunks(chunk * self.shape.output_len()));
        for (i, (input, gradient)) in batch.enumerate() {
            let images = input.len() / self.shape.input_len();
            // Whatever a call before left there.
            let mut scratch = vec![f32::NAN; kernel.scratch_len(images)];
            let part = Part { sums: &mut part, begun: i > 0, spread };
            kernel.run(images, input, gradient, part, &mut scratch);
        }
        part
    }
}

fn packed(kernel: &impl MapProduct, weight: &[f32], scale: Option<&[f32]>) -> Vec<f32> {
    let mut packed = vec![f32::NAN; kernel.packed_len()];
    kernel.pack(weight, scale, &mut packed);
    packed
}

/// Channels-last results as one (N, C, H, W) list.
fn unpacked(maps: &[f32], map: [usize; 3]) -> Vec<f64> {
    let pixel = padded(map[0]);
    maps.chunks(pixel * map[1] * map[2]).flat_map(|m| channels_first(m, map, pixel)).collect()
}

/// Panics where one of the three kernels is further from f64 than allowed.
fn check(isa: Isa, case: &Case) {
    let Case { shape, images, .. } = case;
    let weight = case.weight();

    let forward = Direct::forward(isa, *shape);
    let mut output = vec![f32::NAN; images * shape.output_len()];
    let packed_forward = packed(&forward, &weight, None);
    run(&forward, &packed_forward, *images, &case.inputs(), &mut output, &Epilogue::new());
    let error = relative_rms(&unpacked(&output, shape.output), &case.output.concat());
    let which = || format!("{shape:?}, {images} images");
    within(isa, "output", error, TOLERANCE, which);

    let backward = Direct::image_gradient(isa, *shape);
    let [channels, height, width] = shape.input;
    let mut gradient = vec![f32::NAN; images * padded(channels) * height * width];
    let packed_backward = packed(&backward, &weight, None);
    run(&backward, &packed_backward, *images, &case.gradients(), &mut gradient, &Epilogue::new());
    let error = relative_rms(&unpacked(&gradient, shape.input), &case.input_gradient.concat());
    within(isa, "image gradient", error, TOLERANCE, which);

    let kernel = DirectWeightGradient::new(isa, *shape);
    // Written over whatever is there.
    let mut found = vec![f32::NAN; shape.weight_len()];
    kernel.finish(&case.part(&kernel, *images), &mut found, false);
    let found: Vec<f64> = found.into_iter().map(f64::from).collect();
    let error = relative_rms(&found, &case.weight_gradient);
    within(isa, "weight gradient", error, TOLERANCE, which);
}

#[test]
fn every_shape_class_is_within_two_millionths_of_f64() {
    for (i, shape) in shapes().into_iter().enumerate() {
        let case = Case::new(shape, 1 + i % 3, i as u64);
        for isa in Isa::available() {
            check(isa, &case);
        }
    }
}

#[test]
fn a_value_does_not_depend_on_how_many_images_a_call_has() {
    for shape in shapes() {
        let case = Case::new(shape, 3, 5);
        for isa in Isa::available() {
            let forward = Direct::forward(isa, shape);
            let packed = packed(&forward, &case.weight(), None);
            let inputs = case.inputs();
            let mut together = vec![0.0; 3 * shape.output_len()];
            run(&forward, &packed, 3, &inputs, &mut together, &Epilogue::new());
            let mut alone = vec![0.0; together.len()];
            let images = inputs.chunks(shape.input_len()).zip(alone.chunks_mut(shape.output_len()));
            for (input, output) in images {
                run(&forward, &packed, 1, input, output, &Epilogue::new());
            }
            assert_eq!(together, alone, "{isa:?} {shape:?}");

            let kernel = DirectWeightGradient::new(isa, shape);
            assert_eq!(case.part(&kernel, 3), case.part(&kernel, 1), "{isa:?} {shape:?}");
            assert_eq!(case.part(&kernel, 3), case.part(&kernel, 2), "{isa:?} {shape:?}");
        }
    }
}

#[test]
fn a_weight_gradient_in_pieces_is_that_of_one_thread_to_the_bit() {
    let pools = [2, 7, 64]
        .map(|threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool"));
    for shape in shapes() {
        let case = Case::new(shape, 3, 6);
        for isa in Isa::available() {
            let kernel = DirectWeightGradient::new(isa, shape);
            let one = case.part(&kernel, 2);
            for pool in &pools {
                let several = pool.install(|| case.part_of(&kernel, 2, true));
                assert!(one == several, "{isa:?} {shape:?}: {} threads", pool.current_num_threads());
            }
        }
    }
}

#[test]
fn a_scale_multiplies_its_output_channel_in_both_directions() {
    for shape in shapes() {
        let scale: Vec<f32> = (0..shape.output[0]).map(|o| 0.5 + (o % 4) as f32).collect();
        let weight: Vec<f32> = normals(shape.weight_len(), 3).iter().map(|&w| w as f32).collect();
        let per_channel = weight.len() / shape.output[0];
        let scaled: Vec<f32> = weight.iter().enumerate().map(|(i, w)| w * scale[i / per_channel]).collect();
        let isa = Isa::detect();
        let forward = Direct::forward(isa, shape);
        assert_eq!(packed(&forward, &weight, Some(&scale)), packed(&forward, &scaled, None), "{shape:?}");
        let backward = Direct::image_gradient(isa, shape);
        assert_eq!(packed(&backward, &weight, Some(&scale)), packed(&backward, &scaled, None), "{shape:?}");
    }
}

#[test]
fn a_weight_gradient_adds_its_parts_to_what_the_gradient_holds() {
    for shape in shapes() {
        let case = Case::new(shape, 3, 7);
        let kernel = DirectWeightGradient::new(Isa::detect(), shape);
        let part = case.part(&kernel, 2);
        let mut gradient = vec![1.0; shape.weight_len()];
        kernel.finish(&[part.as_slice(), &part, &part].concat(), &mut gradient, true);
        let wanted: Vec<f64> = case.weight_gradient.iter().map(|g| 1.0 + 3.0 * g).collect();
        let found: Vec<f64> = gradient.into_iter().map(f64::from).collect();
        assert!(relative_rms(&found, &wanted) <= TOLERANCE, "{shape:?}");
    }
}

#[test]
fn a_network_of_the_builder_gives_the_same_geometry() {
    let layer = Conv2d::new(7, 3).stride(2);
    let [channels, height, width] = [5, 9, 8];
    let built = ConvShape::new(&layer, [channels, height, width], false);
    let p = built.padding;
    let ours = conv([channels, height, width], 7, [3, 3], [2, 2], [p.top, p.bottom, p.left, p.right]);
    assert_eq!(built, ours);
}
