//! The steps of climbers on the device: only what the host decides of each image goes there.

use std::sync::Arc;

use candle_core::DType;

use super::arguments::{self, Climb, Gather};
use super::backward::Back;
use super::buffer::Buffer;
use super::conv::int;
use super::device::{Device, Grid};
use super::held::{self, Held};
use super::precision::Storage;
use crate::check::{check_climb, check_rows};
use crate::climb::{Ball, Climbed, Climbers, Stride};
use crate::error::EngineError;
use crate::host;
use crate::images::Images;
use crate::params::Precision;

/// Moves each climber along the gradient that a backward left, or back to its best point.
pub(super) fn climb(back: &Back, from: &Climbers, by: &[Stride]) -> Result<Climbed, EngineError> {
    let &Back { device, storage, count, shape: [channels, height, width], .. } = back;
    let gradient = back.image.ok_or(EngineError::NotKept("images"))?;
    let shape = [count, channels, height, width];
    check_climb(&shape, from, by)?;
    let size = channels * height * width;
    let strides: Vec<arguments::Stride> =
        by.iter().zip(back.scales).map(|(by, scale)| stride(by, 1.0 / scale)).collect();
    let strides = device.upload(&strides)?;
    let [clean, point, before, best, best_gradient] = from.all().map(|images| held::images(device, images));
    let [clean, point, before, best, best_gradient] = [clean?, point?, before?, best?, best_gradient?];
    let room = || Held::room(device, count * size);
    let [to_point, to_before, to_best, to_best_gradient] = [room()?, room()?, room()?, room()?];
    let steepest = device.take(count * size_of::<f32>())?;
    let step = Climb {
        clean: clean.address(),
        point: point.address(),
        before: before.address(),
        best: best.address(),
        best_gradient: best_gradient.address(),
        gradient: gradient.address(),
        strides: strides.address(),
        to_point: to_point.address(),
        to_before: to_before.address(),
        to_best: to_best.address(),
        to_best_gradient: to_best_gradient.address(),
        steepest: steepest.address(),
        size: int(size),
    };
    if count > 0 {
        let grid = Grid { blocks: [count, 1, 1], threads: [256, 1], shared: 256 * size_of::<f64>() };
        device.kernels(storage).launch("climb", grid, &step)?;
    }
    let steepest = device.download(&steepest, count)?;
    let images = |held| Images::elsewhere(Arc::new(held), shape, Precision::F32);
    let to = Climbers {
        clean: from.clean.clone(),
        point: images(to_point),
        before: images(to_before),
        best: images(to_best),
        best_gradient: images(to_best_gradient),
    };
    Ok(Climbed { to, steepest })
}

fn stride(by: &Stride, unscale: f32) -> arguments::Stride {
    let (Ball::Linf(eps) | Ball::L2(eps)) = by.ball;
    let flags = [by.is_best, by.returns, matches!(by.ball, Ball::L2(_))];
    let way = flags.into_iter().rev().fold(0, |way, flag| 2 * way + i32::from(flag));
    arguments::Stride { eps, length: by.length, share: by.share, unscale, way }
}

/// A batch of rows, each of which may be another's; only those that are not there yet go to the device.
pub(super) fn gather(
    device: &Arc<Device>,
    storage: Storage,
    rows: &[(&Images, usize)],
) -> Result<Images, EngineError> {
    check_rows(rows)?;
    let (first, _) = rows[0];
    let &[_, channels, height, width] = first.shape() else { return host::gather(rows) };
    if first.dtype() != DType::F32 {
        return host::gather(rows);
    }
    let (size, count) = (channels * height * width, rows.len());
    let readings =
        rows.iter().map(|(images, _)| held::images(device, images)).collect::<Result<Vec<_>, _>>()?;
    let addresses = readings.iter().zip(rows);
    let addresses: Vec<u64> =
        addresses.map(|(held, (_, row))| held.address() + (row * size * size_of::<f32>()) as u64).collect();
    let addresses: Buffer = device.upload(&addresses)?;
    let to = Held::room(device, count * size)?;
    let gathered = Gather { rows: addresses.address(), to: to.address(), count: int(count), size: int(size) };
    device.kernels(storage).launch("gather", Grid::of(count * size), &gathered)?;
    Ok(Images::elsewhere(Arc::new(to), [count, channels, height, width], Precision::F32))
}
