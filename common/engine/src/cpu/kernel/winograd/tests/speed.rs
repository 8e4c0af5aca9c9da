//! How fast each kernel is: run by hand, on an idle machine.

use std::fmt::Write;

use super::*;

/// Least seconds of half a second of runs, and of at least five.
fn least(mut run: impl FnMut()) -> f64 {
    let mut least = f64::INFINITY;
    let begin = std::time::Instant::now();
    let mut runs = 0;
    while runs < 5 || begin.elapsed().as_secs_f64() < 0.5 {
        runs += 1;
        let start = std::time::Instant::now();
        run();
        least = least.min(start.elapsed().as_secs_f64());
    }
    least
}

#[test]
#[ignore = "measures"]
fn speed_of_every_kernel() {
    let threads = std::env::var("THREADS").map_or(1, |threads| threads.parse().expect("a number"));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
    let isa = Isa::timed();
    let only: Option<usize> = std::env::var("CHANNELS").ok().map(|only| only.parse().expect("a number"));
    for (channels, side) in [(16, 32), (32, 16), (64, 8), (64, 32), (128, 16), (160, 32), (256, 8), (512, 4)]
    {
        if only.is_some_and(|only| only != channels) {
            continue;
        }
        for tile in TILES {
            let images = 32;
            let shape = shape([channels, side, side], channels, [1; 4]);
            let flops = 2.0 * (images * side * side * channels * channels * 9) as f64;
            let x: Vec<f32> = normals(images * shape.input_len(), 1).iter().map(|&x| x as f32).collect();
            let y: Vec<f32> = normals(images * shape.output_len(), 2).iter().map(|&x| x as f32).collect();
            let weight: Vec<f32> = normals(shape.weight_len(), 3).iter().map(|&x| x as f32).collect();
            let mut line = format!("{channels:4} channels {side:2}x{side:<2} {tile:?}:");
            let forward = Winograd::forward(isa, shape, tile);
            let image = Winograd::image_gradient(isa, shape, tile);
            for (name, product, from) in
                [("forward", &forward as &dyn MapProduct, &x), ("image gradient", &image, &y)]
            {
                let mut packed = vec![0.0; product.packed_len()];
                let pack = pool.install(|| least(|| product.pack(&weight, None, &mut packed)));
                let mut to = vec![0.0; from.len()];
                let mut scratch = vec![0.0; product.scratch_len(images)];
                let epilogue = Epilogue::new();
                let run = || {
                    let (packed, to, scratch) = (&packed, &mut to, &mut scratch);
                    product.run(Job { packed, images, from, to, epilogue, scratch });
                };
                let seconds = pool.install(|| least(run));
                let _ = write!(line, " {name} {:.2} ms {:.0}", seconds * 1e3, flops / seconds * 1e-9);
                let _ = write!(line, " pack {:.2} ms,", pack * 1e3);
            }
            let layer = WinogradWeightGradient::new(isa, shape, tile);
            let mut part = vec![0.0; layer.part_len()];
            let mut scratch = vec![0.0; layer.scratch_len(images)];
            let seconds = pool.install(|| {
                least(|| {
                    layer.run(
                        images,
                        &x,
                        &y,
                        Part { sums: &mut part, begun: false, spread: false },
                        &mut scratch,
                    );
                })
            });
            let mut gradient = vec![0.0; shape.weight_len()];
            let finish = || layer.finish(&part, &mut gradient, true);
            let finish = if layer.cooperative() { 0.0 } else { pool.install(|| least(finish)) };
            let _ = write!(line, " weight gradient {:.2} ms {:.0}", seconds * 1e3, flops / seconds * 1e-9);
            println!("{line} finish {:.2} ms", finish * 1e3);
        }
    }
}
