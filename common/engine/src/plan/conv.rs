//! The geometry of a convolution, and of the maps on its two sides.
//!
//! Maps are channels-last, `[image][row][column][channel]`, with channels padded to whole blocks ([`padded`]); what lies
//! in the padding is finite and means nothing. The one exception is an image as it enters the network, whose few
//! channels are dense: [`ConvShape::dense_input`].

use super::block::padded;
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
