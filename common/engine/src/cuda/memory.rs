//! How much of a GPU's memory a piece of work takes: from plans alone, so that it can be said where there is no GPU, and
//! before anything runs where there is one.

use super::error::DeviceError;
use super::planned::Planned;
use super::precision::Storage;
use super::run::parts_bytes;
use crate::engine::{Keep, Norm};
use crate::graph::Network;
use crate::plan::padded;

/// What a network does with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// A forward that keeps nothing: labels, clean accuracy.
    Forward,
    /// Attacks, step by step, and the forwards that judge them: evaluation.
    Attack,
    /// A step of training: a whole attack as one graph, two forwards under the batch's statistics with their backwards as
    /// graphs too, SGD and a moving average; and now and then an evaluation, which may drop the graphs.
    Training,
}

/// How a GPU stores what it works on: all that its need of memory depends on besides the network and the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footprint {
    /// The storage of forwards that keep nothing.
    pub(super) judged: Storage,
    /// That of attacks and training.
    pub(super) working: Storage,
    /// Multiprocessors, for which sums are cut into parts.
    pub(super) processors: usize,
}

/// The memory of a GPU that an engine may fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    pub(super) footprint: Footprint,
    /// Bytes that were free when the engine was started.
    pub(super) free: usize,
    /// Bytes that the card has.
    pub(super) total: usize,
}

/// Bytes of one plan.
struct Need {
    /// Packed weights and coefficients: kept from call to call.
    packed: usize,
    /// What a forward keeps for its backward.
    tape: usize,
    /// What a pass works in, its logits included.
    pass: usize,
}

impl Footprint {
    /// That of a large card of today: `judged` is the storage of labels and judging, `working` that of attacks and training.
    pub fn usual(judged: Storage, working: Storage) -> Self {
        // An H100 has 132; fewer need no more memory.
        Self { judged, working, processors: 132 }
    }

    /// The storage of labels and judging, then that of attacks and training.
    pub fn storages(&self) -> [Storage; 2] {
        [self.judged, self.working]
    }

    /// Bytes that networks take on the GPU, each with its work, `images` at a time; an upper bound, without what the
    /// driver itself takes (some 500 MiB).
    pub fn bytes(&self, networks: &[(&Network, Work)], images: usize) -> usize {
        networks.iter().map(|&(network, work)| self.of_one(network, work, images)).sum()
    }

    fn of_one(&self, network: &Network, work: Work, images: usize) -> usize {
        let layout = network.layout();
        let (trainable, statistics) = (4 * layout.trainable_len(), 4 * layout.statistics_len());
        let pixels = 4 * images * network.input().iter().product::<usize>();
        let need = |storage, norm, keep| self.need(network, (storage, norm, keep), images);
        let judge = need(self.judged, Norm::Running, Keep::Nothing);
        let forward = trainable + statistics + pixels + judge.packed;
        if work == Work::Forward {
            return forward + judge.pass;
        }
        let query = need(self.working, Norm::Running, Keep::Nothing);
        let climb = need(self.working, Norm::Running, Keep::ForImage);
        let evaluation = forward + query.packed + climb.packed;
        // Climbers before a step, those that come to them and both together, and the gradient: each five times the images.
        let attacked = judge.pass.max(query.pass).max(16 * pixels + climb.tape + climb.pass);
        if work == Work::Attack {
            return evaluation + attacked;
        }
        let learn = need(self.working, Norm::Batch, Keep::ForParams);
        // Gradients, velocity; the average with its statistics.
        let state = 3 * trainable + 3 * statistics;
        // The graph has its memory to itself: where it stands, and where it began. Its start and its end lie beside it.
        let graph = 4 * pixels + climb.tape + climb.pass;
        // Each of two passages has its images, its tape and its answers; they work in one place.
        let passages = 2 * (pixels + learn.tape + statistics) + 2 * learn.pass;
        evaluation + state + learn.packed + graph + passages.max(attacked)
    }

    fn need(&self, network: &Network, (storage, norm, keep): (Storage, Norm, Keep), images: usize) -> Need {
        // Of the ways to pack floats, the one that takes more room.
        let warpgroups = storage == Storage::F32;
        let planned = Planned::new((storage, warpgroups), network, norm, keep, &[network.output()]);
        let logits = planned.plan.steps.value(planned.plan.steps.outputs[0]).shape[0];
        Need {
            packed: planned.weights.1 + 4 * (planned.folds.1 + planned.norms.1 + planned.bands.1),
            tape: planned.plan.tape_len * images + 4 * planned.norms.1,
            pass: planned.plan.batch_len * images
                + parts_bytes(self.processors, &planned, images)
                // In f32, as they come and as they go, and a gradient or target of each.
                + 4 * images * (padded(logits) + 3 * logits),
        }
    }
}

impl Room {
    /// How the GPU stores what it works on.
    pub fn footprint(&self) -> Footprint {
        self.footprint
    }

    /// The largest batch of at most `most` images that these networks have room for; none where not even one image fits.
    pub fn batch(&self, networks: &[(&Network, Work)], most: usize) -> Option<usize> {
        let fits = |images: usize| self.footprint.bytes(networks, images) <= self.free;
        if most == 0 || !fits(1) {
            return None;
        }
        let (mut fitting, mut beyond) = (1, most + 1);
        while beyond - fitting > 1 {
            let middle = fitting.midpoint(beyond);
            if fits(middle) { fitting = middle } else { beyond = middle }
        }
        Some(fitting)
    }

    /// Refuses work that there is no room for, with the batch that fits.
    pub fn check(&self, networks: &[(&Network, Work)], images: usize) -> Result<(), DeviceError> {
        let wanted = self.footprint.bytes(networks, images);
        if wanted <= self.free {
            return Ok(());
        }
        let names: Vec<&str> = networks.iter().map(|(network, _)| network.architecture()).collect();
        Err(DeviceError::NoRoom {
            network: names.join(" beside "),
            images,
            wanted,
            free: self.free,
            total: self.total,
            hint: match self.batch(networks, images) {
                Some(fits) => format!("--batch {fits} fits, or --device cpu"),
                None => "not even one image fits; --device cpu, or a larger GPU".into(),
            },
        })
    }
}
