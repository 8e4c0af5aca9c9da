//! Maps of one size from maps of another.

use candle_core::{DType, Result, Tensor};

/// Maps `(N, C, H, W)` at `[rows, columns]`, interpolated between the nearest two in each direction, corners on corners:
/// PyTorch's `interpolate(mode="bilinear", align_corners=True)`. Maps of that size are given back as they are.
pub(super) fn resized(maps: &Tensor, [rows, columns]: [usize; 2]) -> Result<Tensor> {
    let (n, c, height, width) = maps.dims4()?;
    if [height, width] == [rows, columns] {
        return Ok(maps.clone());
    }
    let [down, across] = [weights(height, rows, maps)?, weights(width, columns, maps)?];
    let maps = maps.reshape((n * c * height, width))?.matmul(&across.t()?.contiguous()?)?;
    let maps = maps.reshape((n * c, height, columns))?.transpose(1, 2)?.contiguous()?;
    let maps = maps.reshape((n * c * columns, height))?.matmul(&down.t()?.contiguous()?)?;
    maps.reshape((n * c, columns, rows))?.transpose(1, 2)?.contiguous()?.reshape((n, c, rows, columns))
}

/// `(to, from)`: what each new place takes of each old one.
fn weights(from: usize, to: usize, like: &Tensor) -> Result<Tensor> {
    let step = if to > 1 { (from - 1) as f64 / (to - 1) as f64 } else { 0.0 };
    let mut weights = vec![0.0f64; to * from];
    for place in 0..to {
        let at = place as f64 * step;
        let before = (at as usize).min(from - 1);
        let share = at - before as f64;
        weights[place * from + before] += 1.0 - share;
        weights[place * from + (before + 1).min(from - 1)] += share;
    }
    Tensor::from_vec(weights, (to, from), like.device())?.to_dtype(DType::F64)?.to_dtype(like.dtype())
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    /// PyTorch 2.15, f64: `interpolate(x, size, mode="bilinear", align_corners=True)` of
    /// `x = torch.arange(12).view(1, 1, 3, 4) ** 2 / 10`.
    #[test]
    fn maps_are_interpolated_as_pytorch_does() {
        let values: Vec<f64> = (0..12).map(|i| f64::from(i * i) / 10.0).collect();
        let maps = Tensor::from_vec(values, (1, 1, 3, 4), &Device::Cpu).unwrap();
        for (size, wanted) in EXPECTED {
            let found = resized(&maps, *size).unwrap();
            assert_eq!(found.dims(), [1, 1, size[0], size[1]]);
            let found = found.flatten_all().unwrap().to_vec1::<f64>().unwrap();
            for (found, wanted) in found.iter().zip(*wanted) {
                assert!((found - wanted).abs() < 1e-13, "{size:?}: {found}, not {wanted}");
            }
        }
    }

    const EXPECTED: &[([usize; 2], &[f64])] = &[
        (
            [5, 3],
            &[0.0, 0.25, 0.9, 0.8, 1.65, 2.9000000000000004, 1.6, 3.05, 4.9, 4.0, 6.05, 8.5, 6.4, 9.05, 12.1],
        ),
        ([2, 6], &[0.0, 0.06, 0.16, 0.33999999999999997, 0.6, 0.9, 6.4, 7.42, 8.48, 9.62, 10.84, 12.1]),
        ([1, 2], &[0.0, 0.9]),
    ];
}
