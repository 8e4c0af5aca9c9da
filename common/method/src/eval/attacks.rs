//! The attacks that judge, by name. To add one: its file under `attack`, and a row here.

use candle_core::Tensor;
use engine::EngineError;

use super::Settings;
use crate::attack::{Pgd, Start, Starts, Victim};
use crate::soft::cross_entropy;

/// An attack as the evaluator runs it: images `(N, C, H, W)` and classes `(N,)` u32 in, images out.
///
/// The evaluator projects and checks what comes out.
pub trait JudgeAttack {
    /// The name under which it is reported.
    fn name(&self) -> String;
    /// Images that the student is to get wrong.
    fn perturb(
        &self,
        victim: &Victim,
        images: &Tensor,
        classes: &Tensor,
        starts: &Starts,
        settings: &Settings,
    ) -> Result<Tensor, EngineError>;
}

/// An attack that the command line knows.
pub struct AttackRow {
    /// Its name; `N` stands for a number.
    pub name: &'static str,
    /// What it is, in a line.
    pub summary: &'static str,
    /// Makes it where `name` is one of its names.
    pub make: fn(name: &str) -> Option<Box<dyn JudgeAttack>>,
}

/// Every attack.
pub const ATTACKS: &[AttackRow] = &[
    AttackRow {
        name: "fgsm",
        summary: "one signed gradient step of size eps from the image (arXiv:1412.6572)",
        make: |name| (name == "fgsm").then(|| Box::new(Fgsm) as _),
    },
    AttackRow {
        name: "pgdN",
        summary: "N signed gradient steps of cross-entropy from a uniform start, such as pgd20 (arXiv:1706.06083)",
        make: |name| {
            let digits = name.strip_prefix("pgd")?;
            let steps =
                digits.parse().ok().filter(|steps: &usize| *steps > 0 && steps.to_string() == digits)?;
            Some(Box::new(IteratedPgd { steps }) as _)
        },
    },
];

/// The attack called `name`.
pub fn find(name: &str) -> Result<Box<dyn JudgeAttack>, UnknownAttack> {
    ATTACKS.iter().find_map(|row| (row.make)(name)).ok_or_else(|| UnknownAttack { name: name.into() })
}

/// A name that is not in [`ATTACKS`].
#[derive(Debug, Clone, thiserror::Error)]
#[error("unknown attack `{name}`\n{}", crate::suggest::hint(.name,
    &std::iter::once("clean").chain(ATTACKS.iter().map(|row| row.name)).collect::<Vec<_>>()))]
pub struct UnknownAttack {
    name: String,
}

struct Fgsm;

impl JudgeAttack for Fgsm {
    fn name(&self) -> String {
        "fgsm".into()
    }

    fn perturb(
        &self,
        victim: &Victim,
        images: &Tensor,
        classes: &Tensor,
        starts: &Starts,
        settings: &Settings,
    ) -> Result<Tensor, EngineError> {
        let threat = settings.threat;
        let pgd = Pgd { threat, steps: 1, step_size: threat.eps, start: Start::Image };
        pgd.perturb(victim, images, starts, &|logits| cross_entropy(logits, classes)?.sum_all())
    }
}

struct IteratedPgd {
    steps: usize,
}

impl JudgeAttack for IteratedPgd {
    fn name(&self) -> String {
        format!("pgd{}", self.steps)
    }

    fn perturb(
        &self,
        victim: &Victim,
        images: &Tensor,
        classes: &Tensor,
        starts: &Starts,
        settings: &Settings,
    ) -> Result<Tensor, EngineError> {
        let Settings { threat, step_size, .. } = *settings;
        let pgd = Pgd { threat, steps: self.steps, step_size, start: Start::Uniform };
        pgd.perturb(victim, images, starts, &|logits| cross_entropy(logits, classes)?.sum_all())
    }
}
