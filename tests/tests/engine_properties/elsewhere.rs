//! An engine whose memory is not the host's: what a step leaves there, and that the numbers are the same.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::{DType, Device, Tensor};
use engine::params::{Arena, Precision, Remote, Values};
use engine::{
    Album, Ascent, AttackLoss, BatchStats, Climbed, Climbers, Cutting, Demand, Descent, Engine, EngineError,
    Grads, Hardware, Images, Keep, Network, NodeId, Norm, Params, Pass, Reference, Stride, Tape,
};
use method::attack::{Pool, Subject, Victim, find};
use method::average::Average;
use method::awp::Awp;
use method::objective::{Epoch, Forward, OBJECTIVES, Objective, Options, Trades};
use method::optim::Sgd;
use method::schedule::Schedule;
use method::swa::Swa;
use method::threat::Threat;
use rslad_tests::{reference, values};
use stage2_distill::step::{Batch, Moving, Seen, TrainStep};

use crate::small::{network, uniform};

/// Arrays that crossed between the host and the other memory.
#[derive(Default)]
struct Traffic {
    sent: AtomicUsize,
    fetched: AtomicUsize,
}

impl Traffic {
    /// Arrays sent and fetched since the last call.
    fn since(&self) -> (usize, usize) {
        (self.sent.swap(0, Ordering::SeqCst), self.fetched.swap(0, Ordering::SeqCst))
    }
}

/// An array in the other memory.
struct Far {
    values: Arena,
    traffic: Arc<Traffic>,
}

impl Remote for Far {
    fn fetch(&self) -> Arena {
        self.traffic.fetched.fetch_add(1, Ordering::SeqCst);
        self.values.clone()
    }
}

/// The reference with a memory of its own, from which only [`Remote::fetch`] brings anything to the host.
struct Elsewhere {
    engine: Reference,
    traffic: Arc<Traffic>,
}

impl Elsewhere {
    fn new() -> Self {
        Self { engine: reference(2), traffic: Arc::default() }
    }

    fn far(&self, values: Arena) -> Arc<dyn Remote> {
        Arc::new(Far { values, traffic: self.traffic.clone() })
    }

    fn read(&self, values: &Values) -> Arena {
        if let Some(far) = values.remote().and_then(|remote| remote.of::<Far>()) {
            return far.values.clone();
        }
        self.traffic.sent.fetch_add(1, Ordering::SeqCst);
        let arena = values.host().clone();
        values.keep_remote(self.far(arena.clone()));
        arena
    }

    /// In place where nobody else reads what lies there.
    fn write(&self, values: &mut Values, arena: Arena) {
        match values.remote_mut().and_then(Arc::get_mut).and_then(|remote| remote.of_mut::<Far>()) {
            Some(far) => far.values = arena,
            None => values.set_remote(self.far(arena)),
        }
    }

    /// The same parameters, for the engine within.
    fn params(&self, params: &Params) -> Params {
        let mut own = Params::zeros(params.layout(), params.precision());
        *own.trainable_mut() = self.read(params.held_trainable());
        *own.statistics_mut() = self.read(params.held_statistics());
        own.batches_tracked_mut().copy_from_slice(params.batches_tracked());
        own
    }

    fn grads(&self, grads: &Grads) -> Grads {
        let mut own = Grads::zeros(grads.layout(), grads.held().precision());
        *own.values_mut() = self.read(grads.held());
        own
    }

    fn images(&self, images: &Images) -> Images {
        let arena = if let Some(far) = images.remote().and_then(|remote| remote.of::<Far>()) {
            far.values.clone()
        } else {
            self.traffic.sent.fetch_add(1, Ordering::SeqCst);
            let arena = Arena::F64(values(images.tensor().unwrap()));
            images.keep_remote(self.far(arena.clone()));
            arena
        };
        let pixels = Tensor::from_vec(arena.to_f64(0..arena.len()), images.shape(), &Device::Cpu).unwrap();
        pixels.to_dtype(images.dtype()).unwrap().into()
    }

    fn leave(&self, images: &Images) -> Images {
        let shape = images.shape().try_into().unwrap();
        let precision = if images.dtype() == DType::F32 { Precision::F32 } else { Precision::F64 };
        let arena = Arena::F64(values(images.tensor().unwrap())).to_precision(precision);
        Images::elsewhere(self.far(arena), shape, precision)
    }

    fn climbers(climbers: &Climbers, each: impl Fn(&Images) -> Images) -> Climbers {
        let [clean, point, before, best, best_gradient] = climbers.all().map(each);
        Climbers { clean, point, before, best, best_gradient }
    }
}

impl Engine for Elsewhere {
    fn name(&self) -> &'static str {
        "elsewhere"
    }

    fn hardware(&self) -> Hardware {
        self.engine.hardware()
    }

    fn demand(&self, network: &Network, norm: Norm, keep: Keep, batch: usize) -> Option<Demand> {
        self.engine.demand(network, norm, keep, batch)
    }

    fn forward(
        &self,
        network: &Network,
        params: &Params,
        images: &Images,
        norm: Norm,
        keep: Keep,
        taps: &[NodeId],
    ) -> Result<Pass, EngineError> {
        let (params, images) = (self.params(params), self.images(images));
        let mut pass = self.engine.forward(network, &params, &images, norm, keep, taps)?;
        if let Some(values) = &mut pass.stats.values {
            let arena = values.host().clone();
            values.set_remote(self.far(arena));
        }
        Ok(pass)
    }

    fn backward(
        &self,
        tape: Tape,
        seeds: &[Option<Tensor>],
        grads: Option<&mut Grads>,
    ) -> Result<Option<Tensor>, EngineError> {
        let Some(grads) = grads else { return self.engine.backward(tape, seeds, None) };
        let mut own = self.grads(grads);
        let image = self.engine.backward(tape, seeds, Some(&mut own))?;
        self.write(grads.held_mut(), own.values().clone());
        Ok(image)
    }

    fn logits(&self, network: &Network, params: &Params, images: &Images) -> Result<Tensor, EngineError> {
        self.engine.logits(network, &self.params(params), &self.images(images))
    }

    fn query(&self, network: &Network, params: &Params, images: &Images) -> Result<Tensor, EngineError> {
        self.engine.query(network, &self.params(params), &self.images(images))
    }

    fn attack(
        &self,
        network: &Network,
        params: &Params,
        clean: &Images,
        start: &Images,
        loss: AttackLoss<'_>,
        by: Ascent,
    ) -> Result<Images, EngineError> {
        let (params, clean, start) = (self.params(params), self.images(clean), self.images(start));
        Ok(self.leave(&self.engine.attack(network, &params, &clean, &start, loss, by)?))
    }

    fn climb(
        &self,
        tape: Tape,
        slopes: &Tensor,
        from: &Climbers,
        by: &[Stride],
    ) -> Result<Climbed, EngineError> {
        let inside = Self::climbers(from, |images| self.images(images));
        let Climbed { to, steepest } = self.engine.climb(tape, slopes, &inside, by)?;
        let to = Self::climbers(&to, |images| self.leave(images));
        Ok(Climbed { to: Climbers { clean: from.clean.clone(), ..to }, steepest })
    }

    fn gather(&self, rows: &[(&Images, usize)]) -> Result<Images, EngineError> {
        let inside: Vec<_> = rows.iter().map(|(images, row)| (self.images(images), *row)).collect();
        let inside: Vec<_> = inside.iter().map(|(images, row)| (images, *row)).collect();
        Ok(self.leave(&self.engine.gather(&inside)?))
    }

    /// Cuts nothing: what it is sent can be counted.
    fn cut(&self, album: &Album<'_>, views: &[Cutting]) -> Result<Option<Images>, EngineError> {
        self.engine.cut(album, views)
    }

    fn shift(&self, images: &Images, offsets: &Tensor, by: f64) -> Result<Images, EngineError> {
        self.traffic.sent.fetch_add(1, Ordering::SeqCst);
        Ok(self.leave(&self.engine.shift(&self.images(images), offsets, by)?))
    }

    fn clear(&self, grads: &mut Grads) -> Result<(), EngineError> {
        let zeros = Arena::zeros(grads.held().len(), grads.held().precision());
        self.write(grads.held_mut(), zeros);
        Ok(())
    }

    fn descend(
        &self,
        params: &mut Params,
        grads: &Grads,
        velocity: &mut Values,
        by: Descent,
    ) -> Result<(), EngineError> {
        let (mut own, mut moving) = (self.params(params), Values::new(self.read(velocity)));
        self.engine.descend(&mut own, &self.grads(grads), &mut moving, by)?;
        self.write(params.held_trainable_mut(), own.trainable().clone());
        self.write(velocity, moving.host().clone());
        Ok(())
    }

    fn move_statistics(
        &self,
        network: &Network,
        params: &mut Params,
        batch: &BatchStats,
    ) -> Result<(), EngineError> {
        let mut own = self.params(params);
        let batch = BatchStats { values: batch.values.as_ref().map(|values| Values::new(self.read(values))) };
        self.engine.move_statistics(network, &mut own, &batch)?;
        self.write(params.held_statistics_mut(), own.statistics().clone());
        params.batches_tracked_mut().copy_from_slice(own.batches_tracked());
        Ok(())
    }

    fn follow(&self, average: &mut Params, student: &Params, decay: f64) -> Result<(), EngineError> {
        let (mut own, student) = (self.params(average), self.params(student));
        self.engine.follow(&mut own, &student, decay)?;
        self.write(average.held_trainable_mut(), own.trainable().clone());
        self.write(average.held_statistics_mut(), own.statistics().clone());
        average.batches_tracked_mut().copy_from_slice(own.batches_tracked());
        Ok(())
    }
}

const IDS: [usize; 3] = [0, 1, 2];

/// All numbers that a run leaves.
fn state(moving: &Moving) -> Vec<f64> {
    let average = moving.average.as_ref().unwrap().params();
    let arenas = [
        moving.params.trainable(),
        moving.params.statistics(),
        moving.sgd.velocity(),
        average.trainable(),
        average.statistics(),
    ];
    arenas.into_iter().flat_map(|arena| arena.to_f64(0..arena.len())).collect()
}

#[test]
fn training_where_memory_is_elsewhere_gives_the_same_bits_and_brings_nothing_but_logits_to_the_host() {
    let small = network("tiny-cnn", [3, 16, 16], Precision::F64);
    let asked = network("tiny-cnn-x2", [3, 16, 16], Precision::F64);
    let (here, elsewhere) = (reference(2), Elsewhere::new());
    let teacher = (Tensor::from_vec(uniform(820, 30), (3, 10), &Device::Cpu).unwrap() * 4.0).unwrap();
    let batch = |number, strong: bool| {
        let clean = Seen { teacher: Some(teacher.clone()), ..Seen::only(small.images(&IDS).into()) };
        let labels = Tensor::new(&[3u32, 0, 7], &Device::Cpu).unwrap();
        let strong = strong.then(|| small.images(&[3, 4, 5]).into());
        let epoch = Epoch { number, of: 4, schedule: Schedule::Cosine };
        Batch { strong, ..Batch::of(clean, labels, IDS.to_vec(), epoch) }
    };
    let mut whole_attacks = Vec::new();
    for row in OBJECTIVES {
        let objective = (row.make)(&Options::of(*row, &BTreeMap::new()).unwrap());
        let trained = |engine: &dyn Engine, traffic: Option<&Traffic>| {
            let step = TrainStep {
                engine,
                network: &small.network,
                objective: &*objective,
                teacher: Some(Victim::new(engine, &asked.network, &asked.params)),
                second: Some(Victim::new(engine, &asked.network, &asked.params)),
                taps: None,
                threat: Threat::linf(8.0 / 255.0),
                steps: 3,
                step_size: 2.0 / 255.0,
                seed: 1,
            };
            let sgd = Sgd::new(&small.params, 0.9, 2e-4);
            let mut moving = Moving::new(small.params.clone(), sgd, objective.memory(10));
            moving.average = Some(Average::new(0.75, &small.params));
            let mut crossed = Vec::new();
            for number in 0..4 {
                step.run(&mut moving, batch(number, objective.strong()), 0.05).unwrap();
                crossed.extend(traffic.map(Traffic::since));
            }
            (moving, crossed)
        };
        let (moving, crossed) = trained(&elsewhere, Some(&elsewhere.traffic));
        // The clean images, the strong ones, for an attack its start, and opposites, which are made here from images that
        // are fetched for them; a step by step attack sends each of its images.
        let once = 1 + usize::from(objective.strong()) + usize::from(objective.inner().is_some());
        let opposites = usize::from(objective.forwards(batch(1, false).epoch).contains(&Forward::Opposite));
        assert!(crossed.iter().all(|&(_, fetched)| fetched == opposites), "{}: {crossed:?}", row.name);
        if crossed[1..].iter().all(|&(sent, _)| sent == once + opposites) {
            whole_attacks.push(row.name);
        }
        let found = state(&moving);
        assert_eq!(elsewhere.traffic.since(), (0, 5), "{}: each array comes to the host once", row.name);
        state(&moving);
        assert_eq!(elsewhere.traffic.since(), (0, 0), "{}: and is kept there", row.name);
        assert!(found == state(&trained(&here, None).0), "{}", row.name);
    }
    assert_eq!(
        whole_attacks,
        ["rslad", "absld", "kd", "mtard", "saad", "snord", "trades", "mart", "sat", "natural"]
    );
}

/// Both are computed on the host, so that values cross; their bits are those of an engine whose memory is the host's.
#[test]
fn perturbed_weights_and_the_mean_of_epochs_are_the_same_bits_where_memory_is_elsewhere() {
    let small = network("tiny-cnn", [3, 16, 16], Precision::F64);
    let trades = Trades::default();
    let trained = |engine: &dyn Engine| {
        let step = TrainStep {
            engine,
            network: &small.network,
            objective: &trades,
            teacher: None,
            second: None,
            taps: None,
            threat: Threat::linf(8.0 / 255.0),
            steps: 3,
            step_size: 2.0 / 255.0,
            seed: 1,
        };
        let sgd = Sgd::new(&small.params, 0.9, 2e-4);
        let mut moving = Moving::new(small.params.clone(), sgd, trades.memory(10));
        moving.awp = Some(Awp { gamma: 0.1, warmup: 1 });
        let mut swa = Swa::from_share(0.0, 3);
        for number in 0..3 {
            let labels = Tensor::new(&[3u32, 0, 7], &Device::Cpu).unwrap();
            let epoch = Epoch { number, of: 3, schedule: Schedule::Cosine };
            let clean = Seen::only(small.images(&IDS).into());
            step.run(&mut moving, Batch::of(clean, labels, IDS.to_vec(), epoch), 0.05).unwrap();
            swa.take(engine, &moving.params, number + 1).unwrap();
        }
        let batches = [[0, 1], [2, 3]].map(|ids| Ok::<Images, EngineError>(small.images(&ids).into()));
        swa.reestimate(engine, &small.network, batches).unwrap();
        let mean = swa.params().unwrap();
        let arenas = [moving.params.trainable(), moving.sgd.velocity(), mean.trainable(), mean.statistics()];
        arenas.into_iter().flat_map(|arena| arena.to_f64(0..arena.len())).collect::<Vec<_>>()
    };
    assert!(trained(&Elsewhere::new()) == trained(&reference(2)));
}

/// Each step of Auto-PGD sends nothing but what the host decides: pixels go when a search begins, and come when it falls.
#[test]
fn steps_of_an_ascent_move_no_pixels_between_the_memories() {
    let small = network("tiny-cnn", [3, 16, 16], Precision::F32);
    let (here, elsewhere) = (reference(2), Elsewhere::new());
    let attack = find("apgd-t:targets=2:steps=6").unwrap();
    let subject = |place: usize| Subject {
        image: uniform(place, 768).into_iter().map(|pixel| pixel as f32).collect(),
        shape: [3, 16, 16],
        label: 0,
        threat: Threat::linf(1e-4),
        step_size: 0.0,
        seed: 1,
        restart: 0,
        place,
    };
    let searched = |engine: &dyn Engine, traffic: Option<&Traffic>| {
        let mut pool = Pool::new(&*attack, Victim::new(engine, &small.network, &small.params));
        let (mut ends, mut crossed) = (Vec::new(), Vec::new());
        // Labels that the network gives, so that some stand; the last image falls.
        for place in IDS {
            let images = small.images(&[place]).into();
            let logits = values(&engine.logits(&small.network, &small.params, &images).unwrap());
            let class =
                (0..10).fold(0, |best, class| if logits[class] > logits[best] { class } else { best });
            pool.admit(place, Subject { label: class, ..subject(place) });
        }
        traffic.map(Traffic::since);
        while !pool.is_empty() {
            ends.extend(pool.ask().unwrap());
            crossed.extend(traffic.map(Traffic::since));
        }
        (ends, crossed)
    };
    let (ends, crossed) = searched(&elsewhere, Some(&elsewhere.traffic));
    // A batch of queries; then for each of two ascents the images and their starts, and six steps.
    let ascent = [(2, 0), (0, 0), (0, 0), (0, 0), (0, 0), (0, 0), (0, 0)];
    assert_eq!(crossed, [&[(1, 0)][..], &ascent, &ascent].concat());
    assert_eq!(ends, searched(&here, None).0);
    assert!(ends.iter().all(|end| end.point.is_none()), "all stand");
}
