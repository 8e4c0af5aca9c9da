//! The optimiser's step, the running statistics and the moving average, on flat arenas.

use rayon::prelude::*;

use crate::check::{check_descend, check_follow, check_statistics};
use crate::engine::{BatchStats, Descent};
use crate::error::EngineError;
use crate::graph::Network;
use crate::params::{Arena, Float, Grads, Params, Values};

/// Values that one task takes at a time.
const CHUNK: usize = 1 << 16;

/// [`Engine::clear`](crate::Engine::clear).
pub fn clear(grads: &mut Grads) {
    grads.clear();
}

/// [`Engine::descend`](crate::Engine::descend), in PyTorch's order of roundings.
pub fn descend(
    params: &mut Params,
    grads: &Grads,
    velocity: &mut Values,
    by: Descent,
) -> Result<(), EngineError> {
    check_descend(params, grads, velocity)?;
    match (params.trainable_mut(), grads.values(), velocity.host_mut()) {
        (Arena::F32(p), Arena::F32(g), Arena::F32(v)) => update(p, g, v, by),
        (Arena::F64(p), Arena::F64(g), Arena::F64(v)) => update(p, g, v, by),
        _ => unreachable!("their precisions were compared"),
    }
    Ok(())
}

fn update<T: Float>(params: &mut [T], grads: &[T], velocity: &mut [T], by: Descent) {
    let [momentum, decay, rate] = [by.momentum, by.weight_decay, by.rate].map(T::from_f64);
    let chunks =
        params.par_chunks_mut(CHUNK).zip(grads.par_chunks(CHUNK)).zip(velocity.par_chunks_mut(CHUNK));
    chunks.for_each(|((params, grads), velocity)| {
        for ((p, &g), v) in params.iter_mut().zip(grads).zip(velocity) {
            let pull = g + decay * *p;
            *v = momentum * *v + pull;
            *p = *p - rate * if by.nesterov { pull + momentum * *v } else { *v };
        }
    });
}

/// [`Engine::move_statistics`](crate::Engine::move_statistics).
pub fn move_statistics(
    network: &Network,
    params: &mut Params,
    batch: &BatchStats,
) -> Result<(), EngineError> {
    let Some(batch) = &batch.values else { return Ok(()) };
    check_statistics(network, params, batch)?;
    // Other statistics are constants of a file: those of a mean-sparse layer.
    let momenta = network.layout().statistics().iter().filter_map(|entry| {
        network.node(entry.node).op.momentum().map(|momentum| (entry.range.clone(), momentum))
    });
    let (statistics, batch) = (params.statistics_mut(), batch.host());
    for (range, momentum) in momenta {
        for i in range {
            statistics.set(i, (1.0 - momentum) * statistics.get(i) + momentum * batch.get(i));
        }
    }
    for counter in params.batches_tracked_mut() {
        *counter += 1;
    }
    Ok(())
}

/// [`Engine::follow`](crate::Engine::follow).
pub fn follow(average: &mut Params, student: &Params, decay: f64) -> Result<(), EngineError> {
    check_follow(average, student)?;
    draw_towards(average.trainable_mut(), student.trainable(), decay);
    draw_towards(average.statistics_mut(), student.statistics(), decay);
    average.batches_tracked_mut().copy_from_slice(student.batches_tracked());
    Ok(())
}

fn draw_towards(average: &mut Arena, student: &Arena, decay: f64) {
    match (average, student) {
        (Arena::F32(average), Arena::F32(student)) => draw(average, student, decay),
        (Arena::F64(average), Arena::F64(student)) => draw(average, student, decay),
        _ => unreachable!("their precisions were compared"),
    }
}

/// From the nearer end, as PyTorch interpolates: an average that keeps nothing is the student to the last bit.
fn draw<T: Float>(average: &mut [T], student: &[T], decay: f64) {
    let (kept, pull) = (T::from_f64(decay), T::from_f64(1.0 - decay));
    average.par_chunks_mut(CHUNK).zip(student.par_chunks(CHUNK)).for_each(|(average, student)| {
        for (average, &student) in average.iter_mut().zip(student) {
            let apart = student - *average;
            *average = if decay > 0.5 { *average + pull * apart } else { student - kept * apart };
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PyTorch 2.15: `torch.optim.SGD([p], lr, momentum=0.9, weight_decay=5e-4, nesterov=True)` in f64, three steps.
    #[test]
    fn nesterovs_steps_are_pytorchs() {
        let mut params = [0.5f64, -1.25, 2.0];
        let mut velocity = [0.0; 3];
        let steps = [
            (
                (0.1, [0.25, -0.75, 1.5]),
                [0.452_452_5, -1.107_381_25, 1.714_81],
                [0.250_25, -0.750_625, 1.501],
            ),
            (
                (0.05, [-0.5, 0.125, 0.375]),
                [0.489_795_883_506_25, -1.088_803_336_890_625, 1.618_313_046_525],
                [-0.274_548_773_75, -0.551_116_190_625, 1.726_757_405],
            ),
            (
                (0.01, [1.0, 0.0, -2.0]),
                [0.473_015_075_512_731_64, -1.084_328_952_114_862, 1.642_310_937_570_558],
                [0.753_151_001_566_753_1, -0.496_548_973_230_945_27, -0.445_109_178_976_737_63],
            ),
        ];
        for ((rate, grads), wanted, wanted_velocity) in steps {
            let by = Descent { momentum: 0.9, weight_decay: 5e-4, rate, nesterov: true };
            update(&mut params, &grads, &mut velocity, by);
            let found = params.iter().chain(&velocity);
            for (found, wanted) in found.zip(wanted.iter().chain(&wanted_velocity)) {
                assert!((found - wanted).abs() < 1e-15, "rate {rate}: {found}, not {wanted}");
            }
        }
    }
}
