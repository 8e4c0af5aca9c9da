//! Fair adversarially robust distillation. Source: Yue et al., 2023; code NISP-official/Fair-ARD 910c8cd.

use super::ard::{self, Ard};
use super::fair::{self, Fair, Fairness};
use super::row::Row;

pub(super) static ROW: Row = Row {
    name: "fair-ard",
    summary: "ard with more weight on classes that the attack breaks in fewer steps (NeurIPS 2023)",
    options: &[ard::ALPHA, ard::TEMPERATURE, fair::OPTIONS[0], fair::OPTIONS[1], fair::OPTIONS[2]],
    as_published: Some(ard::ONE_DROP),
    make: |options| Box::new(Fair { base: Ard::of(options), fairness: Fairness::of(options, ADDED, LEAST) }),
};

/// Keeps 1 / kappa finite, in the authors' code.
const ADDED: f64 = 1e-5;
/// So that nothing else has to.
const LEAST: f64 = 0.0;

/// Fair-ARD: ARD whose images weigh as their class does, by the steps that it withstands (see [`Fairness`]).
///
/// Attack and forwards are ARD's: cross-entropy from a uniform start with BatchNorm on the batch's own statistics, under
/// which the student's answers are counted as well; then the adversarial forward and the clean one. Loss:
/// `alpha t^2 / K mean w KL(T(x) / t || S(x') / t) + (1 - alpha) mean w CE(S(x), y)`, means over the batch.
///
/// In the authors' code (`Fair-ARD.py`) SGD is Nesterov's (`--nesterov`). It trains 200 epochs and means to lower the rate
/// after 100 and 150, but lowers it from the first rate each time: only the drop after 100 acts. Here all drops do, unless
/// `as-published` is chosen.
pub type FairArd = Fair<Ard>;
