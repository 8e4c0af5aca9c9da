//! The step of PGD in one pass over the pixels: as candle expressions it would take eight, as long as a small network's
//! own part of the iteration.

use candle_core::{CpuStorage, CustomOp3, Error, Layout, Result, Shape, Tensor};
use engine::params::Float;
use rayon::prelude::*;

use crate::threat::Threat;

/// `adversarial + step_size * sign(gradient)`, projected into the ball around `images` and into [0, 1].
///
/// All are `(N, C, H, W)` in one precision. Where a gradient is zero or not a number the pixel stays.
pub(super) fn ascend(
    threat: Threat,
    step_size: f64,
    images: &Tensor,
    adversarial: &Tensor,
    gradient: &Tensor,
) -> Result<Tensor> {
    let [images, adversarial] = [images.contiguous()?, adversarial.contiguous()?];
    images.apply_op3_no_bwd(&adversarial, &gradient.contiguous()?, &Ascent { eps: threat.eps, step_size })
}

struct Ascent {
    eps: f64,
    step_size: f64,
}

impl Ascent {
    fn pixels<T: Float>(&self, images: &[T], adversarial: &[T], gradient: &[T]) -> Vec<T> {
        const CHUNK: usize = 1 << 14;
        let [eps, step, zero, one] = [self.eps, self.step_size, 0.0, 1.0].map(T::from_f64);
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

impl CustomOp3 for Ascent {
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

fn slice<'a, T>(values: &'a [T], at: &Layout) -> Result<&'a [T]> {
    let (start, end) =
        at.contiguous_offsets().ok_or_else(|| Error::Msg("the tensor was made contiguous".into()))?;
    Ok(&values[start..end])
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;

    #[test]
    fn one_pass_is_the_sign_step_and_the_projection() {
        let threat = Threat::linf(8.0 / 255.0);
        let values = |seed: usize| -> Vec<f64> {
            (0..240).map(|i| ((i * 7919 + seed * 104_729) % 1000) as f64 / 999.0).collect()
        };
        for dtype in [DType::F32, DType::F64] {
            let tensor = |values: Vec<f64>| {
                Tensor::from_vec(values, (2, 3, 5, 8), &Device::Cpu).unwrap().to_dtype(dtype).unwrap()
            };
            let images = tensor(values(1));
            let adversarial = (&images + ((tensor(values(2)) - 0.5).unwrap() * 0.08).unwrap()).unwrap();
            let gradient = ((tensor(values(3)) * 5.0).unwrap().floor().unwrap() - 2.0).unwrap();
            let found = ascend(threat, 2.0 / 255.0, &images, &adversarial, &gradient).unwrap();
            let sign = (gradient.gt(0.0).unwrap().to_dtype(dtype).unwrap()
                - gradient.lt(0.0).unwrap().to_dtype(dtype).unwrap())
            .unwrap();
            let moved = (&adversarial + (sign * (2.0 / 255.0)).unwrap()).unwrap();
            let wanted = threat.project(&images, &moved).unwrap();
            assert_eq!(format!("{:?}", bits(&found)), format!("{:?}", bits(&wanted)));
            assert_ne!(bits(&found), bits(&adversarial));
        }
    }

    #[test]
    fn a_gradient_that_is_no_number_leaves_its_pixel() {
        let images = Tensor::new(&[[[[0.5f32, 0.5]]]], &Device::Cpu).unwrap();
        let gradient = Tensor::new(&[[[[f32::NAN, -1.0]]]], &Device::Cpu).unwrap();
        let found = ascend(Threat::linf(0.1), 0.05, &images, &images, &gradient).unwrap();
        assert_eq!(bits(&found), [0.5f64.to_bits(), f64::from(0.5f32 - 0.05f32).to_bits()]);
    }

    fn bits(tensor: &Tensor) -> Vec<u64> {
        let values = tensor.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1::<f64>().unwrap();
        values.into_iter().map(f64::to_bits).collect()
    }
}
