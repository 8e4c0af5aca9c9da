//! Searches whose whole way is one call of an engine: on a device nothing comes to the host on it.
//!
//! The first gradient of each is looked at here, so that an image at which it has vanished is told apart and goes on step
//! by step. On the processor all do, and are heard of after each step.

use candle_core::{DType, Device, Tensor};
use engine::{Ascent, AttackLoss, EngineError, Images, Norm};

use super::margin::Loss;
use super::pool::{Slot, points};
use super::search::Way;
use super::victim::Victim;

/// Searches that raise one loss by steps alike, and have looked at a gradient that leads somewhere.
pub(super) struct Walk<'a> {
    loss: Loss,
    by: Ascent,
    slots: Vec<&'a mut Slot>,
}

/// Searches to be walked, and the others.
pub(super) fn walks<'a>(victim: &Victim, slots: Vec<&'a mut Slot>) -> (Vec<Walk<'a>>, Vec<&'a mut Slot>) {
    let is_far = !victim.engine.hardware().is_processor() && victim.norm == Norm::Running;
    let (mut walks, mut others): (Vec<Walk<'a>>, Vec<_>) = (Vec::new(), Vec::new());
    for slot in slots {
        let known = |way: &Way| matches!(way.loss, Loss::CrossEntropy | Loss::Margin | Loss::Dlr);
        let leads = is_far && slot.asked.gradients > 0 && slot.asked.vanished == 0;
        let way = if leads { slot.search.way().filter(known) } else { None };
        let Some((loss, by)) = way.map(|way| (way.loss, way.by)) else {
            others.push(slot);
            continue;
        };
        match walks.iter_mut().find(|walk| walk.loss == loss && walk.by == by) {
            Some(walk) => walk.slots.push(slot),
            None => walks.push(Walk { loss, by, slots: vec![slot] }),
        }
    }
    (walks, others)
}

/// Goes the whole way. What was not looked at on it counts as asked, and as not vanished.
pub(super) fn go(victim: &Victim, mut walk: Walk) -> Result<(), EngineError> {
    let start = points(victim, &mut walk.slots)?;
    let (mut clean, mut labels) = (Vec::with_capacity(start.shape().iter().product()), Vec::new());
    for way in walk.slots.iter().filter_map(|slot| slot.search.way()) {
        clean.extend_from_slice(&way.subject.image);
        labels.push(way.subject.label);
    }
    let clean = Tensor::from_vec(clean, start.shape(), &Device::Cpu)?.to_dtype(start.dtype())?;
    let classes = victim.network.classes();
    let target: Vec<f32> =
        labels.iter().flat_map(|&label| (0..classes).map(move |class| f32::from(class == label))).collect();
    let target = Tensor::from_vec(target, (labels.len(), classes), &Device::Cpu)?;
    let loss = match walk.loss {
        Loss::Margin => AttackLoss::Margin(&labels),
        Loss::Dlr => AttackLoss::Dlr(&labels),
        _ => AttackLoss::Target(&target),
    };
    let Victim { engine, network, params, .. } = *victim;
    let end: Images = engine.attack(network, params, &clean.into(), &start, loss, walk.by)?;
    let end: Vec<f32> = end.tensor()?.flatten_all()?.to_dtype(DType::F32)?.to_vec1()?;
    let size = (end.len() / labels.len()).max(1);
    for (slot, end) in walk.slots.iter_mut().zip(end.chunks(size)) {
        slot.asked.forwards += walk.by.steps as u64;
        slot.asked.gradients += walk.by.steps as u64;
        slot.next = slot.search.arrive(end);
    }
    Ok(())
}
