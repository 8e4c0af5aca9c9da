//! A plan with everything that this engine adds: the geometry of its convolutions, and where packed values lie.

use super::conv::Geometry;
use super::error::DeviceError;
use super::precision::Storage;
use crate::engine::{Keep, Norm};
use crate::graph::{Network, NodeId};
use crate::plan::{Action, Direction, Draft, Instruction, SlotInfo, Steps, Whole, padded};

/// Every slot and every packed tensor begins at a multiple of this many bytes: kernels move 16 at a time.
const ALIGNMENT: usize = 32;

/// Rows and columns of a map are fewer: kernels keep them in 16 bits, and places outside beyond them.
const MOST_ROWS: usize = 1 << 14;

/// A plan, its convolutions, and where packed values lie in their two buffers: weights, and per-channel numbers.
pub(super) struct Planned {
    pub(super) storage: Storage,
    pub(super) plan: Whole,
    pub(super) convs: Vec<Geometry>,
    /// Where each product's packed weights begin, in bytes, and the length of all.
    pub(super) weights: (Vec<usize>, usize),
    /// Where each convolution's scale and bias begin, in f32, `[2][padded channels]`, and the length of all.
    pub(super) folds: (Vec<usize>, usize),
    /// Where each normalisation's numbers begin, in f32, and the length of all.
    pub(super) norms: (Vec<usize>, usize),
    /// Where each band's centre and width begin, in f32, and the length of all.
    pub(super) bands: (Vec<usize>, usize),
    /// For each output, the forward instruction that writes it in f32, where there is one.
    pub(super) wide: Vec<Option<usize>>,
}

/// Where a normalisation's numbers lie: f64 moments `[2][pixel]`, then the coefficients of `affine` `[3][pixel]`, then
/// those of its gradient `[4][pixel]`; all in f32 from the beginning of its part.
pub(super) const fn norm_len(pixel: usize) -> usize {
    (4 + 3 + 4) * pixel
}

impl Planned {
    /// For one network and mode; `outputs` are the logits and the taps. `warpgroups`: whether tensor cores multiply floats by
    /// warpgroups.
    pub(super) fn new(
        (storage, warpgroups): (Storage, bool),
        network: &Network,
        norm: Norm,
        keep: Keep,
        outputs: &[NodeId],
    ) -> Self {
        let draft = Draft::new(network, norm, keep, outputs);
        let plan = draft.whole(|steps, slot| bytes(storage, steps, slot).next_multiple_of(ALIGNMENT));
        let steps = &plan.steps;
        let convs: Vec<Geometry> = steps
            .convs
            .iter()
            .map(|conv| Geometry::new(conv.shape, warpgroups && storage.is_float()))
            .collect();
        let packed = plan.products.iter().map(|&(conv, direction)| {
            convs[conv].packed_bytes(direction, storage).next_multiple_of(ALIGNMENT)
        });
        let weights = starts(packed);
        let folds = starts(steps.convs.iter().map(|conv| 2 * padded(conv.shape.output[0])));
        let norms = starts(steps.norms.iter().map(|norm| norm_len(norm.pixel)));
        let bands = starts(steps.bands.iter().map(|&band| {
            let input = network.node(band).inputs[0];
            2 * padded(network.node(input).shape.channels())
        }));
        let wide = steps.outputs.iter().map(|output| {
            let flat = steps.value(*output).shape[1..] == [1, 1];
            let writes = |instruction: &Instruction| {
                instruction.to.is_some_and(|slot| slot.0 == output.0)
                    && matches!(instruction.action, Action::Product { .. })
            };
            flat.then(|| plan.forward.iter().position(writes)).flatten()
        });
        let wide = wide.collect();
        Self { storage, plan, convs, weights, folds, norms, bands, wide }
    }

    /// Refuses maps of more rows or columns than the kernels count, 2^14, and a batch whose largest map has more values
    /// than that, 2^31.
    pub(super) fn check_batch(&self, images: usize) -> Result<(), DeviceError> {
        let wide = self.plan.steps.values.iter().map(|value| value.shape);
        if let Some([_, height, width]) = wide.into_iter().find(|shape| shape[1].max(shape[2]) >= MOST_ROWS) {
            return Err(DeviceError::Map { height, width, most: MOST_ROWS - 1 });
        }
        let sizes = self
            .plan
            .steps
            .values
            .iter()
            .map(|value| padded(value.shape[0]) * value.shape[1] * value.shape[2]);
        let most = i32::MAX as usize / sizes.max().unwrap_or(1);
        if images <= most { Ok(()) } else { Err(DeviceError::Batch { images, most }) }
    }

    /// Whether statistics of a file are read besides those of BatchNorm: whatever was packed from them is made anew.
    pub(super) fn has_bands(&self) -> bool {
        self.bands.1 > 0
    }

    /// Whether batch statistics are formed.
    pub(super) fn has_batch_moments(&self) -> bool {
        self.plan.steps.norms.iter().any(|norm| matches!(norm.moments, crate::plan::Moments::Batch))
    }

    /// The convolution of a product, and its direction.
    pub(super) fn product(&self, product: usize) -> (&Geometry, Direction) {
        let (conv, direction) = self.plan.products[product];
        (&self.convs[conv], direction)
    }
}

/// Bytes per image of a slot. Here all maps are padded, that of the images too.
fn bytes(storage: Storage, steps: &Steps, slot: SlotInfo) -> usize {
    match slot {
        SlotInfo::Map { value, .. } => {
            let [channels, height, width] = steps.value(value).shape;
            padded(channels) * height * width * storage.bytes()
        }
        SlotInfo::Halves { len } => len * size_of::<u16>(),
    }
}

/// Where pieces of these lengths begin, and the length of all.
fn starts(lens: impl Iterator<Item = usize>) -> (Vec<usize>, usize) {
    let mut total = 0;
    let starts = lens
        .map(|len| {
            total += len;
            total - len
        })
        .collect();
    (starts, total)
}
