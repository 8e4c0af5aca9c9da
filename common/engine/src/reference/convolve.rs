//! Convolutions as one gather and one matrix product, or tap by tap where every channel has its own kernel.

use std::sync::Arc;

use candle_core::{Error, Result, Tensor};

use super::formula::with_gradients;
use super::window::{Tables, Window, Windows};
use crate::graph::{Conv2d, Padding};

/// The convolution of `(N, H, W, C)` with a kernel `(out, in / groups, kh, kw)`: `(N, OH, OW, out)`, without its bias.
pub(super) fn convolve(conv: &Conv2d, x: &Tensor, weight: &Tensor, windows: &Windows) -> Result<Tensor> {
    let (images, height, width, channels) = x.dims4()?;
    let output = conv.output(height, width);
    let output = output.ok_or_else(|| Error::Msg("the builder checked that the kernel fits".into()))?;
    let Conv2d { kernel, stride, padding, groups, out, .. } = *conv;
    let taps = kernel[0] * kernel[1];
    // (taps, in / groups, out): the order of the patches.
    let weight = weight.permute((2, 3, 1, 0))?.contiguous()?.reshape((taps, channels / groups, out))?;
    let tables = || windows.tables(Window { images, height, width, kernel, stride, padding, output });
    let is_pointwise = taps == 1 && stride == [1, 1] && padding == Padding::default();
    let y = if channels == groups && out == groups {
        by_taps(x, &weight, tables()?)?
    } else {
        by_product(x, &weight, groups, (!is_pointwise).then(tables).transpose()?)?
    };
    y.reshape((images, output[0], output[1], out))
}

/// Patches times kernels, group by group. Without tables every pixel is a patch. `(pixels, out)`.
fn by_product(x: &Tensor, weight: &Tensor, groups: usize, tables: Option<Arc<Tables>>) -> Result<Tensor> {
    let (taps, per_group, out) = weight.dims3()?;
    let weight = weight
        .reshape((taps, per_group, groups, out / groups))?
        .permute((2, 0, 1, 3))?
        .contiguous()?
        .reshape((groups, taps * per_group, out / groups))?;
    let (shape, map, kernel) = (x.shape().clone(), x.detach(), weight.detach());
    let rows = match &tables {
        Some(tables) => tables.gather(&map)?,
        None => map.contiguous()?,
    };
    let pixels = rows.elem_count() / (taps * per_group * groups);
    let patches = rows
        .reshape((pixels, taps, groups, per_group))?
        .permute((2, 0, 1, 3))?
        .contiguous()?
        .reshape((groups, pixels, taps * per_group))?;
    let value = patches.matmul(&kernel)?.permute((1, 0, 2))?.contiguous()?.reshape((pixels, out))?;
    let wanted = [x.track_op(), weight.track_op()];
    with_gradients("convolution", [x, &weight], value, move |gradient| {
        let gradient = gradient.reshape((pixels, groups, out / groups))?.permute((1, 0, 2))?.contiguous()?;
        let of_map = || {
            let patches = gradient.matmul(&kernel.t()?)?;
            let rows =
                patches.reshape((groups, pixels, taps, per_group))?.permute((1, 2, 0, 3))?.contiguous()?;
            match &tables {
                Some(tables) => tables.scatter(&rows.reshape((pixels * taps, groups * per_group))?, &shape),
                None => rows.reshape(&shape),
            }
        };
        let of_kernel = || patches.t()?.matmul(&gradient);
        Ok([wanted[0].then(of_map).transpose()?, wanted[1].then(of_kernel).transpose()?])
    })
}

/// A kernel a channel. `(pixels, C)`.
fn by_taps(x: &Tensor, weight: &Tensor, tables: Arc<Tables>) -> Result<Tensor> {
    let (shape, map, kernel) = (x.shape().clone(), x.detach(), weight.detach());
    let taps = weight.dim(0)?;
    let weighted = |tap: usize| tables.gather_tap(&map, tap)?.broadcast_mul(&kernel.get(tap)?);
    let value = (1..taps).try_fold(weighted(0)?, |sum, tap| sum + weighted(tap)?)?;
    let wanted = [x.track_op(), weight.track_op()];
    let images = x.dim(0)?;
    with_gradients("depthwise convolution", [x, weight], value, move |gradient| {
        let of_map = || {
            let add =
                |sum: Tensor, tap| tables.scatter_tap(&gradient.broadcast_mul(&kernel.get(tap)?)?, tap, &sum);
            (0..taps).try_fold(map.flatten_to(2)?.zeros_like()?, add)?.reshape(&shape)
        };
        let of_kernel = || {
            // An image, then the batch: see the moments of a batch.
            let tap = |tap| {
                let product = (gradient * tables.gather_tap(&map, tap)?)?;
                let (pixels, channels) = product.dims2()?;
                product.reshape((images, pixels / images, channels))?.sum(1)?.sum_keepdim(0)
            };
            Tensor::stack(&(0..taps).map(tap).collect::<Result<Vec<_>>>()?, 0)
        };
        Ok([wanted[0].then(of_map).transpose()?, wanted[1].then(of_kernel).transpose()?])
    })
}
