//! Softmax, cross-entropy and KL divergence on logits, as candle expressions that candle can differentiate.
//!
//! Written out: candle-nn's fused softmax has no gradient, and its `log_softmax` sends one through the maximum as well,
//! which cancels but for rounding (in f32 one gradient in eleven then has another last bit).

use candle_core::{D, DType, Device, Error, Result, Tensor};

/// Logarithms of the softmax of `(N, K)` logits, `(N, K)`, stable for logits of any size.
pub fn log_softmax(logits: &Tensor) -> Result<Tensor> {
    // The maximum only shifts: it is a constant for the gradient, which flows through the other two terms.
    let shifted = logits.broadcast_sub(&logits.detach().max_keepdim(D::Minus1)?)?;
    shifted.broadcast_sub(&shifted.exp()?.sum_keepdim(D::Minus1)?.log()?)
}

/// Softmax of `(N, K)` logits, a constant: computed in f64, and rounded once to the precision of the logits.
pub fn softmax(logits: &Tensor) -> Result<Tensor> {
    let wide = logits.detach().to_dtype(DType::F64)?;
    let powers = wide.broadcast_sub(&wide.max_keepdim(D::Minus1)?)?.exp()?;
    powers.broadcast_div(&powers.sum_keepdim(D::Minus1)?)?.to_dtype(logits.dtype())
}

/// Hard labels `(N,)` u32 as the distributions `(N, K)` that they are, in f32.
pub fn one_hot(labels: &Tensor, classes: usize) -> Result<Tensor> {
    let labels = labels.to_vec1::<u32>()?;
    let mut rows = vec![0f32; labels.len() * classes];
    for (row, &label) in labels.iter().enumerate() {
        let class = label as usize;
        if class >= classes {
            return Err(Error::Msg(format!(
                "image {row} of the batch has label {label}, of {classes} classes"
            )));
        }
        rows[row * classes + class] = 1.0;
    }
    Tensor::from_vec(rows, (labels.len(), classes), &Device::Cpu)
}

/// KL divergence of the student from the target distribution, in nats, one value per image.
///
/// Both logits are `(N, K)`; the result is `(N,)`. Gradients flow into both. Source: arXiv:2108.07969, eq. 7, in the
/// direction that its authors' code computes: KL(target || student).
pub fn kl(target: &Tensor, student: &Tensor) -> Result<Tensor> {
    let log_target = log_softmax(target)?;
    (log_target.exp()? * (&log_target - log_softmax(student)?)?)?.sum(D::Minus1)
}

/// Cross-entropy with hard labels, in nats, one value per image. Logits `(N, K)`, labels `(N,)` u32.
pub fn cross_entropy(logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
    log_softmax(logits)?.gather(&labels.unsqueeze(1)?, 1)?.squeeze(1)?.neg()
}

/// The same where `smoothing` of each label is spread over all classes alike, the label's own among them.
///
/// Source: arXiv:1512.00567, section 7; PyTorch's `CrossEntropyLoss(label_smoothing=smoothing)`. At 0 it is
/// [`cross_entropy`], bit for bit.
pub fn smoothed_cross_entropy(logits: &Tensor, labels: &Tensor, smoothing: f64) -> Result<Tensor> {
    let right = cross_entropy(logits, labels)?;
    if smoothing > 0.0 {
        let alike = log_softmax(logits)?.mean(D::Minus1)?.neg()?;
        return (right * (1.0 - smoothing))? + (alike * smoothing)?;
    }
    Ok(right)
}

/// The mean of values `(N,)` of images, each times its weight `(N,)` where there are weights; they are not normalised.
pub fn mean_weighted(values: &Tensor, weights: Option<&Tensor>) -> Result<Tensor> {
    match weights {
        Some(weights) => (values * weights)?.mean_all(),
        None => values.mean_all(),
    }
}

/// Logits divided by a temperature; at 1 they are the logits themselves, bit for bit.
pub fn tempered(logits: &Tensor, temperature: f64) -> Result<Tensor> {
    if temperature.to_bits() == 1f64.to_bits() { Ok(logits.clone()) } else { logits / temperature }
}
