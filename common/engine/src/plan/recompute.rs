//! Forming normalised maps again in the backward, where memory is short: a map that is one normalisation away from another
//! that a backward reads anyway need not be kept.
//!
//! It is formed by the same instruction from the same coefficients, so every bit of every result is what it would be. What it
//! saves of the tape it costs in one more pass over two maps.

use super::emit::{Emitted, SlotInfo};
use super::instruction::{Action, Finish, Instruction, Slot};
use super::step::{Layer, Steps};

/// Has the backward form what it can. A map that something else is added to on its way out is kept, for what is added would
/// have to be formed first; so is what lies behind a map that is formed again.
pub(super) fn recompute(steps: &Steps, emitted: &mut Emitted) {
    let mut again = vec![false; steps.values.len()];
    for step in &steps.steps {
        let (&Layer::Norm(norm), None) = (&step.layer, step.tail.residual) else { continue };
        let (input, out) = (step.inputs[0], step.out);
        let (from, kept) = (Slot(input.0), Slot(out.0));
        let reads = |slot| move |one: &Instruction| one.slots().any(|other| other == slot);
        let Some(first) = emitted.backward.iter().position(reads(kept)) else { continue };
        if again[input.0] || !emitted.backward.iter().any(reads(from)) {
            continue;
        }
        again[out.0] = true;
        emitted.slots.push(SlotInfo::Map { value: out, len: steps.value(out).len() });
        let slot = Slot(emitted.slots.len() - 1);
        for instruction in &mut emitted.backward[first..] {
            instruction.replace(kept, slot);
        }
        let finish = Finish { activation: step.tail.activation, ..Finish::default() };
        let formed = Instruction::reading(Action::Affine { norm }, [from]).into(slot).finished(finish);
        emitted.backward.insert(first, formed);
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::{Keep, Norm};
    use crate::graph::{Builder, Conv2d, Network, Op};
    use crate::plan::{Action, Cost, Draft, Plan, Segment};

    /// Two convolutions with normalisation, a shortcut around the second, and what follows them.
    fn network() -> Network {
        let (mut b, x) = Builder::new([3, 8, 8]);
        let x = b.conv("stem", Conv2d::new(32, 3).padding(1), x).unwrap();
        let x = b.batch_norm("stem.bn", x).unwrap();
        let stem = b.relu(x).unwrap();
        let x = b.conv("wide", Conv2d::new(32, 3).padding(1), stem).unwrap();
        let x = b.batch_norm("wide.bn", x).unwrap();
        let x = b.add(x, stem).unwrap();
        let x = b.relu(x).unwrap();
        let x = b.node("mean", Op::GlobalAvgPool, &[x]).unwrap();
        b.linear("classifier", 5, x).unwrap();
        b.finish("two-normalisations").unwrap()
    }

    fn plan(recompute: bool, norm: Norm) -> Plan {
        plan_of(&network(), recompute, norm, Cost::default())
    }

    fn plan_of(network: &Network, recompute: bool, norm: Norm, product: Cost) -> Plan {
        let draft = Draft::new(network, norm, Keep::ForParams, &[network.output()]);
        let draft = if recompute { draft.recomputing() } else { draft };
        let products = vec![product; draft.products().len()];
        let weights = vec![Cost::default(); draft.weights().len()];
        draft.place(&products, &weights)
    }

    #[test]
    fn a_map_that_is_formed_again_is_not_kept_and_one_with_a_shortcut_is() {
        // By hand, f32 per image. Kept: the image, dense (192), both convolutions' maps (2048 each), what follows the first
        // normalisation (2048), a bit for each of two ReLUs (64 f32 each), the mean's values (32).
        let (image, map, bits, mean) = (3 * 64, 32 * 64, 32 * 64 / 32, 32);
        let kept = plan(false, Norm::Batch);
        assert_eq!(kept.tape_len, image + 3 * map + 2 * bits + mean);
        let formed = plan(true, Norm::Batch);
        assert_eq!(formed.tape_len, kept.tape_len - map);
        let affine = |plan: &Plan| {
            let program = plan.backward.instructions.iter();
            program.filter(|one| matches!(one.action, Action::Affine { .. })).count()
        };
        assert_eq!([affine(&kept), affine(&formed)], [0, 1]);
    }

    #[test]
    fn sums_are_cut_as_they_are_without_it() {
        // A narrow layer behind a wide one: forming its input again touches more than its weight gradient does.
        let (mut b, x) = Builder::new([3, 16, 16]);
        let x = b.conv("wide", Conv2d::new(144, 3).padding(1), x).unwrap();
        let x = b.batch_norm("wide.bn", x).unwrap();
        let x = b.relu(x).unwrap();
        let x = b.conv("narrow", Conv2d::new(16, 1), x).unwrap();
        let x = b.batch_norm("narrow.bn", x).unwrap();
        let x = b.node("mean", Op::GlobalAvgPool, &[x]).unwrap();
        b.linear("classifier", 5, x).unwrap();
        let network = b.finish("bottleneck").unwrap();
        for norm in [Norm::Batch, Norm::Running] {
            for cooperative in [false, true] {
                let cuts = |recompute| -> Vec<_> {
                    let product = Cost { cooperative, ..Cost::default() };
                    let plan = plan_of(&network, recompute, norm, product);
                    let segments = plan.backward.segments.into_iter();
                    segments.filter(|one| !one.sums.is_empty()).map(|one| (one.sums, one.images)).collect()
                };
                assert_eq!(cuts(false), cuts(true), "{norm:?}, {cooperative}");
            }
        }
    }

    #[test]
    fn a_program_is_cut_between_two_readers_of_a_map_as_it_is_without_it() {
        // A large map that two convolutions read, and between these on the way back one of small maps, which would take more
        // images at a time. No other normalisation: all threads would wait there.
        let (mut b, x) = Builder::new([3, 32, 32]);
        let x = b.conv("stem", Conv2d::new(32, 3).padding(1), x).unwrap();
        let x = b.batch_norm("stem.bn", x).unwrap();
        let shared = b.relu(x).unwrap();
        let x = b.conv("down", Conv2d::new(32, 3).padding(1).stride(4), shared).unwrap();
        let x = b.relu(x).unwrap();
        let x = b.conv("deep", Conv2d::new(32, 3).padding(1), x).unwrap();
        let x = b.relu(x).unwrap();
        let x = b.conv("deeper", Conv2d::new(32, 3).padding(1), x).unwrap();
        let beside = b.conv("beside", Conv2d::new(32, 1).stride(4), shared).unwrap();
        let x = b.add(x, beside).unwrap();
        let x = b.node("mean", Op::GlobalAvgPool, &[x]).unwrap();
        b.linear("classifier", 5, x).unwrap();
        let network = b.finish("two-readers").unwrap();
        let mut cut_between = 0;
        for bytes in (0..64).map(|step| step << 17) {
            let plan = |recompute| {
                let product = Cost { bytes, ..Cost::default() };
                plan_of(&network, recompute, Norm::Running, product).backward
            };
            let (kept, formed) = (plan(false), plan(true));
            let is_formed = |at: &usize| matches!(formed.instructions[*at].action, Action::Affine { .. });
            let before = |at: usize| at - (0..at).filter(is_formed).count();
            let wanted: Vec<_> =
                kept.segments.iter().map(|one| (one.instructions.clone(), one.images)).collect();
            let cut =
                |one: &Segment| (before(one.instructions.start)..before(one.instructions.end), one.images);
            let found: Vec<_> = formed.segments.iter().map(cut).collect();
            assert_eq!(found, wanted, "weights of {bytes} bytes");
            for at in (0..formed.instructions.len()).filter(is_formed) {
                let map = formed.instructions[at].to.unwrap();
                let reads = |at: &usize| formed.instructions[*at].slots().any(|slot| slot == map);
                let last = (0..formed.instructions.len()).rfind(reads).unwrap();
                let here = formed.segments.iter().find(|one| one.instructions.contains(&at)).unwrap();
                cut_between += usize::from(!here.instructions.contains(&last));
            }
        }
        assert!(cut_between > 0, "nothing is cut between two readers, and nothing is tested");
    }
}
