//! Against plain f64 loops, on every instruction set of the machine.

#![allow(clippy::float_cmp)]

use super::*;
use crate::cpu::oracle::{
    channels_first, channels_last, normals, random_shapes, relative_rms, tell_errors, within,
};
use crate::cpu::vector::epilogue::Epilogue;
use crate::cpu::vector::simd::{BLOCK, Isa};

const TOLERANCE: f64 = 2e-6;

fn shapes() -> Vec<PoolShape> {
    let mut all = Vec::new();
    for input in [[3, 8, 8], [16, 7, 5], [20, 9, 12], [33, 4, 4], [5, 1, 6]] {
        for kernel in [[2, 2], [3, 3], [1, 4], [4, 2], [1, 1]] {
            for stride in [[1, 1], [2, 2], [3, 2], [4, 4]] {
                let pool = Pool { kernel, stride };
                if pool.output(input[1], input[2]).is_some() {
                    all.push(PoolShape::new(&pool, input));
                }
            }
        }
    }
    all
}

/// Calls `f(output, input, tap)` for each input that a window covers, in one image's (C, H, W).
fn each_covered(shape: &PoolShape, mut f: impl FnMut(usize, usize, usize)) {
    let ([channels, height, width], [rows, columns]) = (shape.input, shape.output);
    for (c, y, x) in
        (0..channels * rows * columns).map(|i| (i / (rows * columns), i / columns % rows, i % columns))
    {
        for tap in 0..shape.kernel[0] * shape.kernel[1] {
            let row = y * shape.stride[0] + tap / shape.kernel[1];
            let column = x * shape.stride[1] + tap % shape.kernel[1];
            f((c * rows + y) * columns + x, (c * height + row) * width + column, tap);
        }
    }
}

fn maps(values: &[f64], size: [usize; 3], pixel: usize) -> Vec<f32> {
    let images = values.chunks_exact(size.iter().product());
    images.flat_map(|image| channels_last(image, size, pixel)).collect()
}

fn images(maps: &[f32], size: [usize; 3], pixel: usize) -> Vec<f64> {
    maps.chunks_exact(pixel * size[1] * size[2]).flat_map(|map| channels_first(map, size, pixel)).collect()
}

fn check(isa: Isa, shape: &PoolShape, count: usize, seed: u64) {
    let (pixel, output) = (shape.pixel(), [shape.input[0], shape.output[0], shape.output[1]]);
    let [from_len, to_len]: [usize; 2] = [shape.input, output].map(|s| s.iter().product());
    // Few different values, so that windows have equal largest ones.
    let input: Vec<f64> = normals(count * from_len, seed).iter().map(|x| (x * 2.0).round() / 2.0).collect();
    let gradient = normals(count * to_len, seed + 1);
    let size = (shape.kernel[0] * shape.kernel[1]) as f64;
    let (mut mean, mut largest) = (vec![0.0; count * to_len], vec![(f64::NEG_INFINITY, 0); count * to_len]);
    let mut mean_gradient = vec![0.0; count * from_len];
    for image in 0..count {
        each_covered(shape, |o, i, _| {
            let (o, i) = (image * to_len + o, image * from_len + i);
            mean[o] += input[i] / size;
            mean_gradient[i] += gradient[o] / size;
            if input[i] > largest[o].0 {
                largest[o] = (input[i], i);
            }
        });
    }
    let mut largest_gradient = vec![0.0; count * from_len];
    for (&(_, i), gradient) in largest.iter().zip(&gradient) {
        largest_gradient[i] += gradient;
    }
    let largest: Vec<f64> = largest.into_iter().map(|(value, _)| value).collect();

    let (x, g) = (maps(&input, shape.input, pixel), maps(&gradient, output, pixel));
    let close = |what: &str, found: &[f32], size: [usize; 3], wanted: &[f64]| {
        let error = relative_rms(&images(found, size, pixel), wanted);
        within(isa, what, error, TOLERANCE, || format!("{shape:?}"));
    };
    let mut to = vec![f32::NAN; count * shape.output_len()];
    average_pool(isa, shape, count, &x, &mut to, &Epilogue::new());
    close("mean", &to, output, &mean);
    let mut taps = vec![u16::MAX; to.len()];
    max_pool(isa, shape, count, &x, &mut to, Some(&mut taps));
    close("largest", &to, output, &largest);
    let mut alone = vec![f32::NAN; to.len()];
    max_pool(isa, shape, count, &x, &mut alone, None);
    assert_eq!(alone, to);
    let mut back = vec![f32::NAN; x.len()];
    average_pool_gradient(isa, shape, count, &g, &mut back, &Epilogue::new());
    close("gradient of the mean", &back, shape.input, &mean_gradient);
    max_pool_gradient(isa, shape, count, &taps, &g, &mut back, &Epilogue::new());
    close("gradient of the largest", &back, shape.input, &largest_gradient);
    let mut added = vec![1.0; x.len()];
    max_pool_gradient(isa, shape, count, &taps, &g, &mut added, &Epilogue::new().accumulate(true));
    assert!(added.iter().zip(&back).all(|(added, back)| *added == back + 1.0));
}

#[test]
fn pools_and_their_gradients_agree_with_f64() {
    for isa in Isa::available() {
        for (seed, shape) in shapes().iter().enumerate() {
            check(isa, shape, 1 + seed % 3, seed as u64);
        }
    }
}

#[test]
#[ignore = "ten thousand shapes: ten seconds"]
fn ten_thousand_random_shapes_agree_with_f64() {
    let mut done = 0;
    for seed in 0_u64.. {
        let mixed = seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 12;
        let digit = |place: u32, below: u64| 1 + (mixed / 7_u64.pow(place) % below) as usize;
        let pool = Pool { kernel: [digit(0, 4), digit(1, 4)], stride: [digit(2, 4), digit(3, 4)] };
        let input = [digit(4, 40), digit(7, 10), digit(9, 10)];
        if pool.output(input[1], input[2]).is_none() {
            continue;
        }
        for isa in Isa::available() {
            check(isa, &PoolShape::new(&pool, input), digit(11, 3), seed);
        }
        done += 1;
        if done == random_shapes() {
            return tell_errors("pools");
        }
    }
}

#[test]
fn the_first_of_equals_is_chosen_and_the_last_that_is_not_a_number_wins() {
    let shape = PoolShape::new(&Pool::new(2), [1, 2, 6]);
    let mut map = vec![0.0; shape.input_len()];
    let nan = f32::NAN;
    let rows = [[5.0, 5.0, nan, 9.0, nan, 1.0], [5.0, 5.0, 3.0, 9.0, nan, f32::INFINITY]];
    for (position, value) in rows.into_iter().flatten().enumerate() {
        map[position * BLOCK] = value;
    }
    for isa in Isa::available() {
        let (mut to, mut taps) = (vec![0.0; shape.output_len()], vec![9; shape.output_len()]);
        max_pool(isa, &shape, 1, &map, &mut to, Some(&mut taps));
        assert!(to[0] == 5.0 && to[BLOCK].is_nan() && to[2 * BLOCK].is_nan());
        assert_eq!([taps[0], taps[BLOCK], taps[2 * BLOCK]], [0, 0, 2], "{isa:?}");
    }
}

#[test]
fn a_window_of_minus_infinities_gives_minus_infinity() {
    let shape = PoolShape::new(&Pool::new(2), [1, 2, 2]);
    let map = vec![f32::NEG_INFINITY; shape.input_len()];
    let mut to = vec![0.0; shape.output_len()];
    max_pool(Isa::detect(), &shape, 1, &map, &mut to, None);
    assert_eq!(to[0], f32::NEG_INFINITY);
}

#[test]
fn the_mean_of_a_map_and_its_gradient_agree_with_f64() {
    for isa in Isa::available() {
        for (channels, positions, count) in [(3, 1, 1), (16, 64, 2), (40, 49, 3), (20, 1024, 2)] {
            let pixel = crate::cpu::vector::simd::padded(channels);
            let values = normals(count * channels * positions, 3);
            let shifted: Vec<f64> = values.iter().map(|v| f64::from((v + 0.5) as f32)).collect();
            let x = maps(&shifted, [channels, positions, 1], pixel);
            let mut mean = vec![f32::NAN; count * pixel];
            global_average(isa, &x, positions, pixel, &mut mean, &Epilogue::new());
            let wanted: Vec<f64> = shifted
                .chunks(positions)
                .map(|channel| channel.iter().sum::<f64>() / positions as f64)
                .collect();
            assert!(relative_rms(&images(&mean, [channels, 1, 1], pixel), &wanted) < TOLERANCE);
            let gradient = normals(count * channels, 4);
            let g = maps(&gradient, [channels, 1, 1], pixel);
            let mut back = vec![1.0; x.len()];
            let epilogue = Epilogue::new().accumulate(true);
            global_average_gradient(isa, &g, positions, pixel, &mut back, &epilogue);
            let wanted: Vec<f64> =
                (0..values.len()).map(|i| 1.0 + gradient[i / positions] / positions as f64).collect();
            let found = images(&back, [channels, positions, 1], pixel);
            assert!(relative_rms(&found, &wanted) < TOLERANCE, "{isa:?} {channels} {positions}");
        }
    }
}
