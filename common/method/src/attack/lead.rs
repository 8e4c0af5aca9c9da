//! Searches whose steps the engine takes: their pixels stay where it computes. Between two steps only logits and the largest
//! slope of each image come to the host, and what the host makes of them goes back.

use candle_core::{DType, Device, Tensor};
use engine::{Climbed, Climbers, EngineError, Images, Stride};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::pool::{Slot, VANISHED, flat, precision};
use super::search::Next;
use super::victim::Victim;

/// Where an ascent stands, in (channel, row, column) order: the pixels of one of [`Climbers`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stand {
    /// The point.
    pub(super) point: Vec<f32>,
    /// The point before.
    pub(super) before: Vec<f32>,
    /// The best point.
    pub(super) best: Vec<f32>,
    /// The gradient there; empty before the first step.
    pub(super) best_gradient: Vec<f32>,
}

/// Takes a step with each of these searches, of which `party` holds those that were led before.
pub(super) fn lead(
    victim: &Victim,
    party: Option<Climbers>,
    mut slots: Vec<&mut Slot>,
) -> Result<Option<Climbers>, EngineError> {
    if slots.is_empty() {
        return Ok(None);
    }
    let engine = victim.engine;
    let from = assembled(victim, party, &mut slots)?;
    let pass = victim.pass(&match precision(victim) {
        DType::F32 => from.point.clone(),
        other => from.point.tensor()?.to_dtype(other)?.into(),
    })?;
    let (values, classes) = (flat(&pass.logits)?, pass.logits.dim(1)?);
    let mut slopes = vec![0.0f32; values.len()];
    let each = slots.par_iter_mut().zip(values.par_chunks(classes)).zip(slopes.par_chunks_mut(classes));
    let strides = each.map(|((slot, logits), slope)| {
        let (next, stride) = slot.search.lead(logits, slope);
        slot.next = next;
        stride
    });
    let strides: Vec<Stride> = strides.collect();
    let slopes = Tensor::from_vec(slopes, (slots.len(), classes), &Device::Cpu)?;
    let slopes = slopes.to_dtype(precision(victim))?;
    let Climbed { to, steepest } = engine.climb(pass.tape, &slopes, &from, &strides)?;
    for (row, (slot, steepest)) in slots.iter_mut().zip(steepest).enumerate() {
        // Who begins anew has a point of its own again.
        slot.row = slot.search.point().is_empty().then_some(row);
        slot.asked.forwards += 1;
        slot.asked.gradients += 1;
        slot.asked.vanished += u64::from(steepest < VANISHED);
    }
    let fallen = slots.into_iter().filter(|slot| slot.next == Next::Judge).collect();
    judged(victim, &from, fallen)?;
    Ok(Some(to))
}

/// Brings the points by which searches want to be judged to the host.
fn judged(victim: &Victim, at: &Climbers, mut fallen: Vec<&mut Slot>) -> Result<(), EngineError> {
    let rows = fallen.iter().filter_map(|slot| slot.row.map(|row| (&at.point, row)));
    let rows: Vec<(&Images, usize)> = rows.collect();
    if rows.is_empty() {
        return Ok(());
    }
    let points = pixels(&victim.engine.gather(&rows)?)?;
    for (slot, point) in fallen.iter_mut().zip(points.chunks(points.len() / rows.len())) {
        slot.row = None;
        slot.next = slot.search.arrive(point);
    }
    Ok(())
}

/// These searches' climbers, in their order: rows of the party, and those that come to it.
fn assembled(
    victim: &Victim,
    party: Option<Climbers>,
    slots: &mut [&mut Slot],
) -> Result<Climbers, EngineError> {
    let (mut clean, mut stands, mut rows) = (Vec::new(), Vec::new(), Vec::new());
    for slot in slots {
        if let Some((image, stand)) = slot.search.depart() {
            rows.push((true, stands.len()));
            clean.extend_from_slice(image);
            stands.push(stand);
        } else {
            rows.push((false, slot.row.expect("who does not come was there")));
        }
    }
    let keep_their_rows = |held: usize, comes: bool| {
        rows.len() == held && rows.iter().enumerate().all(|(row, from)| *from == (comes, row))
    };
    let party = match party {
        Some(party) if keep_their_rows(party.point.len(), false) => return Ok(party),
        party => party,
    };
    let comers = if stands.is_empty() { None } else { Some(arrived(victim, clean, &stands)?) };
    if let Some(comers) = comers.as_ref().filter(|_| keep_their_rows(stands.len(), true)) {
        return Ok(comers.clone());
    }
    let gather = |field: usize| {
        let of = |comes| if comes { comers.as_ref() } else { party.as_ref() };
        let row = |&(comes, row): &(bool, usize)| {
            (of(comes).expect("a row is of those who come or who were there").all()[field], row)
        };
        victim.engine.gather(&rows.iter().map(row).collect::<Vec<_>>())
    };
    Ok(Climbers {
        clean: gather(0)?,
        point: gather(1)?,
        before: gather(2)?,
        best: gather(3)?,
        best_gradient: gather(4)?,
    })
}

/// Climbers on the host.
fn arrived(victim: &Victim, clean: Vec<f32>, stands: &[Stand]) -> Result<Climbers, EngineError> {
    let [channels, height, width] = victim.network.input();
    let images = |pixels: Vec<f32>| -> Result<Images, EngineError> {
        Ok(Tensor::from_vec(pixels, (stands.len(), channels, height, width), &Device::Cpu)?.into())
    };
    let all = |of: fn(&Stand) -> &[f32]| images(stands.iter().flat_map(of).copied().collect());
    let (clean, point) = (images(clean)?, all(|stand| &stand.point)?);
    // At a start all are one point, and nothing is best yet.
    if stands.iter().all(|stand| stand.best_gradient.is_empty()) {
        let [before, best, best_gradient] = [(); 3].map(|()| point.clone());
        return Ok(Climbers { clean, point, before, best, best_gradient });
    }
    Ok(Climbers {
        clean,
        point,
        before: all(|stand| &stand.before)?,
        best: all(|stand| &stand.best)?,
        best_gradient: all(|stand| match &stand.best_gradient[..] {
            [] => &stand.point,
            gradient => gradient,
        })?,
    })
}

/// Brings all climbers back to their searches, which can then be saved.
pub(super) fn call_home(party: &Climbers, slots: &mut [Slot]) -> Result<(), EngineError> {
    let [_, point, before, best, best_gradient] = party.all().map(pixels);
    let arrays = [point?, before?, best?, best_gradient?];
    let size = arrays[0].len() / party.point.len().max(1);
    for slot in slots {
        if let Some(row) = slot.row.take() {
            let [point, before, best, best_gradient] =
                arrays.each_ref().map(|array| array[row * size..][..size].to_vec());
            slot.search.settle(Stand { point, before, best, best_gradient });
        }
    }
    Ok(())
}

fn pixels(images: &Images) -> Result<Vec<f32>, EngineError> {
    flat(images.tensor()?)
}
