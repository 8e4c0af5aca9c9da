//! every-operation, with its weights in student.safetensors: run it in this folder.
//!
//! `cargo run --release` compares its answers to the images of check.safetensors with those they had when this was written.
#![allow(dead_code, unused_imports)]

use candle_core::{D, DType, Device, Result, Tensor};
use candle_nn::{BatchNorm, Linear, Module, ModuleT, VarBuilder, batch_norm, linear, linear_no_bias};

/// The student's layers, by their place in the network.
pub struct Student {
    l3: (Tensor, Option<Tensor>),
    l4: BatchNorm,
    l6: (Tensor, Option<Tensor>),
    l7: [Tensor; 3],
    l11: (Tensor, Option<Tensor>),
    l20: Linear,
    l21: Linear,
}

impl Student {
    /// The student out of its file.
    pub fn load(vb: VarBuilder) -> Result<Self> {
        Ok(Self {
            l3: (vb.get((6, 1, 3, 3), "stem.weight")?, Some(vb.get(6, "stem.bias")?)),
            l4: batch_norm(6, 0.001, vb.pp("bn"))?,
            l6: (vb.get((6, 3, 3, 3), "grouped.weight")?, None),
            l7: [vb.get(6, "sparse.running_mean")?, vb.get(6, "sparse.running_var")?, vb.get((), "sparse.threshold")?],
            l11: (vb.get((6, 6, 1, 1), "gate.weight")?, Some(vb.get(6, "gate.bias")?)),
            l20: linear(15, 10, vb.pp("near"))?,
            l21: linear_no_bias(630, 10, vb.pp("far"))?,
        })
    }

    /// Logits `(N, K)` of images `(N, C, H, W)` f32, pixels in [0, 1]; what they are normalised with is part of it.
    pub fn logits(&self, images: &Tensor) -> Result<Tensor> {
        let x0 = images.clone();
        let x1 = normalised(&x0, &[0.1307], &[0.3081])?;
        let x2 = standardised(&x1)?;
        let x3 = convolved(&x2, &self.l3, [1, 0, 2, 1], 2, 1)?;
        let x4 = self.l4.forward_t(&x3, false)?;
        let x5 = candle_nn::ops::silu(&x4)?;
        let x6 = convolved(&x5, &self.l6, [1, 1, 1, 1], 1, 2)?;
        let x7 = mean_sparse(&x6, &self.l7)?;
        let x8 = x7.relu()?;
        let x9 = (&x5 + &x8)?;
        let x10 = x9.avg_pool2d_with_stride((14, 15), (1, 1))?;
        let x11 = convolved(&x10, &self.l11, [0, 0, 0, 0], 1, 1)?;
        let x12 = candle_nn::ops::sigmoid(&x11)?;
        let x13 = x9.broadcast_mul(&x12)?;
        let x14 = x13.pad_with_zeros(1, 1, 2)?;
        let x15 = Tensor::cat(&[&x14, &x13], 1)?;
        let x16 = x15.max_pool2d_with_stride((3, 2), (2, 2))?;
        let x17 = x16.clamp(0f32, 6f32)?;
        let x18 = x17.mean((2, 3))?;
        let x19 = x17.flatten_from(1)?;
        let x20 = self.l20.forward(&x18)?;
        let x21 = self.l21.forward(&x19)?;
        let x22 = (&x20 + &x21)?;
        Ok(x22)
    }
}

/// A convolution with zeros above, below, before and after the map.
fn convolved(
    x: &Tensor,
    (weight, bias): &(Tensor, Option<Tensor>),
    [top, bottom, left, right]: [usize; 4],
    stride: usize,
    groups: usize,
) -> Result<Tensor> {
    let padded = x.pad_with_zeros(2, top, bottom)?.pad_with_zeros(3, left, right)?;
    let output = padded.conv2d(weight, 0, stride, 1, groups)?;
    match bias {
        None => Ok(output),
        Some(bias) => output.broadcast_add(&bias.reshape((1, (), 1, 1))?),
    }
}

/// `(x - mean) / std` per channel.
fn normalised(x: &Tensor, mean: &[f64], std: &[f64]) -> Result<Tensor> {
    let constant = |values: &[f64]| Tensor::new(values, x.device())?.to_dtype(x.dtype())?.reshape((1, (), 1, 1));
    x.broadcast_sub(&constant(mean)?)?.broadcast_div(&constant(std)?)
}

/// Each image less its mean, over its deviation.
fn standardised(x: &Tensor) -> Result<Tensor> {
    let count = x.elem_count() as f64 / x.dim(0)? as f64;
    let centred = x.broadcast_sub(&x.mean_keepdim((1, 2, 3))?)?;
    let deviation = ((centred.sqr()?.mean_keepdim((1, 2, 3))? * (count / (count - 1.0)))?).sqrt()?;
    centred.broadcast_div(&deviation.maximum(1.0 / count.sqrt())?)
}

/// A value near its channel's mean becomes that mean.
fn mean_sparse(x: &Tensor, [mean, variance, threshold]: &[Tensor; 3]) -> Result<Tensor> {
    let mean = mean.reshape((1, (), 1, 1))?;
    let band = variance.sqrt()?.broadcast_mul(threshold)?.reshape((1, (), 1, 1))?;
    let near = x.broadcast_sub(&mean)?.abs()?.broadcast_lt(&band)?;
    near.where_cond(&mean.broadcast_as(x.shape())?.contiguous()?, x)
}

fn main() -> Result<()> {
    let device = Device::Cpu;
    let weights = candle_core::safetensors::load("student.safetensors", &device)?;
    let student = Student::load(VarBuilder::from_tensors(weights, DType::F32, &device))?;
    let check = candle_core::safetensors::load("check.safetensors", &device)?;
    let (images, wanted) = (&check["images"], &check["logits"]);
    let found = student.logits(images)?;
    let largest = |x: &Tensor| x.abs()?.flatten_all()?.max(D::Minus1)?.to_scalar::<f32>();
    let apart = largest(&(&found - wanted)?)? / largest(wanted)?.max(1.0);
    println!("{} images: logits differ by {apart:.1e} of the largest", images.dim(0)?);
    assert!(apart <= 1e-5, "that is more than the 1e-5 of rounding");
    Ok(())
}
