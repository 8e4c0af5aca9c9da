//! What the host gives to each kernel: `kernels/arguments.h`, field by field.
//!
//! A kernel takes one of these by value, and nothing else. Addresses are on the device; 0 stands for "none" where the
//! header says that it may.

/// An address in the device's memory.
pub(super) type Address = u64;

/// Arguments that a kernel takes.
///
/// # Safety
///
/// The layout is that of the structure of the same name in `kernels/arguments.h`.
#[allow(unsafe_code)]
pub(super) unsafe trait Arguments: Copy {}

macro_rules! arguments {
    ($($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty,)* })*) => {$(
        $(#[$doc])*
        #[allow(clippy::struct_field_names, reason = "the header's names")]
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default)]
        pub(super) struct $name {
            $(pub(super) $field: $type,)*
        }

        #[allow(unsafe_code)]
        // SAFETY: C's layout, the header's fields in the header's order.
        unsafe impl Arguments for $name {}
    )*};
}

/// The most places of a kernel that the tensor cores' convolutions take.
pub(super) const MOST_TAPS: usize = 49;

/// The list of a convolution's taps, of which the first few count.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Taps([Tap; MOST_TAPS]);

impl Default for Taps {
    fn default() -> Self {
        Self([Tap::default(); MOST_TAPS])
    }
}

impl Taps {
    /// These taps, of which there may be [`MOST_TAPS`].
    pub(super) fn of(taps: &[Tap]) -> Self {
        let mut all = Self::default();
        all.0[..taps.len()].copy_from_slice(taps);
        all
    }
}

/// What the host decides of an image's step.
#[repr(C)]
#[derive(Clone, Copy, Debug, bytemuck::NoUninit)]
pub(super) struct Stride {
    pub(super) eps: f64,
    pub(super) length: f32,
    pub(super) share: f32,
    pub(super) unscale: f32,
    pub(super) way: i32,
}

/// Which image a view is of, and where it lies in it.
#[repr(C)]
#[derive(Clone, Copy, Debug, bytemuck::NoUninit)]
pub(super) struct View {
    pub(super) source: i32,
    pub(super) dy: i16,
    pub(super) dx: i16,
    pub(super) mirrored: i32,
}

arguments! {
    Finish {
        residual: Address,
        bits_out: Address,
        gate: Address,
        accumulate: i32,
        activation: i32,
    }
    Tap { dy: i16, dx: i16, weight: i32, }
    Conv {
        input: Address,
        weight: Address,
        unscale: Address,
        out: Address,
        wide: Address,
        bias: Address,
        moments: Address,
        finish: Finish,
        images: i32,
        in_h: i32,
        in_w: i32,
        in_pixel: i32,
        in_c: i32,
        rows: i32,
        cols: i32,
        step_y: i32,
        step_x: i32,
        out_h: i32,
        out_w: i32,
        out_pixel: i32,
        out_c: i32,
        out_step_y: i32,
        out_step_x: i32,
        out_y: i32,
        out_x: i32,
        taps: i32,
        weight_taps: i32,
        tap: Taps,
    }
    WeightGradient {
        input: Address,
        gradient: Address,
        parts: Address,
        images: i32,
        in_h: i32,
        in_w: i32,
        in_pixel: i32,
        in_c: i32,
        out_h: i32,
        out_w: i32,
        out_pixel: i32,
        out_c: i32,
        step_y: i32,
        step_x: i32,
        taps: i32,
        groups: i32,
        places_per_part: i32,
        tap: Taps,
    }
    WeightGradientSum {
        parts: Address,
        gradient: Address,
        parts_count: i32,
        groups: i32,
        out_c: i32,
        in_c: i32,
        real_out: i32,
        real_in: i32,
        taps: i32,
    }
    Direct {
        input: Address,
        gradient: Address,
        weight: Address,
        bias: Address,
        out: Address,
        wide: Address,
        parts: Address,
        finish: Finish,
        images: i32,
        in_h: i32,
        in_w: i32,
        in_pixel: i32,
        in_c: i32,
        out_h: i32,
        out_w: i32,
        out_pixel: i32,
        out_c: i32,
        kernel_h: i32,
        kernel_w: i32,
        step_y: i32,
        step_x: i32,
        top: i32,
        left: i32,
        groups: i32,
        parts_count: i32,
    }
    Pack {
        weight: Address,
        scale: Address,
        packed: Address,
        plain: Address,
        groups: i32,
        real_out: i32,
        real_in: i32,
        out_c: i32,
        in_c: i32,
        taps: i32,
        transposed: i32,
        tile: i32,
    }
    Fold {
        gamma: Address,
        beta: Address,
        mean: Address,
        variance: Address,
        bias: Address,
        scale: Address,
        folded_bias: Address,
        eps: f64,
        channels: i32,
        pixel: i32,
    }
    Images {
        images: Address,
        map: Address,
        mean: Address,
        deviation: Address,
        count: i32,
        channels: i32,
        places: i32,
        pixel: i32,
    }
    Wide {
        from: Address,
        to: Address,
        rows: i32,
        channels: i32,
        pixel: i32,
    }
    Each {
        a: Address,
        b: Address,
        coefficients: Address,
        to: Address,
        kept: Address,
        finish: Finish,
        chunks: u64,
        pixel: i32,
        places: i32,
    }
    PositionSums {
        a: Address,
        b: Address,
        to: Address,
        finish: Finish,
        scale: f32,
        images: i32,
        places: i32,
        pixel: i32,
    }
    ChannelSums {
        a: Address,
        b: Address,
        centre: Address,
        parts: Address,
        places: i32,
        pixel: i32,
    }
    Norm {
        parts: Address,
        gamma: Address,
        beta: Address,
        running_mean: Address,
        running_variance: Address,
        coefficients: Address,
        moments: Address,
        batch_mean: Address,
        batch_variance: Address,
        eps: f64,
        blocks: i32,
        count: i32,
        channels: i32,
        pixel: i32,
    }
    NormGradient {
        parts: Address,
        gamma: Address,
        moments: Address,
        coefficients: Address,
        gamma_gradient: Address,
        beta_gradient: Address,
        blocks: i32,
        count: i32,
        channels: i32,
        pixel: i32,
        batch: i32,
    }
    BiasGradient {
        parts: Address,
        gradient: Address,
        blocks: i32,
        channels: i32,
        pixel: i32,
    }
    Channels {
        from: Address,
        to: Address,
        finish: Finish,
        places: i32,
        from_pixel: i32,
        from_start: i32,
        to_pixel: i32,
        to_start: i32,
        channels: i32,
        to_channels: i32,
        zeros: i32,
    }
    Standardize {
        from: Address,
        gradient: Address,
        to: Address,
        finish: Finish,
        images: i32,
        channels: i32,
        places: i32,
        pixel: i32,
    }
    Pool {
        from: Address,
        to: Address,
        taps: Address,
        finish: Finish,
        images: i32,
        in_h: i32,
        in_w: i32,
        out_h: i32,
        out_w: i32,
        pixel: i32,
        kernel_h: i32,
        kernel_w: i32,
        step_y: i32,
        step_x: i32,
    }
    Flatten {
        from: Address,
        to: Address,
        finish: Finish,
        images: i32,
        channels: i32,
        places: i32,
        pixel: i32,
        vector: i32,
    }
    Slope {
        logits: Address,
        target: Address,
        labels: Address,
        seed: Address,
        weight: f32,
        images: i32,
        classes: i32,
        pixel: i32,
    }
    Climb {
        clean: Address,
        point: Address,
        before: Address,
        best: Address,
        best_gradient: Address,
        gradient: Address,
        strides: Address,
        to_point: Address,
        to_before: Address,
        to_best: Address,
        to_best_gradient: Address,
        steepest: Address,
        size: i32,
    }
    Cut {
        images: Address,
        views: Address,
        to: Address,
        count: i32,
        channels: i32,
        height: i32,
        width: i32,
    }
    Gather {
        rows: Address,
        to: Address,
        count: i32,
        size: i32,
    }
    PgdStep {
        x: Address,
        clean: Address,
        gradient: Address,
        step: f32,
        eps: f32,
        count: i32,
        channels: i32,
        places: i32,
        pixel: i32,
        map: Address,
        mean: Address,
        deviation: Address,
    }
    ScaleAdd {
        from: Address,
        to: Address,
        factor: f32,
        count: i32,
    }
    Sgd {
        parameters: Address,
        velocity: Address,
        gradients: Address,
        momentum: f32,
        decay: f32,
        rate: f32,
        count: i32,
        nesterov: i32,
    }
    Average {
        average: Address,
        student: Address,
        decay: f32,
        pull: f32,
        count: i32,
    }
    Statistics {
        running: Address,
        batch: Address,
        momentum: Address,
        count: i32,
    }
}
