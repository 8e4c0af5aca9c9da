//! Running a program: each instruction is one launch or a few, on the whole batch.

use super::arguments::{
    Address, BiasGradient, ChannelSums, Channels, Each, Finish, Flatten, Images, Norm, NormGradient, Pool,
    PositionSums, Standardize, WeightGradientSum, Wide,
};
use super::conv::{Data, SUMS_BLOCK, Way, int};
use super::device::{Grid, Kernels};
use super::error::DeviceError;
use super::pack::{Packed, Values, norm_grid, norm_parts};
use super::planned::Planned;
use crate::graph::{self, Elementwise, Role};
use crate::plan::{self, Action, Activation, Instruction, Moments, Place, Slot, SlotInfo, Value, padded};

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
            Place::Chunk(_) | Place::Nowhere => unreachable!("a program touches slots that it has"),
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
                if out == 0 {
                    // Whoever runs it reads the wide values.
                } else if self.caller.wide[*output] == 0 {
                    self.export(a, out, value, false)?;
                } else {
                    let (channels, pixel) = (value.shape[0], padded(value.shape[0]));
                    let from = self.caller.wide[*output];
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
                let fuses = summed && forward && conv.way == Way::Product;
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

    /// The caller's f32 images as a map, normalised as the network does first.
    fn import(
        &self,
        images: Address,
        map: Address,
        value: &Value,
        normalise: bool,
    ) -> Result<(), DeviceError> {
        let images = self.images_of([images, map], value, normalise);
        self.kernels.launch(
            "import_images",
            Grid::of(self.images * positions(value) * padded(value.shape[0]) / 8),
            &images,
        )
    }

    /// A map as the caller's f32 images; of a gradient, back through the normalisation.
    fn export(
        &self,
        map: Address,
        images: Address,
        value: &Value,
        normalise: bool,
    ) -> Result<(), DeviceError> {
        let images = self.images_of([images, map], value, normalise);
        self.kernels.launch(
            "export_images",
            Grid::of(self.images * positions(value) * value.shape[0]),
            &images,
        )
    }

    fn images_of(&self, [images, map]: [Address; 2], value: &Value, normalise: bool) -> Images {
        let channels = value.shape[0];
        let normalise = normalise && self.planned.plan.steps.normalise.is_some();
        let [mean, deviation] = if normalise { self.packed.normalisation(channels) } else { [0; 2] };
        Images {
            images,
            map,
            mean,
            deviation,
            count: int(self.images),
            channels: int(channels),
            places: int(positions(value)),
            pixel: int(padded(channels)),
        }
    }

    /// Sums of each channel in blocks, into the parts; gives how many blocks.
    fn sums(
        &self,
        kernel: &'static str,
        [a, b, centre]: [Address; 3],
        value: &Value,
    ) -> Result<usize, DeviceError> {
        let (places, pixel) = (self.images * positions(value), padded(value.shape[0]));
        let sums =
            ChannelSums { a, b, centre, parts: self.memory.parts, places: int(places), pixel: int(pixel) };
        let blocks = places.div_ceil(SUMS_BLOCK);
        let grid = Grid { blocks: [blocks, pixel.div_ceil(64), 1], threads: [256, 1], shared: 16 << 10 };
        self.kernels.launch(kernel, grid, &sums)?;
        Ok(blocks)
    }

    /// Moments, coefficients and the gradient's coefficients of a normalisation: the batch's, or what was packed.
    fn norm(&self, norm: usize) -> [Address; 3] {
        let batch = matches!(self.planned.plan.steps.norms[norm].moments, Moments::Batch);
        let base = if batch { self.memory.norms } else { self.packed.norms.address() };
        norm_parts(base, self.planned, norm)
    }

    fn moments(&self, index: usize, blocks: usize) -> Result<(), DeviceError> {
        let norm = &self.planned.plan.steps.norms[index];
        let [moments, coefficients, _] = self.norm(index);
        let statistic = |role| {
            let entry = self.values.layout.find(norm.node, role).expect("batch normalisation has statistics");
            self.caller.statistics + (entry.range.start * size_of::<f32>()) as Address
        };
        let batch = |role| if self.caller.statistics == 0 { 0 } else { statistic(role) };
        let finish = Norm {
            parts: self.memory.parts,
            gamma: self.values.at(norm.node, Role::Weight),
            beta: self.values.at(norm.node, Role::Bias),
            coefficients,
            moments,
            batch_mean: batch(Role::RunningMean),
            batch_variance: batch(Role::RunningVar),
            eps: norm.eps,
            blocks: int(blocks),
            count: int(self.images * norm.positions),
            channels: int(norm.channels),
            pixel: int(norm.pixel),
            ..Norm::default()
        };
        self.kernels.launch("norm_finish", norm_grid(norm.pixel), &finish)
    }

    fn gradient_moments(&self, index: usize, blocks: usize) -> Result<(), DeviceError> {
        let norm = &self.planned.plan.steps.norms[index];
        let [moments, _, coefficients] = self.norm(index);
        let gradient = |role| if self.caller.gradients == 0 { 0 } else { self.gradient(norm.node, role) };
        let finish = NormGradient {
            parts: self.memory.parts,
            gamma: self.values.at(norm.node, Role::Weight),
            moments,
            coefficients,
            gamma_gradient: gradient(Role::Weight),
            beta_gradient: gradient(Role::Bias),
            blocks: int(blocks),
            count: int(self.images * norm.positions),
            channels: int(norm.channels),
            pixel: int(norm.pixel),
            batch: matches!(norm.moments, Moments::Batch).into(),
        };
        self.kernels.launch("norm_gradient", norm_grid(norm.pixel), &finish)
    }

    /// Where the gradient of a tensor goes.
    fn gradient(&self, node: graph::NodeId, role: Role) -> Address {
        let entry =
            self.values.layout.find(node, role).expect("the layout lists every parameter of its network");
        self.caller.gradients + (entry.range.start * size_of::<f32>()) as Address
    }

    fn weight_gradient(&self, weight: usize, [input, gradient]: [Address; 2]) -> Result<(), DeviceError> {
        if self.caller.gradients == 0 {
            return Ok(());
        }
        let index = self.planned.plan.weights[weight];
        let conv = &self.planned.convs[index];
        let parts = self.memory.parts;
        let count = conv.weight_gradient(self.kernels, self.images, [input, gradient, parts])?;
        let (shape, taps) = (&conv.shape, int(conv.taps()));
        let gradient = self.gradient(self.planned.plan.steps.convs[index].node, Role::Weight);
        let whole = WeightGradientSum {
            parts,
            gradient,
            parts_count: int(count),
            groups: 1,
            taps,
            ..Default::default()
        };
        let sum = match conv.way {
            Way::Product => WeightGradientSum {
                groups: int(shape.groups),
                out_c: int(conv.out_c),
                in_c: int(conv.in_c),
                real_out: int(shape.output[0] / shape.groups),
                real_in: int(shape.input[0] / shape.groups),
                ..whole
            },
            Way::Depthwise => {
                let (in_c, real_in) = (int(padded(shape.input[0])), int(shape.input[0]));
                WeightGradientSum { out_c: 1, real_out: 1, in_c, real_in, ..whole }
            }
            Way::Direct => {
                let pairs = int(shape.weight_len() / conv.taps());
                WeightGradientSum { out_c: pairs, real_out: pairs, in_c: 1, real_in: 1, ..whole }
            }
        };
        self.kernels.launch("weight_gradient_sum", Grid::of(shape.weight_len()), &sum)
    }

    fn position_sums(
        &self,
        [a, b, to]: [Address; 3],
        finish: Finish,
        scale: f32,
        of: &Value,
    ) -> Result<(), DeviceError> {
        let pixel = padded(of.shape[0]);
        let (images, places) = (int(self.images), int(positions(of)));
        let sums = PositionSums { a, b, to, finish, scale, images, places, pixel: int(pixel) };
        let blocks = [self.images, pixel.div_ceil(64), 1];
        self.kernels.launch("position_sums", Grid { blocks, threads: [256, 1], shared: 8 << 10 }, &sums)
    }

    /// Channels of one value as channels of another, from and to these.
    fn channels(
        &self,
        [from, to]: [Address; 2],
        finish: Finish,
        [from_start, to_start]: [usize; 2],
        of_from: &Value,
        of_to: &Value,
        zeros: bool,
    ) -> Result<(), DeviceError> {
        let places = self.images * positions(of_to);
        let (from_channels, to_channels) = (of_from.shape[0], of_to.shape[0]);
        let moved = Channels {
            from,
            to,
            finish,
            places: int(places),
            from_pixel: int(padded(from_channels)),
            from_start: int(from_start),
            to_pixel: int(padded(to_channels)),
            to_start: int(to_start),
            channels: int((from_channels - from_start).min(to_channels - to_start)),
            to_channels: int(to_channels),
            zeros: zeros.into(),
        };
        self.kernels.launch("channels", Grid::of(places * padded(to_channels) / 8), &moved)
    }

    fn standardize(
        &self,
        kernel: &'static str,
        [from, gradient, to]: [Address; 3],
        finish: Finish,
        value: &Value,
    ) -> Result<(), DeviceError> {
        let (images, channels) = (int(self.images), int(value.shape[0]));
        let (places, pixel) = (int(positions(value)), int(padded(value.shape[0])));
        let arguments = Standardize { from, gradient, to, finish, images, channels, places, pixel };
        self.kernels.launch(
            kernel,
            Grid { blocks: [self.images, 1, 1], threads: [256, 1], shared: 2048 },
            &arguments,
        )
    }

    /// `[input, output]` of the forward's side, whichever way it runs.
    fn pool(
        &self,
        kernel: &'static str,
        pool: &graph::Pool,
        [from, to, taps]: [Address; 3],
        finish: Finish,
        [input, output]: [&Value; 2],
    ) -> Result<(), DeviceError> {
        let pixel = padded(input.shape[0]);
        let arguments = Pool {
            from,
            to,
            taps,
            finish,
            images: int(self.images),
            in_h: int(input.shape[1]),
            in_w: int(input.shape[2]),
            out_h: int(output.shape[1]),
            out_w: int(output.shape[2]),
            pixel: int(pixel),
            kernel_h: int(pool.kernel[0]),
            kernel_w: int(pool.kernel[1]),
            step_y: int(pool.stride[0]),
            step_x: int(pool.stride[1]),
        };
        let written = if kernel.ends_with("gradient") { input } else { output };
        self.kernels.launch(kernel, Grid::of(self.images * positions(written) * pixel / 8), &arguments)
    }

    /// `[map, vector]`, whichever way it runs.
    fn flatten(
        &self,
        kernel: &'static str,
        [from, to]: [Address; 2],
        finish: Finish,
        [map, vector]: [&Value; 2],
    ) -> Result<(), DeviceError> {
        let (pixel, row) = (padded(map.shape[0]), padded(vector.shape[0]));
        let arguments = Flatten {
            from,
            to,
            finish,
            images: int(self.images),
            channels: int(map.shape[0]),
            places: int(positions(map)),
            pixel: int(pixel),
            vector: int(row),
        };
        let values = if kernel == "flatten" { row } else { positions(map) * pixel };
        self.kernels.launch(kernel, Grid::of(self.images * values / 8), &arguments)
    }
}

/// Rows times columns.
fn positions(value: &Value) -> usize {
    value.shape[1] * value.shape[2]
}
