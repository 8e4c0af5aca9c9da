//! Semi-supervised, noise-aware, online robust distillation. Source: the abstract of Wu et al., WACV 2025,
//! arXiv:2409.12946, and parts that others published.

use candle_core::{DType, Device, Result, Tensor};

use super::needs::{Asked, Forward, Needs};
use super::row::{Epoch, Inner, Objective, Row, Said, Targets, UNLABELLED};
use crate::attack::{Answers, Start};
use crate::options::Choice;
use crate::soft::{cross_entropy, kl, softmax};

const EACH: Choice = Choice {
    key: "unlabelled-each",
    default: 7.0,
    least: 1.0,
    most: 1e3,
    is_whole: true,
    help: "images without a label in a batch, for each that has one",
};
const THRESHOLD: Choice = Choice {
    key: "threshold",
    default: 0.95,
    least: 0.0,
    most: 1.0,
    is_whole: false,
    help: "confidence from which a pseudo-label counts",
};
const PSEUDO: Choice = Choice {
    key: "pseudo-weight",
    default: 1.0,
    least: 0.0,
    most: 1e3,
    is_whole: false,
    help: "weight of the pseudo-labels' term",
};
const BETA: Choice = Choice {
    key: "beta",
    default: 6.0,
    least: 0.0,
    most: 1e3,
    is_whole: false,
    help: "weight of the robust term",
};
const WARM: Choice = Choice {
    key: "warm-epochs",
    default: 0.0,
    least: 0.0,
    most: 1e6,
    is_whole: true,
    help: "first epochs that learn from the teacher's cached answers in place of the average's",
};

pub(super) static ROW: Row = Row {
    name: "snord",
    summary: "few labels, the student's own average as robust teacher on all images (after arXiv:2409.12946)",
    options: &[EACH, THRESHOLD, PSEUDO, BETA, WARM],
    as_published: None,
    make: |options| {
        Box::new(Snord {
            each: options.get(EACH.key) as usize,
            threshold: options.get(THRESHOLD.key),
            pseudo_weight: options.get(PSEUDO.key),
            beta: options.get(BETA.key),
            warm_epochs: options.get(WARM.key) as usize,
        })
    },
};

/// SNORD: labels of a few images, and of all of them what the student's moving average thinks.
///
/// **Only the abstract is public**: robust self-training with present semi-supervised techniques, better pseudo-labels,
/// management of noisy ones, no pretrained network. What follows is built of published parts after that description; it
/// is not known to be what its authors run.
///
/// With A the moving average under running statistics, x the clean view (`crop+flip`), x° the strong one, y the label:
///
/// - Attack: raise `sum KL(A(x) || S(x'))` from 0.001 times a normal.
/// - Loss: `mean CE(S(x), y)` over the labelled images
///   ` + pseudo-weight * mean w 1[max A(x) >= threshold] CE(S(x°), argmax A(x))` over the others
///   ` + beta * mean w KL(A(x) || S(x'))` over all; A's logits are constants everywhere.
/// - w is 1 for a labelled image, else `1 - JS(A(x), A(x°)) / ln 2`.
///
/// Where each part is from:
///
/// - The pseudo-labels are FixMatch's (arXiv:2001.07685, eq. 4): from the weak view, on the strong one, from a confidence
///   of 0.95, weight 1, a mean over *all* images without a label, seven of which are in a batch for each labelled one. It
///   asks the student itself and publishes the average; asking the average is Mean Teacher's (arXiv:1703.01780), and a
///   guess for SNORD. FixMatch also learns the labelled images as unlabelled ones, which is left out.
/// - The robust term is TRADES' (arXiv:1901.08573) with the weight 6 that robust self-training (arXiv:1905.13736) keeps
///   for images without a label; like there it has no threshold. That its target is the average ("online robust
///   distillation"), a constant, is a guess; self-distillation of that form is ADR's (arXiv:2305.12118).
/// - The weight by agreement is a guess: the Jensen-Shannon divergence tells wrong labels from right ones in UNICON
///   (arXiv:2203.14542), which draws a line; here it weighs, without a number to choose.
/// - The order of the training forwards is a guess: strong, adversarial, clean. The clean ones move the running statistics
///   last, for it is under these that the average is asked about them.
///
/// In the first `warm-epochs` A(x) is the teacher's cached answer and w is 1: no label set has an answer about x°. Needs a
/// moving average: FixMatch's decay is 0.999 over a million steps.
#[derive(Clone, Copy, Debug)]
pub struct Snord {
    /// Images without a label in a batch, for each labelled one.
    pub each: usize,
    /// Confidence from which a pseudo-label counts.
    pub threshold: f64,
    /// Weight of the pseudo-labels' term.
    pub pseudo_weight: f64,
    /// Weight of the robust term.
    pub beta: f64,
    /// First epochs that learn from cached answers.
    pub warm_epochs: usize,
}

impl Default for Snord {
    fn default() -> Self {
        Self {
            each: EACH.default as usize,
            threshold: THRESHOLD.default,
            pseudo_weight: PSEUDO.default,
            beta: BETA.default,
            warm_epochs: WARM.default as usize,
        }
    }
}

/// Probabilities `(N, K)` as rows of numbers.
fn rows(logits: &Tensor) -> Result<Vec<Vec<f64>>> {
    softmax(&logits.to_dtype(DType::F64)?)?.to_vec2()
}

/// How far two distributions agree: 1 where they are the same, 0 where they share nothing.
fn agreement(one: &[f64], other: &[f64]) -> f64 {
    let part = |p: f64, middle: f64| if p > 0.0 { p * (p / middle).ln() } else { 0.0 };
    let apart = |(&p, &q): (&f64, &f64)| part(p, p.midpoint(q)) + part(q, p.midpoint(q));
    let divergence = one.iter().zip(other).map(apart).sum::<f64>() / 2.0;
    // Rounding may leave the bounds.
    (1.0 - divergence / std::f64::consts::LN_2).clamp(0.0, 1.0)
}

impl Snord {
    fn is_warm(&self, epoch: Epoch) -> bool {
        epoch.number < self.warm_epochs
    }

    /// Logits `(N, K)` on the clean views of whoever is learned from.
    fn taught<'a>(&self, targets: &'a Targets) -> &'a Tensor {
        let by = if self.is_warm(targets.epoch) { &targets.teacher } else { &targets.average };
        by.clean()
    }

    /// The weight of each image, by how far what it is learned from agrees with itself.
    fn trust(&self, targets: &Targets, labels: &[u32]) -> Result<Vec<f64>> {
        if self.is_warm(targets.epoch) {
            return Ok(vec![1.0; labels.len()]);
        }
        let (weak, strong) = (rows(targets.average.clean())?, rows(targets.average.nth(Forward::Strong, 0))?);
        let views = weak.iter().zip(&strong).zip(labels);
        let trust = views.map(|((weak, strong), &label)| match label {
            UNLABELLED => agreement(weak, strong),
            _ => 1.0,
        });
        Ok(trust.collect())
    }

    /// The most likely class of each image `(N,)` u32, and the share of its pseudo-label in the loss.
    fn pseudo(&self, targets: &Targets, labels: &[u32], trust: &[f64]) -> Result<(Tensor, Vec<f64>)> {
        let unlabelled = labels.iter().filter(|&&label| label == UNLABELLED).count();
        let (mut classes, mut shares) = (Vec::new(), Vec::new());
        for ((row, &label), trust) in rows(self.taught(targets))?.iter().zip(labels).zip(trust) {
            let (class, confidence) = (0u32..)
                .zip(row)
                .fold((0, 0.0), |best, (class, &value)| if value > best.1 { (class, value) } else { best });
            let counts = label == UNLABELLED && confidence >= self.threshold;
            classes.push(class);
            shares.push(if counts { self.pseudo_weight * trust / unlabelled as f64 } else { 0.0 });
        }
        Ok((Tensor::new(classes, &Device::Cpu)?, shares))
    }
}

impl Objective for Snord {
    fn needs(&self) -> Needs {
        let average = vec![Forward::Clean, Forward::Strong];
        let cached = if self.warm_epochs > 0 { Asked::about([Forward::Clean]) } else { Asked::default() };
        Needs { average, ..Needs::teacher(cached) }
    }

    fn needs_in(&self, epoch: Epoch) -> Needs {
        if self.is_warm(epoch) { Needs::cached_labels() } else { Self { warm_epochs: 0, ..*self }.needs() }
    }

    fn inner(&self) -> Option<Inner> {
        Some(Inner::from(Start::Gaussian { sigma: 0.001 }))
    }

    fn attack_loss(&self, answers: &Answers, targets: &Targets) -> Result<Tensor> {
        kl(self.taught(targets), &answers.student)
    }

    fn attack_target(&self, targets: &Targets, _: usize) -> Result<Option<Tensor>> {
        softmax(self.taught(targets)).map(Some)
    }

    fn strong(&self) -> bool {
        true
    }

    fn unlabelled_each(&self) -> Option<usize> {
        Some(self.each)
    }

    fn forwards(&self, _: Epoch) -> Vec<Forward> {
        vec![Forward::Strong, Forward::Adversarial, Forward::Clean]
    }

    fn loss(&self, said: &Said, targets: &Targets) -> Result<Tensor> {
        let (clean, adversarial, strong) = (said.clean(), said.adversarial(), said.nth(Forward::Strong, 0));
        let labels = targets.labels.to_vec1::<u32>()?;
        let trust = self.trust(targets, &labels)?;
        let (classes, shares) = self.pseudo(targets, &labels, &trust)?;
        let per_image = |values: Vec<f64>| Tensor::new(values, &Device::Cpu)?.to_dtype(clean.dtype());

        let pseudo = (cross_entropy(strong, &classes)? * per_image(shares)?)?.sum_all()?;
        let alike = (kl(self.taught(targets), adversarial)? * per_image(trust)?)?.mean_all()?;
        let mut loss = (pseudo + (alike * self.beta)?)?;
        let known = targets.labelled()?;
        if known.dim(0)? > 0 {
            let labels = targets.labels.index_select(&known, 0)?;
            let right = cross_entropy(&clean.index_select(&known, 0)?, &labels)?.mean_all()?;
            loss = (loss + right)?;
        }
        Ok(loss)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Schedule;

    /// `1 - scipy.spatial.distance.jensenshannon(p, q) ** 2 / log(2)` of scipy 1.17.1, in nats.
    #[test]
    fn agreement_is_one_less_scipys_jensen_shannon_divergence_in_bits() {
        for (one, other, wanted) in [
            ([0.7, 0.2, 0.1], [0.1, 0.3, 0.6], 0.667_248_898_397_320_2),
            ([0.5, 0.5, 0.0], [0.0, 0.5, 0.5], 0.5),
            ([0.2, 0.3, 0.5], [0.2, 0.3, 0.5], 1.0),
            ([1.0, 0.0, 0.0], [0.0, 0.0, 1.0], 0.0),
        ] {
            let found = agreement(&one, &other);
            assert!((found - wanted).abs() < 1e-15, "{found}, not {wanted}");
        }
    }

    #[test]
    fn the_teacher_answers_in_the_warm_epochs_alone_and_the_average_after_them() {
        let snord = Snord { warm_epochs: 2, ..Snord::default() };
        let at = |number| snord.needs_in(Epoch { number, of: 9, schedule: Schedule::Cosine });
        assert!(at(1).is_cached() && at(1).average.is_empty());
        assert!(at(2).teacher.is_nothing() && at(2).average.len() == 2);
        assert!(snord.needs().is_cached() && !Snord::default().needs().is_cached());
    }
}
