//! Fair robust soft label distillation. Source: Yue et al., 2023; code NISP-official/Fair-ARD 910c8cd.

use super::fair::{self, Fair, Fairness};
use super::row::Row;
use super::rslad::{self, Rslad};

pub(super) static ROW: Row = Row {
    name: "fair-rslad",
    summary: "rslad with more weight on classes that the attack breaks in fewer steps (NeurIPS 2023)",
    options: &[rslad::ALPHA, rslad::KL_SCALE, fair::OPTIONS[0], fair::OPTIONS[1], fair::OPTIONS[2]],
    as_published: Some("a class that withstands no step of the attack in an epoch ends the run"),
    make: |options| {
        let rslad = Rslad {
            adversarial: options.get(rslad::ALPHA.key),
            kl_scale: options.get(rslad::KL_SCALE.key),
            ..Rslad::default()
        };
        Box::new(Fair {
            base: rslad,
            fairness: Fairness::of(options, 0.0, if options.as_published() { 0.0 } else { LEAST }),
        })
    },
};

/// As a class's kappa counts at least, where the authors divide by zero.
const LEAST: f64 = 1e-5;

/// Fair-RSLAD: RSLAD whose images weigh as their class does, by the steps that it withstands (see [`Fairness`]).
///
/// Attack and forwards are RSLAD's; the student's answers are counted under running statistics, as the attack sees them.
/// Loss: `scale * (5/6 mean w KL(T(x) || S(x')) + 1/6 mean w KL(T(x) || S(x)))`, means over the batch: both terms are
/// weighed.
///
/// In the authors' code (`Fair-RSLAD.py`) SGD is Nesterov's (`--nesterov`). A class of which no image withstands the start
/// divides by zero there: its weight is not a number, nor is any loss from then on. Here it counts as 1e-5, unless
/// `as-published` is chosen: then the run ends with that epoch, diverged.
pub type FairRslad = Fair<Rslad>;
