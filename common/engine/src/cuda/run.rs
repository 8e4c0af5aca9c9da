//! Running a program: each instruction is one launch or a few, on the whole batch.

mod launches;

use super::arguments::{Address, BiasGradient, Each, Finish, Wide};
use super::conv::{Data, SUMS_BLOCK, int};
use super::device::{Grid, Kernels};
use super::error::DeviceError;
use super::pack::{Packed, Values, norm_grid};
use super::planned::Planned;
use crate::graph::{Elementwise, Role};
use crate::plan::{self, Action, Activation, Instruction, Place, Slot, SlotInfo, Value, padded};

/// One forward or backward of a batch, every address of it on the device.
#[derive(Clone, Copy)]
pub(super) struct Run<'a> {
    pub(super) kernels: Kernels<'a>,
    pub(super) planned: &'a Planned,
    pub(super) packed: &'a Packed,
    pub(super) values: Values<'a>,
    pub(super) images: usize,
    pub(super) memory: Memory,
    pub(super) caller: Caller<'a>,
}

/// The memory of a run.
#[derive(Clone, Copy, Default)]
pub(super) struct Memory {
    /// Slots kept from forward to backward.
    pub(super) tape: Address,
    /// Normalisations under the batch's own moments, kept likewise.
    pub(super) norms: Address,
    /// The program's other slots.
    pub(super) batch: Address,
    /// Parts of one sum over the batch.
    pub(super) parts: Address,
}

/// What a run reads from its caller and writes for it.
#[derive(Clone, Copy, Default)]
pub(super) struct Caller<'a> {
    /// f32 `(N, C, H, W)`.
    pub(super) images: Address,
    /// f32 of each output, `(N, ...)`.
    pub(super) outputs: &'a [Address],
    /// f32 before any rounding `[image][padded channels]`, for outputs that have it.
    pub(super) wide: &'a [Address],
    /// Where statistics of the batch go, laid out as the running ones; or none.
    pub(super) statistics: Address,
    /// f32 gradients of the outputs; 0 means zero.
    pub(super) seeds: &'a [Seed],
    /// Where f32 `(N, C, H, W)` goes; or none, where whoever runs it reads the map itself.
    pub(super) image_gradient: Address,
    /// f32 gradients of the parameters, to be added to; or none.
    pub(super) gradients: Address,
}

/// The gradient of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seed {
    /// Zero.
    None,
    /// f32 in the caller's layout.
    Given(Address),
    /// It lies in its slot already.
    Placed,
}

/// The most bytes that [`Memory::parts`] needs for a program of so many images.
pub(super) fn parts_bytes(processors: usize, planned: &Planned, images: usize) -> usize {
    let programs = planned.plan.forward.iter().chain(&planned.plan.backward);
    let floats = programs.map(|instruction| match instruction.action {
        Action::Moments { norm } | Action::GradientMoments { norm } => {
            let norm = &planned.plan.steps.norms[norm];
            2 * norm.pixel * (images * norm.positions).div_ceil(SUMS_BLOCK)
        }
        Action::Bias { conv } => {
            let [channels, height, width] = planned.plan.steps.convs[conv].shape.output;
            2 * padded(channels) * (images * height * width).div_ceil(SUMS_BLOCK)
        }
        Action::Weight { weight } => {
            let conv = &planned.convs[planned.plan.weights[weight]];
            conv.parts(processors, images) * conv.part_len()
        }
        _ => 0,
    });
    floats.max().unwrap_or(0) * size_of::<f32>()
}

impl Run<'_> {
    /// Queues a program.
    pub(super) fn program(&self, program: &[Instruction]) -> Result<(), DeviceError> {
        let mut blocks = None;
        for (index, instruction) in program.iter().enumerate() {
            let next = program.get(index + 1);
            blocks = self.instruction(index, instruction, next, blocks)?;
        }
        Ok(())
    }

    /// Where a slot begins.
    pub(super) fn at(&self, slot: Slot) -> Address {
        let (base, offset) = match self.planned.plan.places[slot.0] {
            Place::Tape(offset) => (self.memory.tape, offset),
            Place::Batch(offset) => (self.memory.batch, offset),
            Place::Chunk(_) | Place::Stage(..) | Place::Nowhere => {
                unreachable!("a program touches slots that it has")
            }
        };
        base + (offset * self.images) as Address
    }

    fn slot(&self, slot: Option<Slot>) -> Address {
        slot.map_or(0, |slot| self.at(slot))
    }

    fn value(&self, slot: Option<Slot>) -> &Value {
        let slot = slot.expect("an action is emitted with its slots");
        let SlotInfo::Map { value, .. } = self.planned.plan.slots[slot.0] else {
            unreachable!("bits are not a value")
        };
        self.planned.plan.steps.value(value)
    }

    fn finish(&self, finish: &plan::Finish) -> Finish {
        Finish {
            residual: self.slot(finish.residual),
            bits_out: self.slot(finish.bits_out),
            gate: self.slot(finish.gate),
            accumulate: finish.accumulate.into(),
            activation: match finish.activation {
                Activation::None => 0,
                Activation::Relu => 1,
                Activation::Relu6 => 2,
            },
        }
    }

    /// Queues one instruction. `blocks`: how many blocks of moments the one before left in the parts, if it did; gives the
    /// same to the next.
    #[allow(clippy::too_many_lines, reason = "one arm for each action, so that none is forgotten")]
    fn instruction(
        &self,
        index: usize,
        instruction: &Instruction,
        next: Option<&Instruction>,
        blocks: Option<usize>,
    ) -> Result<Option<usize>, DeviceError> {
        let [a, b] = instruction.from.map(|slot| self.slot(slot));
        let to = self.slot(instruction.to);
        let of_a = || self.value(instruction.from[0]);
        let of_to = || self.value(instruction.to);
        let finish = self.finish(&instruction.finish);
        let kept = self.slot(instruction.kept);
        let kernels = self.kernels;
        let launch = |kernel, each: &Each| kernels.launch(kernel, Grid::of(each.chunks as usize), each);
        // An elementwise launch over the whole of a value.
        let each = |value: &Value| Each {
            a,
            b,
            to,
            kept,
            finish,
            chunks: (self.images * positions(value) * padded(value.shape[0]) / 8) as u64,
            pixel: int(padded(value.shape[0])),
            places: int(positions(value)),
            ..Each::default()
        };
        match &instruction.action {
            Action::Import => self.import(self.caller.images, to, of_to(), true)?,
            Action::ExportImage => {
                if self.caller.image_gradient != 0 {
                    self.export(a, self.caller.image_gradient, of_a(), true)?;
                }
            }
            Action::Export { output } => {
                let value = of_a();
                let out = self.caller.outputs[*output];
                // Of outputs of one value the first has the wide ones.
                let outputs = &self.planned.plan.steps.outputs;
                let first = outputs.iter().position(|other| other.0 == outputs[*output].0).unwrap_or(*output);
                if out == 0 {
                    // Whoever runs it reads the wide values.
                } else if self.caller.wide[first] == 0 {
                    self.export(a, out, value, false)?;
                } else {
                    let (channels, pixel) = (value.shape[0], padded(value.shape[0]));
                    let from = self.caller.wide[first];
                    let wide = Wide {
                        from,
                        to: out,
                        rows: int(self.images),
                        channels: int(channels),
                        pixel: int(pixel),
                    };
                    kernels.launch("export_wide", Grid::of(self.images * channels), &wide)?;
                }
            }
            Action::Seed { output } => match self.caller.seeds[*output] {
                Seed::Given(seed) => self.import(seed, to, of_to(), false)?,
                Seed::Placed => {}
                Seed::None => {
                    let value = of_to();
                    let bytes =
                        self.images * positions(value) * padded(value.shape[0]) * kernels.storage.bytes();
                    kernels.device.clear_at(to, bytes)?;
                }
            },
            Action::Product { product, bias } => {
                let (conv, direction) = self.planned.product(*product);
                let output = self.planned.wide.iter().position(|wide| *wide == Some(index));
                let forward = direction == plan::Direction::Forward;
                let wide = output.filter(|_| forward).map_or(0, |output| self.caller.wide[output]);
                let summed = matches!(next, Some(Instruction { action: Action::Moments { .. }, from, .. })
                    if from[0] == instruction.to);
                let fuses = summed && forward && conv.is_product();
                let data = Data {
                    from: a,
                    weight: self.packed.weights(self.planned, *product),
                    to,
                    wide,
                    bias: bias.map_or(0, |conv| self.packed.bias(self.planned, conv)),
                    moments: if fuses { self.memory.parts } else { 0 },
                    finish,
                };
                let blocks = conv.run(kernels, direction, self.images, data)?;
                return Ok(fuses.then_some(blocks));
            }
            Action::Weight { weight } => self.weight_gradient(*weight, [a, b])?,
            Action::Bias { conv } => {
                if self.caller.gradients != 0 {
                    let value = of_a();
                    let blocks = self.sums("channel_sums", [a, 0, 0], value)?;
                    let node = self.planned.plan.steps.convs[*conv].node;
                    let sum = BiasGradient {
                        parts: self.memory.parts,
                        gradient: self.gradient(node, Role::Bias),
                        blocks: int(blocks),
                        channels: int(value.shape[0]),
                        pixel: int(padded(value.shape[0])),
                    };
                    kernels.launch("bias_gradient", norm_grid(padded(value.shape[0])), &sum)?;
                }
            }
            Action::Moments { norm } => {
                let blocks = match blocks {
                    Some(blocks) => blocks,
                    None => self.sums("channel_sums", [a, 0, 0], of_a())?,
                };
                self.moments(*norm, blocks)?;
            }
            Action::Affine { norm } => {
                let coefficients = self.norm(*norm)[1];
                launch("affine", &Each { coefficients, ..each(of_to()) })?;
            }
            Action::GradientMoments { norm } => {
                let blocks = self.sums("channel_gradient_sums", [a, b, self.norm(*norm)[1]], of_a())?;
                self.gradient_moments(*norm, blocks)?;
            }
            Action::AffineGradient { norm } => {
                // Where the moments are constants the slope is 0: any map stands for the input.
                let b = if b == 0 { a } else { b };
                launch("affine_gradient", &Each { coefficients: self.norm(*norm)[2], b, ..each(of_to()) })?;
            }
            Action::Store => launch("store", &each(of_to()))?,
            Action::Rework => launch("rework", &each(of_to()))?,
            Action::Elementwise(Elementwise::Silu) => launch("silu", &each(of_to()))?,
            Action::Elementwise(Elementwise::Sigmoid) => launch("sigmoid", &each(of_to()))?,
            Action::MeanSparse { band } => {
                let coefficients = self.packed.band(self.planned, *band);
                launch("mean_sparse", &Each { coefficients, ..each(of_to()) })?;
            }
            Action::Multiply => launch("multiply", &each(of_to()))?,
            Action::MultiplyKept => launch("multiply", &Each { b: kept, kept: 0, ..each(of_to()) })?,
            Action::MultiplyChannels => launch("multiply_channels", &each(of_to()))?,
            Action::ChannelProducts => self.position_sums([a, b, to], finish, 1.0, of_a())?,
            Action::Concat { start } => {
                self.channels([a, to], finish, [0, *start], of_a(), of_to(), false)?;
            }
            Action::ConcatGradient { start } => {
                self.channels([a, to], finish, [*start, 0], of_a(), of_to(), false)?;
            }
            Action::PadChannels { before } => {
                self.channels([a, to], finish, [0, *before], of_a(), of_to(), true)?;
            }
            Action::Standardize => self.standardize("standardize", [a, 0, to], finish, of_to())?,
            Action::StandardizeGradient => {
                self.standardize("standardize_gradient", [b, a, to], finish, of_to())?;
            }
            Action::MaxPool(pool) => self.pool("max_pool", pool, [a, to, kept], finish, [of_a(), of_to()])?,
            Action::MaxPoolGradient(pool) => {
                self.pool("max_pool_gradient", pool, [a, to, kept], finish, [of_to(), of_a()])?;
            }
            Action::AvgPool(pool) if pool.kernel == of_a().shape[1..] => {
                let scale = 1.0 / positions(of_a()) as f32;
                self.position_sums([a, 0, to], finish, scale, of_a())?;
            }
            Action::AvgPool(pool) => self.pool("avg_pool", pool, [a, to, 0], finish, [of_a(), of_to()])?,
            Action::AvgPoolGradient(pool) => {
                self.pool("avg_pool_gradient", pool, [a, to, 0], finish, [of_to(), of_a()])?;
            }
            Action::Flatten => self.flatten("flatten", [a, to], finish, [of_a(), of_to()])?,
            Action::FlattenGradient => {
                self.flatten("flatten_gradient", [a, to], finish, [of_to(), of_a()])?;
            }
        }
        Ok(None)
    }
}

/// Rows times columns.
fn positions(value: &Value) -> usize {
    value.shape[1] * value.shape[2]
}
