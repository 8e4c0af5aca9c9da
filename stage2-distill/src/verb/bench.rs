//! Flags of `distill bench`.

use std::str::FromStr;

use clap::Args;
use cli::{Interruptible, Machine, MachineArgs, Stop, note, show, whole};
use engine::{Cpu, Kind};
use zoo::Task;

use crate::bench::{Bench, Mode, Planning, bench, plan};
use crate::error::RunError;

/// Flags of `distill bench`.
#[derive(Args)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct BenchArgs {
    /// Architecture
    #[arg(long, value_name = "NAME")]
    student: String,
    /// Images at a time
    #[arg(long, value_name = "N", default_value = "128", value_parser = whole::<1, 65536>)]
    batch: u32,
    /// What is timed: forward, attack, train or step
    #[arg(long, value_name = "MODE", default_value = "step", hide_possible_values = true)]
    mode: Mode,
    /// Timed repetitions, after two to warm up
    #[arg(long, value_name = "N", default_value = "7", value_parser = whole::<1, 100_000>)]
    repetitions: u32,
    /// Channels, height and width of an image
    #[arg(long, value_name = "CxHxW", default_value = "3x32x32")]
    input: ImageSize,
    /// Classes
    #[arg(long, value_name = "K", default_value = "10", value_parser = whole::<2, 65536>)]
    classes: u32,
    /// No fast convolution that rounds more than a plain sum
    #[arg(long)]
    exact_conv: bool,
    /// Keep normalised maps for the way back, as `--set recompute=false` of a training
    #[arg(long)]
    keep_maps: bool,
    /// Time nothing: say how much of it can run at once, by the processor's plan
    #[arg(long, conflicts_with = "repetitions")]
    plan: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl BenchArgs {
    pub(super) fn run(&self, machine: MachineArgs) -> Result<(), RunError> {
        let stop = Stop::on_signals_after("this pass")?;
        let machine = Machine { recompute: !self.keep_maps, ..machine.machine() };
        if self.plan {
            return self.plan(machine);
        }
        let engine = match self.mode {
            Mode::Forward => machine.start_for_labels()?,
            Mode::Attack | Mode::Train | Mode::Step => machine.start(self.exact_conv)?,
        };
        note(format_args!(
            "{}: {} + 2 times {:?} of {} images on {}",
            self.student,
            self.repetitions,
            self.mode,
            self.batch,
            cli::whereabouts(engine.as_ref(), machine.threads)
        ));
        let timing = bench(&Bench {
            student: &self.student,
            task: Task { input: self.input.0, classes: self.classes as usize },
            batch: self.batch as usize,
            mode: self.mode,
            repetitions: self.repetitions as usize,
            engine: &Interruptible::new(engine.as_ref(), &stop),
            threads: machine.threads,
        })?;
        Ok(show(&timing, self.json)?)
    }

    /// Reads off the plan instead.
    fn plan(&self, machine: Machine) -> Result<(), RunError> {
        let device = machine.engine.name();
        if machine.engine != Kind::default() {
            return Err(RunError::Refused(format!(
                "--plan is about threads of a processor, and --device is {device}\nhint: leave --device out"
            )));
        }
        let engine = match machine.isa {
            Some(set) => Cpu::of(set, 1)?,
            None => Cpu::new(1)?,
        };
        let engine = engine.exact_conv(self.exact_conv);
        let plan = plan(&Planning {
            student: &self.student,
            task: Task { input: self.input.0, classes: self.classes as usize },
            batch: self.batch as usize,
            mode: self.mode,
            engine: &engine,
        })?;
        Ok(show(&plan, self.json)?)
    }
}

/// Channels, height and width, as `3x32x32`.
#[derive(Clone, Copy)]
struct ImageSize([usize; 3]);

impl FromStr for ImageSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let sizes: Option<Vec<usize>> =
            text.split('x').map(|size| size.parse().ok().filter(|size| (1..=4096).contains(size))).collect();
        match sizes.as_deref() {
            Some(&[channels, height, width]) => Ok(Self([channels, height, width])),
            _ => Err("wanted channels, height and width, as 3x32x32".into()),
        }
    }
}
