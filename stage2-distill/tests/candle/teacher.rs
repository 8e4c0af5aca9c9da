//! tiny-cnn-x4, with its weights in student.safetensors: run it in this folder.
//!
//! `cargo run --release` compares its answers to the images of check.safetensors with those they had when this was written.
#![allow(dead_code, unused_imports)]

use candle_core::{D, DType, Device, Result, Tensor};
use candle_nn::{BatchNorm, Linear, Module, ModuleT, VarBuilder, batch_norm, linear, linear_no_bias};

/// The student's layers, by their place in the network.
pub struct Student {
    l1: (Tensor, Option<Tensor>),
    l2: BatchNorm,
    l4: (Tensor, Option<Tensor>),
    l5: BatchNorm,
    l7: (Tensor, Option<Tensor>),
    l8: BatchNorm,
    l10: (Tensor, Option<Tensor>),
    l11: BatchNorm,
    l14: Linear,
}

impl Student {
    /// The student out of its file.
    pub fn load(vb: VarBuilder) -> Result<Self> {
        Ok(Self {
            l1: (vb.get((32, 1, 3, 3), "conv1.weight")?, None),
            l2: batch_norm(32, 1e-5, vb.pp("bn1"))?,
            l4: (vb.get((64, 32, 3, 3), "conv2.weight")?, None),
            l5: batch_norm(64, 1e-5, vb.pp("bn2"))?,
            l7: (vb.get((128, 64, 3, 3), "conv3.weight")?, None),
            l8: batch_norm(128, 1e-5, vb.pp("bn3"))?,
            l10: (vb.get((128, 128, 3, 3), "conv4.weight")?, None),
            l11: batch_norm(128, 1e-5, vb.pp("bn4"))?,
            l14: linear(128, 10, vb.pp("linear"))?,
        })
    }

    /// Logits `(N, K)` of images `(N, C, H, W)` f32, pixels in [0, 1]; what they are normalised with is part of it.
    pub fn logits(&self, images: &Tensor) -> Result<Tensor> {
        let x0 = images.clone();
        let x1 = convolved(&x0, &self.l1, [1, 1, 1, 1], 2, 1)?;
        let x2 = self.l2.forward_t(&x1, false)?;
        let x3 = x2.relu()?;
        let x4 = convolved(&x3, &self.l4, [1, 1, 1, 1], 2, 1)?;
        let x5 = self.l5.forward_t(&x4, false)?;
        let x6 = x5.relu()?;
        let x7 = convolved(&x6, &self.l7, [1, 1, 1, 1], 1, 1)?;
        let x8 = self.l8.forward_t(&x7, false)?;
        let x9 = x8.relu()?;
        let x10 = convolved(&x9, &self.l10, [1, 1, 1, 1], 2, 1)?;
        let x11 = self.l11.forward_t(&x10, false)?;
        let x12 = x11.relu()?;
        let x13 = x12.mean((2, 3))?;
        let x14 = self.l14.forward(&x13)?;
        Ok(x14)
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
