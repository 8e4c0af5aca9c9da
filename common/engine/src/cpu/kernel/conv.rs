//! What every convolution kernel is given and gives: one geometry, two traits.
//!
//! Maps are channels-last, `[image][row][column][channel]`, with channels padded to whole vectors
//! ([`padded`](super::simd::padded)); what lies in the padding is finite and means nothing. The one exception is an
//! image as it enters the network, whose few channels are dense: [`ConvShape::dense_input`].

use crate::cpu::vector::epilogue::Epilogue;
use crate::cpu::vector::simd::padded;
use crate::graph::{Conv2d, Padding};

/// The geometry of one convolution, per image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ConvShape {
    /// Channels, rows, columns of the input.
    pub(crate) input: [usize; 3],
    /// Channels, rows, columns of the output.
    pub(crate) output: [usize; 3],
    /// Rows and columns of the kernel.
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    pub(crate) padding: Padding,
    pub(crate) groups: usize,
    /// The input's channels lie dense, without padding to whole vectors.
    pub(crate) dense_input: bool,
}

impl ConvShape {
    /// The shape of `conv` on maps of these channels, rows and columns, which it must fit.
    pub(crate) fn new(conv: &Conv2d, input: [usize; 3], dense_input: bool) -> Self {
        let [height, width] =
            conv.output(input[1], input[2]).expect("the builder checked that the kernel fits");
        Self {
            input,
            output: [conv.out, height, width],
            kernel: conv.kernel,
            stride: conv.stride,
            padding: conv.padding,
            groups: conv.groups,
            dense_input,
        }
    }

    /// A fully connected layer: a map of one pixel.
    pub(crate) fn linear(features: usize, out: usize) -> Self {
        Self::new(&Conv2d::new(out, 1), [features, 1, 1], false)
    }

    /// f32 from one input pixel to the next.
    pub(crate) fn input_pixel(&self) -> usize {
        if self.dense_input { self.input[0] } else { padded(self.input[0]) }
    }

    /// f32 from one output pixel to the next.
    pub(crate) fn output_pixel(&self) -> usize {
        padded(self.output[0])
    }

    /// f32 per input image.
    pub(crate) fn input_len(&self) -> usize {
        self.input_pixel() * self.input[1] * self.input[2]
    }

    /// f32 per output image.
    pub(crate) fn output_len(&self) -> usize {
        self.output_pixel() * self.output[1] * self.output[2]
    }

    /// Values of the weight, PyTorch's (out, in / groups, kernel rows, kernel columns).
    pub(crate) fn weight_len(&self) -> usize {
        self.output[0] * self.input[0] / self.groups * self.kernel[0] * self.kernel[1]
    }

    /// One output channel per input channel, each from its own.
    pub(crate) fn is_depthwise(&self) -> bool {
        self.groups == self.input[0] && self.groups == self.output[0] && self.groups > 1
    }
}

/// A product of maps with packed weights: a convolution forwards, or its image gradient.
///
/// Each value of a result is one fixed chain of operations: it does not depend on the other images of the call.
pub(crate) trait MapProduct: Send + Sync {
    /// f32 of the packed weights.
    fn packed_len(&self) -> usize;

    /// Packs PyTorch's weight (out, in / groups, rows, columns), each output channel multiplied by its `scale`.
    /// May use the current thread pool; the result does not depend on it.
    fn pack(&self, weight: &[f32], scale: Option<&[f32]>, into: &mut [f32]);

    /// f32 of scratch that [`run`](Self::run) needs for a call of `images`.
    fn scratch_len(&self, images: usize) -> usize;

    /// Runs `images` images on the calling thread (or, where [`cooperative`](Self::cooperative), on the current pool).
    fn run(
        &self,
        packed: &[f32],
        images: usize,
        from: &[f32],
        to: &mut [f32],
        epilogue: &Epilogue<'_>,
        scratch: &mut [f32],
    );

    /// Whether `run` wants the whole batch at once and splits the work over the current thread pool itself: for
    /// weights too large to be read again for every few images.
    fn cooperative(&self) -> bool {
        false
    }
}

/// A part's buffer.
pub(crate) struct Part<'a> {
    pub(crate) sums: &'a mut [f32],
    /// Whether it holds the sums of earlier images; if not, whatever it holds is overwritten.
    pub(crate) begun: bool,
}

/// The weight gradient of a convolution.
///
/// Sums over a batch are formed in parts: each part accumulates in a buffer of its own, in the order of its images;
/// [`finish`](Self::finish) then adds the parts in their order. Parts are fixed by the caller, not by threads.
pub(crate) trait WeightGradient: Send + Sync {
    /// f32 of a part's buffer.
    fn part_len(&self) -> usize;

    /// f32 of scratch that [`run`](Self::run) needs for a call of `images`.
    fn scratch_len(&self, images: usize) -> usize;

    /// Adds the contribution of `images`, at least one, to a part, or begins the part with it: `input` and the gradient of
    /// the output (before bias and activation).
    fn run(&self, images: usize, input: &[f32], gradient: &[f32], part: Part<'_>, scratch: &mut [f32]);

    /// Whether `run` wants the whole batch at once and splits the work over the current thread pool itself.
    fn cooperative(&self) -> bool {
        false
    }

    /// Adds the sum of the parts, `part_len` each, to PyTorch's (out, in / groups, rows, columns).
    /// May use the current thread pool; the result does not depend on it.
    fn finish(&self, parts: &[f32], gradient: &mut [f32]);
}
