//! Against plain f64, on every instruction set of the machine.

#![allow(clippy::float_cmp)]

use super::*;
use crate::cpu::oracle::{aligned, normals, random_shapes, relative_rms, seconds, tell_errors, within};
use crate::cpu::vector::simd::{BLOCK, padded};
use crate::plan::Activation;

const TOLERANCE: f64 = 2e-6;

/// A batch: values `[position][channel]` in f32, of channels whose means are up to a hundred deviations.
struct Batch {
    channels: usize,
    positions: usize,
    input: Vec<f32>,
    gradient: Vec<f32>,
    gamma: Vec<f32>,
    beta: Vec<f32>,
}

impl Batch {
    fn new(channels: usize, positions: usize, seed: u64) -> Self {
        let pixel = padded(channels);
        let mut input = vec![1e6; positions * pixel];
        let mut gradient = vec![1e6; positions * pixel];
        let (x, g) = (normals(positions * channels, seed), normals(positions * channels, seed + 1));
        for p in 0..positions {
            for c in 0..channels {
                let [mean, deviation] = Self::moments(c);
                input[p * pixel + c] = (mean + deviation * x[p * channels + c]) as f32;
                gradient[p * pixel + c] = (g[p * channels + c] + 0.1) as f32;
            }
        }
        let values = |seed| normals(channels, seed).into_iter().map(|v| v as f32 + 1.5).collect();
        Self { channels, positions, input, gradient, gamma: values(seed + 2), beta: values(seed + 3) }
    }

    /// Mean and standard deviation of channel c.
    fn moments(c: usize) -> [f64; 2] {
        let deviation = 0.5 + c as f64 / 8.0;
        [[0.0, 1.0, -10.0, 100.0][c % 4] * deviation, deviation]
    }

    fn learned(&self) -> Learned<'_> {
        Learned { gamma: &self.gamma, beta: &self.beta, eps: 1e-5 }
    }

    /// Channel c of a map.
    fn channel<'a>(&self, map: &'a [f32], c: usize) -> impl Iterator<Item = f64> + Clone + 'a {
        map.iter().skip(c).step_by(padded(self.channels)).map(|&x| f64::from(x))
    }
}

/// In f64, from the f32 values; each `[channel][position]` or `[channel]`.
struct Truth {
    mean: Vec<f64>,
    variance: Vec<f64>,
    output: Vec<f64>,
    gamma: Vec<f64>,
    beta: Vec<f64>,
    input_gradient: Vec<f64>,
}

fn truth(batch: &Batch, moments: Option<(&[f32], &[f32])>) -> Truth {
    let n = batch.positions as f64;
    let mut truth = Truth {
        mean: vec![],
        variance: vec![],
        output: vec![],
        gamma: vec![],
        beta: vec![],
        input_gradient: vec![],
    };
    for c in 0..batch.channels {
        let (x, g) = (batch.channel(&batch.input, c), batch.channel(&batch.gradient, c));
        let (mean, variance) = if let Some((mean, variance)) = moments {
            (f64::from(mean[c]), f64::from(variance[c]))
        } else {
            let mean = x.clone().sum::<f64>() / n;
            (mean, x.clone().map(|x| (x - mean).powi(2)).sum::<f64>() / n)
        };
        let inverse = (variance + 1e-5).sqrt().recip();
        let (gamma, beta) = (f64::from(batch.gamma[c]), f64::from(batch.beta[c]));
        let normalised = x.map(|x| (x - mean) * inverse);
        let dbeta: f64 = g.clone().sum();
        let dgamma: f64 = g.clone().zip(normalised.clone()).map(|(g, x)| g * x).sum();
        truth.output.extend(normalised.clone().map(|x| x * gamma + beta));
        truth.input_gradient.extend(g.zip(normalised).map(|(g, x)| match moments {
            Some(_) => g * gamma * inverse,
            None => (g - dbeta / n - x * dgamma / n) * gamma * inverse,
        }));
        truth.mean.push(mean);
        truth.variance.push(variance);
        truth.gamma.push(dgamma);
        truth.beta.push(dbeta);
    }
    truth
}

fn rows(batch: &Batch, map: &[f32]) -> Vec<f64> {
    (0..batch.channels).flat_map(|c| batch.channel(map, c)).collect()
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}

/// Each channel's values apart, so that one with large values does not hide another.
fn close(isa: Isa, batch: &Batch, what: &str, found: &[f64], truth: &[f64]) {
    let each = truth.len() / batch.channels;
    for (c, (found, truth)) in found.chunks(each).zip(truth.chunks(each)).enumerate() {
        let error = relative_rms(found, truth);
        let (n, k) = (batch.positions, batch.channels);
        within(isa, what, error, TOLERANCE, || format!("channel {c} of {k}, {n} positions"));
    }
}

fn check(isa: Isa, batch: &Batch, running: bool) {
    let pixel = padded(batch.channels);
    let statistics: [Vec<f32>; 2] = [
        (0..batch.channels).map(|c| Batch::moments(c)[0] as f32 + 0.2).collect(),
        (0..batch.channels).map(|c| Batch::moments(c)[1].powi(2) as f32 * 1.1).collect(),
    ];
    let given = running.then_some((&statistics[0][..], &statistics[1][..]));
    let truth = truth(batch, given);
    let chunk = batch.positions.div_ceil(3) * pixel;
    let mut found = BatchMoments::default();
    let kind = if running { Moments::Running } else { Moments::Batch { count: batch.positions } };
    if let Some((mean, variance)) = given {
        found.of_running(mean, variance);
    } else {
        let mut sums = vec![0.0; 2 * pixel];
        batch.input.chunks(chunk).for_each(|chunk| channel_sums(isa, chunk, pixel, &mut sums));
        found.of_batch(&sums, batch.positions, batch.channels);
        // In deviations: a mean may be next to nothing.
        for (c, (found, wanted)) in found.mean.iter().zip(&truth.mean).enumerate() {
            assert!(
                (found - wanted).abs() < TOLERANCE * truth.variance[c].sqrt().max(1e-3),
                "mean of channel {c}"
            );
        }
        close(isa, batch, "variance", &found.variance, &truth.variance);
        let factor = batch.positions as f64 / (batch.positions.max(2) - 1) as f64;
        let unbiased: Vec<f64> = truth.variance.iter().map(|v| v * factor).collect();
        close(isa, batch, "unbiased variance", &found.unbiased, &unbiased);
    }
    let mut coefficients = vec![f32::NAN; coefficients_len(pixel)];
    found.coefficients(batch.learned(), &mut coefficients);
    let mut output = vec![f32::NAN; batch.input.len()];
    for (from, to) in batch.input.chunks(chunk).zip(output.chunks_mut(chunk)) {
        affine(isa, from, &coefficients, to, &Epilogue::new());
    }
    close(isa, batch, "output", &rows(batch, &output), &truth.output);
    assert!(output.iter().all(|y| y.is_finite()), "what lies in the padding is finite");

    let mut sums = vec![0.0; 2 * pixel];
    for (g, x) in batch.gradient.chunks(chunk).zip(batch.input.chunks(chunk)) {
        channel_gradient_sums(isa, g, x, &coefficients[..pixel], pixel, &mut sums);
    }
    let (mut gamma, mut beta) = (vec![0.0; batch.channels], vec![0.0; batch.channels]);
    let mut coefficients = vec![f32::NAN; gradient_coefficients_len(pixel)];
    found.gradients(&sums, kind, batch.learned(), [&mut gamma, &mut beta], &mut coefficients);
    // A sum of signs near zero is as exact as its terms are large.
    let size = (batch.positions as f64).sqrt();
    for (what, found, truth) in [("gamma", &gamma, &truth.gamma), ("beta", &beta, &truth.beta)] {
        for (c, (&found, truth)) in found.iter().zip(truth).enumerate() {
            let error = (f64::from(found) - truth).abs() / size.max(truth.abs());
            let n = batch.positions;
            assert!(error < TOLERANCE, "{what} of channel {c}, {n} positions: {found}, not {truth}");
        }
    }
    if batch.channels >= 16 {
        assert!(relative_rms(&wide(&gamma), &truth.gamma) < TOLERANCE);
        assert!(relative_rms(&wide(&beta), &truth.beta) < TOLERANCE);
    }
    let mut input_gradient = vec![f32::NAN; batch.input.len()];
    affine_gradient(isa, &batch.gradient, &batch.input, &coefficients, &mut input_gradient, &Epilogue::new());
    // Of very few values next to nothing is left: then the error is measured against what was subtracted.
    if running || batch.positions > 8 {
        close(isa, batch, "input gradient", &rows(batch, &input_gradient), &truth.input_gradient);
    }
}

#[test]
fn moments_outputs_and_gradients_agree_with_f64_with_means_up_to_a_hundred_deviations() {
    let sizes = [(1, 9), (3, 100), (16, 64), (20, 257), (40, 1000), (64, 128), (100, 49), (130, 31), (17, 2)];
    for isa in Isa::available() {
        for (seed, (channels, positions)) in sizes.into_iter().enumerate() {
            let batch = Batch::new(channels, positions, seed as u64);
            check(isa, &batch, false);
            check(isa, &batch, true);
        }
    }
}

#[test]
fn a_map_that_is_handed_on_arrives_whole_and_has_the_same_sums() {
    for isa in Isa::available() {
        for (channels, positions) in
            [(1, 9), (16, 64), (20, 257), (40, 130), (64, 128), (100, 49), (144, 300)]
        {
            let batch = Batch::new(channels, positions, 3);
            let pixel = padded(channels);
            let bits = |sums: &[f64]| sums.iter().map(|sum| sum.to_bits()).collect::<Vec<_>>();
            let (mut plain, mut onward) = (vec![0.5; 2 * pixel], vec![0.5; 2 * pixel]);
            let mut place = Vec::new();
            let to = aligned(&vec![f32::NAN; batch.input.len()], &mut place);
            channel_sums(isa, &batch.input, pixel, &mut plain);
            channel_sums_onward(isa, &batch.input, pixel, &mut onward, to);
            assert!(*to == batch.input, "{isa:?}, {channels} channels");
            assert_eq!(bits(&plain), bits(&onward), "{isa:?}, {channels} channels");

            let centre = &batch.input[..pixel];
            // Nor need it begin at a whole vector.
            let to = &mut vec![f32::NAN; batch.gradient.len() + 1][1..];
            channel_gradient_sums(isa, &batch.gradient, &batch.input, centre, pixel, &mut plain);
            let (gradient, input) = (&batch.gradient, &batch.input);
            channel_gradient_sums_onward(isa, gradient, input, centre, pixel, &mut onward, to);
            assert!(*to == batch.gradient, "{isa:?}, {channels} channels");
            assert_eq!(bits(&plain), bits(&onward), "{isa:?}, {channels} channels");
        }
    }
}

#[test]
fn a_batch_of_131072_positions_agrees_with_f64() {
    let batch = Batch::new(8, 131_072, 5);
    for isa in Isa::available() {
        check(isa, &batch, false);
    }
}

#[test]
#[ignore = "ten thousand batches: half a minute"]
fn ten_thousand_random_batches_agree_with_f64() {
    for seed in 0..random_shapes() {
        let mixed = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
        let batch = Batch::new(1 + (mixed % 90) as usize, 9 + (mixed / 90 % 400) as usize, seed);
        for isa in Isa::available() {
            check(isa, &batch, seed % 4 == 0);
        }
    }
    tell_errors("normalisation");
}

#[test]
fn a_single_value_normalises_to_beta_and_keeps_its_biased_variance() {
    let mut sums = vec![0.0; 2 * BLOCK];
    let mut moments = BatchMoments::default();
    let map: Vec<f32> = (0..BLOCK).map(|c| c as f32 * 3.0).collect();
    channel_sums(Isa::detect(), &map, BLOCK, &mut sums);
    moments.of_batch(&sums, 1, 5);
    assert_eq!((moments.mean.len(), moments.unbiased.as_slice()), (5, [0.0; 5].as_slice()));
    let (gamma, beta) = (vec![2.0; 5], vec![0.25; 5]);
    let mut coefficients = vec![0.0; coefficients_len(BLOCK)];
    moments.coefficients(Learned { gamma: &gamma, beta: &beta, eps: 1e-5 }, &mut coefficients);
    let mut output = vec![f32::NAN; BLOCK];
    affine(Isa::detect(), &map, &coefficients, &mut output, &Epilogue::new());
    assert_eq!(output[..5], beta);
}

#[test]
fn relu_and_residual_ride_along() {
    let batch = Batch::new(20, 50, 1);
    let pixel = padded(20);
    let mut moments = BatchMoments::default();
    moments.of_running(&[0.5; 20], &[4.0; 20]);
    let mut coefficients = vec![0.0; coefficients_len(pixel)];
    moments.coefficients(batch.learned(), &mut coefficients);
    for isa in Isa::available() {
        let mut plain = vec![0.0; batch.input.len()];
        affine(isa, &batch.input, &coefficients, &mut plain, &Epilogue::new());
        let (mut fused, mut bits) = (vec![0.0; batch.input.len()], vec![0; batch.input.len() / BLOCK]);
        let epilogue =
            Epilogue::new().residual(&batch.gradient).activation(Activation::Relu).bits_out(&mut bits);
        affine(isa, &batch.input, &coefficients, &mut fused, &epilogue);
        for i in 0..plain.len() {
            assert_eq!(fused[i], (plain[i] + batch.gradient[i]).max(0.0));
            assert_eq!(bits[i / BLOCK] >> (i % BLOCK) & 1 == 1, fused[i] > 0.0);
        }
    }
}

#[test]
#[ignore = "prints speeds"]
fn speed() {
    let isa = Isa::timed();
    for (channels, positions) in [(16, 8192), (64, 1024), (144, 1024), (512, 64), (512, 16)] {
        let batch = Batch::new(channels, positions, 1);
        let pixel = padded(channels);
        let mut sums = vec![0.0; 2 * pixel];
        let mut buffers: [Vec<f32>; 4] = Default::default();
        let [input, gradient, output, coefficients] = &mut buffers;
        let input = &*aligned(&batch.input, input);
        let gradient = &*aligned(&batch.gradient, gradient);
        let output = aligned(&batch.input, output);
        let coefficients = &*aligned(&vec![0.5; 4 * pixel], coefficients);
        let mut bits = vec![0; batch.input.len() / BLOCK];
        let values = batch.input.len() as f64 / 1e9;
        let rates = [
            seconds(|| channel_sums(isa, input, pixel, &mut sums)),
            seconds(|| {
                let centre = &coefficients[..pixel];
                channel_gradient_sums(isa, gradient, input, centre, pixel, &mut sums);
            }),
            seconds(|| {
                let epilogue = Epilogue::new().activation(Activation::Relu).bits_out(&mut bits);
                affine(isa, input, &coefficients[pixel..], output, &epilogue);
            }),
            seconds(|| {
                let epilogue = Epilogue::new();
                affine_gradient(isa, gradient, input, coefficients, output, &epilogue);
            }),
        ]
        .map(|seconds| values / seconds);
        let [sums, gradient_sums, affine, gradient] = rates;
        println!(
            "{channels:4} channels, {positions} positions: sums {sums:5.1}, gradient sums {gradient_sums:5.1}, \
             affine + relu {affine:5.1}, gradient {gradient:5.1} billion values/s"
        );
    }
}
