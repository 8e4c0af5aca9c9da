//! Each operation as candle expressions. Maps are `(N, H, W, C)`, vectors `(N, F)`.

use candle_core::{D, Error, Result, Tensor, Var};

use super::tensor;
use super::window::{Window, Windows};
use crate::graph::{Conv2d, Elementwise, Network, NodeId, Op, Padding, Pool};
use crate::params::{Entry, Params, Role};

/// The values of nodes that later nodes, or the caller, still need.
pub(super) struct Values {
    known: Vec<Option<Tensor>>,
    inputs: Vec<Vec<NodeId>>,
    uses: Vec<usize>,
}

impl Values {
    pub(super) fn new(network: &Network, outputs: &[NodeId]) -> Self {
        let inputs: Vec<_> = network.nodes().iter().map(|node| node.inputs.clone()).collect();
        let mut uses = vec![0; inputs.len()];
        for id in inputs.iter().flatten().chain(outputs) {
            uses[id.index()] += 1;
        }
        Self { known: vec![None; inputs.len()], inputs, uses }
    }

    fn get(&self, id: NodeId) -> &Tensor {
        self.known[id.index()].as_ref().expect("nodes come in topological order")
    }

    /// Stores a node's value and drops inputs that nobody reads again, so that inference holds few maps at once.
    pub(super) fn put(&mut self, id: NodeId, value: Tensor) {
        self.known[id.index()] = Some(value);
        for input in std::mem::take(&mut self.inputs[id.index()]) {
            self.uses[input.index()] -= 1;
            if self.uses[input.index()] == 0 {
                self.known[input.index()] = None;
            }
        }
    }

    /// The value in the caller's layout: `(N, C, H, W)` or `(N, F)`.
    pub(super) fn output(&self, id: NodeId) -> Result<Tensor> {
        let value = self.get(id);
        if value.rank() == 4 { value.permute((0, 3, 1, 2)) } else { Ok(value.clone()) }
    }
}

/// The parameters as candle tensors, tracked where gradients are wanted.
pub(super) struct Weights<'a> {
    params: &'a Params,
    tracked: Vec<(Entry, Var)>,
}

impl<'a> Weights<'a> {
    pub(super) fn new(network: &Network, params: &'a Params, track: bool) -> Result<Self> {
        let mut tracked = Vec::new();
        if track {
            for entry in network.layout().trainable() {
                tracked.push((entry.clone(), Var::from_tensor(&tensor(params.trainable(), entry)?)?));
            }
        }
        Ok(Self { params, tracked })
    }

    fn get(&self, node: NodeId, role: Role) -> Result<Tensor> {
        let entry =
            self.params.layout().find(node, role).expect("the layout lists every parameter of its network");
        if !role.is_learned() {
            return tensor(self.params.statistics(), entry);
        }
        match self.tracked.iter().find(|(known, _)| known.name == entry.name) {
            Some((_, var)) => Ok(var.as_tensor().clone()),
            None => tensor(self.params.trainable(), entry),
        }
    }

    pub(super) fn into_vars(self) -> Vec<(Entry, Var)> {
        self.tracked
    }
}

/// `(N, C, H, W)` as the `(N, H, W, C)` used inside.
pub(super) fn images(input: &Tensor) -> Result<Tensor> {
    input.permute((0, 2, 3, 1))?.contiguous()
}

/// Any operation except the input and BatchNorm on batch statistics.
pub(super) fn forward(
    op: &Op,
    values: &Values,
    weights: &Weights,
    network: &Network,
    id: NodeId,
    windows: &Windows,
) -> Result<Tensor> {
    let inputs = &network.node(id).inputs;
    let x = values.get(inputs[0]);
    match op {
        Op::Input => Err(Error::Msg("the input has no inputs".into())),
        Op::Normalize { mean, std } => {
            let constant = |v: &[f64]| Tensor::new(v, x.device())?.to_dtype(x.dtype());
            x.broadcast_sub(&constant(mean)?)?.broadcast_div(&constant(std)?)
        }
        Op::Standardize => standardize(x),
        Op::Conv2d(conv) => convolve(conv, x, weights, id, windows),
        Op::BatchNorm { eps, .. } => {
            let deviation = (weights.get(id, Role::RunningVar)? + *eps)?.sqrt()?;
            let scale = (weights.get(id, Role::Weight)? / deviation)?;
            let centred = x.broadcast_sub(&weights.get(id, Role::RunningMean)?)?;
            (centred * per_channel(&scale, x)?)? + per_channel(&weights.get(id, Role::Bias)?, x)?
        }
        Op::MeanSparse => {
            let mean = weights.get(id, Role::RunningMean)?;
            let deviation = weights.get(id, Role::RunningVar)?.sqrt()?;
            let band = deviation.broadcast_mul(&weights.get(id, Role::Threshold)?)?;
            let centred = x.detach().broadcast_sub(&mean)?.abs()?;
            let inside = centred.broadcast_lt(&band)?.to_dtype(x.dtype())?;
            (x * inside.affine(-1.0, 1.0)?)? + inside.broadcast_mul(&mean)?
        }
        // candle's own ReLU has derivative 1 at 0; a product with the mask has 0, as PyTorch.
        Op::Relu => x * x.gt(0.0)?.to_dtype(x.dtype())?,
        Op::Relu6 => {
            let above = x.ge(6.0)?.to_dtype(x.dtype())?;
            let inside = (x.gt(0.0)?.to_dtype(x.dtype())? - &above)?;
            (x * inside)? + (above * 6.0)?
        }
        Op::Elementwise(function) => elementwise(*function, x),
        Op::Add => x + values.get(inputs[1]),
        Op::Mul => x.broadcast_mul(values.get(inputs[1])),
        Op::Concat => Tensor::cat(&inputs.iter().map(|&input| values.get(input)).collect::<Vec<_>>(), 3),
        Op::PadChannels { before, after } => x.pad_with_zeros(3, *before, *after),
        Op::MaxPool(pool) => {
            let taps = pooled(pool, x, windows)?;
            let first_largest = taps.detach().argmax_keepdim(1)?;
            map(&taps.gather(&first_largest, 1)?.squeeze(1)?, x, pool.output(x.dim(1)?, x.dim(2)?))
        }
        Op::AvgPool(pool) => map(&pooled(pool, x, windows)?.mean(1)?, x, pool.output(x.dim(1)?, x.dim(2)?)),
        Op::GlobalAvgPool => x.flatten(1, 2)?.mean(1),
        Op::Flatten => x.permute((0, 3, 1, 2))?.contiguous()?.flatten_from(1),
        Op::Linear { bias, .. } => {
            let y = x.matmul(&weights.get(id, Role::Weight)?.t()?)?;
            if *bias { y.broadcast_add(&weights.get(id, Role::Bias)?) } else { Ok(y) }
        }
    }
}

/// Each image over its deviation, which counts as at least 1 / sqrt(n).
fn standardize(x: &Tensor) -> Result<Tensor> {
    let images = x.flatten_from(1)?;
    let count = images.dim(1)? as f64;
    let centred = images.broadcast_sub(&images.mean_keepdim(1)?)?;
    let variance = (centred.sqr()?.sum_keepdim(1)? / (count - 1.0))?;
    // A product with the mask, not a maximum: candle's shares the slope of two equal values.
    let above = variance.gt(1.0 / count)?.to_dtype(x.dtype())?;
    let floor = above.affine(-1.0 / count, 1.0 / count)?;
    let variance = ((variance * above)? + floor)?;
    centred.broadcast_div(&variance.sqrt()?)?.reshape(x.shape())
}

fn elementwise(function: Elementwise, x: &Tensor) -> Result<Tensor> {
    match function {
        Elementwise::Silu => x * sigmoid(x)?,
        Elementwise::Sigmoid => sigmoid(x),
    }
}

/// 1 / (1 + exp(-x)) through tanh, which does not overflow for large negative x.
fn sigmoid(x: &Tensor) -> Result<Tensor> {
    ((x * 0.5)?.tanh()? * 0.5)? + 0.5
}

/// BatchNorm on the batch's own statistics: the value, the mean and the unbiased variance per channel.
pub(super) fn batch_norm(
    values: &Values,
    weights: &Weights,
    network: &Network,
    id: NodeId,
    eps: f64,
) -> Result<(Tensor, Tensor, Tensor)> {
    let x = values.get(network.node(id).inputs[0]);
    let count = x.elem_count() / x.dim(D::Minus1)?;
    // A row, then an image, then the batch: one long f32 sum would lose digits, and with them the signs that ReLU sees.
    let mean_of = |t: &Tensor| -> Result<Tensor> {
        if t.rank() == 4 { t.mean(2)?.mean(1)?.mean(0) } else { t.mean(0) }
    };
    let mean = mean_of(x)?;
    let centred = (x - per_channel(&mean, x)?)?;
    let variance = mean_of(&centred.sqr()?)?;
    let normalised = (&centred / per_channel(&(&variance + eps)?.sqrt()?, x)?)?;
    let scaled = (normalised * per_channel(&weights.get(id, Role::Weight)?, x)?)?;
    let value = (scaled + per_channel(&weights.get(id, Role::Bias)?, x)?)?;
    // A single value has no unbiased variance; PyTorch refuses such a batch, here it stays at the biased one.
    let unbiased = (variance.detach() * (count as f64 / (count.max(2) - 1) as f64))?;
    Ok((value, mean.detach(), unbiased))
}

/// A value per channel in the shape of a map or vector, without a copy.
///
/// Spread over a row, then the image, then the batch: its gradient is then summed in as many stages. candle would add all
/// positions of all images one after the other, and an f32 gradient would lose digits with the size of the batch.
fn per_channel(values: &Tensor, like: &Tensor) -> Result<Tensor> {
    let dims = like.dims();
    (0..dims.len() - 1).rev().try_fold(values.clone(), |spread, from| spread.broadcast_as(&dims[from..]))
}

fn convolve(conv: &Conv2d, x: &Tensor, weights: &Weights, id: NodeId, windows: &Windows) -> Result<Tensor> {
    let (images, height, width, channels) = x.dims4()?;
    let output = conv.output(height, width);
    let [out_h, out_w] =
        output.ok_or_else(|| Error::Msg("the builder checked that the kernel fits".into()))?;
    let pixels = images * out_h * out_w;
    let taps = conv.kernel[0] * conv.kernel[1];
    let pointwise = taps == 1 && conv.stride == [1, 1] && conv.padding == Padding::default();
    let Conv2d { kernel, stride, padding, .. } = *conv;
    let window = Window { images, height, width, kernel, stride, padding, output: [out_h, out_w] };
    let (groups, per_group, out) = (conv.groups, channels / conv.groups, conv.out);
    // (out, in / groups, kh, kw) -> (taps, in / groups, out): the order of the patches.
    let weight = weights
        .get(id, Role::Weight)?
        .permute((2, 3, 1, 0))?
        .contiguous()?
        .reshape((taps, per_group, out))?;
    let patches = || {
        if pointwise { x.reshape((pixels, 1, channels)) } else { windows.gather(x, window) }
    };
    let y = if groups == 1 {
        patches()?.reshape((pixels, taps * channels))?.matmul(&weight.reshape((taps * channels, out))?)?
    } else if per_group == 1 && out == groups {
        // Tap by tap: candle sums over a middle dimension with two divisions per value.
        let weighted = windows
            .taps(x, window)?
            .into_iter()
            .enumerate()
            .map(|(tap, rows)| {
                let map = rows.reshape((images, out_h, out_w, channels))?;
                &map * per_channel(&weight.get(tap)?.flatten_all()?, &map)?
            })
            .collect::<Result<Vec<_>>>()?;
        weighted[1..].iter().try_fold(weighted[0].clone(), |sum, term| sum + term)?
    } else {
        let patches =
            patches()?.reshape((pixels, taps, groups, per_group))?.permute((2, 0, 1, 3))?.contiguous()?;
        let weight =
            weight.reshape((taps, per_group, groups, out / groups))?.permute((2, 0, 1, 3))?.contiguous()?;
        let product = patches.reshape((groups, pixels, taps * per_group))?.matmul(&weight.reshape((
            groups,
            taps * per_group,
            out / groups,
        ))?)?;
        product.permute((1, 0, 2))?.contiguous()?.reshape((pixels, out))?
    };
    let y = y.reshape((images, out_h, out_w, out))?;
    if conv.bias { &y + per_channel(&weights.get(id, Role::Bias)?, &y)? } else { Ok(y) }
}

/// `(N*OH*OW, KH*KW, C)` for a pool.
fn pooled(pool: &Pool, x: &Tensor, windows: &Windows) -> Result<Tensor> {
    let (images, height, width, _) = x.dims4()?;
    let output = pool
        .output(height, width)
        .ok_or_else(|| Error::Msg("the builder checked that the window fits".into()))?;
    let Pool { kernel, stride } = *pool;
    windows.gather(x, Window { images, height, width, kernel, stride, padding: Padding::default(), output })
}

/// Rows of pixels back as a map.
fn map(rows: &Tensor, like: &Tensor, output: Option<[usize; 2]>) -> Result<Tensor> {
    let [height, width] =
        output.ok_or_else(|| Error::Msg("the builder checked that the window fits".into()))?;
    rows.reshape((like.dim(0)?, height, width, like.dim(3)?))
}
