//! Which engine runs: a table of them, and the names that command lines take.

use std::fmt;
use std::str::FromStr;

use names::{Table, Unknown};

use crate::cpu::InstructionSet;
use crate::cuda::{self, DeviceError, Storage};
use crate::engine::{Engine, EngineRow};
use crate::error::EngineError;
use crate::{cpu, reference};

/// Every engine, the usual one first.
pub static ENGINES: &Table<EngineRow> = &[&cpu::ROW, &cuda::ROW, &AUTO, &reference::ROW];

/// Not an engine, but a choice among them: see [`Kind::choose`].
static AUTO: EngineRow = EngineRow {
    name: "auto",
    summary: "the first NVIDIA GPU where there is one, else cpu",
    start: |start| Kind::AUTO.choose().0.start(start),
};

/// An engine by its name, and which of several devices it is for.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    row: &'static EngineRow,
    ordinal: usize,
}

/// How an engine is started.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// Threads on the processor; no result depends on them.
    pub threads: usize,
    /// As in [`Cpu::exact_conv`](crate::Cpu::exact_conv); other engines are always exact.
    pub exact_conv: bool,
    /// As in [`Cpu::recompute`](crate::Cpu::recompute); other engines keep every map.
    pub recompute: bool,
    /// What it is started for.
    pub purpose: Purpose,
    /// Whose kernels the processor runs, where somebody chose; else the best that it has.
    pub isa: Option<InstructionSet>,
    /// How a GPU stores maps, where somebody chose: in attacks and training, or in labels. What is judged by stays f32.
    pub precision: Option<Storage>,
    /// Which GPU, counted from 0.
    pub ordinal: usize,
}

/// What an engine is started for: how finely a GPU computes where nobody chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Forwards that keep nothing, for labels: f32, or whatever was chosen.
    Labels,
    /// Attacks whose count is to be quoted: f32. A search that sees gradients in 16 bits finds less.
    Judging,
    /// Attacks and passes of training: 16 bits.
    Training,
}

impl Kind {
    const AUTO: Self = Self { row: &AUTO, ordinal: 0 };

    /// Every engine, the usual one first.
    pub fn all() -> impl Iterator<Item = Self> {
        ENGINES.iter().map(|row| Self { row, ordinal: 0 })
    }

    /// `cpu`, `cuda`, `auto` or `reference`.
    pub fn name(self) -> &'static str {
        self.row.name
    }

    /// Whether it computes in one of several precisions, of which somebody may choose.
    pub fn has_precisions(self) -> bool {
        [cuda::ROW.name, AUTO.name].contains(&self.name())
    }

    /// What `auto` stands for on this machine, and why; any other stands for itself.
    pub fn choose(self) -> (Self, Option<String>) {
        if self.name() != AUTO.name {
            return (self, None);
        }
        match cuda::usable(0) {
            Ok(card) => (Self { row: &cuda::ROW, ordinal: 0 }, Some(format!("cuda, since there is {card}"))),
            Err(error) => {
                let why = error.to_string();
                (Self::default(), Some(format!("cpu: {}", why.lines().next().unwrap_or_default())))
            }
        }
    }

    /// Starts it.
    pub fn start(self, start: &Start) -> Result<Box<dyn Engine>, EngineError> {
        if let Some(precision) = start.precision.filter(|&one| one != Storage::F32 && !self.has_precisions())
        {
            return Err(EngineError::Precisions { engine: self.name(), precision: precision.name() });
        }
        if let Some(set) = start.isa.filter(|_| [cuda::ROW.name, reference::ROW.name].contains(&self.name()))
        {
            return Err(EngineError::NoKernels { engine: self.name(), set: set.name() });
        }
        (self.row.start)(&Start { ordinal: self.ordinal, ..*start })
    }
}

impl Default for Kind {
    fn default() -> Self {
        Self { row: ENGINES[0], ordinal: 0 }
    }
}

impl PartialEq for Kind {
    fn eq(&self, other: &Self) -> bool {
        (self.name(), self.ordinal) == (other.name(), other.ordinal)
    }
}

impl Eq for Kind {}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        if self.ordinal > 0 { write!(f, ":{}", self.ordinal) } else { Ok(()) }
    }
}

impl FromStr for Kind {
    type Err = Unknown;

    /// A name, and for GPUs a number behind a colon.
    fn from_str(text: &str) -> Result<Self, Unknown> {
        if let Some((name, number)) = text.split_once(':')
            && names::plain(name) == cuda::ROW.name
            && let Ok(ordinal) = number.parse()
        {
            return Ok(Self { row: &cuda::ROW, ordinal });
        }
        names::find(ENGINES, text).map(|row| Self { row, ordinal: 0 })
    }
}

impl From<DeviceError> for EngineError {
    fn from(error: DeviceError) -> Self {
        Self::Device(Box::new(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Start = Start {
        threads: 1,
        exact_conv: false,
        recompute: true,
        purpose: Purpose::Training,
        isa: None,
        precision: None,
        ordinal: 0,
    };

    #[test]
    fn every_engine_is_found_by_its_name_and_starts_or_says_that_there_is_no_gpu() {
        for kind in Kind::all() {
            assert_eq!(kind.name().parse::<Kind>().unwrap(), kind);
            match kind.start(&START) {
                Ok(engine) => assert!(
                    engine.name().starts_with(kind.choose().0.name()),
                    "{kind} starts {}",
                    engine.name()
                ),
                Err(EngineError::Device(_)) => assert_eq!(kind.name(), "cuda"),
                Err(error) => panic!("{kind}: {error}"),
            }
        }
        let error = "fpga".parse::<Kind>().unwrap_err().to_string();
        assert_eq!(error, "unknown device `fpga`\nhint: known: cpu, cuda, auto, reference");
        let error = "mps".parse::<Kind>().unwrap_err().to_string();
        assert!(
            error.starts_with("unknown device `mps`\nhint: nothing here runs on Apple's GPUs"),
            "{error}"
        );
    }

    #[test]
    fn gpus_have_numbers_and_other_engines_have_none() {
        let named = |text: &str| text.parse::<Kind>().map(|kind| kind.to_string());
        assert_eq!(named("cuda:0").unwrap(), "cuda");
        assert_eq!(named("CUDA:3").unwrap(), "cuda:3");
        for wrong in ["cuda:", "cuda:x", "cuda:-1", "cpu:1", "auto:0"] {
            assert!(named(wrong).is_err(), "{wrong}");
        }
    }

    /// It would be ignored, and what was measured taken for another instruction set's.
    #[test]
    fn an_instruction_set_is_refused_where_other_things_than_the_processors_kernels_run() {
        let start = Start { isa: Some(InstructionSet::Portable), ..START };
        for name in ["cuda", "cuda:1", "reference"] {
            let error = name.parse::<Kind>().unwrap().start(&start).err().expect("refused").to_string();
            let said =
                error.starts_with("--isa portable chooses among the processor's kernels, and the device is");
            assert!(said && error.ends_with("\nhint: leave --isa out, or choose --device cpu"), "{error}");
        }
        assert_eq!(Kind::default().start(&start).unwrap().name(), "cpu-portable");
    }

    #[test]
    fn only_a_gpu_takes_a_precision() {
        let start = Start { precision: Some(Storage::Bf16), ..START };
        for name in ["cpu", "reference"] {
            let error = name.parse::<Kind>().unwrap().start(&start).err().expect("refused").to_string();
            assert!(error.contains("precision bf16 is for GPUs") && error.contains("hint:"), "{error}");
        }
    }
}
