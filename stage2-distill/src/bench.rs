//! `distill bench`: how fast this machine runs a student, by itself.
//!
//! Random images, random labels, fresh weights: speed does not depend on what a network knows. Comparisons with other
//! frameworks interleave such runs with theirs; see `bench/`.

mod plan;

use std::fmt;
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use clap::ValueEnum;
use data::{Dataset, ImageShape, Split};
use engine::params::Precision;
use engine::{Engine, Grads, Images, Keep, Network, Norm, Params, Work, cost};
use labels::{Check, Form, LabelSet, RowTable, Session, Spec, Teacher, Views};
use method::attack::{Pgd, Start, Victim};
use method::init::initialise;
use method::objective::{Epoch, Memory, Needs};
use method::optim::Sgd;
use method::rng::{Purpose, Stream};
use method::schedule::Schedule;
use method::taps::Taps;
use method::threat::{Fraction, Threat};
use method::transform::Transforms;
use method::view::{Augment, ViewPlan};
use serde::Serialize;
use zoo::Task;

use crate::course::Visit;
use crate::error::RunError;
use crate::source::{self, Supply};
use crate::step::{Moving, TrainStep};

pub use plan::{Longest, Parallelism, Planning, Threads, plan};

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// A forward under running statistics, as a teacher runs.
    Forward,
    /// One iteration of PGD: forward, image gradient, step and projection.
    Attack,
    /// A plain training step: one forward under batch statistics, its backward, SGD.
    Train,
    /// A whole RSLAD step: views and labels from a label set, PGD-10, both forwards, both backwards, SGD.
    Step,
}

/// What to time.
pub struct Bench<'a> {
    /// The architecture.
    pub student: &'a str,
    /// Image size and classes.
    pub task: Task,
    /// Images at a time.
    pub batch: usize,
    /// What is timed.
    pub mode: Mode,
    /// Timed repetitions.
    pub repetitions: usize,
    /// What runs it.
    pub engine: &'a dyn Engine,
    /// Its threads.
    pub threads: usize,
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Timing {
    /// The architecture.
    pub student: String,
    /// The engine.
    pub engine: &'static str,
    /// `cpu`, or the name of the card.
    pub device: String,
    /// What was timed.
    pub mode: Mode,
    /// Images at a time.
    pub batch: usize,
    /// Threads.
    pub threads: usize,
    /// Timed repetitions.
    pub repetitions: usize,
    /// The median repetition.
    pub median_seconds: f64,
    /// The fastest.
    pub least_seconds: f64,
    /// Half of the repetitions lie within this much of each other, in percent of the median.
    pub spread_percent: f64,
    /// Images per second of the median.
    pub images_per_second: f64,
    /// GFLOP/s of the median, as a direct convolution would need them (two per multiply-accumulate).
    pub gflops: f64,
    /// Fused multiply-adds that the machine's threads do per second, times two, in GFLOP/s: measured just before; none on
    /// a GPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_gflops: Option<f64>,
    /// `gflops` in percent of the peak; a fast algorithm for convolutions may exceed 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_percent: Option<f64>,
    /// The most memory that the process has held, in MiB.
    pub peak_memory_mib: Option<f64>,
    /// What it asks of a GPU, and the time that a model of the card gives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub work: Option<Asked>,
    /// Of a step: gathering the views and reading the label set, in percent of the median.
    pub gathering_percent: Option<f64>,
}

/// What is asked of a GPU.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Asked {
    /// Kernels.
    pub launches: usize,
    /// 10^9 bytes that they read and write.
    pub gigabytes: f64,
    /// 10^12 floating-point operations of convolutions and fully connected layers.
    pub teraflop: f64,
    /// Seconds by the model of the card.
    pub model_seconds: f64,
}

impl Asked {
    /// Of what is timed, where the engine has a model.
    fn of(bench: &Bench, network: &Network) -> Option<Self> {
        let pass = |norm, keep| bench.engine.demand(network, norm, keep, bench.batch);
        let attack = pass(Norm::Running, Keep::ForImage)?;
        let train = pass(Norm::Batch, Keep::ForParams)?;
        let work = match bench.mode {
            Mode::Forward => pass(Norm::Running, Keep::Nothing)?,
            Mode::Attack => attack,
            Mode::Train => train,
            Mode::Step => {
                let mut step = attack.times(STEPS);
                step += train.times(2);
                step
            }
        };
        Some(Self {
            launches: work.launches,
            gigabytes: work.bytes / 1e9,
            teraflop: work.flop / 1e12,
            model_seconds: work.seconds,
        })
    }
}

impl fmt::Display for Timing {
    /// A few lines, at most 80 columns wide.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { student, engine, mode, batch, threads, repetitions, .. } = self;
        let head = format!("{student}, {mode:?} of {batch} images, {engine}").to_lowercase();
        match self.device.as_str() {
            "cpu" => writeln!(f, "{head}, {threads} threads")?,
            card => writeln!(f, "{head}, {card}")?,
        }
        writeln!(
            f,
            "median of {repetitions}: {:.2} ms, half within {:.1} %; {:.0} images/s",
            self.median_seconds * 1e3,
            self.spread_percent,
            self.images_per_second
        )?;
        write!(f, "{:.0} GFLOP/s of direct convolution", self.gflops)?;
        if let (Some(percent), Some(peak)) = (self.peak_percent, self.peak_gflops) {
            write!(f, ", {percent:.0} % of the {peak:.0} that the threads' FMA reach")?;
        }
        writeln!(f)?;
        if let Some(Asked { launches, gigabytes, teraflop, model_seconds }) = self.work {
            let model = model_seconds * 1e3;
            writeln!(
                f,
                "{launches} launches, {gigabytes:.2} GB, {teraflop:.3} TFLOP: {model:.2} ms by the model"
            )?;
        }
        if let Some(percent) = self.gathering_percent {
            writeln!(f, "gathering views and labels: {percent:.2} %")?;
        }
        if let Some(mib) = self.peak_memory_mib {
            writeln!(f, "peak memory: {mib:.0} MiB")?;
        }
        Ok(())
    }
}

/// Times it.
pub fn bench(bench: &Bench) -> Result<Timing, RunError> {
    let (row, network) = zoo::build(bench.student, bench.task)?;
    let work = match bench.mode {
        Mode::Forward => Work::Forward,
        Mode::Attack => Work::Attack,
        Mode::Train | Mode::Step => Work::Training,
    };
    cli::refuse_too_large(bench.engine, &[(&network, work)], bench.batch)?;
    // What a card's units could do is not measured here.
    let on_processor = bench.engine.hardware().room.is_none();
    let isa = bench.engine.name().strip_prefix("cpu-").and_then(|set| set.parse().ok());
    let peak_gflops = on_processor.then(|| engine::peak_gflops(bench.threads, isa));
    let params = initialise(&network, row.init, 0, Precision::F32);
    let macs = cost::network(&network).macs as f64 * bench.batch as f64;
    let mut gathering = Vec::new();
    let (seconds, passes) = match bench.mode {
        Mode::Forward => {
            let images = random_images(bench);
            let run = || bench.engine.logits(&network, &params, &images).map(drop);
            (repeat(bench.repetitions, run)?, 1)
        }
        Mode::Attack => (attack(bench, &network, &params)?, 2),
        Mode::Train => (train(bench, &network, params)?, 3),
        Mode::Step => (step(bench, &network, params, &mut gathering)?, STEPS * 2 + 2 * 3),
    };
    let [low, median_seconds, high] = quartiles(&seconds);
    let gflops = 2.0 * macs * passes as f64 / median_seconds / 1e9;
    Ok(Timing {
        student: bench.student.into(),
        engine: bench.engine.name(),
        device: bench.engine.hardware().device,
        mode: bench.mode,
        batch: bench.batch,
        threads: bench.threads,
        repetitions: bench.repetitions,
        median_seconds,
        least_seconds: seconds.iter().copied().fold(f64::INFINITY, f64::min),
        spread_percent: 100.0 * (high - low) / median_seconds,
        images_per_second: bench.batch as f64 / median_seconds,
        gflops,
        peak_gflops,
        peak_percent: peak_gflops.map(|peak| 100.0 * gflops / peak),
        peak_memory_mib: peak_memory(),
        work: Asked::of(bench, &network),
        gathering_percent: (!gathering.is_empty()).then(|| 100.0 * quartiles(&gathering)[1] / median_seconds),
    })
}

/// Iterations of PGD in a step.
const STEPS: usize = 10;

fn eps() -> Fraction {
    "8/255".parse().expect("a fraction")
}

fn attack(bench: &Bench, network: &Network, params: &Params) -> Result<Vec<f64>, RunError> {
    let images = random_images(bench);
    let victim = Victim::new(bench.engine, network, params);
    let threat = Threat::linf(eps().value());
    let pgd = Pgd { threat, steps: STEPS, step_size: eps().usual_step().value(), start: Start::Image };
    let places: Vec<usize> = (0..bench.batch).collect();
    let starts = method::attack::Starts { seed: 0, purpose: Purpose::Start, epoch: 0, images: &places };
    let classes = bench.task.classes;
    let target = (Tensor::ones((bench.batch, classes), DType::F32, &Device::Cpu)? / classes as f64)?;
    // Reading the result is what waits for a device that only queued it.
    let attacks =
        repeat(bench.repetitions, || pgd.flee(&victim, &target, &images, &starts)?.tensor().map(drop))?;
    Ok(attacks.into_iter().map(|seconds| seconds / STEPS as f64).collect())
}

fn train(bench: &Bench, network: &Network, mut params: Params) -> Result<Vec<f64>, RunError> {
    let images = random_images(bench);
    let mut grads = Grads::zeros(network.layout(), Precision::F32);
    let mut sgd = Sgd::new(&params, 0.9, 2e-4);
    repeat(bench.repetitions, || {
        let pass = bench.engine.forward(network, &params, &images, Norm::Batch, Keep::ForParams, &[])?;
        bench.engine.move_statistics(network, &mut params, &pass.stats)?;
        let seed = (pass.logits / bench.batch as f64)?;
        bench.engine.clear(&mut grads)?;
        bench.engine.backward(pass.tape, &[Some(seed)], Some(&mut grads))?;
        sgd.step(bench.engine, &mut params, &grads, 1e-3)
    })
}

fn step(
    bench: &Bench,
    network: &Network,
    params: Params,
    gathering: &mut Vec<f64>,
) -> Result<Vec<f64>, RunError> {
    let dataset = random_dataset(bench)?;
    let folder = tempfile::tempdir().map_err(|source| {
        RunError::Refused(format!("cannot make a folder for a label set: {source}\nhint: set TMPDIR"))
    })?;
    let augment: Augment = "crop4+flip".parse().expect("the augmentation's own name");
    let set = random_labels(&dataset, augment, folder.path())?;
    let supply = Supply {
        teacher: source::Teacher { labels: Some(Box::new(set)), ..source::Teacher::default() },
        second: source::Teacher::default(),
        plan: ViewPlan::all(augment),
        needs: Needs::cached_labels(),
        transforms: Transforms::default(),
        views: 1,
        strong: false,
        taps: Taps::default(),
        shelf: engine::Shelf::default(),
    };
    let objective = method::objective::Rslad::default();
    let step = TrainStep {
        engine: bench.engine,
        network,
        objective: &objective,
        teacher: None,
        second: None,
        taps: None,
        threat: Threat::linf(eps().value()),
        steps: STEPS,
        step_size: eps().usual_step().value(),
        seed: 0,
    };
    let sgd = Sgd::new(&params, 0.9, 2e-4);
    let mut moving = Moving::new(params, sgd, Memory::default());
    let visits: Vec<_> = (0..bench.batch).map(Visit::once).collect();
    let mut epoch = 0;
    repeat(bench.repetitions, || {
        let began = Instant::now();
        let at = Epoch { number: epoch, of: usize::MAX, schedule: Schedule::Multistep };
        let batch = supply.batch(bench.engine, &dataset, &visits, 0, at)?;
        if epoch > 0 {
            gathering.push(began.elapsed().as_secs_f64());
        }
        epoch += 1;
        step.run(&mut moving, batch, 1e-3)?;
        Ok::<_, RunError>(())
    })
}

fn random_images(bench: &Bench) -> Images {
    let [channels, height, width] = bench.task.input;
    let mut values = vec![0.0; bench.batch * channels * height * width];
    Stream::new(0, Purpose::Init, 0, 0).uniforms(&mut values);
    let values: Vec<f32> = values.into_iter().map(|value| value as f32).collect();
    Tensor::from_vec(values, (bench.batch, channels, height, width), &Device::Cpu)
        .expect("as many values as the shape has")
        .into()
}

fn random_dataset(bench: &Bench) -> Result<Dataset, RunError> {
    let [channels, height, width] = bench.task.input;
    let mut values = vec![0.0; bench.batch * channels * height * width];
    Stream::new(0, Purpose::Init, 0, 1).uniforms(&mut values);
    let images = values.into_iter().map(|value| (value * 256.0) as u8).collect();
    let labels = (0..bench.batch).map(|i| (i % bench.task.classes) as i32).collect();
    let names = (0..bench.task.classes).map(|class| class.to_string()).collect();
    let shape = ImageShape { height, width, channels };
    Ok(Dataset::new("random", Split::Train, shape, images, labels, names)?)
}

/// A label set of all views with random logits.
fn random_labels(
    dataset: &Dataset,
    augment: Augment,
    folder: &std::path::Path,
) -> Result<LabelSet, RunError> {
    let rows = RowTable::all(dataset.len(), augment);
    let mut spec = Spec::new(dataset.record(), augment, Views::All, rows, Teacher::named("random"));
    spec.form = Form::Safetensors;
    let mut session = Session::open(folder, spec)?;
    for job in session.pending() {
        let mut logits = vec![0.0; job.rows.len() * dataset.classes()];
        Stream::new(0, Purpose::Init, 0, 2 + job.index).normals(&mut logits);
        let logits: Vec<f32> = logits.into_iter().map(|value| value as f32).collect();
        session.write(&job, &logits)?;
    }
    session.finish()?;
    Ok(LabelSet::open(folder, Check::Used)?)
}

/// Seconds of each repetition, after warming up: the first runs plan, allocate and fill caches.
fn repeat<E: Into<RunError>>(
    repetitions: usize,
    mut run: impl FnMut() -> Result<(), E>,
) -> Result<Vec<f64>, RunError> {
    const WARM_UP: usize = 2;
    let mut seconds = Vec::with_capacity(repetitions);
    for repetition in 0..repetitions + WARM_UP {
        let began = Instant::now();
        run().map_err(Into::into)?;
        if repetition >= WARM_UP {
            seconds.push(began.elapsed().as_secs_f64());
        }
    }
    Ok(seconds)
}

/// The first quartile, the median and the third.
fn quartiles(values: &[f64]) -> [f64; 3] {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| sorted[(sorted.len() - 1) * quarter / 4])
}

/// The process's high-water mark, where the system tells it.
fn peak_memory() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_of_few_values_are_values() {
        assert_eq!(quartiles(&[3.0, 1.0, 2.0, 5.0, 4.0]).map(|second| second as u32), [2, 3, 4]);
        assert_eq!(quartiles(&[7.0]).map(|second| second as u32), [7; 3]);
    }
}
