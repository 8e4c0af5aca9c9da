//! What attacks climb: a value at every image, of the student's logits, or of the student's and the teacher's.

use candle_core::{Tensor, Var};
use engine::{BatchStats, EngineError, Images, Pass};

use super::victim::Victim;

/// What the networks say of the images under attack: logits `(N, K)`.
pub struct Answers {
    /// The student's.
    pub student: Tensor,
    /// The teacher's, where the field has one.
    pub teacher: Option<Tensor>,
}

impl Answers {
    /// The teacher's logits, for a value that declared it wants them.
    pub fn teacher(&self) -> &Tensor {
        self.teacher.as_ref().expect("a teacher answers to a field that needs one")
    }
}

/// What was found at some images.
pub struct At {
    /// The student's logits `(N, K)`.
    pub logits: Tensor,
    /// The values `(N,)`, constants.
    pub losses: Tensor,
    /// The gradient `(N, C, H, W)` of each image's value at that image.
    pub gradient: Tensor,
    /// The student's batch statistics; empty under running statistics. They have moved nothing.
    pub stats: BatchStats,
}

/// A value at every image.
///
/// With a teacher, the gradient flows through both networks unless the value detaches one.
pub struct Field<'a> {
    /// The network that is attacked.
    pub student: Victim<'a>,
    /// The network that is asked beside it.
    pub teacher: Option<Victim<'a>>,
    /// One value per image, `(N,)`.
    pub value: &'a dyn Fn(&Answers) -> candle_core::Result<Tensor>,
}

impl Victim<'_> {
    /// Logits, losses and gradient at `images`. The loss is one value per image, `(N,)`, of the logits `(N, K)`.
    pub fn at(
        &self,
        images: &Images,
        loss: &dyn Fn(&Tensor) -> candle_core::Result<Tensor>,
    ) -> Result<At, EngineError> {
        let value = |answers: &Answers| loss(&answers.student);
        Field { student: *self, teacher: None, value: &value }.at(images)
    }
}

impl Field<'_> {
    /// Values, logits and gradient at `images` `(N, C, H, W)`.
    pub fn at(&self, images: &Images) -> Result<At, EngineError> {
        let student = self.student.pass(images)?;
        let teacher = self.teacher.map(|teacher| teacher.pass(images)).transpose()?;
        let own = Var::from_tensor(&student.logits)?;
        let other = teacher.as_ref().map(|pass| Var::from_tensor(&pass.logits)).transpose()?;
        let tensor = |leaf: &Var| leaf.as_tensor().clone();
        let losses = (self.value)(&Answers { student: tensor(&own), teacher: other.as_ref().map(tensor) })?;
        let seeds = losses.sum_all()?.backward()?;
        let back = |victim: &Victim, pass: Pass, seed: Tensor| -> Result<Tensor, EngineError> {
            let gradient = victim.engine.backward(pass.tape, &[Some(seed)], None)?;
            Ok(gradient.expect("forward kept the image"))
        };
        let Pass { logits, stats, .. } = &student;
        let (logits, stats) = (logits.clone(), stats.clone());
        let seed = seeds.get(own.as_tensor()).cloned();
        let mut gradient = back(&self.student, student, seed.map_or_else(|| logits.zeros_like(), Ok)?)?;
        if let (Some(victim), Some(pass), Some(leaf)) = (&self.teacher, teacher, &other)
            && let Some(seed) = seeds.get(leaf.as_tensor())
        {
            gradient = (gradient + back(victim, pass, seed.clone())?)?;
        }
        Ok(At { logits, losses: losses.detach(), gradient, stats })
    }
}
