//! Where attacks start: random offsets that depend on (seed, epoch, image) and on nothing else.

use candle_core::{DType, Device, Result, Tensor};
use engine::Images;
use rayon::prelude::*;

use crate::rng::{Purpose, Stream};

/// The random offsets of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Starts<'a> {
    /// The run's seed.
    pub seed: u64,
    /// [`Purpose::Start`] in training, [`Purpose::Eval`] in evaluation.
    pub purpose: Purpose,
    /// The epoch, or the restart in evaluation.
    pub epoch: usize,
    /// The index in the data set of each image of the batch.
    pub images: &'a [usize],
}

impl Starts<'_> {
    /// Standard normals in the shape and precision of `like` `(N, C, H, W)`; values in (channel, row, column) order.
    pub fn normal(&self, like: &Images) -> Result<Tensor> {
        self.fill(like, Stream::normals)
    }

    /// Uniform values in [-1, 1), likewise.
    pub fn uniform(&self, like: &Images) -> Result<Tensor> {
        self.fill(like, |stream, values| {
            stream.uniforms(values);
            for value in values {
                *value = 2.0 * *value - 1.0;
            }
        })
    }

    fn fill(&self, like: &Images, draw: impl Fn(&Stream, &mut [f64]) + Sync) -> Result<Tensor> {
        let count = like.shape().iter().product();
        let per_image = count / like.len().max(1);
        let mut values = vec![0.0f64; count];
        values.par_chunks_mut(per_image.max(1)).zip(self.images).for_each(|(values, &image)| {
            draw(&Stream::new(self.seed, self.purpose, self.epoch, image), values);
        });
        if like.dtype() == DType::F64 {
            return Tensor::from_vec(values, like.shape(), &Device::Cpu);
        }
        Tensor::from_vec(
            values.into_iter().map(|value| value as f32).collect::<Vec<_>>(),
            like.shape(),
            &Device::Cpu,
        )
    }
}
