//! The step of PGD in one pass over the pixels: as candle expressions it would take eight, as long as a small network's
//! own part of the iteration.

use candle_core::{CpuStorage, CustomOp3, Error, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use crate::engine::Ascent;
use crate::params::Float;

/// One step: `adversarial + step_size * sign(gradient)`, brought into the ball around `images`, then into [0, 1].
///
/// All are `(N, C, H, W)` in one precision. Where a gradient is zero or not a number the pixel stays.
pub fn ascend(by: Ascent, images: &Tensor, adversarial: &Tensor, gradient: &Tensor) -> Result<Tensor> {
    let [images, adversarial] = [images.contiguous()?, adversarial.contiguous()?];
    images.apply_op3_no_bwd(&adversarial, &gradient.contiguous()?, &Step(by))
}

struct Step(Ascent);

impl Step {
    fn pixels<T: Float>(&self, images: &[T], adversarial: &[T], gradient: &[T]) -> Vec<T> {
        const CHUNK: usize = 1 << 14;
        let [eps, step, zero, one] = [self.0.eps, self.0.step_size, 0.0, 1.0].map(T::from_f64);
        let mut moved = adversarial.to_vec();
        let all = moved.par_chunks_mut(CHUNK).zip(images.par_chunks(CHUNK)).zip(gradient.par_chunks(CHUNK));
        all.for_each(|((moved, images), gradient)| {
            for ((moved, &image), &gradient) in moved.iter_mut().zip(images).zip(gradient) {
                let sign = T::from_f64(f64::from(i8::from(gradient > zero) - i8::from(gradient < zero)));
                let at_least = |a: T, b: T| if a < b { b } else { a };
                let at_most = |a: T, b: T| if a > b { b } else { a };
                let inside = at_most(at_least(*moved + sign * step, image - eps), image + eps);
                *moved = at_most(at_least(inside, zero), one);
            }
        });
        moved
    }
}

impl CustomOp3 for Step {
    fn name(&self) -> &'static str {
        "pgd-ascent"
    }

    fn cpu_fwd(
        &self,
        images: &CpuStorage,
        at: &Layout,
        adversarial: &CpuStorage,
        adversarial_at: &Layout,
        gradient: &CpuStorage,
        gradient_at: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        use CpuStorage::{F32, F64};
        let storage = match (images, adversarial, gradient) {
            (F32(a), F32(b), F32(c)) => {
                F32(self.pixels(slice(a, at)?, slice(b, adversarial_at)?, slice(c, gradient_at)?))
            }
            (F64(a), F64(b), F64(c)) => {
                F64(self.pixels(slice(a, at)?, slice(b, adversarial_at)?, slice(c, gradient_at)?))
            }
            _ => return Err(Error::Msg("images and gradients must be f32, or all f64".into())),
        };
        Ok((storage, at.shape().clone()))
    }
}

pub(super) fn slice<'a, T>(values: &'a [T], at: &Layout) -> Result<&'a [T]> {
    let (start, end) =
        at.contiguous_offsets().ok_or_else(|| Error::Msg("the tensor was made contiguous".into()))?;
    Ok(&values[start..end])
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn a_gradient_that_is_no_number_leaves_its_pixel() {
        let images = Tensor::new(&[[[[0.5f32, 0.5]]]], &Device::Cpu).unwrap();
        let gradient = Tensor::new(&[[[[f32::NAN, -1.0]]]], &Device::Cpu).unwrap();
        let by = Ascent { steps: 1, step_size: 0.05, eps: 0.1 };
        let found = ascend(by, &images, &images, &gradient).unwrap();
        assert_eq!(found.flatten_all().unwrap().to_vec1::<f32>().unwrap(), [0.5, 0.5f32 - 0.05f32]);
    }
}
