//! A whole attack: forward, the loss's gradient at the logits, backward, the step.

use candle_core::{CpuStorage, CustomOp2, DType, Error, Layout, Result, Shape, Tensor, WithDType};
use rayon::prelude::*;

use super::ascent::{ascend, slice};
use super::slope::{dlr, margin};
use crate::check::check_attack;
use crate::engine::{Ascent, AttackLoss, Engine, Keep, Norm};
use crate::error::EngineError;
use crate::graph::Network;
use crate::images::Images;
use crate::params::{Float, Params};

/// [`Engine::attack`] through the engine's own passes.
pub fn attack(
    engine: &dyn Engine,
    network: &Network,
    params: &Params,
    clean: &Images,
    start: &Images,
    loss: AttackLoss<'_>,
    by: Ascent,
) -> std::result::Result<Images, EngineError> {
    check_attack(network, params, clean, start, loss)?;
    let precision = params.precision().dtype();
    let target = match loss {
        AttackLoss::Target(target) => Some(target.to_dtype(precision)?.contiguous()?),
        AttackLoss::Margin(_) | AttackLoss::Dlr(_) => None,
    };
    let mut adversarial = start.clone();
    for _ in 0..by.steps {
        let pass = engine.forward(network, params, &adversarial, Norm::Running, Keep::ForImage, &[])?;
        let seed = match (loss, &target) {
            (AttackLoss::Margin(labels) | AttackLoss::Dlr(labels), _) => by_rows(&pass.logits, loss, labels)?,
            (AttackLoss::Target(_), target) => {
                let target = target.as_ref().expect("it was made of the loss's own");
                pass.logits.apply_op2_no_bwd(target, &Pull)?
            }
        };
        let gradient = engine.backward(pass.tape, &[Some(seed)], None)?.expect("forward kept the image");
        adversarial = ascend(by, clean.tensor()?, adversarial.tensor()?, &gradient)?.into();
    }
    Ok(adversarial)
}

/// Slopes of a loss of each image's logits and label, in the logits' precision.
fn by_rows(logits: &Tensor, loss: AttackLoss<'_>, labels: &[usize]) -> Result<Tensor> {
    match logits.dtype() {
        DType::F64 => rows_of::<f64>(logits, loss, labels),
        _ => rows_of::<f32>(logits, loss, labels),
    }
}

fn rows_of<T: Float + WithDType>(logits: &Tensor, loss: AttackLoss<'_>, labels: &[usize]) -> Result<Tensor> {
    let slope = if matches!(loss, AttackLoss::Dlr(_)) { dlr } else { margin };
    let (shape, rows) = (logits.dims2()?, logits.to_vec2::<T>()?);
    let mut slopes = vec![<T as Float>::from_f64(0.0); shape.0 * shape.1];
    for ((row, &label), slopes) in rows.iter().zip(labels).zip(slopes.chunks_mut(shape.1.max(1))) {
        slope(row, label, slopes);
    }
    Tensor::from_vec(slopes, shape, logits.device())
}

/// `softmax(z) - t` of each image, in f64 and rounded once: a student that nearly agrees with its target pulls by what is
/// left of a difference of two nearly equal numbers.
struct Pull;

impl Pull {
    fn rows<T: Float>(logits: &[T], target: &[T], classes: usize) -> Vec<T> {
        let mut pull = logits.to_vec();
        let rows = pull.par_chunks_mut(classes.max(1)).zip(target.par_chunks(classes.max(1)));
        rows.for_each(|(row, target)| {
            let highest = row.iter().map(|z| z.to_f64()).fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = row.iter().map(|z| (z.to_f64() - highest).exp()).sum();
            for (z, t) in row.iter_mut().zip(target) {
                *z = T::from_f64((z.to_f64() - highest).exp() / sum - t.to_f64());
            }
        });
        pull
    }
}

impl CustomOp2 for Pull {
    fn name(&self) -> &'static str {
        "pull-from-target"
    }

    fn cpu_fwd(
        &self,
        logits: &CpuStorage,
        at: &Layout,
        target: &CpuStorage,
        target_at: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        use CpuStorage::{F32, F64};
        let (_, classes) = at.shape().dims2()?;
        let storage = match (logits, target) {
            (F32(a), F32(b)) => F32(Self::rows(slice(a, at)?, slice(b, target_at)?, classes)),
            (F64(a), F64(b)) => F64(Self::rows(slice(a, at)?, slice(b, target_at)?, classes)),
            _ => return Err(Error::Msg("logits and target must be f32, or both f64".into())),
        };
        Ok((storage, at.shape().clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGITS: [f32; 9] = [2.0, 1.0, -0.5, 30.0, 29.999, -200.0, 1e4, -1e4, 0.0];
    const TARGET: [f32; 9] = [0.7, 0.25, 0.05, 0.500_25, 0.499_75, 0.0, 0.0, 1.0, 0.0];

    /// PyTorch 2.15: `softmax(logits.double(), 1) - target.double()` of these f32.
    const PYTORCH: [f64; 9] = [
        -0.010_327_901_954_567_453,
        0.003_716_181_635_025_239_7,
        0.006_611_731_495_413_234,
        -1.192_300_885_799_468_8e-7,
        1.490_324_109_676_422e-7,
        6.478_226_679_347_46e-101,
        1.0,
        -1.0,
        0.0,
    ];

    #[test]
    fn the_pull_is_pytorchs_in_f64_and_its_rounding_in_f32() {
        let [logits, target] = [LOGITS, TARGET].map(|values| values.map(f64::from));
        for (found, wanted) in Pull::rows(&logits, &target, 3).into_iter().zip(PYTORCH) {
            assert!((found - wanted).abs() <= 3e-16 * wanted.abs().max(0.5), "{found}, not {wanted}");
        }
        for (found, wanted) in Pull::rows(&LOGITS, &TARGET, 3).into_iter().zip(PYTORCH) {
            let wanted = wanted as f32;
            assert!((found - wanted).abs() <= f32::EPSILON * wanted.abs(), "{found}, not {wanted}");
        }
    }
}
