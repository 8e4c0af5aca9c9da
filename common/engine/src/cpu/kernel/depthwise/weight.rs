//! The weight gradient of a depthwise convolution: for each tap, the sum over positions of input times gradient.
//!
//! A row of outputs is summed in registers, rows in the scratch, images in the part: no sum has more terms than a
//! row, an image or a part.

use super::{assert_depthwise, slices};
use crate::cpu::kernel::conv::{Part, WeightGradient};
use crate::cpu::vector::axis::Axis;
use crate::cpu::vector::simd::{Isa, Kernel, Simd};
use crate::plan::ConvShape;

/// The weight gradient; a part is `[tap][padded channels]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DepthwiseWeightGradient {
    isa: Isa,
    shape: ConvShape,
    rows: Axis,
    columns: Axis,
}

impl DepthwiseWeightGradient {
    /// For a depthwise `shape`.
    pub(crate) fn new(isa: Isa, shape: ConvShape) -> Self {
        assert_depthwise(&shape);
        let [_, height, width] = shape.input;
        Self {
            isa,
            shape,
            rows: Axis::forward(shape.kernel[0], shape.stride[0], shape.padding.top, height),
            columns: Axis::forward(shape.kernel[1], shape.stride[1], shape.padding.left, width),
        }
    }

    fn taps(&self) -> usize {
        self.shape.kernel[0] * self.shape.kernel[1]
    }

    /// Whether windows slide over their input as [`sliding`] wants: three columns, one of padding at most.
    fn slides(&self) -> bool {
        let padding = self.shape.padding;
        self.shape.kernel[1] == 3 && self.shape.stride[1] <= 2 && padding.left <= 1 && padding.right <= 1
    }
}

impl WeightGradient for DepthwiseWeightGradient {
    fn part_len(&self) -> usize {
        self.taps() * self.shape.output_pixel()
    }

    fn terms(&self, images: usize) -> usize {
        let [_, height, width] = self.shape.output;
        images * height * width
    }

    fn scratch_len(&self, _images: usize) -> usize {
        self.part_len()
    }

    fn run(&self, images: usize, input: &[f32], gradient: &[f32], part: Part<'_>, scratch: &mut [f32]) {
        let sums = &mut scratch[..self.part_len()];
        if !part.begun {
            part.sums.fill(0.0);
        }
        self.isa.run(Call { of: *self, images, input, gradient, part: part.sums, sums });
    }

    fn finish(&self, parts: &[f32], gradient: &mut [f32], begun: bool) {
        let (taps, pixel) = (self.taps(), self.shape.output_pixel());
        for (i, gradient) in gradient.iter_mut().enumerate() {
            let at = i % taps * pixel + i / taps;
            let sum: f64 = parts.chunks_exact(self.part_len()).map(|part| f64::from(part[at])).sum();
            *gradient = sum as f32 + if begun { *gradient } else { 0.0 };
        }
    }
}

/// One call.
struct Call<'a> {
    of: DepthwiseWeightGradient,
    images: usize,
    input: &'a [f32],
    gradient: &'a [f32],
    part: &'a mut [f32],
    sums: &'a mut [f32],
}

impl Kernel for Call<'_> {
    type Output = ();

    #[inline(always)]
    #[allow(unsafe_code)]
    fn run<S: Simd>(self) {
        let Self { of, images, input, gradient, part, sums } = self;
        let shape = &of.shape;
        let [input_len, output_len] = [shape.input_len(), shape.output_len()];
        let pixel = shape.output_pixel();
        assert!(
            input.len() >= images * input_len && gradient.len() >= images * output_len,
            "maps are too short"
        );
        assert!(sums.len() == of.part_len() && part.len() == of.part_len(), "a part has another length");
        for image in 0..images {
            sums.fill(0.0);
            // SAFETY: the lengths were checked; every line is inside its image.
            unsafe {
                let input = input.as_ptr().add(image * input_len);
                let gradient = gradient.as_ptr().add(image * output_len);
                for channels in slices(pixel, (shape.kernel[0] + 1) * shape.input[2]) {
                    for y in 0..shape.output[1] {
                        let gradient = gradient.add(y * shape.output[2] * pixel);
                        for channel in channels.clone().step_by(S::LANES) {
                            let place =
                                (input.add(channel), gradient.add(channel), sums.as_mut_ptr().add(channel));
                            line::<S>(&of, y, place);
                        }
                    }
                }
            }
            for (part, sum) in part.iter_mut().zip(sums.iter()) {
                *part += sum;
            }
        }
    }
}

/// Adds one row of outputs, for one vector of channels, to the sums of all taps.
///
/// # Safety
///
/// The pointers are valid for the image's input, the gradient's row and all sums, from the vector's channel on.
#[inline(always)]
#[allow(unsafe_code)]
unsafe fn line<S: Simd>(
    of: &DepthwiseWeightGradient,
    y: usize,
    (input, gradient, sums): (*const f32, *const f32, *mut f32),
) {
    let run = of.rows.run(y);
    let (pixel, row) = (of.shape.output_pixel(), of.shape.input[2] * of.shape.output_pixel());
    // SAFETY: the caller's promise; runs name only rows that are inside.
    unsafe {
        let mut i = 0;
        while i < run.count {
            let rows = if of.slides() { (run.count - i).min(3) } else { 1 };
            let input = input.add((run.source + i) * row);
            let sums = sums.add((run.tap + i) * of.shape.kernel[1] * pixel);
            match (of.slides(), of.shape.stride[1], rows) {
                (false, ..) => single::<S>(of, input, gradient, sums),
                (_, 1, 1) => sliding::<S, 1, 1>(of, input, gradient, sums),
                (_, 1, 2) => sliding::<S, 2, 1>(of, input, gradient, sums),
                (_, 1, _) => sliding::<S, 3, 1>(of, input, gradient, sums),
                (_, _, 1) => sliding::<S, 1, 2>(of, input, gradient, sums),
                (_, _, 2) => sliding::<S, 2, 2>(of, input, gradient, sums),
                (_, _, _) => sliding::<S, 3, 2>(of, input, gradient, sums),
            }
            i += rows;
        }
    }
}

/// `R` rows of a kernel three columns wide at once, windows sliding over `R` rows of the input.
///
/// # Safety
///
/// As for [`line`](fn@line), from the first of the rows on; at most one column hangs over either side.
#[inline(always)]
#[allow(unsafe_code)]
unsafe fn sliding<S: Simd, const R: usize, const STRIDE: usize>(
    of: &DepthwiseWeightGradient,
    input: *const f32,
    gradient: *const f32,
    sums: *mut f32,
) {
    let (pixel, row) = (of.shape.output_pixel(), of.shape.input[2] * of.shape.output_pixel());
    let (left, width, outputs) = (of.shape.padding.left, of.shape.input[2], of.shape.output[2]);
    let last_outside = (outputs - 1) * STRIDE + 2 >= width + left;
    // SAFETY: the caller's promise.
    unsafe {
        let mut totals = [[S::zero(); 3]; R];
        let mut window = [[S::zero(); 2]; R];
        for (r, window) in window.iter_mut().enumerate() {
            let input = input.add(r * row);
            let first = if left == 1 { S::zero() } else { S::load(input) };
            *window = [first, S::load(input.add((1 - left) * pixel))];
        }
        // The column that output x's last tap meets is x * STRIDE + 2 - left, counted from the one before the image.
        let mut at = input.wrapping_add(2 * pixel).wrapping_sub(left * pixel);
        for x in 0..outputs {
            let gradient = S::load(gradient.add(x * pixel));
            let outside = x + 1 == outputs && last_outside;
            for r in 0..R {
                let last = if outside { S::zero() } else { S::load(at.wrapping_add(r * row)) };
                let [first, middle] = window[r];
                totals[r][0] = S::fma(first, gradient, totals[r][0]);
                totals[r][1] = S::fma(middle, gradient, totals[r][1]);
                totals[r][2] = S::fma(last, gradient, totals[r][2]);
                window[r] = if STRIDE == 1 {
                    [middle, last]
                } else if x + 1 < outputs {
                    [last, S::load(at.wrapping_add(r * row + pixel))]
                } else {
                    [last, last]
                };
            }
            at = at.wrapping_add(STRIDE * pixel);
        }
        for (r, totals) in totals.iter().enumerate() {
            for (k, &total) in totals.iter().enumerate() {
                let sum = sums.add((3 * r + k) * pixel);
                S::store(sum, S::add(S::load(sum), total));
            }
        }
    }
}

/// One row of the kernel, tap by tap.
///
/// # Safety
///
/// As for [`line`](fn@line), from the row on.
#[inline(always)]
#[allow(unsafe_code)]
unsafe fn single<S: Simd>(
    of: &DepthwiseWeightGradient,
    input: *const f32,
    gradient: *const f32,
    sums: *mut f32,
) {
    let pixel = of.shape.output_pixel();
    // SAFETY: the caller's promise; the axis names only columns that are inside.
    unsafe {
        for tap in 0..of.shape.kernel[1] {
            let mut total = S::zero();
            for x in of.columns.outputs_of(tap, of.shape.output[2]) {
                let input = S::load(input.add(of.columns.input_of(tap, x) * pixel));
                total = S::fma(input, S::load(gradient.add(x * pixel)), total);
            }
            let sum = sums.add(tap * pixel);
            S::store(sum, S::add(S::load(sum), total));
        }
    }
}
