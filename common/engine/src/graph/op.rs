//! What a node can compute. Feature maps are (channels, height, width) per image.

/// Zero padding on each side of a feature map, in pixels. Sides differ in networks ported from TensorFlow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Padding {
    /// Rows above.
    pub top: usize,
    /// Rows below.
    pub bottom: usize,
    /// Columns before.
    pub left: usize,
    /// Columns after.
    pub right: usize,
}

impl Padding {
    /// The same padding on all four sides.
    pub const fn same(pixels: usize) -> Self {
        Self { top: pixels, bottom: pixels, left: pixels, right: pixels }
    }
}

/// A convolution; weights are (out, in / groups, kernel height, kernel width) as in PyTorch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conv2d {
    /// Output channels.
    pub out: usize,
    /// Kernel height and width.
    pub kernel: [usize; 2],
    /// Vertical and horizontal stride.
    pub stride: [usize; 2],
    /// Zero padding.
    pub padding: Padding,
    /// Groups; as many as input channels makes it depthwise.
    pub groups: usize,
    /// Whether a bias is added per output channel.
    pub bias: bool,
}

impl Conv2d {
    /// A square kernel with stride 1, no padding, one group and no bias.
    pub const fn new(out: usize, kernel: usize) -> Self {
        Self { out, kernel: [kernel; 2], stride: [1; 2], padding: Padding::same(0), groups: 1, bias: false }
    }

    /// The same with this stride both ways.
    #[must_use]
    pub const fn stride(mut self, stride: usize) -> Self {
        self.stride = [stride; 2];
        self
    }

    /// The same with this padding on all sides.
    #[must_use]
    pub const fn padding(mut self, pixels: usize) -> Self {
        self.padding = Padding::same(pixels);
        self
    }

    /// The same in this many groups.
    #[must_use]
    pub const fn groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }

    /// The same with a bias.
    #[must_use]
    pub const fn bias(mut self) -> Self {
        self.bias = true;
        self
    }

    /// Height and width of the output for an input of `height` by `width`; none where the kernel does not fit.
    pub fn output(&self, height: usize, width: usize) -> Option<[usize; 2]> {
        let Padding { top, bottom, left, right } = self.padding;
        Some([
            windows(height + top + bottom, self.kernel[0], self.stride[0])?,
            windows(width + left + right, self.kernel[1], self.stride[1])?,
        ])
    }
}

/// A pooling window without padding; rows and columns that do not fill a window are dropped, as in PyTorch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pool {
    /// Window height and width.
    pub kernel: [usize; 2],
    /// Vertical and horizontal stride.
    pub stride: [usize; 2],
}

impl Pool {
    /// A square window that moves by its own size.
    pub const fn new(kernel: usize) -> Self {
        Self { kernel: [kernel; 2], stride: [kernel; 2] }
    }

    /// Height and width of the output; none where the window does not fit.
    pub fn output(&self, height: usize, width: usize) -> Option<[usize; 2]> {
        Some([
            windows(height, self.kernel[0], self.stride[0])?,
            windows(width, self.kernel[1], self.stride[1])?,
        ])
    }
}

fn windows(length: usize, kernel: usize, stride: usize) -> Option<usize> {
    (kernel > 0 && stride > 0).then_some(())?;
    Some(length.checked_sub(kernel)? / stride + 1)
}

/// A function of each value by itself, which a kernel computes together with its slope. ReLU and ReLU6 are not among
/// them: they need one bit for their backward, and are fused into what makes their input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Elementwise {
    /// x * sigmoid(x).
    Silu,
    /// 1 / (1 + exp(-x)).
    Sigmoid,
}

impl Elementwise {
    /// The function's name in summaries and errors.
    pub fn name(self) -> &'static str {
        match self {
            Self::Silu => "silu",
            Self::Sigmoid => "sigmoid",
        }
    }
}

/// What a node computes from its inputs.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// The images, f32 or f64 in [0, 1].
    Input,
    /// (x - mean) / std per channel: the normalisation that belongs to a teacher.
    Normalize {
        /// Subtracted, one per channel.
        mean: Vec<f64>,
        /// Divided by, one per channel.
        std: Vec<f64>,
    },
    /// Each image less its mean, over its deviation, all channels together: (x - mean) / max(std, 1 / sqrt(n)) for n
    /// values, the deviation over n - 1 of them as PyTorch has it.
    Standardize,
    /// A convolution.
    Conv2d(Conv2d),
    /// Batch normalisation with learned scale and shift, and running statistics.
    BatchNorm {
        /// Added to the variance.
        eps: f64,
        /// Share of the new batch in the running statistics.
        momentum: f64,
    },
    /// A value near its channel's mean becomes that mean: where |x - mean| < threshold * sqrt(variance). All three are
    /// buffers of a file, nothing is learned; a value that was replaced passes no gradient.
    MeanSparse,
    /// max(x, 0), whose derivative at 0 is 0.
    Relu,
    /// min(max(x, 0), 6), whose derivative at 0 and at 6 is 0.
    Relu6,
    /// A function of each value.
    Elementwise(Elementwise),
    /// The sum of two values of one shape.
    Add,
    /// The product of two values of one shape, or of a map and one value per channel (`C x 1 x 1`).
    Mul,
    /// Maps joined along their channels.
    Concat,
    /// A map between channels of zeros.
    PadChannels {
        /// Channels of zeros before its own.
        before: usize,
        /// And after.
        after: usize,
    },
    /// The largest value of each window; the first of equals takes the gradient.
    MaxPool(Pool),
    /// The mean of each window.
    AvgPool(Pool),
    /// The mean of each channel, as a vector.
    GlobalAvgPool,
    /// A map as a vector in (channel, row, column) order.
    Flatten,
    /// A fully connected layer.
    Linear {
        /// Output features.
        out: usize,
        /// Whether a bias is added.
        bias: bool,
    },
}

impl Op {
    /// The share of a new batch in the running statistics, for an operation that has any.
    pub(crate) fn momentum(&self) -> Option<f64> {
        if let Self::BatchNorm { momentum, .. } = self { Some(*momentum) } else { None }
    }

    /// The operation's name in summaries and errors.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Normalize { .. } => "normalize",
            Self::Standardize => "standardize",
            Self::Conv2d(_) => "conv2d",
            Self::BatchNorm { .. } => "batch_norm",
            Self::MeanSparse => "mean_sparse",
            Self::Relu => "relu",
            Self::Relu6 => "relu6",
            Self::Elementwise(function) => function.name(),
            Self::Add => "add",
            Self::Mul => "mul",
            Self::Concat => "concat",
            Self::PadChannels { .. } => "pad_channels",
            Self::MaxPool(_) => "max_pool",
            Self::AvgPool(_) => "avg_pool",
            Self::GlobalAvgPool => "global_avg_pool",
            Self::Flatten => "flatten",
            Self::Linear { .. } => "linear",
        }
    }
}
