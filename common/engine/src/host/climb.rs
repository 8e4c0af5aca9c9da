//! A step that the host has chosen for each image, on pixels in the host's memory; and rows of batches that lie there.

use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;

use crate::check::{check_climb, check_rows};
use crate::climb::{Climbed, Climbers, Standing, Stride};
use crate::engine::{Engine, Tape};
use crate::error::EngineError;
use crate::images::Images;

/// [`Engine::climb`] through the engine's own backward. Gradients are rounded to f32.
pub fn climb(
    engine: &dyn Engine,
    tape: Tape,
    slopes: &Tensor,
    from: &Climbers,
    by: &[Stride],
) -> Result<Climbed, EngineError> {
    let gradient = engine.backward(tape, &[Some(slopes.clone())], None)?;
    let gradient = gradient.ok_or(EngineError::NotKept("images"))?;
    check_climb(gradient.dims(), from, by)?;
    let gradient = floats(&gradient.to_dtype(DType::F32)?)?;
    let clean = floats(from.clean.tensor()?)?;
    let [mut point, mut before, mut best, mut best_gradient] = {
        let [_, arrays @ ..] = from.all();
        let [a, b, c, d] = arrays.map(|images| images.tensor().map(floats));
        [a??, b??, c??, d??]
    };
    let size = (point.len() / by.len().max(1)).max(1);
    let standing = point
        .par_chunks_mut(size)
        .zip(before.par_chunks_mut(size))
        .zip(best.par_chunks_mut(size))
        .zip(best_gradient.par_chunks_mut(size));
    let standing = standing.map(|(((point, before), best), best_gradient)| Standing {
        point,
        before,
        best,
        best_gradient,
    });
    let each = standing.zip(by).zip(clean.par_chunks(size).zip(gradient.par_chunks(size)));
    let steepest = each.map(|((at, by), (clean, gradient))| by.take(clean, gradient, at)).collect();
    let images = |values: Vec<f32>| -> Result<Images, EngineError> {
        Ok(Tensor::from_vec(values, from.point.shape(), &Device::Cpu)?.into())
    };
    let to = Climbers {
        clean: from.clean.clone(),
        point: images(point)?,
        before: images(before)?,
        best: images(best)?,
        best_gradient: images(best_gradient)?,
    };
    Ok(Climbed { to, steepest })
}

/// [`Engine::gather`] of rows on the host.
pub fn gather(rows: &[(&Images, usize)]) -> Result<Images, EngineError> {
    check_rows(rows)?;
    let rows = rows.iter().map(|&(images, row)| Ok(images.tensor()?.narrow(0, row, 1)?));
    Ok(Tensor::cat(&rows.collect::<Result<Vec<_>, EngineError>>()?, 0)?.into())
}

fn floats(tensor: &Tensor) -> Result<Vec<f32>, EngineError> {
    Ok(tensor.flatten_all()?.to_vec1()?)
}
