//! How much of a map is masked: the less alike two networks' maps of a batch are, the more.

use candle_core::{Result, Tensor};

use super::wide;

/// Added to the similarities before they are divided, as in the released code.
const SMALL: f64 = 1e-5;
/// The least that is masked.
const LEAST: f64 = 0.15;
/// What is masked where the similarity says nothing.
const UNKNOWN: f64 = 0.9;

/// The centred kernel alignment of two networks' maps of one batch, of `(N, ..)` each: linear kernels, HSIC's unbiased
/// estimate over the batch (Nguyen et al., arXiv:2010.15327, eq. 3). Not a number for fewer than four images.
///
/// `(|HSIC(K, L)| + 1e-5) / (sqrt(HSIC(K, K) + 1e-5) sqrt(HSIC(L, L) + 1e-5))`, as the released code has it.
pub(super) fn cka(student: &Tensor, teacher: &Tensor) -> Result<f64> {
    let [one, other] = [kernel(student)?, kernel(teacher)?];
    let between = hsic(&one, &other).abs() + SMALL;
    Ok(between / ((hsic(&one, &one) + SMALL).sqrt() * (hsic(&other, &other) + SMALL).sqrt()))
}

/// The share of positions that is masked at this similarity: 0.9 where it is at most 0.1, at least 1, or not a number.
pub(super) fn masked(similarity: f64) -> f64 {
    if similarity > 0.1 && similarity < 1.0 { (1.0 - similarity).max(LEAST) } else { UNKNOWN }
}

/// Products of all pairs of images, without those of an image with itself.
fn kernel(maps: &Tensor) -> Result<Vec<Vec<f64>>> {
    let maps = wide(maps)?.contiguous()?;
    let mut products = maps.matmul(&maps.t()?.contiguous()?)?.to_vec2::<f64>()?;
    for (image, row) in products.iter_mut().enumerate() {
        row[image] = 0.0;
    }
    Ok(products)
}

/// Both are symmetric, with zeros on the diagonal.
fn hsic(one: &[Vec<f64>], other: &[Vec<f64>]) -> f64 {
    let n = one.len() as f64;
    if one.len() < 4 {
        return f64::NAN;
    }
    let sums = |kernel: &[Vec<f64>]| -> Vec<f64> { kernel.iter().map(|row| row.iter().sum()).collect() };
    let (rows, others) = (sums(one), sums(other));
    let trace: f64 = one.iter().zip(other).flat_map(|(a, b)| a.iter().zip(b)).map(|(a, b)| a * b).sum();
    let all = rows.iter().sum::<f64>() * others.iter().sum::<f64>() / ((n - 1.0) * (n - 2.0));
    let both: f64 = rows.iter().zip(&others).map(|(a, b)| a * b).sum();
    (trace + all - 2.0 * both / (n - 2.0)) / (n * (n - 3.0))
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    /// Every way to choose four different images, from the definition of HSIC as a U-statistic (Song et al., JMLR 2012,
    /// 13:1393, eq. 5): the mean over ordered quadruples of `K_ij (L_ij + L_qr - 2 L_iq)`.
    fn by_quadruples(one: &[Vec<f64>], other: &[Vec<f64>]) -> f64 {
        let n = one.len();
        let (mut sum, mut count) = (0.0, 0.0);
        for i in 0..n {
            for j in (0..n).filter(|&j| j != i) {
                for q in (0..n).filter(|q| ![i, j].contains(q)) {
                    for r in (0..n).filter(|r| ![i, j, q].contains(r)) {
                        sum += one[i][j] * (other[i][j] + other[q][r] - 2.0 * other[i][q]);
                        count += 1.0;
                    }
                }
            }
        }
        sum / count
    }

    fn maps(seed: f64) -> Tensor {
        let values: Vec<f64> = (0..72).map(|i| (f64::from(i) * 1.7 + seed).sin() + seed / 10.0).collect();
        Tensor::from_vec(values, (6, 3, 2, 2), &Device::Cpu).unwrap()
    }

    #[test]
    fn hsic_is_the_mean_over_all_quadruples_of_images() {
        let [one, other] = [1.0, 2.5].map(|seed| kernel(&maps(seed)).unwrap());
        for (a, b) in [(&one, &other), (&one, &one), (&other, &one)] {
            let (found, wanted) = (hsic(a, b), by_quadruples(a, b));
            assert!((found - wanted).abs() < 1e-9 * wanted.abs(), "{found}, not {wanted}");
        }
    }

    #[test]
    fn a_map_is_like_itself_and_the_share_that_is_masked_follows() {
        let itself = cka(&maps(1.0), &maps(1.0)).unwrap();
        assert!((itself - 1.0).abs() < 1e-4, "{itself}");
        let three = maps(1.0).narrow(0, 0, 3).unwrap();
        assert!(cka(&three, &three).unwrap().is_nan(), "three images have no unbiased estimate");
        // zongdaoming/dpk, train_cifar_two_epoch.
        for (similarity, share) in
            [(0.4, 0.6), (0.95, 0.15), (0.1, 0.9), (1.0, 0.9), (f64::NAN, 0.9), (f64::INFINITY, 0.9)]
        {
            assert!((masked(similarity) - share).abs() < 1e-15, "{similarity}");
        }
    }
}
