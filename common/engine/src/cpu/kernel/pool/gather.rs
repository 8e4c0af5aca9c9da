//! Sums over the taps of windows: average pooling and the gradients of both poolings.

use super::PoolShape;
use crate::cpu::vector::axis::Axis;
use crate::cpu::vector::epilogue::Epilogue;
use crate::cpu::vector::simd::{BLOCK, Isa, Kernel, Simd};

/// The mean of each window.
pub(crate) fn average_pool(
    isa: Isa,
    shape: &PoolShape,
    images: usize,
    from: &[f32],
    to: &mut [f32],
    epilogue: &Epilogue<'_>,
) {
    assert!(from.len() == images * shape.input_len() && to.len() == images * shape.output_len());
    let [rows, columns] = shape.forward();
    let (source, size) = ([shape.input[1], shape.input[2]], shape.output);
    isa.run(Gather { of: Share { from, shape }, shape, images, rows, columns, source, size, to, epilogue });
}

/// Its gradient: each input takes its share of the windows that cover it.
pub(crate) fn average_pool_gradient(
    isa: Isa,
    shape: &PoolShape,
    images: usize,
    gradient: &[f32],
    to: &mut [f32],
    epilogue: &Epilogue<'_>,
) {
    assert!(gradient.len() == images * shape.output_len() && to.len() == images * shape.input_len());
    let [rows, columns] = shape.backward();
    let (source, size) = (shape.output, [shape.input[1], shape.input[2]]);
    let of = Share { from: gradient, shape };
    isa.run(Gather { of, shape, images, rows, columns, source, size, to, epilogue });
}

/// The gradient of max pooling: each input takes the gradient of the windows whose largest it was, by the `taps` that
/// [`max_pool`](super::max_pool) wrote.
pub(crate) fn max_pool_gradient(
    isa: Isa,
    shape: &PoolShape,
    images: usize,
    taps: &[u16],
    gradient: &[f32],
    to: &mut [f32],
    epilogue: &Epilogue<'_>,
) {
    assert!(gradient.len() == images * shape.output_len() && taps.len() == gradient.len());
    assert!(to.len() == images * shape.input_len());
    let [rows, columns] = shape.backward();
    let (source, size) = (shape.output, [shape.input[1], shape.input[2]]);
    let of = Chosen { gradient, taps };
    isa.run(Gather { of, shape, images, rows, columns, source, size, to, epilogue });
}

/// What a tap contributes.
trait Taps: Copy {
    /// The sum with the vector at `offset`, seen through `tap`.
    fn add<S: Simd>(self, sum: S::V, offset: usize, tap: usize) -> S::V;

    /// The sum as it is stored.
    fn close<S: Simd>(self, sum: S::V) -> S::V;
}

/// An equal share of each.
#[derive(Clone, Copy)]
struct Share<'a> {
    from: &'a [f32],
    shape: &'a PoolShape,
}

impl Taps for Share<'_> {
    #[inline(always)]
    fn add<S: Simd>(self, sum: S::V, offset: usize, _tap: usize) -> S::V {
        S::add(sum, S::at(self.from, offset))
    }

    #[inline(always)]
    fn close<S: Simd>(self, sum: S::V) -> S::V {
        let taps = self.shape.kernel[0] * self.shape.kernel[1];
        S::mul(sum, S::splat(1.0 / taps as f32))
    }
}

/// Those lanes whose tap was chosen.
#[derive(Clone, Copy)]
struct Chosen<'a> {
    gradient: &'a [f32],
    taps: &'a [u16],
}

impl Taps for Chosen<'_> {
    #[inline(always)]
    fn add<S: Simd>(self, sum: S::V, offset: usize, tap: usize) -> S::V {
        let mut kept = [0.0; BLOCK];
        let (gradient, taps) =
            (&self.gradient[offset..offset + S::LANES], &self.taps[offset..offset + S::LANES]);
        for lane in 0..S::LANES {
            kept[lane] = if usize::from(taps[lane]) == tap { gradient[lane] } else { 0.0 };
        }
        S::add(sum, S::at(&kept, 0))
    }

    #[inline(always)]
    fn close<S: Simd>(self, sum: S::V) -> S::V {
        sum
    }
}

/// For each place, the taps that meet it.
struct Gather<'a, T> {
    of: T,
    shape: &'a PoolShape,
    images: usize,
    rows: Axis,
    columns: Axis,
    /// Rows and columns of the sources, and of the destination.
    source: [usize; 2],
    size: [usize; 2],
    to: &'a mut [f32],
    epilogue: &'a Epilogue<'a>,
}

impl<T: Taps> Kernel for Gather<'_, T> {
    type Output = ();

    #[inline(always)]
    #[allow(unsafe_code)]
    fn run<S: Simd>(self) {
        let Self { of, shape, images, rows, columns, source, size, to, epilogue } = self;
        let pixel = shape.pixel();
        epilogue.check(to.len(), pixel);
        let to = to.as_mut_ptr();
        for place in 0..images * size[0] * size[1] {
            let (image, y, x) = (place / (size[0] * size[1]), place / size[1] % size[0], place % size[1]);
            let (down, across) = (rows.run(y), columns.run(x));
            let first = (image * source[0] + down.source) * source[1] + across.source;
            for channel in (0..pixel).step_by(S::LANES) {
                let mut sum = S::zero();
                for i in 0..down.count {
                    let tap = (down.tap + i * rows.tap_step()) * shape.kernel[1] + across.tap;
                    let row = first as isize + i as isize * rows.source_step() * source[1] as isize;
                    for j in 0..across.count {
                        let at = (row + j as isize * columns.source_step()) as usize * pixel + channel;
                        sum = of.add::<S>(sum, at, tap + j * columns.tap_step());
                    }
                }
                let offset = place * pixel + channel;
                // SAFETY: the callers checked the destination's length.
                unsafe { epilogue.finish::<S>(of.close::<S>(sum), channel, to, offset) }
            }
        }
    }
}
