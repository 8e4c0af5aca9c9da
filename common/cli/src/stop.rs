//! Ctrl-C, SIGTERM and SIGUSR1: asked for between batches and steps, so nothing is left half-way.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once};
use std::thread;

use candle_core::Tensor;
use engine::params::Values;
use engine::{
    Album, Ascent, AttackLoss, BatchStats, Climbed, Climbers, Cutting, Demand, Descent, Engine, EngineError,
    Grads, Hardware, Images, Keep, Network, NodeId, Norm, Params, Pass, Stride, Tape,
};
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::flag;
use signal_hook::iterator::Signals;

use crate::{Error, Exit, note};

/// What asks a process to stop: a person, a scheduler at its limit, or one that warns before it.
const SIGNALS: [i32; 3] = [SIGINT, SIGTERM, SIGUSR1];

/// Whether somebody asked this process to stop.
#[derive(Debug, Clone)]
pub struct Stop {
    asked: Arc<AtomicBool>,
    said: Arc<Once>,
    /// What is brought to its end first.
    unit: &'static str,
}

impl Stop {
    /// One that nobody sets.
    pub fn never() -> Self {
        Self::before("what is under way")
    }

    /// One that is set already.
    pub fn asked() -> Self {
        let stop = Self::never();
        stop.asked.store(true, Ordering::SeqCst);
        stop
    }

    fn before(unit: &'static str) -> Self {
        Self { asked: Arc::default(), said: Arc::new(Once::new()), unit }
    }

    /// One that Ctrl-C, SIGTERM and SIGUSR1 set; says at once that what is under way is brought to its end first.
    pub fn on_signals() -> Result<Self, Error> {
        Self::on_signals_after("what is under way")
    }

    /// [`Stop::on_signals`] with a name for what is brought to its end: `this step`.
    ///
    /// The second signal ends the process at once, which is safe: only whole files are ever on the disk. SIGHUP keeps
    /// its meaning, so that `nohup` works.
    pub fn on_signals_after(unit: &'static str) -> Result<Self, Error> {
        let stop = Self::before(unit);
        for signal in SIGNALS {
            flag::register_conditional_shutdown(signal, Exit::Interrupted as i32, stop.asked.clone())
                .map_err(Error::Signals)?;
            flag::register(signal, stop.asked.clone()).map_err(Error::Signals)?;
        }
        // Whoever asked should hear it now, not when a step of minutes is done.
        let mut signals = Signals::new(SIGNALS).map_err(Error::Signals)?;
        let listener = stop.clone();
        let announce = move || {
            if signals.forever().next().is_some() {
                listener.say();
            }
        };
        thread::Builder::new().name("signals".into()).spawn(announce).map_err(Error::Signals)?;
        Ok(stop)
    }

    /// Whether to stop now.
    pub fn requested(&self) -> bool {
        let asked = self.asked.load(Ordering::SeqCst);
        if asked {
            // Work that ends at once must not end before it was said.
            self.say();
        }
        asked
    }

    fn say(&self) {
        self.said.call_once(|| note(format_args!("stopping after {}; again to stop at once", self.unit)));
    }
}

/// An engine that refuses to go on once somebody asked to stop: for work of which nothing is kept, so that nobody waits
/// for the end of a batch.
pub struct Interruptible<'a> {
    engine: &'a dyn Engine,
    stop: &'a Stop,
}

impl<'a> Interruptible<'a> {
    /// This engine, until `stop`.
    pub fn new(engine: &'a dyn Engine, stop: &'a Stop) -> Self {
        Self { engine, stop }
    }

    fn go_on(&self) -> Result<(), EngineError> {
        if self.stop.requested() { Err(EngineError::Interrupted) } else { Ok(()) }
    }
}

impl Engine for Interruptible<'_> {
    fn name(&self) -> &'static str {
        self.engine.name()
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
        self.go_on()?;
        self.engine.forward(network, params, images, norm, keep, taps)
    }

    fn backward(
        &self,
        tape: Tape,
        seeds: &[Option<Tensor>],
        grads: Option<&mut Grads>,
    ) -> Result<Option<Tensor>, EngineError> {
        self.go_on()?;
        self.engine.backward(tape, seeds, grads)
    }

    fn logits(&self, network: &Network, params: &Params, images: &Images) -> Result<Tensor, EngineError> {
        self.go_on()?;
        self.engine.logits(network, params, images)
    }

    fn query(&self, network: &Network, params: &Params, images: &Images) -> Result<Tensor, EngineError> {
        self.go_on()?;
        self.engine.query(network, params, images)
    }

    /// On the processor step by step, which gives the same bits, so that a long attack ends when it is asked to. A card
    /// is done with a whole one before anybody waits, and would be kept from its pace.
    fn attack(
        &self,
        network: &Network,
        params: &Params,
        clean: &Images,
        start: &Images,
        loss: AttackLoss<'_>,
        by: Ascent,
    ) -> Result<Images, EngineError> {
        let attack = |from: &Images, steps| {
            self.go_on()?;
            self.engine.attack(network, params, clean, from, loss, Ascent { steps, ..by })
        };
        if !self.engine.hardware().is_processor() {
            return attack(start, by.steps);
        }
        // Without a step it refuses what it cannot run, and gives the start.
        let start = attack(start, 0)?;
        (0..by.steps).try_fold(start, |adversarial, _| attack(&adversarial, 1))
    }

    fn climb(
        &self,
        tape: Tape,
        slopes: &Tensor,
        from: &Climbers,
        by: &[Stride],
    ) -> Result<Climbed, EngineError> {
        self.go_on()?;
        self.engine.climb(tape, slopes, from, by)
    }

    fn gather(&self, rows: &[(&Images, usize)]) -> Result<Images, EngineError> {
        self.go_on()?;
        self.engine.gather(rows)
    }

    fn cut(&self, album: &Album<'_>, views: &[Cutting]) -> Result<Option<Images>, EngineError> {
        self.go_on()?;
        self.engine.cut(album, views)
    }

    fn shift(&self, images: &Images, offsets: &Tensor, by: f64) -> Result<Images, EngineError> {
        self.go_on()?;
        self.engine.shift(images, offsets, by)
    }

    fn clear(&self, grads: &mut Grads) -> Result<(), EngineError> {
        self.go_on()?;
        self.engine.clear(grads)
    }

    fn descend(
        &self,
        params: &mut Params,
        grads: &Grads,
        velocity: &mut Values,
        by: Descent,
    ) -> Result<(), EngineError> {
        self.go_on()?;
        self.engine.descend(params, grads, velocity, by)
    }

    fn move_statistics(
        &self,
        network: &Network,
        params: &mut Params,
        batch: &BatchStats,
    ) -> Result<(), EngineError> {
        self.go_on()?;
        self.engine.move_statistics(network, params, batch)
    }

    fn follow(&self, average: &mut Params, student: &Params, decay: f64) -> Result<(), EngineError> {
        self.go_on()?;
        self.engine.follow(average, student, decay)
    }
}

#[cfg(test)]
mod tests;
