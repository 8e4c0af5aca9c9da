//! What an adversary may do: leave the image by at most eps, in a norm, within [0, 1].

mod fraction;
mod norm;

pub use fraction::{Fraction, NotAFraction, NotANumber};
pub use norm::{NORMS, Norm, NormRow};

use candle_core::{DType, Tensor};

/// The ball of radius `eps` around each image, cut to the pixel range.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Threat {
    /// How distance is measured.
    pub norm: Norm,
    /// The radius, in units of the pixel range [0, 1].
    pub eps: f64,
}

/// A radius that no ball of its norm has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "eps {eps} is more than any pixel can change: an linf ball has at most radius 1{levels}\nhint: write it as a fraction of the pixel range, such as 8/255; larger radii are for l2"
)]
pub struct TooWide {
    eps: String,
    levels: String,
}

/// An image that left its ball: a defect of the attack that made it.
#[derive(Debug, thiserror::Error)]
pub enum ThreatError {
    /// Further from its image than eps.
    #[error("adversarial image {image}: it moved by {moved} in {norm}, eps is {eps}")]
    OutsideBall {
        /// Index in the batch.
        image: usize,
        /// How far it went.
        moved: f64,
        /// How that is measured.
        norm: Norm,
        /// The radius.
        eps: f64,
    },
    /// Outside the pixel range, or not a number.
    #[error("adversarial image {image}: a pixel is {pixel}, outside [0, 1]")]
    OutsideRange {
        /// Index in the batch.
        image: usize,
        /// The pixel.
        pixel: f64,
    },
    /// A tensor operation failed.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

impl Threat {
    /// Every pixel may change by `eps`.
    pub const fn linf(eps: f64) -> Self {
        Self { norm: Norm::Linf, eps }
    }

    /// All pixels together may change by `eps`: the square root of the sum of the squares.
    pub const fn l2(eps: f64) -> Self {
        Self { norm: Norm::L2, eps }
    }

    /// The ball of a radius that somebody wrote. Only an l2 ball may be wider than a pixel's range.
    pub fn new(norm: Norm, eps: &Fraction) -> Result<Self, TooWide> {
        if norm == Norm::Linf && eps.value() > 1.0 {
            let eps = eps.to_string();
            return Err(TooWide { levels: fraction::levels(&eps), eps });
        }
        Ok(Self { norm, eps: eps.value() })
    }

    /// `adversarial` brought into the ball, then into [0, 1]. All are `(N, C, H, W)`, in one precision.
    ///
    /// In linf that is the nearest point that is allowed. In l2 the way from the image is shortened to `eps`, then cut
    /// to [0, 1]: allowed, but where pixels are cut not the nearest. So does the code of arXiv:2003.01690.
    pub fn project(&self, images: &Tensor, adversarial: &Tensor) -> candle_core::Result<Tensor> {
        let inside = match self.norm {
            Norm::Linf => adversarial.maximum(&(images - self.eps)?)?.minimum(&(images + self.eps)?)?,
            Norm::L2 => {
                // Sums of thousands of squares are taken in f64, so that rounding leaves no image outside.
                let wide = images.to_dtype(DType::F64)?;
                let moved = (adversarial.to_dtype(DType::F64)? - &wide)?;
                let length = moved.sqr()?.flatten_from(1)?.sum(1)?.sqrt()?;
                // An image that did not move has length 0; the ratio is then infinite, and cut to 1.
                let share = (length.recip()? * self.eps)?.clamp(0.0, 1.0)?.reshape(((), 1, 1, 1))?;
                // What lies in the ball already comes back bit for bit.
                let is_inside = share.ge(1.0)?.broadcast_as(moved.shape())?;
                let shortened = (wide + moved.broadcast_mul(&share)?)?.to_dtype(images.dtype())?;
                is_inside.where_cond(adversarial, &shortened)?
            }
        };
        inside.clamp(0.0, 1.0)
    }

    /// Checks a finished attack from outside, in f64. The slack of linf is one rounding of a pixel near 1 in the images'
    /// precision: 1.2e-7 in f32. In l2 every pixel has it, so it is the square root of the number of pixels times that:
    /// 6.6e-6 for 3 x 32 x 32.
    pub fn check(&self, images: &Tensor, adversarial: &Tensor) -> Result<(), ThreatError> {
        let rounding = if images.dtype() == DType::F64 { f64::EPSILON } else { f64::from(f32::EPSILON) };
        let values = |t: &Tensor| t.flatten_from(1)?.to_dtype(DType::F64)?.to_vec2::<f64>();
        for (image, (clean, moved)) in values(images)?.into_iter().zip(values(adversarial)?).enumerate() {
            if let Some(&pixel) = moved.iter().find(|pixel| !(0.0..=1.0).contains(*pixel)) {
                return Err(ThreatError::OutsideRange { image, pixel });
            }
            let slack = match self.norm {
                Norm::Linf => rounding,
                Norm::L2 => rounding * (clean.len() as f64).sqrt(),
            };
            let moved = self.norm.length(clean.iter().zip(&moved).map(|(clean, pixel)| pixel - clean));
            if moved > self.eps + slack {
                return Err(ThreatError::OutsideBall { image, moved, norm: self.norm, eps: self.eps });
            }
        }
        Ok(())
    }

    /// As [`Threat::project`], for one image's pixels in place.
    pub fn confine(&self, image: &[f32], point: &mut [f32]) {
        self.ball().confine(image, point);
    }

    /// The same, as an engine knows it.
    pub fn ball(&self) -> engine::Ball {
        self.norm.ball(self.eps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    const CLEAN: [f64; 4] = [0.05, 0.5, 0.95, 0.3];
    const FAR: [f64; 4] = [0.45, 0.9, 1.35, 0.1];
    /// PyTorch 2.15 in f64: `clamp(x + (y - x) * min(1, eps / norm(y - x)), 0, 1)` and its distance from x.
    const SHORTENED: [(f64, [f64; 4], f64); 3] = [
        (
            0.35,
            [0.244_145_068_678_830_18, 0.694_145_068_678_830_2, 1.0, 0.202_927_465_660_584_92],
            0.295_478_751,
        ),
        (0.5, [0.327_350_098_112_614_5, 0.777_350_098_112_614_5, 1.0, 0.161_324_950_943_692_76], 0.419_019),
        (3.0, [0.45, 0.9, 1.0, 0.1], 0.602_079_729),
    ];

    fn image(values: &[f64], dtype: DType) -> Tensor {
        Tensor::from_slice(values, (1, 1, 1, values.len()), &Device::Cpu).unwrap().to_dtype(dtype).unwrap()
    }

    fn pixels(tensor: &Tensor) -> Vec<f64> {
        tensor.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1().unwrap()
    }

    #[test]
    fn in_linf_projection_goes_to_the_ball_then_to_the_pixel_range() {
        let threat = Threat::linf(0.1);
        let (clean, far) = (image(&[0.05, 0.5, 0.95], DType::F64), image(&[-1.0, 0.9, 2.0], DType::F64));
        let near = threat.project(&clean, &far).unwrap();
        assert_eq!(pixels(&near), [0.0, 0.6, 1.0]);
        threat.check(&clean, &near).unwrap();
        let error = threat.check(&clean, &(near + 0.01).unwrap()).unwrap_err();
        assert!(matches!(
            error,
            ThreatError::OutsideBall { image: 0, .. } | ThreatError::OutsideRange { .. }
        ));
    }

    #[test]
    fn in_l2_the_way_from_the_image_is_shortened_to_the_radius_as_in_pytorch() {
        for (eps, wanted, distance) in SHORTENED {
            for (dtype, tolerance) in [(DType::F64, 1e-12), (DType::F32, 1e-7)] {
                let (clean, far) = (image(&CLEAN, dtype), image(&FAR, dtype));
                let near = Threat::l2(eps).project(&clean, &far).unwrap();
                let found = pixels(&near);
                assert!(
                    found.iter().zip(wanted).all(|(found, wanted)| (found - wanted).abs() < tolerance),
                    "{found:?}"
                );
                // Exactly as far as it is, and no further, is allowed.
                let Threat { norm, .. } = Threat::l2(eps);
                let moved = norm.length(pixels(&clean).iter().zip(&found).map(|(a, b)| a - b));
                assert!((moved - distance).abs() < 1e-6, "{moved}");
                Threat::l2(eps).check(&clean, &near).unwrap();
                Threat::l2(distance + 1e-6).check(&clean, &near).unwrap();
                let error = Threat::l2(distance - 3e-6).check(&clean, &near).unwrap_err();
                assert!(matches!(error, ThreatError::OutsideBall { norm: Norm::L2, .. }), "{error}");
            }
        }
    }

    #[test]
    fn what_lies_in_the_ball_comes_back_bit_for_bit_and_an_image_that_did_not_move_too() {
        for threat in [Threat::l2(3.0), Threat::linf(1.0)] {
            for dtype in [DType::F64, DType::F32] {
                let (clean, near) = (image(&CLEAN, dtype), image(&[0.1, 0.9, 0.7, 0.123], dtype));
                assert_eq!(pixels(&threat.project(&clean, &near).unwrap()), pixels(&near));
                assert_eq!(pixels(&threat.project(&clean, &clean).unwrap()), pixels(&clean));
            }
        }
    }

    #[test]
    fn ten_thousand_pixels_stay_within_the_slack_of_their_ball_in_both_precisions() {
        let values = |factor: usize| -> Vec<f64> {
            (0..10_000).map(|i| (i * factor % 1009) as f64 / 1008.0).collect()
        };
        for dtype in [DType::F64, DType::F32] {
            let (clean, far) = (image(&values(7919), dtype), image(&values(104_729), dtype));
            for threat in [Threat::l2(0.5), Threat::l2(3.0), Threat::linf(8.0 / 255.0)] {
                let near = threat.project(&clean, &far).unwrap();
                threat.check(&clean, &near).unwrap();
                assert!(threat.check(&clean, &far).is_err());
            }
        }
    }

    #[test]
    fn one_image_in_place_is_confined_as_a_batch_is() {
        for threat in [Threat::l2(0.35), Threat::l2(0.5), Threat::l2(3.0), Threat::linf(0.2)] {
            let [clean, mut far] = [CLEAN, FAR].map(|values| values.map(|value| value as f32));
            let batch = threat.project(&image(&CLEAN, DType::F32), &image(&FAR, DType::F32)).unwrap();
            threat.confine(&clean, &mut far);
            let apart = far.iter().zip(pixels(&batch)).map(|(one, other)| (f64::from(*one) - other).abs());
            assert!(apart.fold(0.0, f64::max) < 1e-7, "{threat:?}: {far:?}");
        }
    }

    #[test]
    fn only_an_l2_ball_may_be_wider_than_a_pixels_range() {
        let wide = Fraction::of_any_size("3").unwrap();
        assert_eq!(Threat::new(Norm::L2, &wide).unwrap(), Threat::l2(3.0));
        let error = Threat::new(Norm::Linf, &wide).unwrap_err().to_string();
        assert_eq!(
            error,
            "eps 3 is more than any pixel can change: an linf ball has at most radius 1; 3 levels of 255 are 3/255\nhint: write it as a fraction of the pixel range, such as 8/255; larger radii are for l2"
        );
        assert_eq!(Threat::new(Norm::Linf, &"8/255".parse().unwrap()).unwrap(), Threat::linf(8.0 / 255.0));
    }
}
