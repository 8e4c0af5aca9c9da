//! Against plain f64, on every instruction set of the machine.

#![allow(clippy::float_cmp)]

use super::*;
use crate::cpu::oracle::{aligned, channels_first, channels_last, normals, relative_rms, seconds};
use crate::cpu::vector::epilogue::Epilogue;
use crate::cpu::vector::simd::{BLOCK, Isa, padded};
use crate::graph::Elementwise;
use crate::plan::Activation;

const TOLERANCE: f64 = 2e-6;

fn floats(count: usize, seed: u64) -> Vec<f32> {
    normals(count, seed).into_iter().map(|v| v as f32).collect()
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}

const SIZES: [[usize; 3]; 5] = [[1, 3, 4], [3, 5, 7], [16, 2, 2], [20, 4, 3], [37, 1, 6]];

#[test]
fn images_enter_as_maps_and_their_gradient_leaves() {
    for size in SIZES {
        let [channels, height, width] = size;
        let len = channels * height * width;
        let images: Vec<f32> = floats(3 * len, 1).iter().map(|v| (v * 0.2 + 0.5).clamp(0.0, 1.0)).collect();
        let mean: Vec<f32> = (0..channels).map(|c| 0.4 + c as f32 / 100.0).collect();
        let std: Vec<f32> = (0..channels).map(|c| 0.2 + c as f32 / 50.0).collect();
        for pixel in [channels, padded(channels)] {
            for normalisation in [None, Some(Normalisation { mean: &mean, std: &std })] {
                let mut map = vec![f32::NAN; 3 * pixel * height * width];
                images_to_map(&images, size, normalisation, &mut map, pixel);
                let mut back = vec![f32::NAN; images.len()];
                map_to_images(&map, pixel, size, normalisation, &mut back);
                let (mut entered, mut left) = (Vec::new(), Vec::new());
                for (i, &value) in images.iter().enumerate() {
                    let c = i / (height * width) % channels;
                    let (mean, std) =
                        normalisation.map_or((0.0, 1.0), |_| (mean[c].into(), f64::from(std[c])));
                    entered.push((f64::from(value) - mean) / std);
                    left.push((f64::from(value) - mean) / std / std);
                }
                let found: Vec<f64> = map
                    .chunks_exact(pixel * height * width)
                    .flat_map(|map| channels_first(map, size, pixel))
                    .collect();
                assert!(relative_rms(&found, &entered) < TOLERANCE);
                assert!(relative_rms(&wide(&back), &left) < TOLERANCE);
                assert!(map.chunks_exact(pixel).all(|pixel| pixel[channels..].iter().all(|&v| v == 0.0)));
            }
        }
    }
}

#[test]
fn maps_become_vectors_in_pytorchs_order_and_come_back() {
    for size in SIZES {
        let [channels, height, width] = size;
        let (len, pixel) = (channels * height * width, padded(channels));
        let images = normals(2 * len, 2);
        let map: Vec<f32> =
            images.chunks_exact(len).flat_map(|image| channels_last(image, size, pixel)).collect();
        let mut features = vec![f32::NAN; 2 * padded(len)];
        map_to_features(&map, size, &mut features);
        for (image, found) in images.chunks_exact(len).zip(features.chunks_exact(padded(len))) {
            assert_eq!(wide(&found[..len]), image);
            assert!(found[len..].iter().all(|&v| v == 0.0));
        }
        for isa in Isa::available() {
            let mut back = vec![1.0; map.len()];
            features_to_map(isa, &features, size, &mut back, &Epilogue::new().accumulate(true));
            for (back, map) in back.chunks_exact(pixel).zip(map.chunks_exact(pixel)) {
                assert!((0..channels).all(|c| back[c] == map[c] + 1.0), "{isa:?}");
            }
        }
    }
}

#[test]
fn joined_channels_part_again_whatever_their_numbers() {
    for parts in [vec![16, 32], vec![3, 20, 5], vec![1, 1, 1], vec![17, 15, 16, 2], vec![40, 8]] {
        let (pixels, total) = (2 * 3, parts.iter().sum::<usize>());
        let maps: Vec<Vec<f32>> = parts.iter().map(|&c| floats(pixels * padded(c), c as u64)).collect();
        let mut joined = vec![f32::NAN; pixels * padded(total)];
        let mut first = 0;
        for (map, &channels) in maps.iter().zip(&parts) {
            channels_into(map, channels, &mut joined, padded(total), first);
            first += channels;
        }
        assert!(joined.iter().all(|v| v.is_finite()), "what lies in the padding is finite");
        for (pixel, joined) in joined.chunks_exact(padded(total)).enumerate() {
            let wanted = maps.iter().zip(&parts).flat_map(|(map, &c)| &map[pixel * padded(c)..][..c]);
            assert!(wanted.eq(&joined[..total]));
        }
        for isa in Isa::available() {
            let mut first = 0;
            for (map, &channels) in maps.iter().zip(&parts) {
                let mut part = vec![2.0; map.len()];
                let epilogue = Epilogue::new().accumulate(true);
                take_channels(isa, &joined, padded(total), first, channels, &mut part, &epilogue);
                for (part, map) in part.chunks_exact(padded(channels)).zip(map.chunks_exact(padded(channels)))
                {
                    assert!((0..channels).all(|c| part[c] == map[c] + 2.0), "{isa:?}");
                }
                first += channels;
            }
        }
    }
}

#[test]
fn channels_lie_between_zeros() {
    for (channels, first, total) in [(16, 8, 32), (3, 2, 8), (20, 0, 21), (1, 16, 33)] {
        let map = floats(6 * padded(channels), 4);
        let mut wide = vec![f32::NAN; 6 * padded(total)];
        channels_between_zeros(&map, channels, &mut wide, padded(total), first);
        for (map, wide) in map.chunks_exact(padded(channels)).zip(wide.chunks_exact(padded(total))) {
            assert_eq!(wide[first..first + channels], map[..channels]);
            assert!(wide[..first].iter().chain(&wide[first + channels..]).all(|&v| v == 0.0));
        }
    }
}

/// The gradient is that of the formula in f64, by central differences.
#[test]
fn images_are_standardised_one_by_one_and_their_gradient_is_the_slope() {
    for size in [[3, 4, 5], [1, 2, 2], [20, 3, 3]] {
        let [channels, height, width] = size;
        let (len, pixel) = (channels * height * width, padded(channels));
        // Of two images the second varies by less than 1 / sqrt(n), the least that counts.
        let images: Vec<f64> = normals(2 * len, 5)
            .into_iter()
            .enumerate()
            .map(|(i, v)| f64::from((if i < len { v } else { v * 0.2 / (len as f64).sqrt() } + 0.3) as f32))
            .collect();
        let formula = |image: &[f64]| -> Vec<f64> {
            let count = len as f64;
            let mean = image.iter().sum::<f64>() / count;
            let variance = image.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (count - 1.0);
            image.iter().map(|v| (v - mean) / variance.sqrt().max(1.0 / count.sqrt())).collect()
        };
        let upstream = normals(2 * len, 6);
        let slope = |image: &[f64], upstream: &[f64], i: usize| {
            let at = |step: f64| {
                let mut image = image.to_vec();
                image[i] += step;
                formula(&image).iter().zip(upstream).map(|(y, g)| y * g).sum::<f64>()
            };
            (at(1e-5) - at(-1e-5)) / 2e-5
        };
        let as_map = |images: &[f64]| -> Vec<f32> {
            images.chunks_exact(len).flat_map(|image| channels_last(image, size, pixel)).collect()
        };
        let back = |map: &[f32]| -> Vec<f64> {
            map.chunks_exact(pixel * height * width).flat_map(|m| channels_first(m, size, pixel)).collect()
        };
        let shape = Images { channels, pixel, positions: height * width };
        let (map, gradient) = (as_map(&images), as_map(&upstream));
        let wanted: Vec<f64> = images.chunks_exact(len).flat_map(formula).collect();
        let slopes: Vec<f64> = images
            .chunks_exact(len)
            .zip(upstream.chunks_exact(len))
            .flat_map(|(image, upstream)| (0..len).map(move |i| slope(image, upstream, i)))
            .collect();
        for isa in Isa::available() {
            let mut to = vec![f32::NAN; map.len()];
            standardize(isa, &map, shape, &mut to);
            assert!(relative_rms(&back(&to), &wanted) < TOLERANCE, "{isa:?} {size:?}");
            let mut to = vec![1.0; map.len()];
            let epilogue = Epilogue::new().accumulate(true);
            standardize_gradient(isa, &gradient, &map, shape, &mut to, &epilogue);
            let found: Vec<f64> = back(&to).iter().map(|v| v - 1.0).collect();
            assert!(relative_rms(&found, &slopes) < 1e-5, "{isa:?} {size:?}");
        }
    }
}

#[test]
fn maps_are_copied_added_multiplied_and_gated() {
    let (pixel, len) = (48, 5 * 48);
    let (a, b) = (floats(len, 1), floats(len, 2));
    for isa in Isa::available() {
        let mut to = vec![f32::NAN; len];
        store(isa, &a, pixel, &mut to, &Epilogue::new().residual(&b));
        assert!((0..len).all(|i| to[i] == a[i] + b[i]));
        store(isa, &a, pixel, &mut to, &Epilogue::new().accumulate(true));
        assert!((0..len).all(|i| to[i] == a[i] + (a[i] + b[i])));
        multiply(isa, &a, &b, pixel, &mut to, &Epilogue::new());
        assert!((0..len).all(|i| to[i] == a[i] * b[i]));
        for (activation, limit) in [(Activation::Relu, f32::INFINITY), (Activation::Relu6, 6.0)] {
            let mut map: Vec<f32> = a.iter().map(|v| v * 5.0).collect();
            let mut bits = vec![0; len / BLOCK];
            let open = |i: usize| a[i] * 5.0 > 0.0 && a[i] * 5.0 < limit;
            rework(isa, &mut map, pixel, &Epilogue::new().activation(activation).bits_out(&mut bits));
            assert!((0..len).all(|i| map[i] == (a[i] * 5.0).clamp(0.0, limit)));
            let mut gradient = b.clone();
            rework(isa, &mut gradient, pixel, &Epilogue::new().gate(&bits));
            assert!((0..len).all(|i| gradient[i] == if open(i) { b[i] } else { 0.0 }), "{isa:?}");
        }
    }
}

#[test]
fn a_map_times_one_value_per_channel_and_the_gradient_of_the_values_agree_with_f64() {
    for isa in Isa::available() {
        for (positions, pixel, images) in [(1, 16, 1), (49, 32, 3), (1024, 48, 2)] {
            let len = images * positions * pixel;
            let (map, gradient, values) = (floats(len, 1), floats(len, 2), floats(images * pixel, 3));
            let value_of = |i: usize| i / (positions * pixel) * pixel + i % pixel;
            let mut to = vec![f32::NAN; len];
            multiply_channels(isa, &map, &values, [positions, pixel], &mut to, &Epilogue::new());
            assert!((0..len).all(|i| to[i] == map[i] * values[value_of(i)]));
            let mut found = vec![f32::NAN; values.len()];
            let epilogue = Epilogue::new();
            channel_products(isa, &map, Some(&gradient), 1.0, [positions, pixel], &mut found, &epilogue);
            let mut wanted = vec![0.0; values.len()];
            for i in 0..len {
                wanted[value_of(i)] += f64::from(map[i]) * f64::from(gradient[i]);
            }
            assert!(relative_rms(&wide(&found), &wanted) < TOLERANCE, "{isa:?} {positions}");
        }
    }
}

#[test]
fn smooth_activations_and_their_slopes_agree_with_f64_far_out_too() {
    let values: Vec<f32> = (-16_000..16_000).map(|i| i as f32 / 160.0).collect();
    for isa in Isa::available() {
        let (mut to, mut slope) = (vec![0.0; values.len()], vec![0.0; values.len()]);
        // Value by value: an error relative to the largest would hide the small ones.
        let check = |to: &[f32], slope: &[f32], truth: fn(f64) -> [f64; 2]| {
            for i in 0..values.len() {
                let [value, wanted] = truth(values[i].into());
                let near = |found: f32, wanted: f64| {
                    (f64::from(found) - wanted).abs() <= 5e-7 * wanted.abs() + 1e-35
                };
                assert!(near(to[i], value), "{isa:?} value at {}: {} not {value}", values[i], to[i]);
                let slope_error = (f64::from(slope[i]) - wanted).abs();
                assert!(
                    slope_error <= 5e-7 * wanted.abs().max(value.abs()) + 1e-35,
                    "slope at {}",
                    values[i]
                );
            }
        };
        elementwise(isa, Elementwise::Sigmoid, &values, &mut to, Some(&mut slope));
        check(&to, &slope, |x| {
            let s = 1.0 / (1.0 + (-x).exp());
            [s, s / (1.0 + x.exp())]
        });
        elementwise(isa, Elementwise::Silu, &values, &mut to, Some(&mut slope));
        check(&to, &slope, |x| {
            let s = 1.0 / (1.0 + (-x).exp());
            [x * s, s + x * s / (1.0 + x.exp())]
        });
        let kept = to.clone();
        elementwise(isa, Elementwise::Silu, &values, &mut to, None);
        assert_eq!(to, kept);
    }
}

#[test]
fn values_near_their_mean_become_it_and_the_edge_does_not() {
    let (pixel, len) = (32, 5 * 32);
    let values = floats(len, 8);
    let mut band = [floats(pixel, 9), vec![0.5; pixel]];
    // The padding: nothing lies within no width.
    band[0][30..].fill(0.0);
    band[1][30..].fill(0.0);
    let mut from = values.clone();
    (from[0], from[1]) = (band[0][0], band[0][1] + 0.5);
    band[1][1] = from[1] - band[0][1];
    for isa in Isa::available() {
        let (mut to, mut slope) = (vec![f32::NAN; len], vec![f32::NAN; len]);
        mean_sparse(isa, &from, &band, pixel, &mut to, Some(&mut slope));
        for i in 0..len {
            let (mean, width) = (band[0][i % pixel], band[1][i % pixel]);
            let inside = (from[i] - mean).abs() < width;
            assert_eq!((to[i], slope[i]), if inside { (mean, 0.0) } else { (from[i], 1.0) }, "{isa:?} {i}");
        }
        assert_eq!((slope[0], slope[1]), (0.0, 1.0), "{isa:?}: the mean itself, and the edge");
        let kept = to.clone();
        mean_sparse(isa, &from, &band, pixel, &mut to, None);
        assert_eq!(to, kept);
    }
}

#[test]
fn what_is_not_a_number_stays_so() {
    for isa in Isa::available() {
        let (mut to, mut slope) = (vec![0.0; BLOCK], vec![0.0; BLOCK]);
        elementwise(isa, Elementwise::Silu, &[f32::NAN; BLOCK], &mut to, Some(&mut slope));
        assert!(to.iter().chain(&slope).all(|v| v.is_nan()));
        elementwise(isa, Elementwise::Sigmoid, &[f32::NAN; BLOCK], &mut to, Some(&mut slope));
        assert!(to.iter().chain(&slope).all(|v| v.is_nan()));
    }
}

#[test]
#[ignore = "prints speeds"]
fn speed() {
    let isa = Isa::timed();
    let (pixel, len) = (64, 64 * 1024);
    let mut buffers: [Vec<f32>; 4] = Default::default();
    let [a, b, to, slope] = buffers.each_mut().map(|buffer| aligned(&floats(len, 1), buffer));
    let mut print = |name: &str, run: &mut dyn FnMut(&mut [f32], &mut [f32])| {
        let seconds = seconds(|| run(to, slope));
        println!("{name}: {:.1} billion values/s", len as f64 / seconds / 1e9);
    };
    print("add and ReLU", &mut |to, _| {
        store(isa, a, pixel, to, &Epilogue::new().residual(b).activation(Activation::Relu));
    });
    print("multiply", &mut |to, _| multiply(isa, a, b, pixel, to, &Epilogue::new()));
    print("SiLU", &mut |to, slope| elementwise(isa, Elementwise::Silu, a, to, Some(slope)));
}
