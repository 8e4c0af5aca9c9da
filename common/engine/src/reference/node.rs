//! Each operation as candle expressions. Maps are `(N, H, W, C)`, vectors `(N, F)`.

use candle_core::{D, Error, Result, Tensor, Var};

use super::convolve::convolve;
use super::formula::with_gradients;
use super::tensor;
use super::window::{Window, Windows};
use crate::engine::Norm;
use crate::graph::{Elementwise, Network, NodeId, Op, Padding, Pool};
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
        Op::Conv2d(conv) => {
            let y = convolve(conv, x, &weights.get(id, Role::Weight)?, windows)?;
            if conv.bias { &y + per_channel(&weights.get(id, Role::Bias)?, &y)? } else { Ok(y) }
        }
        Op::BatchNorm { eps, .. } => {
            let deviation = (weights.get(id, Role::RunningVar)? + *eps)?.sqrt()?;
            let centred = x.detach().broadcast_sub(&weights.get(id, Role::RunningMean)?)?;
            normalise(x, Centred { map: centred, deviation, by: Norm::Running }, weights, id)
        }
        Op::MeanSparse => {
            let mean = weights.get(id, Role::RunningMean)?;
            let deviation = weights.get(id, Role::RunningVar)?.sqrt()?;
            let band = deviation.broadcast_mul(&weights.get(id, Role::Threshold)?)?;
            let centred = x.detach().broadcast_sub(&mean)?.abs()?;
            let inside = centred.broadcast_lt(&band)?.to_dtype(x.dtype())?;
            (x * inside.affine(-1.0, 1.0)?)? + inside.broadcast_mul(&mean)?
        }
        // candle's own ReLU has derivative 1 at 0; the mask has 0, as PyTorch.
        Op::Relu => {
            let inside = x.gt(0.0)?.to_dtype(x.dtype())?;
            gate(x, (x.detach() * &inside)?, &inside)
        }
        Op::Relu6 => {
            let above = x.ge(6.0)?.to_dtype(x.dtype())?;
            let inside = (x.gt(0.0)?.to_dtype(x.dtype())? - &above)?;
            gate(x, ((x.detach() * &inside)? + (above * 6.0)?)?, &inside)
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

/// A value that moves with its map, slope 1, where `inside` is 1, and stays where it is 0.
fn gate(x: &Tensor, value: Tensor, inside: &Tensor) -> Result<Tensor> {
    let slope = inside.clone();
    with_gradients("gate", [x, inside], value, move |gradient| Ok([Some((gradient * &slope)?), None]))
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
    let map = x.detach();
    let mean = mean_of(&map)?;
    let centred = map.broadcast_sub(&mean)?;
    let variance = mean_of(&centred.sqr()?)?;
    let deviation = (&variance + eps)?.sqrt()?;
    let value = normalise(x, Centred { map: centred, deviation, by: Norm::Batch }, weights, id)?;
    // A single value has no unbiased variance; PyTorch refuses such a batch, here it stays at the biased one.
    let unbiased = (variance * (count as f64 / (count.max(2) - 1) as f64))?;
    Ok((value, mean, unbiased))
}

/// A map less its mean, and its deviation per channel, by these statistics.
struct Centred {
    map: Tensor,
    deviation: Tensor,
    by: Norm,
}

/// The last step of BatchNorm: what is centred times weight over deviation, and the bias.
fn normalise(x: &Tensor, of: Centred, weights: &Weights, id: NodeId) -> Result<Tensor> {
    let Centred { map: centred, deviation, by } = of;
    // Weight and bias, one row each.
    let affine = Tensor::stack(&[weights.get(id, Role::Weight)?, weights.get(id, Role::Bias)?], 0)?;
    let (weight, bias) = (affine.detach().get(0)?, affine.detach().get(1)?);
    let scale = (weight / &deviation)?;
    let value = centred.broadcast_mul(&scale)?.broadcast_add(&bias)?;
    let count = (value.elem_count() / value.dim(D::Minus1)?) as f64;
    let wanted = [x.track_op(), affine.track_op()];
    with_gradients("batch normalisation", [x, &affine], value, move |gradient| {
        if by == Norm::Running && !wanted[1] {
            return Ok([Some(gradient.broadcast_mul(&scale)?), None]);
        }
        let mean = mean_of(gradient)?;
        let along = mean_of(&(gradient * &centred)?)?;
        let of_map = || {
            let moved = match by {
                Norm::Running => gradient.clone(),
                // The statistics move with the map, along a constant and along itself.
                Norm::Batch => {
                    let along = centred.broadcast_mul(&(&along / deviation.sqr()?)?)?;
                    (gradient.broadcast_sub(&mean)? - along)?
                }
            };
            moved.broadcast_mul(&scale)
        };
        let of_affine = || Tensor::stack(&[(&along / &deviation)?, mean.clone()], 0)? * count;
        Ok([wanted[0].then(of_map).transpose()?, wanted[1].then(of_affine).transpose()?])
    })
}

/// The mean of each channel. A row, then an image, then the batch: one long f32 sum would lose digits, and with them the signs
/// that ReLU sees.
fn mean_of(map: &Tensor) -> Result<Tensor> {
    if map.rank() == 4 { map.mean(2)?.mean(1)?.mean(0) } else { map.mean(0) }
}

/// A value per channel in the shape of a map or vector, without a copy.
///
/// Spread over a row, then the image, then the batch: its gradient is then summed in as many stages. candle would add all
/// positions of all images one after the other, and an f32 gradient would lose digits with the size of the batch.
fn per_channel(values: &Tensor, like: &Tensor) -> Result<Tensor> {
    let dims = like.dims();
    (0..dims.len() - 1).rev().try_fold(values.clone(), |spread, from| spread.broadcast_as(&dims[from..]))
}

/// `(N*OH*OW, KH*KW, C)` for a pool.
fn pooled(pool: &Pool, x: &Tensor, windows: &Windows) -> Result<Tensor> {
    let (images, height, width, channels) = x.dims4()?;
    let output = pool
        .output(height, width)
        .ok_or_else(|| Error::Msg("the builder checked that the window fits".into()))?;
    let Pool { kernel, stride } = *pool;
    let window = Window { images, height, width, kernel, stride, padding: Padding::default(), output };
    let rows = windows.tables(window)?.gather(x)?;
    rows.reshape((images * output[0] * output[1], kernel[0] * kernel[1], channels))
}

/// Rows of pixels back as a map.
fn map(rows: &Tensor, like: &Tensor, output: Option<[usize; 2]>) -> Result<Tensor> {
    let [height, width] =
        output.ok_or_else(|| Error::Msg("the builder checked that the window fits".into()))?;
    rows.reshape((like.dim(0)?, height, width, like.dim(3)?))
}
