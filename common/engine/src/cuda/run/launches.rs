//! The launches of one kind of instruction each: their arguments, from values and slots.

use super::{Run, positions};
use crate::cuda::arguments::{
    Address, ChannelSums, Channels, Finish, Flatten, Images, Norm, NormGradient, Pool, PositionSums,
    Standardize, WeightGradientSum,
};
use crate::cuda::conv::{SUMS_BLOCK, Way, int};
use crate::cuda::device::Grid;
use crate::cuda::error::DeviceError;
use crate::cuda::pack::{norm_grid, norm_parts};
use crate::graph::{self, Role};
use crate::plan::{Moments, Value, padded};

impl Run<'_> {
    /// The caller's f32 images as a map, normalised as the network does first.
    pub(super) fn import(
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
    pub(super) fn export(
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

    pub(super) fn images_of(&self, [images, map]: [Address; 2], value: &Value, normalise: bool) -> Images {
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
    pub(super) fn sums(
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
    pub(super) fn norm(&self, norm: usize) -> [Address; 3] {
        let batch = matches!(self.planned.plan.steps.norms[norm].moments, Moments::Batch);
        let base = if batch { self.memory.norms } else { self.packed.norms.address() };
        norm_parts(base, self.planned, norm)
    }

    pub(super) fn moments(&self, index: usize, blocks: usize) -> Result<(), DeviceError> {
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

    pub(super) fn gradient_moments(&self, index: usize, blocks: usize) -> Result<(), DeviceError> {
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
    pub(super) fn gradient(&self, node: graph::NodeId, role: Role) -> Address {
        let entry =
            self.values.layout.find(node, role).expect("the layout lists every parameter of its network");
        self.caller.gradients + (entry.range.start * size_of::<f32>()) as Address
    }

    pub(super) fn weight_gradient(
        &self,
        weight: usize,
        [input, gradient]: [Address; 2],
    ) -> Result<(), DeviceError> {
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
            Way::Product | Way::Split => WeightGradientSum {
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

    pub(super) fn position_sums(
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
    pub(super) fn channels(
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

    pub(super) fn standardize(
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
    pub(super) fn pool(
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
    pub(super) fn flatten(
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
