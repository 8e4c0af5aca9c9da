//! How fast the shape classes are, on one thread.

use std::time::Instant;

use super::*;
use crate::cpu::vector::simd::{Kernel, Simd};

/// f32 that begin at a cache line, as the executor's buffers do.
struct Aligned(Vec<f32>, usize, usize);

impl Aligned {
    fn new(len: usize) -> Self {
        let values = vec![0.5; len + BLOCK];
        let skip = values.as_ptr().align_offset(64);
        Self(values, skip, len)
    }

    fn get(&mut self) -> &mut [f32] {
        &mut self.0[self.1..][..self.2]
    }
}

/// The fastest of many repetitions, in seconds.
fn fastest(mut f: impl FnMut()) -> f64 {
    let begin = Instant::now();
    let mut best = f64::INFINITY;
    while begin.elapsed().as_secs_f64() < 0.3 {
        let start = Instant::now();
        f();
        best = best.min(start.elapsed().as_secs_f64());
    }
    best
}

/// Multiply-adds in registers alone.
struct Peak;

impl Kernel for Peak {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let mut acc = [S::zero(); 24];
        let factor = S::splat(std::hint::black_box(0.5));
        for _ in 0..PEAK_ROUNDS {
            for acc in &mut acc {
                *acc = S::fma(*acc, factor, factor);
            }
        }
        std::hint::black_box(acc);
    }
}

const PEAK_ROUNDS: usize = 1 << 16;

fn product(kernel: &impl MapProduct, images: usize, [from, to]: [usize; 2], weight: &[f32]) -> [f64; 2] {
    let mut packed = Aligned::new(kernel.packed_len());
    let pack = fastest(|| kernel.pack(weight, None, packed.get()));
    let (mut from, mut to) = (Aligned::new(images * from), Aligned::new(images * to));
    let mut scratch = Aligned::new(kernel.scratch_len(images));
    let run = fastest(|| {
        kernel.run(Job {
            packed: packed.get(),
            images,
            from: from.get(),
            to: to.get(),
            epilogue: Epilogue::new(),
            scratch: scratch.get(),
        });
    });
    [run, pack]
}

#[test]
#[ignore = "prints speeds; run alone, on an idle machine"]
fn speeds_of_the_shape_classes() {
    let isa = Isa::timed();
    let same = [1; 4];
    let table = [
        (4, conv([64, 32, 32], 64, [3, 3], [1, 1], same)),
        (4, conv([16, 32, 32], 16, [3, 3], [1, 1], same)),
        (4, conv([32, 16, 16], 32, [3, 3], [1, 1], same)),
        (4, conv([64, 8, 8], 64, [3, 3], [1, 1], same)),
        (4, conv([64, 32, 32], 128, [3, 3], [2, 2], same)),
        (4, conv([256, 8, 8], 512, [3, 3], [2, 2], same)),
        (8, conv([512, 4, 4], 512, [3, 3], [1, 1], same)),
        (4, conv([64, 32, 32], 128, [1, 1], [2, 2], [0; 4])),
        (4, conv([64, 8, 8], 384, [1, 1], [1, 1], [0; 4])),
        (4, conv([384, 8, 8], 64, [1, 1], [1, 1], [0; 4])),
        (4, conv([24, 16, 16], 144, [1, 1], [1, 1], [0; 4])),
        (4, conv([144, 16, 16], 24, [1, 1], [1, 1], [0; 4])),
        (4, conv([16, 32, 32], 96, [1, 1], [1, 1], [0; 4])),
        (8, conv([160, 4, 4], 960, [1, 1], [1, 1], [0; 4])),
        (8, conv([960, 4, 4], 160, [1, 1], [1, 1], [0; 4])),
        (4, ConvShape { dense_input: true, ..conv([3, 32, 32], 64, [3, 3], [1, 1], same) }),
        (32, ConvShape::linear(512, 10)),
        (32, ConvShape::linear(512, 512)),
        (32, ConvShape::linear(1280, 100)),
    ];
    let peak = 2e-9 * (PEAK_ROUNDS * 24 * BLOCK) as f64 / fastest(|| isa.run(Peak));
    println!("{isa:?}, {peak:.1} GFLOP/s in registers");
    println!("GFLOP/s forward, image gradient, weight gradient; ms to pack twice and to finish a part");
    for (images, shape) in table {
        let weight = vec![0.1; shape.weight_len()];
        let pixels = shape.output[1] * shape.output[2];
        let work = 2e-9 * (images * pixels * shape.weight_len()) as f64;
        let [channels, height, width] = shape.input;
        let lens = [shape.input_len(), shape.output_len()];
        let forward = product(&Direct::forward(isa, shape), images, lens, &weight);
        let lens = [shape.output_len(), padded(channels) * height * width];
        let backward = product(&Direct::image_gradient(isa, shape), images, lens, &weight);

        let kernel = DirectWeightGradient::new(isa, shape);
        let (mut x, mut g) =
            (Aligned::new(images * shape.input_len()), Aligned::new(images * shape.output_len()));
        let (mut part, mut scratch) =
            (Aligned::new(kernel.part_len()), Aligned::new(kernel.scratch_len(images)));
        let run = fastest(|| {
            kernel.run(
                images,
                x.get(),
                g.get(),
                Part { sums: part.get(), begun: false, spread: false },
                scratch.get(),
            );
        });
        let mut gradient = vec![0.0; weight.len()];
        let finish = fastest(|| kernel.finish(part.get(), &mut gradient, true));
        println!(
            "{:>4} -> {:<4} {}x{} /{} on {:>2}x{:<2} {images:>2} images: {:6.1} {:6.1} {:6.1}   {:.3} {:.3} {:.3}",
            channels,
            shape.output[0],
            shape.kernel[0],
            shape.kernel[1],
            shape.stride[0],
            height,
            width,
            work / forward[0],
            work / backward[0],
            work / run,
            1e3 * forward[1],
            1e3 * backward[1],
            1e3 * finish,
        );
    }
}
