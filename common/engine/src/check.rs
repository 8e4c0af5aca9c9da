//! What every engine refuses before it runs.

use std::sync::Arc;

use candle_core::{DType, Tensor};

use crate::climb::{Climbers, Stride};
use crate::engine::{AttackLoss, Keep, Norm};
use crate::error::EngineError;
use crate::graph::{Layout, Network, NodeId, Shape};
use crate::images::Images;
use crate::params::{Grads, Params, Precision, Values};

/// Refuses what [`Engine::forward`](crate::Engine::forward) cannot run; gives how many images there are.
pub(crate) fn check_forward(
    network: &Network,
    params: &Params,
    images: &Images,
    norm: Norm,
    taps: &[NodeId],
) -> Result<usize, EngineError> {
    let wanted = network.input();
    let found = images.shape().to_vec();
    let architecture = || network.architecture().to_string();
    if found.len() != 4 || found[1..] != wanted {
        return Err(EngineError::Images { architecture: architecture(), wanted, found });
    }
    if images.dtype() != params.precision().dtype() {
        let images = format!("{:?}", images.dtype()).to_lowercase();
        return Err(EngineError::Precision {
            architecture: architecture(),
            images,
            params: params.precision().name(),
        });
    }
    if !same_layout(params.layout(), network.layout()) {
        let [wanted, found] =
            [network.layout(), params.layout()].map(|layout| described(layout, params.precision()));
        return Err(EngineError::Params { architecture: architecture(), wanted, found });
    }
    let nodes = network.nodes().len();
    if let Some(tap) = taps.iter().map(|tap| tap.index()).find(|&tap| tap >= nodes) {
        return Err(EngineError::Tap { architecture: architecture(), tap, nodes });
    }
    if found[0] == 0 && norm == Norm::Batch && network.has_batch_norm() {
        return Err(EngineError::EmptyBatch { architecture: architecture() });
    }
    Ok(found[0])
}

/// Refuses what [`Engine::attack`](crate::Engine::attack) cannot run, with a target of any float type.
pub(crate) fn check_attack(
    network: &Network,
    params: &Params,
    clean: &Images,
    start: &Images,
    loss: AttackLoss<'_>,
) -> Result<usize, EngineError> {
    let count = check_forward(network, params, clean, Norm::Running, &[])?;
    let classes = network.classes();
    let fits = |what, wanted: Vec<usize>, found: &[usize]| {
        let found = found.to_vec();
        if found == wanted { Ok(()) } else { Err(EngineError::Attack { what, wanted, found }) }
    };
    match loss {
        AttackLoss::Target(target) => fits("target", vec![count, classes], target.dims())?,
        AttackLoss::Margin(labels) | AttackLoss::Dlr(labels) => {
            fits("number of labels", vec![count], &[labels.len()])?;
            if let Some(image) = labels.iter().position(|&label| label >= classes) {
                return Err(EngineError::Label { image, label: labels[image], classes });
            }
        }
    }
    fits("start", clean.shape().to_vec(), start.shape())?;
    check_forward(network, params, start, Norm::Running, &[])
}

/// Refuses climbers that are not those of a gradient `(N, C, H, W)`, and strides that are not theirs.
pub(crate) fn check_climb(gradient: &[usize], from: &Climbers, by: &[Stride]) -> Result<(), EngineError> {
    let fits = |what, wanted: &[usize], found: &[usize]| {
        let (wanted, found) = (wanted.to_vec(), found.to_vec());
        if found == wanted { Ok(()) } else { Err(EngineError::Attack { what, wanted, found }) }
    };
    fits("number of strides", &gradient[..1], &[by.len()])?;
    for images in from.all() {
        fits("state of its images", gradient, images.shape())?;
        if images.dtype() != DType::F32 {
            return Err(EngineError::NotF32 { found: format!("{:?}", images.dtype()).to_lowercase() });
        }
    }
    Ok(())
}

/// Refuses rows that no batch can be made of.
pub(crate) fn check_rows(rows: &[(&Images, usize)]) -> Result<(), EngineError> {
    let (first, _) = rows.first().ok_or(EngineError::NoRows)?;
    let stray = rows.iter().find(|(images, row)| {
        *row >= images.len()
            || images.shape().get(1..) != first.shape().get(1..)
            || images.dtype() != first.dtype()
    });
    stray.map_or(Ok(()), |(images, row)| {
        let (wanted, found) = (first.shape()[1..].to_vec(), images.shape().to_vec());
        Err(EngineError::Row { row: *row, wanted, found })
    })
}

/// Refuses what [`Engine::descend`](crate::Engine::descend) cannot move.
pub(crate) fn check_descend(params: &Params, grads: &Grads, velocity: &Values) -> Result<(), EngineError> {
    if !same_layout(params.layout(), grads.layout()) {
        let [wanted, found] =
            [params.layout(), grads.layout()].map(|layout| described(layout, grads.held().precision()));
        return Err(EngineError::State { what: "gradients", wanted, found });
    }
    check_values("gradients", params.held_trainable(), grads.held())?;
    check_values("velocity", params.held_trainable(), velocity)
}

/// Refuses what [`Engine::move_statistics`](crate::Engine::move_statistics) cannot move.
pub(crate) fn check_statistics(
    network: &Network,
    params: &Params,
    batch: &Values,
) -> Result<(), EngineError> {
    if !same_layout(params.layout(), network.layout()) {
        let [wanted, found] =
            [network.layout(), params.layout()].map(|layout| described(layout, params.precision()));
        return Err(EngineError::Params { architecture: network.architecture().to_string(), wanted, found });
    }
    check_values("batch statistics", params.held_statistics(), batch)
}

/// Refuses what [`Engine::follow`](crate::Engine::follow) cannot draw near.
pub(crate) fn check_follow(average: &Params, student: &Params) -> Result<(), EngineError> {
    if !same_layout(average.layout(), student.layout()) || average.precision() != student.precision() {
        let [wanted, found] = [student, average].map(|params| described(params.layout(), params.precision()));
        return Err(EngineError::State { what: "average", wanted, found });
    }
    Ok(())
}

fn check_values(what: &'static str, wanted: &Values, found: &Values) -> Result<(), EngineError> {
    let kind = |values: &Values| (values.len(), values.precision());
    if kind(wanted) == kind(found) {
        return Ok(());
    }
    let [wanted, found] =
        [wanted, found].map(|values| format!("{} values, {}", values.len(), values.precision().name()));
    Err(EngineError::State { what, wanted, found })
}

/// What a tape remembers of its forward so that a wrong [`Engine::backward`](crate::Engine::backward) can be refused.
pub(crate) struct Origin {
    architecture: String,
    layout: Arc<Layout>,
    pub(crate) keep: Keep,
    precision: Precision,
    /// The shapes of the outputs, batch included.
    pub(crate) outputs: Vec<Vec<usize>>,
}

impl Origin {
    pub(crate) fn new(
        network: &Network,
        params: &Params,
        keep: Keep,
        outputs: &[NodeId],
        images: usize,
    ) -> Self {
        let shape = |&id: &NodeId| match network.node(id).shape {
            Shape::Map { channels, height, width } => vec![images, channels, height, width],
            Shape::Flat(features) => vec![images, features],
        };
        Self {
            architecture: network.architecture().to_string(),
            layout: network.layout().clone(),
            keep,
            precision: params.precision(),
            outputs: outputs.iter().map(shape).collect(),
        }
    }

    /// Refuses what [`Engine::backward`](crate::Engine::backward) cannot run.
    pub(crate) fn check_backward(
        &self,
        seeds: &[Option<Tensor>],
        grads: Option<&Grads>,
    ) -> Result<(), EngineError> {
        if seeds.len() != self.outputs.len() {
            return Err(EngineError::Seeds { wanted: self.outputs.len(), found: seeds.len() });
        }
        for (seed, wanted) in seeds.iter().zip(&self.outputs) {
            let Some(seed) = seed else { continue };
            if seed.dims() != wanted {
                return Err(EngineError::SeedShape { wanted: wanted.clone(), found: seed.dims().to_vec() });
            }
        }
        let Some(grads) = grads else { return Ok(()) };
        if !self.keep.params() {
            return Err(EngineError::NotKept("parameters"));
        }
        if !same_layout(grads.layout(), &self.layout) || grads.held().precision() != self.precision {
            return Err(EngineError::Grads {
                architecture: self.architecture.clone(),
                wanted: described(&self.layout, self.precision),
                found: described(grads.layout(), grads.held().precision()),
            });
        }
        Ok(())
    }
}

/// Enough to tell a network's parameters from another's.
fn described(layout: &Layout, precision: Precision) -> String {
    let (tensors, values) = (layout.trainable().len(), layout.trainable_len());
    format!("{values} values in {tensors} tensors, {}", precision.name())
}

fn same_layout(one: &Arc<Layout>, other: &Arc<Layout>) -> bool {
    Arc::ptr_eq(one, other) || one == other
}
