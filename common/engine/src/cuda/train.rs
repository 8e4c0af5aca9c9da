//! What a training step does to state that lies on the device, besides forwards and backwards.

use std::sync::Arc;

use super::arguments::{Address, Average, ScaleAdd, Sgd, Statistics};
use super::buffer::Buffer;
use super::conv::int;
use super::device::{Device, Grid, Kernels};
use super::error::DeviceError;
use super::held;
use super::precision::Storage;
use crate::engine::Descent;
use crate::graph::{Layout, Network};
use crate::params::{Params, Values};

/// The momentum of every running statistic of a network, in f64, on the device.
pub(super) struct Momenta {
    pub(super) layout: Arc<Layout>,
    values: Buffer,
}

impl Momenta {
    pub(super) fn new(device: &Arc<Device>, network: &Network) -> Result<Self, DeviceError> {
        let layout = network.layout();
        let mut values = vec![0.0f64; layout.statistics_len()];
        // Other statistics are constants of a file: those of a mean-sparse layer.
        for entry in layout.statistics() {
            if let Some(momentum) = network.node(entry.node).op.momentum() {
                values[entry.range.clone()].fill(momentum);
            }
        }
        Ok(Self { layout: layout.clone(), values: device.upload(&values)? })
    }
}

/// `to += factor * from`.
pub(super) fn add(
    kernels: Kernels<'_>,
    from: Address,
    to: Address,
    factor: f32,
    count: usize,
) -> Result<(), DeviceError> {
    let sum = ScaleAdd { from, to, factor, count: int(count) };
    kernels.launch("scale_add", Grid::of(count), &sum)
}

/// SGD, in the host's order of roundings.
pub(super) fn descend(
    device: &Arc<Device>,
    storage: Storage,
    params: &mut Params,
    gradients: &Values,
    velocity: &mut Values,
    by: Descent,
) -> Result<(), DeviceError> {
    let gradients = held::read(device, gradients)?;
    let count = params.held_trainable().len();
    let step = Sgd {
        parameters: held::write(device, params.held_trainable_mut())?,
        velocity: held::write(device, velocity)?,
        gradients: gradients.address(),
        momentum: by.momentum as f32,
        decay: by.weight_decay as f32,
        rate: by.rate as f32,
        count: int(count),
        nesterov: by.nesterov.into(),
    };
    device.kernels(storage).launch("sgd", Grid::of(count), &step)
}

/// An average that follows, likewise.
pub(super) fn follow(
    device: &Arc<Device>,
    storage: Storage,
    average: &mut Values,
    student: &Values,
    decay: f64,
) -> Result<(), DeviceError> {
    let student = held::read(device, student)?;
    let count = average.len();
    let step = Average {
        average: held::write(device, average)?,
        student: student.address(),
        decay: decay as f32,
        pull: (1.0 - decay) as f32,
        count: int(count),
    };
    device.kernels(storage).launch("average", Grid::of(count), &step)
}

/// Running statistics that move towards a batch's.
pub(super) fn move_statistics(
    device: &Arc<Device>,
    storage: Storage,
    momenta: &Momenta,
    running: &mut Values,
    batch: &Values,
) -> Result<(), DeviceError> {
    let batch = held::read(device, batch)?;
    let count = running.len();
    let step = Statistics {
        running: held::write(device, running)?,
        batch: batch.address(),
        momentum: momenta.values.address(),
        count: int(count),
    };
    device.kernels(storage).launch("statistics", Grid::of(count), &step)
}
