//! What an interruptible engine passes on, and what it refuses once somebody asked to stop.

use std::sync::Mutex;

use candle_core::Device;
use engine::graph::{Builder, Op};
use engine::params::Precision;
use engine::{Ball, Demand, Reference, Shelf};

use super::*;

/// Writes down what it is asked, and asks to stop once it was asked so often.
struct Listening {
    engine: Reference,
    heard: Mutex<Vec<&'static str>>,
    stop: Stop,
    patience: usize,
    device: &'static str,
}

impl Listening {
    fn new(patience: usize) -> Self {
        let (engine, heard) = (Reference::new(1).unwrap(), Mutex::default());
        Self { engine, heard, stop: Stop::never(), patience, device: "cpu" }
    }

    fn hear(&self, what: &'static str) -> &Reference {
        let mut heard = self.heard.lock().unwrap();
        heard.push(what);
        self.stop.asked.store(heard.len() >= self.patience, Ordering::SeqCst);
        &self.engine
    }
}

impl Engine for Listening {
    fn name(&self) -> &'static str {
        "listening"
    }

    fn hardware(&self) -> Hardware {
        Hardware { device: self.device.into(), precision: "f32", room: None }
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
        self.hear("forward").forward(network, params, images, norm, keep, taps)
    }

    fn backward(
        &self,
        tape: Tape,
        seeds: &[Option<Tensor>],
        grads: Option<&mut Grads>,
    ) -> Result<Option<Tensor>, EngineError> {
        self.hear("backward").backward(tape, seeds, grads)
    }

    fn logits(&self, network: &Network, params: &Params, images: &Images) -> Result<Tensor, EngineError> {
        self.hear("logits").logits(network, params, images)
    }

    fn query(&self, network: &Network, params: &Params, images: &Images) -> Result<Tensor, EngineError> {
        self.hear("query").query(network, params, images)
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
        self.hear("attack").attack(network, params, clean, start, loss, by)
    }

    fn climb(
        &self,
        tape: Tape,
        slopes: &Tensor,
        from: &Climbers,
        by: &[Stride],
    ) -> Result<Climbed, EngineError> {
        self.hear("climb").climb(tape, slopes, from, by)
    }

    fn gather(&self, rows: &[(&Images, usize)]) -> Result<Images, EngineError> {
        self.hear("gather").gather(rows)
    }

    fn cut(&self, album: &Album<'_>, views: &[Cutting]) -> Result<Option<Images>, EngineError> {
        self.hear("cut").cut(album, views)
    }

    fn shift(&self, images: &Images, offsets: &Tensor, by: f64) -> Result<Images, EngineError> {
        self.hear("shift").shift(images, offsets, by)
    }

    fn clear(&self, grads: &mut Grads) -> Result<(), EngineError> {
        self.hear("clear").clear(grads)
    }

    fn descend(
        &self,
        params: &mut Params,
        grads: &Grads,
        velocity: &mut Values,
        by: Descent,
    ) -> Result<(), EngineError> {
        self.hear("descend").descend(params, grads, velocity, by)
    }

    fn move_statistics(
        &self,
        network: &Network,
        params: &mut Params,
        batch: &BatchStats,
    ) -> Result<(), EngineError> {
        self.hear("move_statistics").move_statistics(network, params, batch)
    }

    fn follow(&self, average: &mut Params, student: &Params, decay: f64) -> Result<(), EngineError> {
        self.hear("follow").follow(average, student, decay)
    }
}

/// A linear student of two classes on 2x2 pixels, with three images.
struct Scene {
    network: Network,
    params: Params,
    images: Images,
    target: Tensor,
}

impl Scene {
    fn new() -> Self {
        let (mut builder, input) = Builder::new([1, 2, 2]);
        let flat = builder.node("flat", Op::Flatten, &[input]).unwrap();
        builder.node("linear", Op::Linear { out: 2, bias: true }, &[flat]).unwrap();
        let network = builder.finish("linear").unwrap();
        let mut params = Params::zeros(network.layout(), Precision::F64);
        for (place, weight) in [1.0, -2.0, 3.0, 0.0, -1.0, 0.5, 2.0, 0.25].into_iter().enumerate() {
            params.trainable_mut().set(place, weight);
        }
        let pixels: Vec<f64> = (0..12).map(|pixel| f64::from(pixel) / 12.0).collect();
        let images = Tensor::from_vec(pixels, (3, 1, 2, 2), &Device::Cpu).unwrap().into();
        let target = Tensor::new(&[[1.0, 0.0], [0.25, 0.75], [0.5, 0.5f64]], &Device::Cpu).unwrap();
        Self { network, params, images, target }
    }

    fn attack(&self, engine: &dyn Engine, steps: usize) -> Result<Vec<f64>, EngineError> {
        let by = Ascent { steps, step_size: 0.01, eps: 0.025 };
        let Self { network, params, images, target } = self;
        let found = engine.attack(network, params, images, images, target.into(), by)?;
        Ok(found.tensor()?.flatten_all()?.to_vec1()?)
    }

    /// Asks everything once; the attack has two steps.
    fn ask(&self, engine: &dyn Engine, [tape, other]: [Tape; 2]) -> Vec<Result<(), EngineError>> {
        let Self { network, params, images, .. } = self;
        let (mut own, mut average) = (params.clone(), params.clone());
        let mut grads = Grads::zeros(network.layout(), Precision::F64);
        let mut velocity = Values::zeros(network.layout().trainable_len(), Precision::F64);
        let pass = engine.forward(network, params, images, Norm::Batch, Keep::ForImage, &[]);
        let seed = Tensor::ones((3, 2), candle_core::DType::F64, &Device::Cpu).unwrap();
        let single = Images::from(images.tensor().unwrap().to_dtype(candle_core::DType::F32).unwrap());
        let [clean, point, before, best, best_gradient] = [(); 5].map(|()| single.clone());
        let shelf = Shelf::default();
        let album = Album { pixels: &[0; 4], shape: [1, 2, 2], shelf: &shelf };
        let from = Climbers { clean, point, before, best, best_gradient };
        let stats = Reference::new(1).unwrap();
        let stats = stats.forward(network, params, images, Norm::Batch, Keep::Nothing, &[]).unwrap().stats;
        vec![
            pass.map(drop),
            engine.backward(tape, &[Some(seed.clone())], None).map(drop),
            engine.logits(network, params, images).map(drop),
            engine.query(network, params, images).map(drop),
            self.attack(engine, 2).map(drop),
            engine.climb(other, &seed, &from, &[Stride::none(Ball::L2(0.5)); 3]).map(drop),
            engine.gather(&[(images, 1)]).map(drop),
            engine.cut(&album, &[]).map(drop),
            engine.shift(images, images.tensor().unwrap(), 0.5).map(drop),
            engine.clear(&mut grads),
            engine.descend(
                &mut own,
                &grads,
                &mut velocity,
                Descent { momentum: 0.9, weight_decay: 0.0, rate: 0.1, nesterov: false },
            ),
            engine.move_statistics(network, &mut own, &stats),
            engine.follow(&mut average, params, 0.5),
        ]
    }

    fn tapes(&self, engine: &Reference) -> [Tape; 2] {
        let Self { network, params, images, .. } = self;
        [(); 2].map(|()| {
            engine.forward(network, params, images, Norm::Running, Keep::ForImage, &[]).unwrap().tape
        })
    }
}

#[test]
fn whatever_is_asked_reaches_the_engine_within_and_nothing_does_after_a_stop() {
    let (scene, within) = (Scene::new(), Listening::new(usize::MAX));
    let engine = Interruptible::new(&within, &within.stop);
    let answers = scene.ask(&engine, scene.tapes(&within.engine));
    assert!(answers.iter().all(Result::is_ok));
    // An attack is asked for without a step, then step by step.
    let all = [
        "forward",
        "backward",
        "logits",
        "query",
        "attack",
        "attack",
        "attack",
        "climb",
        "gather",
        "cut",
        "shift",
        "clear",
        "descend",
        "move_statistics",
        "follow",
    ];
    assert_eq!(*within.heard.lock().unwrap(), all);
    assert_eq!((engine.name(), engine.hardware().device.as_str()), ("listening", "cpu"));
    within.stop.asked.store(true, Ordering::SeqCst);
    let answers = scene.ask(&engine, scene.tapes(&within.engine));
    assert_eq!(answers.len(), all.len() - 2, "every method but the name, once");
    assert!(answers.iter().all(|answer| matches!(answer, Err(EngineError::Interrupted))));
    assert_eq!(within.heard.lock().unwrap().len(), all.len());
}

#[test]
fn a_long_attack_ends_when_somebody_asks_and_gives_the_same_bits_when_nobody_does() {
    let (scene, within) = (Scene::new(), Listening::new(usize::MAX));
    let engine = Interruptible::new(&within, &within.stop);
    let found = scene.attack(&engine, 4).unwrap();
    assert_eq!(found, scene.attack(&within.engine, 4).unwrap());
    assert_ne!(found, scene.attack(&within.engine, 0).unwrap());
    let impatient = Listening::new(3);
    let engine = Interruptible::new(&impatient, &impatient.stop);
    assert!(matches!(scene.attack(&engine, 1000), Err(EngineError::Interrupted)));
    assert_eq!(impatient.heard.lock().unwrap().len(), 3);
}

#[test]
fn a_card_is_given_a_whole_attack() {
    let scene = Scene::new();
    let card = Listening { device: "NVIDIA H100", ..Listening::new(usize::MAX) };
    let engine = Interruptible::new(&card, &card.stop);
    assert_eq!(scene.attack(&engine, 4).unwrap(), scene.attack(&card.engine, 4).unwrap());
    assert_eq!(*card.heard.lock().unwrap(), ["attack"]);
    card.stop.asked.store(true, Ordering::SeqCst);
    assert!(matches!(scene.attack(&engine, 4), Err(EngineError::Interrupted)));
}
