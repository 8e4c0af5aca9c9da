//! Which taps of a sliding window meet which places, along one axis: read forwards for a convolution or a pool,
//! backwards for its gradient.

// Everything inside a kernel must be inlined into it: see `simd`.
#![allow(clippy::inline_always)]

use std::ops::Range;

/// One axis of a sliding window, seen from the places that are computed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Axis {
    kernel: usize,
    stride: usize,
    /// Padding before the first input.
    before: usize,
    /// Places that are read.
    sources: usize,
    direction: Direction,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    /// Outputs read inputs.
    Forward,
    /// Inputs read the gradients of outputs.
    Backward,
}

/// The taps that meet one place: `count` of them, from `tap` and `source` on by [`Axis::tap_step`] and
/// [`Axis::source_step`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meeting {
    pub(crate) tap: usize,
    pub(crate) source: usize,
    pub(crate) count: usize,
}

impl Axis {
    /// Outputs read `inputs` places.
    pub(crate) fn forward(kernel: usize, stride: usize, before: usize, inputs: usize) -> Self {
        Self { kernel, stride, before, sources: inputs, direction: Direction::Forward }
    }

    /// Inputs read the gradients of `outputs` places.
    pub(crate) fn backward(kernel: usize, stride: usize, before: usize, outputs: usize) -> Self {
        Self { kernel, stride, before, sources: outputs, direction: Direction::Backward }
    }

    /// Taps from one of a run to the next.
    #[inline(always)]
    pub(crate) fn tap_step(self) -> usize {
        match self.direction {
            Direction::Forward => 1,
            Direction::Backward => self.stride,
        }
    }

    /// Sources from one of a run to the next.
    #[inline(always)]
    pub(crate) fn source_step(self) -> isize {
        match self.direction {
            Direction::Forward => 1,
            Direction::Backward => -1,
        }
    }

    /// The taps that meet the place `at`.
    #[inline(always)]
    pub(crate) fn run(self, at: usize) -> Meeting {
        match self.direction {
            Direction::Forward => {
                let start = at * self.stride;
                let tap = self.before.saturating_sub(start);
                let end = self.kernel.min((self.sources + self.before).saturating_sub(start));
                Meeting {
                    tap,
                    source: (start + tap).saturating_sub(self.before),
                    count: end.saturating_sub(tap),
                }
            }
            Direction::Backward => {
                // Output o meets this input by the tap at + before - o * stride.
                let (last, rest) = ((at + self.before) / self.stride, (at + self.before) % self.stride);
                let skipped = (last + 1).saturating_sub(self.sources);
                let taps = (self.kernel.saturating_sub(rest)).div_ceil(self.stride).min(last + 1);
                Meeting {
                    tap: rest + skipped * self.stride,
                    source: last - skipped.min(last),
                    count: taps.saturating_sub(skipped),
                }
            }
        }
    }

    /// Of `outputs` places of a forward axis, those where `tap` meets an input.
    #[inline(always)]
    pub(crate) fn outputs_of(self, tap: usize, outputs: usize) -> Range<usize> {
        let first = self.before.saturating_sub(tap).div_ceil(self.stride);
        let end = (self.sources + self.before).saturating_sub(tap).div_ceil(self.stride).min(outputs);
        first..end.max(first)
    }

    /// The input that `tap` of output `at` meets; only inside [`outputs_of`](Self::outputs_of).
    #[inline(always)]
    pub(crate) fn input_of(self, tap: usize, at: usize) -> usize {
        at * self.stride + tap - self.before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every (tap, source) of a run.
    fn pairs(axis: Axis, at: usize) -> Vec<(usize, usize)> {
        let Meeting { tap, source, count } = axis.run(at);
        (0..count)
            .map(|i| (tap + i * axis.tap_step(), source.wrapping_add_signed(i as isize * axis.source_step())))
            .collect()
    }

    #[test]
    fn runs_are_what_trying_every_tap_and_place_finds() {
        for kernel in 1..6 {
            for stride in 1..4 {
                for before in 0..5 {
                    for inputs in 1..8_usize {
                        for after in 0..5 {
                            let Some(spare) = (inputs + before + after).checked_sub(kernel) else { continue };
                            let outputs = spare / stride + 1;
                            let forward = Axis::forward(kernel, stride, before, inputs);
                            let backward = Axis::backward(kernel, stride, before, outputs);
                            let meets = |o: usize, k: usize, i: usize| o * stride + k == i + before;
                            for o in 0..outputs {
                                let all = (0..kernel).flat_map(|k| (0..inputs).map(move |i| (k, i)));
                                let wanted: Vec<_> = all.filter(|&(k, i)| meets(o, k, i)).collect();
                                assert_eq!(pairs(forward, o), wanted);
                                for k in 0..kernel {
                                    let met = wanted.iter().find(|&&(tap, _)| tap == k);
                                    assert_eq!(forward.outputs_of(k, outputs).contains(&o), met.is_some());
                                    if let Some(&(_, i)) = met {
                                        assert_eq!(forward.input_of(k, o), i);
                                    }
                                }
                            }
                            for i in 0..inputs {
                                let all = (0..kernel).flat_map(|k| (0..outputs).map(move |o| (k, o)));
                                let wanted: Vec<_> = all.filter(|&(k, o)| meets(o, k, i)).collect();
                                assert_eq!(pairs(backward, i), wanted);
                            }
                        }
                    }
                }
            }
        }
    }
}
