//! Maps that every thread waits for before they are read: by then no cache holds a large one, and a store that goes through the
//! caches reads from memory what it is about to overwrite. So such a map is made in a thread's own memory, and the instruction
//! that forms its sums, which reads all of it anyway, hands it on past the caches.
//!
//! Sums and values are those of a map that is written where it belongs, to the bit.

use super::emit::SlotInfo;
use super::instruction::{Action, Instruction, Slot};

/// f32 of an image's map from which it is made in a thread's own memory: smaller ones are a cache's for most batches.
const LARGE: usize = 48 << 10;

/// Has the maps of a program that are written whole right before their sums are formed made in slots of their own; gives these
/// and where each goes. `alone` says of an instruction that the whole batch passes it before the next one starts.
pub(super) fn stage(
    program: &mut [Instruction],
    slots: &mut Vec<SlotInfo>,
    alone: impl Fn(&Instruction) -> bool,
) -> Vec<(Slot, Slot)> {
    let mut staged = Vec::new();
    let mut touched = vec![false; slots.len()];
    for index in 1..program.len() {
        let (before, rest) = program.split_at_mut(index);
        let (last, sums) = (&mut before[index - 1], &mut rest[0]);
        let summed = match sums.action {
            Action::Moments { .. } => sums.from[0],
            Action::GradientMoments { .. } => sums.from[1],
            _ => None,
        };
        if let Some(map) = summed
            && last.to == Some(map)
            && !touched[map.0]
            && slots[map.0].reserved() >= LARGE
            && !alone(last)
        {
            let stage = Slot(slots.len());
            slots.push(slots[map.0]);
            last.replace(map, stage);
            sums.replace(map, stage);
            sums.to = Some(map);
            staged.push((stage, map));
        }
        for slot in last.slots() {
            if let Some(touched) = touched.get_mut(slot.0) {
                *touched = true;
            }
        }
    }
    staged
}

#[cfg(test)]
mod tests {
    use crate::engine::{Keep, Norm};
    use crate::graph::{Builder, Conv2d, Op};
    use crate::plan::{Cost, Draft, Place, Plan};

    /// A wide map between two normalisations, a narrow one behind, and where asked a shortcut that the wide one's gradient
    /// is the sum for.
    fn plan(norm: Norm, product: Cost, shortcut: bool) -> Plan {
        let (mut b, x) = Builder::new([3, 32, 32]);
        let x = b.conv("wide", Conv2d::new(48, 1), x).unwrap();
        let x = b.batch_norm("wide.bn", x).unwrap();
        let wide = b.relu(x).unwrap();
        let x = b.conv("narrow", Conv2d::new(16, 1), wide).unwrap();
        let mut x = b.batch_norm("narrow.bn", x).unwrap();
        if shortcut {
            let around = b.conv("around", Conv2d::new(16, 1), wide).unwrap();
            x = b.add(x, around).unwrap();
        }
        let x = b.node("mean", Op::GlobalAvgPool, &[x]).unwrap();
        b.linear("classifier", 5, x).unwrap();
        let network = b.finish("wide-and-narrow").unwrap();
        let draft = Draft::new(&network, norm, Keep::ForParams, &[network.output()]);
        let products = vec![product; draft.products().len()];
        let weights = vec![Cost::default(); draft.weights().len()];
        draft.place(&products, &weights)
    }

    /// Actions that write a staged map, and that hand it on, as far as the maps are where their batch wants them.
    fn staged(plan: &Plan) -> [usize; 2] {
        [&plan.forward, &plan.backward].map(|program| {
            let handing = program.instructions.windows(2).filter(|pair| {
                let Some(Place::Stage(_, map)) = pair[0].to.map(|to| plan.places[to.0]) else { return false };
                assert_eq!(pair[1].to, Some(map));
                assert!(pair[1].from.contains(&pair[0].to) && pair[1].sums().is_some());
                assert!(!matches!(plan.places[map.0], Place::Chunk(_) | Place::Nowhere));
                true
            });
            handing.count()
        })
    }

    #[test]
    fn large_maps_before_sums_are_staged_and_no_others() {
        // By hand: 48 channels of 32 x 32 are 49,152 f32, 16 are 16,384. Forwards the wide convolution's map, backwards the
        // gradient behind its normalisation, which the narrow one's image gradient writes.
        assert_eq!(staged(&plan(Norm::Batch, Cost::default(), false)), [1, 1]);
        // A gradient in two contributions is not written whole by the last.
        assert_eq!(staged(&plan(Norm::Batch, Cost::default(), true)), [1, 0]);
        // Where the whole batch passes a product by itself its map is no thread's.
        let cooperative = Cost { cooperative: true, ..Cost::default() };
        assert_eq!(staged(&plan(Norm::Batch, cooperative, false)), [0, 0]);
    }
}
