//! What every convolution kernel is given and gives: two traits over one geometry, [`ConvShape`](crate::plan::ConvShape).

use crate::cpu::vector::epilogue::Epilogue;

/// One call of a product.
pub(crate) struct Job<'a> {
    /// What [`MapProduct::pack`] wrote.
    pub(crate) packed: &'a [f32],
    pub(crate) images: usize,
    pub(crate) from: &'a [f32],
    pub(crate) to: &'a mut [f32],
    pub(crate) epilogue: Epilogue<'a>,
    /// At least [`MapProduct::scratch_len`] f32, whatever they are.
    pub(crate) scratch: &'a mut [f32],
}

/// A product of maps with packed weights: a convolution forwards, or its image gradient.
///
/// Each value of a result is one fixed chain of operations: it does not depend on the other images of the call.
pub(crate) trait MapProduct: Send + Sync {
    /// f32 of the packed weights.
    fn packed_len(&self) -> usize;

    /// Packs PyTorch's weight (out, in / groups, rows, columns), each output channel multiplied by its `scale`.
    /// May use the current thread pool; the result does not depend on it.
    fn pack(&self, weight: &[f32], scale: Option<&[f32]>, into: &mut [f32]);

    /// f32 of scratch that [`run`](Self::run) needs for a call of `images`.
    fn scratch_len(&self, images: usize) -> usize;

    /// Runs a job on the calling thread (or, where [`cooperative`](Self::cooperative), on the current pool).
    fn run(&self, job: Job<'_>);

    /// Whether `run` wants the whole batch at once and splits the work over the current thread pool itself: for
    /// weights too large to be read again for every few images.
    fn cooperative(&self) -> bool {
        false
    }

    /// The phases of a [`cooperative`](Self::cooperative) call of `images`.
    fn phases(&self, _images: usize) -> Vec<Phase> {
        Vec::new()
    }
}

/// A stretch of a call that all threads of the pool work on; the next begins when its last piece is done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Phase {
    /// Pieces that threads take, at most.
    pub(crate) pieces: usize,
    /// Operations, to weigh the phases of a call by.
    pub(crate) work: f64,
}

/// A part's buffer.
pub(crate) struct Part<'a> {
    pub(crate) sums: &'a mut [f32],
    /// Whether it holds the sums of earlier images; if not, whatever it holds is overwritten.
    pub(crate) begun: bool,
    /// Whether threads of the current pool wait for work, and may take pieces of the call; the sums are the same.
    pub(crate) spread: bool,
}

/// The weight gradient of a convolution.
///
/// Sums over a batch are formed in parts: each part accumulates in a buffer of its own, in the order of its images;
/// [`finish`](Self::finish) then adds the parts in their order. Parts are fixed by the caller, not by threads.
pub(crate) trait WeightGradient: Send + Sync {
    /// f32 of a part's buffer.
    fn part_len(&self) -> usize;

    /// Products that each value of the parts of so many images is summed from, all parts together.
    fn terms(&self, images: usize) -> usize;

    /// f32 of scratch that [`run`](Self::run) needs for a call of `images`.
    fn scratch_len(&self, images: usize) -> usize;

    /// Adds the contribution of `images`, at least one, to a part, or begins the part with it: `input` and the gradient of
    /// the output (before bias and activation).
    fn run(&self, images: usize, input: &[f32], gradient: &[f32], part: Part<'_>, scratch: &mut [f32]);

    /// Whether `run` wants the whole batch at once and splits the work over the current thread pool itself. Such a kernel has
    /// one part, PyTorch's gradient, and [`finish`](Self::finish) is not called.
    fn cooperative(&self) -> bool {
        false
    }

    /// The phases of a [`cooperative`](Self::cooperative) or [`spread`](Part::spread) call of `images`; none where one
    /// thread does it all.
    fn phases(&self, _images: usize) -> Vec<Phase> {
        Vec::new()
    }

    /// Adds the sum of the parts, `part_len` each, to PyTorch's (out, in / groups, rows, columns) where that has `begun`, or
    /// begins it with the sum, whatever it holds. May use the current thread pool; the result does not depend on it.
    fn finish(&self, parts: &[f32], gradient: &mut [f32], begun: bool);
}

#[cfg(test)]
pub(crate) mod tests;
