//! The fusion head of one tap: two transformers that encode positions of the student's and of the teacher's map, and one that
//! decodes all of them into the teacher's channels.
//!
//! Blocks normalise first (Dosovitskiy et al., arXiv:2010.11929), as masked autoencoders have them (He et al.,
//! arXiv:2111.06377): `LayerNorm` with eps 1e-6, attention with a bias on queries and values, exact GELU, an inner width of
//! four times the outer. Each position is a token of its own; what it is told of its place is sines and cosines.

use candle_core::{D, Device, Result, Tensor};

use super::mask::Mask;
use crate::objective::{Fresh, Initial, Leaves};
use crate::soft::log_softmax;

/// Added to the variance of a `LayerNorm`.
const EPS: f64 = 1e-6;
/// The inner width of a block, in outer ones.
const INNER: usize = 4;

/// The sizes of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    /// Attention heads.
    pub(super) heads: usize,
    /// Width of each.
    pub(super) width: usize,
    /// Blocks of an encoder.
    pub(super) encoder: usize,
    /// Blocks of the decoder.
    pub(super) decoder: usize,
}

impl Sizes {
    /// The width of a token.
    fn token(self) -> usize {
        self.heads * self.width
    }

    /// The tensors of a head that reads maps of so many channels of the student and the teacher.
    ///
    /// Linear layers begin as Xavier's uniform (Glorot and Bengio, 2010) with biases 0, `LayerNorm`s at 1 and 0; embeddings
    /// and the projection have PyTorch's defaults: so does the released code's head.
    pub(super) fn wanted(self, tap: usize, student: usize, teacher: usize) -> Vec<Fresh> {
        let width = self.token();
        let mut wanted = Wanted { prefix: format!("dpk.{tap}"), all: Vec::new() };
        for (which, channels) in [("student", student), ("teacher", teacher)] {
            let bound = Initial::Uniform(1.0 / (channels as f64).sqrt());
            wanted.push(&format!("{which}.embed.weight"), &[width, channels], bound);
            wanted.push(&format!("{which}.embed.bias"), &[width], bound);
            wanted.blocks(which, self.encoder, width);
        }
        let bound = Initial::Uniform(1.0 / (width as f64).sqrt());
        wanted.push("projection.weight", &[width, width], bound);
        wanted.blocks("decoder", self.decoder, width);
        wanted.linear("decoder.head", width, teacher);
        wanted.all
    }
}

/// Collects tensors under one prefix.
struct Wanted {
    prefix: String,
    all: Vec<Fresh>,
}

impl Wanted {
    fn push(&mut self, name: &str, shape: &[usize], initial: Initial) {
        let name = format!("{}.{name}", self.prefix);
        self.all.push(Fresh { name, shape: shape.to_vec(), initial });
    }

    fn linear(&mut self, name: &str, from: usize, to: usize) {
        let bound = (6.0 / (from + to) as f64).sqrt();
        self.push(&format!("{name}.weight"), &[to, from], Initial::Uniform(bound));
        self.push(&format!("{name}.bias"), &[to], Initial::Constant(0.0));
    }

    fn norm(&mut self, name: &str, width: usize) {
        self.push(&format!("{name}.weight"), &[width], Initial::Constant(1.0));
        self.push(&format!("{name}.bias"), &[width], Initial::Constant(0.0));
    }

    fn blocks(&mut self, name: &str, blocks: usize, width: usize) {
        for block in 0..blocks {
            let name = format!("{name}.{block}");
            self.norm(&format!("{name}.norm1"), width);
            let bound = (6.0 / (4 * width) as f64).sqrt();
            self.push(&format!("{name}.qkv.weight"), &[3 * width, width], Initial::Uniform(bound));
            for bias in ["q", "v"] {
                self.push(&format!("{name}.{bias}.bias"), &[width], Initial::Constant(0.0));
            }
            self.linear(&format!("{name}.out"), width, width);
            self.norm(&format!("{name}.norm2"), width);
            self.linear(&format!("{name}.fc1"), width, INNER * width);
            self.linear(&format!("{name}.fc2"), INNER * width, width);
        }
        self.norm(&format!("{name}.norm"), width);
    }
}

/// The head of one tap.
pub(super) struct Fusion<'a> {
    pub(super) sizes: Sizes,
    pub(super) leaves: &'a Leaves,
    pub(super) tap: usize,
}

/// Maps `(N, C, H, W)` as tokens `(N H W, C)`, one for each position.
pub(super) fn tokens(maps: &Tensor) -> Result<Tensor> {
    let (n, c, height, width) = maps.dims4()?;
    maps.reshape((n, c, height * width))?.transpose(1, 2)?.contiguous()?.reshape((n * height * width, c))
}

impl Fusion<'_> {
    /// What the head makes of the student's visible and the teacher's masked positions: tokens `(N H W, C)` of the teacher's
    /// channels, of all positions. Both maps have the teacher's height and width.
    pub(super) fn decode(&self, student: &Tensor, teacher: &Tensor, mask: &Mask) -> Result<Tensor> {
        let width = self.sizes.token();
        let images = student.dim(0)?;
        let places = places(mask.positions, width, student)?;
        let places = places.broadcast_as((images, mask.positions, width))?.contiguous()?;
        let places = places.reshape((images * mask.positions, width))?;
        let parts = [
            ("student", student, &mask.visible, mask.visible_count()),
            ("teacher", teacher, &mask.masked, mask.count),
        ];
        let encoded = parts.map(|(which, maps, rows, count)| {
            let x = tokens(maps)?.index_select(rows, 0)?;
            let x = (self.linear(&format!("{which}.embed"), &x)? + places.index_select(rows, 0)?)?;
            let x = self.blocks(which, self.sizes.encoder, x, count)?;
            x.matmul(&self.get("projection.weight").t()?)
        });
        let [visible, masked] = encoded;
        let all = Tensor::cat(&[visible?, masked?], 0)?.index_select(&mask.places, 0)?;
        let all = self.blocks("decoder", self.sizes.decoder, (all + places)?, mask.positions)?;
        self.linear("decoder.head", &all)
    }

    fn get(&self, name: &str) -> &Tensor {
        self.leaves.get(&format!("dpk.{}.{name}", self.tap))
    }

    fn linear(&self, name: &str, x: &Tensor) -> Result<Tensor> {
        let weight = self.get(&format!("{name}.weight"));
        x.matmul(&weight.t()?)?.broadcast_add(self.get(&format!("{name}.bias")))
    }

    fn norm(&self, name: &str, x: &Tensor) -> Result<Tensor> {
        let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        let deviation = (centred.sqr()?.mean_keepdim(D::Minus1)? + EPS)?.sqrt()?;
        let normal = centred.broadcast_div(&deviation)?;
        let weight = self.get(&format!("{name}.weight"));
        normal.broadcast_mul(weight)?.broadcast_add(self.get(&format!("{name}.bias")))
    }

    /// Blocks and a last `LayerNorm`, on tokens `(N count, width)` of which `count` belong to each image.
    fn blocks(&self, name: &str, blocks: usize, mut x: Tensor, count: usize) -> Result<Tensor> {
        for block in 0..blocks {
            let at = |part: &str| format!("{name}.{block}.{part}");
            let attended =
                self.attention(&format!("{name}.{block}"), &self.norm(&at("norm1"), &x)?, count)?;
            x = (x + attended)?;
            let inner = gelu(&self.linear(&at("fc1"), &self.norm(&at("norm2"), &x)?)?)?;
            x = (x + self.linear(&at("fc2"), &inner)?)?;
        }
        self.norm(&format!("{name}.norm"), &x)
    }

    fn attention(&self, name: &str, x: &Tensor, count: usize) -> Result<Tensor> {
        let Sizes { heads, width, .. } = self.sizes;
        let (rows, token) = x.dims2()?;
        let all = x.matmul(&self.get(&format!("{name}.qkv.weight")).t()?)?;
        let part = |number: usize, bias: Option<&str>| -> Result<Tensor> {
            let part = all.narrow(1, number * token, token)?;
            let part = match bias {
                Some(bias) => part.broadcast_add(self.get(&format!("{name}.{bias}.bias")))?,
                None => part,
            };
            part.reshape((rows / count, count, heads, width))?.transpose(1, 2)?.contiguous()
        };
        let (q, k, v) = (part(0, Some("q"))?, part(1, None)?, part(2, Some("v"))?);
        let scores = (q * (width as f64).powf(-0.5))?.matmul(&k.transpose(2, 3)?.contiguous()?)?;
        let attended = log_softmax(&scores)?.exp()?.matmul(&v)?;
        let attended = attended.transpose(1, 2)?.contiguous()?.reshape((rows, token))?;
        self.linear(&format!("{name}.out"), &attended)
    }
}

/// `x (1 + erf(x / sqrt 2)) / 2`, written out: candle's own has a gradient of six digits.
fn gelu(x: &Tensor) -> Result<Tensor> {
    let half = (((x / std::f64::consts::SQRT_2)?.erf()? + 1.0)? * 0.5)?;
    x * half
}

/// Sines and cosines of each position (Vaswani et al., arXiv:1706.03762, 3.5): `(1, positions, width)`.
fn places(positions: usize, width: usize, like: &Tensor) -> Result<Tensor> {
    let value = |position: usize, at: usize| {
        let angle = position as f64 / 10_000f64.powf(2.0 * (at / 2) as f64 / width as f64);
        if at.is_multiple_of(2) { angle.sin() } else { angle.cos() }
    };
    let values: Vec<f64> =
        (0..positions).flat_map(|position| (0..width).map(move |at| value(position, at))).collect();
    Tensor::from_vec(values, (1, positions, width), &Device::Cpu)?.to_dtype(like.dtype())
}
