//! Sliding windows as one gather: the heart of the oracle's convolution and pooling.
//!
//! A map `(N*H*W, C)` is indexed by the rows that each window covers, which gives `(N*OH*OW, KH*KW, C)`: any stride,
//! any padding (rows outside the image are zeros), one operation whose gradient candle knows (`index_add`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use candle_core::{Device, Result, Shape, Tensor};

use crate::graph::Padding;

/// The geometry of one set of windows.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Window {
    pub(super) images: usize,
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) kernel: [usize; 2],
    pub(super) stride: [usize; 2],
    pub(super) padding: Padding,
    pub(super) output: [usize; 2],
}

impl Window {
    /// The rows that the windows cover, in (image, output row, output column, kernel row, kernel column) order.
    fn rows(&self) -> Vec<u32> {
        let [out_h, out_w] = self.output;
        let mut rows = Vec::with_capacity(self.images * out_h * out_w * self.kernel[0] * self.kernel[1]);
        for image in 0..self.images {
            for oy in 0..out_h {
                for ox in 0..out_w {
                    for ky in 0..self.kernel[0] {
                        for kx in 0..self.kernel[1] {
                            let y = (oy * self.stride[0] + ky)
                                .checked_sub(self.padding.top)
                                .filter(|&y| y < self.height);
                            let x = (ox * self.stride[1] + kx)
                                .checked_sub(self.padding.left)
                                .filter(|&x| x < self.width);
                            // candle gathers zeros for the largest index and adds nothing back.
                            rows.push(match (y, x) {
                                (Some(y), Some(x)) => ((image * self.height + y) * self.width + x) as u32,
                                _ => u32::MAX,
                            });
                        }
                    }
                }
            }
        }
        rows
    }
}

/// Gather tables made once per geometry.
#[derive(Default)]
pub(super) struct Windows(Mutex<HashMap<Window, Arc<Tables>>>);

/// The rows of a map that windows cover: all taps of a window beside each other, and tap by tap.
pub(super) struct Tables {
    all: Tensor,
    per_tap: Vec<Tensor>,
}

impl Windows {
    pub(super) fn tables(&self, window: Window) -> Result<Arc<Tables>> {
        let mut known = self.0.lock().expect("no holder of the gather tables panics");
        if let Some(tables) = known.get(&window) {
            return Ok(tables.clone());
        }
        let rows = window.rows();
        let taps = window.kernel[0] * window.kernel[1];
        let of_tap = |tap: usize| rows.iter().skip(tap).step_by(taps).copied().collect::<Vec<u32>>();
        let per_tap = (0..taps).map(|tap| Tensor::new(of_tap(tap), &Device::Cpu)).collect::<Result<_>>()?;
        let tables = Arc::new(Tables { all: Tensor::new(rows, &Device::Cpu)?, per_tap });
        known.insert(window, tables.clone());
        Ok(tables)
    }
}

impl Tables {
    /// `(N, H, W, C)` as `(N*OH*OW * KH*KW, C)`.
    pub(super) fn gather(&self, map: &Tensor) -> Result<Tensor> {
        rows_of(map)?.index_select(&self.all, 0)
    }

    /// What each pixel of a map `(N, H, W, C)` gets from `(N*OH*OW * KH*KW, C)`: the sum of the rows that were gathered from it.
    pub(super) fn scatter(&self, rows: &Tensor, shape: &Shape) -> Result<Tensor> {
        let (_, channels) = rows.dims2()?;
        let map = Tensor::zeros((shape.elem_count() / channels, channels), rows.dtype(), rows.device())?;
        map.index_add(&self.all, rows, 0)?.reshape(shape)
    }

    /// `(N, H, W, C)` as the `(N*OH*OW, C)` of one tap.
    pub(super) fn gather_tap(&self, map: &Tensor, tap: usize) -> Result<Tensor> {
        rows_of(map)?.index_select(&self.per_tap[tap], 0)
    }

    /// Adds rows `(N*OH*OW, C)` of one tap to those that they were gathered from, `(N*H*W, C)`.
    pub(super) fn scatter_tap(&self, rows: &Tensor, tap: usize, map: &Tensor) -> Result<Tensor> {
        map.index_add(&self.per_tap[tap], rows, 0)
    }
}

/// `(N, H, W, C)` as `(N*H*W, C)`.
fn rows_of(map: &Tensor) -> Result<Tensor> {
    map.contiguous()?.flatten_to(2)
}
