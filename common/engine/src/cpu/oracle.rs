//! Plain f64 loops that the kernels' tests compare with.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::vector::simd::Isa;
use crate::plan::ConvShape;

/// The terms of a convolution: calls `f(output index, input index, weight index)` for each product of one image, all
/// in PyTorch's layouts: (C, H, W) and (out, in / groups, rows, columns).
pub(crate) fn each_product(shape: &ConvShape, mut f: impl FnMut(usize, usize, usize)) {
    let [channels, height, width] = shape.input;
    let [out, out_height, out_width] = shape.output;
    let [kernel_height, kernel_width] = shape.kernel;
    let (in_group, out_group) = (channels / shape.groups, out / shape.groups);
    for o in 0..out {
        for (oy, ox) in (0..out_height).flat_map(|y| (0..out_width).map(move |x| (y, x))) {
            for c in 0..in_group {
                for (ky, kx) in (0..kernel_height).flat_map(|y| (0..kernel_width).map(move |x| (y, x))) {
                    let y = (oy * shape.stride[0] + ky).checked_sub(shape.padding.top);
                    let x = (ox * shape.stride[1] + kx).checked_sub(shape.padding.left);
                    let (Some(y), Some(x)) = (y.filter(|&y| y < height), x.filter(|&x| x < width)) else {
                        continue;
                    };
                    let channel = o / out_group * in_group + c;
                    f(
                        (o * out_height + oy) * out_width + ox,
                        (channel * height + y) * width + x,
                        ((o * in_group + c) * kernel_height + ky) * kernel_width + kx,
                    );
                }
            }
        }
    }
}

/// One (C, H, W) image in f64 as the kernels' channels-last f32, `pixel` values apart. The padding holds a large finite
/// value: a kernel that reads it into a result fails its test.
pub(crate) fn channels_last(image: &[f64], [channels, height, width]: [usize; 3], pixel: usize) -> Vec<f32> {
    let mut map = vec![1e6; height * width * pixel];
    for c in 0..channels {
        for p in 0..height * width {
            map[p * pixel + c] = image[c * height * width + p] as f32;
        }
    }
    map
}

/// The other way round, for one image.
pub(crate) fn channels_first(map: &[f32], [channels, height, width]: [usize; 3], pixel: usize) -> Vec<f64> {
    let mut image = vec![0.0; channels * height * width];
    for c in 0..channels {
        for p in 0..height * width {
            image[c * height * width + p] = map[p * pixel + c].into();
        }
    }
    image
}

/// Root mean square of the difference, relative to that of the truth.
pub(crate) fn relative_rms(found: &[f64], truth: &[f64]) -> f64 {
    assert_eq!(found.len(), truth.len());
    let (mut error, mut size) = (0.0, 0.0);
    for (found, truth) in found.iter().zip(truth) {
        error += (found - truth).powi(2);
        size += truth.powi(2);
    }
    (error / size.max(1e-300)).sqrt()
}

/// The largest error of each kernel on each instruction set, and of how many shapes.
type Largest = BTreeMap<(&'static str, String), (f64, usize)>;

thread_local! {
    /// What this test has seen.
    static LARGEST: RefCell<Largest> = RefCell::default();
}

/// Panics where a kernel's error is larger than allowed; remembers the largest.
pub(crate) fn within(isa: Isa, what: &str, error: f64, allowed: f64, case: impl Fn() -> String) {
    LARGEST.with_borrow_mut(|largest| {
        let (largest, count) = largest.entry((isa.set().name(), what.to_owned())).or_default();
        (*largest, *count) = (largest.max(error), *count + 1);
    });
    assert!(error <= allowed, "{what}, {isa:?}: off by {error:.1e}: {}", case());
}

/// Shapes that the ignored tests draw: ten thousand, or as many as `RSLAD_RANDOM_SHAPES` says, for emulated machines.
pub(crate) fn random_shapes() -> u64 {
    let count = std::env::var("RSLAD_RANDOM_SHAPES");
    count.map_or(10_000, |count| count.parse().expect("RSLAD_RANDOM_SHAPES is a number"))
}

/// Prints what [`within`] remembers.
pub(crate) fn tell_errors(kernels: &str) {
    LARGEST.with_borrow(|largest| {
        for ((set, what), (error, count)) in largest {
            println!("{kernels}, {set}: {what} of {count}: at most {error:.2e}");
        }
    });
}

/// Standard normals from a seed, rounded to f32 so that kernel and oracle read equal values.
pub(crate) fn normals(count: usize, seed: u64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut uniform = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        ((state >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    };
    (0..count)
        .map(|_| {
            let (u, v) = (uniform(), uniform());
            let normal = (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos();
            f64::from(normal as f32)
        })
        .collect()
}

/// Seconds of the fastest of many runs.
pub(crate) fn seconds(mut run: impl FnMut()) -> f64 {
    (0..200)
        .map(|_| {
            let start = std::time::Instant::now();
            run();
            start.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min)
}

/// A copy on a boundary of cache lines, as the engine's buffers are; speeds are measured on nothing else.
pub(crate) fn aligned<'a>(values: &[f32], buffer: &'a mut Vec<f32>) -> &'a mut [f32] {
    buffer.resize(values.len() + 16, 0.0);
    let first = buffer.as_ptr().align_offset(64);
    let to = &mut buffer[first..first + values.len()];
    to.copy_from_slice(values);
    to
}
