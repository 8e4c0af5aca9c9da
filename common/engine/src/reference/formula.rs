//! Values whose gradients are written down, where candle would find them in many more steps over whole maps.
//!
//! candle clears and adds a tensor for every operand of every step, changes of shape among them, whether its gradient is wanted
//! or not. For the few operations that a network consists of, this takes most of a training step.

use candle_core::{CpuStorage, CustomOp2, Error, Layout, Result, Shape, Storage, Tensor};

/// The gradients of both operands for that of the value; of operands that are tracked, none may be left out.
type Gradients = [Option<Tensor>; 2];

struct Formula<F> {
    name: &'static str,
    value: Tensor,
    gradients: F,
}

impl<F: Fn(&Tensor) -> Result<Gradients>> CustomOp2 for Formula<F> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        let (storage, layout) = self.value.storage_and_layout();
        match &*storage {
            Storage::Cpu(values) => Ok((values.clone(), layout.shape().clone())),
            _ => Err(Error::Msg("the reference engine runs on the processor".into())),
        }
    }

    fn bwd(
        &self,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [first, second] = (self.gradients)(gradient)?;
        Ok((first, second))
    }
}

/// What `value` makes of the operands, without being tracked; tracked, it has the gradients of the formula.
pub(super) fn with_gradients<F>(
    name: &'static str,
    [first, second]: [&Tensor; 2],
    value: Tensor,
    gradients: F,
) -> Result<Tensor>
where
    F: Fn(&Tensor) -> Result<Gradients> + Send + Sync + 'static,
{
    if !first.track_op() && !second.track_op() {
        return Ok(value);
    }
    let value = value.force_contiguous()?;
    first.apply_op2(second, Formula { name, value, gradients })
}
