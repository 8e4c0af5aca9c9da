//! Checkpoints written, damaged and gone on from.

use engine::Descent;
use engine::graph::{Builder, Op};
use serde::Deserialize;

use super::*;
use crate::objective::{Fresh, Initial};

#[derive(Serialize, Deserialize, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
struct Now {
    loss: f64,
}

#[derive(Serialize)]
struct Later {
    loss: f64,
    mood: &'static str,
}

fn network() -> (Network, Params) {
    let (mut builder, input) = Builder::new([1, 1, 1]);
    let flat = builder.node("flat", Op::Flatten, &[input]).unwrap();
    builder.node("linear", Op::Linear { out: 2, bias: true }, &[flat]).unwrap();
    let network = builder.finish("line").unwrap();
    let params = Params::zeros(network.layout(), Precision::F32);
    (network, params)
}

fn save<S: Serialize>(store: &mut Store, step: usize, state: &S) {
    let (network, params) = network();
    let velocity = Arena::zeros(network.layout().trainable_len(), Precision::F32);
    let heads = Heads::none(Precision::F32);
    let tensors = Tensors { params: &params, velocity: &velocity, average: None, heads: &heads };
    store.save(step, tensors, state).unwrap();
}

fn latest(folder: &Path) -> Found<Now> {
    Store::at(folder).latest(&network().0, Precision::F32, &Heads::none(Precision::F32)).unwrap()
}

fn steps(folder: &Path) -> Vec<usize> {
    files(folder).unwrap().into_iter().map(|(step, _)| step).collect()
}

#[test]
fn the_last_two_written_are_kept_whatever_other_files_call_themselves() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for step in [2, 7, 9] {
        std::fs::write(folder.join(file_name(step)), "garbage").unwrap();
    }
    let mut store = Store::at(folder);
    for (step, left) in
        [(1, vec![1, 2, 7, 9]), (3, vec![1, 3, 7, 9]), (5, vec![3, 5, 7, 9]), (8, vec![5, 8, 9])]
    {
        save(&mut store, step, &Now { loss: 0.1 });
        assert_eq!(steps(folder), left, "after step {step}");
    }
    let found = latest(folder);
    assert_eq!(found.restored.unwrap().state, Now { loss: 0.1 });
    assert!(matches!(found.unusable.as_slice(), [(_, Unusable::Damaged(_))]));
}

#[test]
fn a_state_of_another_version_is_told_from_a_damaged_one() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut store = Store::at(folder);
    save(&mut store, 4, &Later { loss: 0.1, mood: "sunny" });
    let [(path, Unusable::OtherVersion(why))] = &latest(folder).unusable[..] else {
        panic!("whole, and not ours")
    };
    assert!(why.contains("unknown field `mood`"), "{why}");
    let text = std::fs::read(path).unwrap();
    let at = text.windows(5).position(|bytes| bytes == b"sunny").unwrap();
    let mut changed = text.clone();
    changed[at] ^= 1;
    std::fs::write(path, changed).unwrap();
    assert!(matches!(&latest(folder).unusable[..], [(_, Unusable::Damaged(why))] if why.contains("digest")));
}

#[test]
fn heads_come_back_with_their_velocity_and_without_them_nothing_changes() {
    let folder = tempfile::tempdir().unwrap();
    let (network, params) = network();
    let velocity = Arena::zeros(network.layout().trainable_len(), Precision::F32);
    let fresh = |bound| {
        let initial = Initial::Uniform(bound);
        let head = |name: &str| Fresh { name: name.into(), shape: vec![3, 2], initial };
        Heads::fresh(&[head("dpk.0.a"), head("dpk.0.b")], 4, Precision::F32)
    };
    let mut heads = fresh(0.3);
    heads.step(Descent { momentum: 0.9, weight_decay: 0.1, rate: 0.1, nesterov: false });
    let kept: Vec<_> = heads.iter().map(|(name, values, motion)| (name.to_owned(), values, motion)).collect();
    assert!(kept.iter().all(|(_, _, motion)| motion.iter().any(|&v| v != 0.0)));
    let tensors = Tensors { params: &params, velocity: &velocity, average: None, heads: &heads };
    let mut store = Store::at(folder.path());
    store.save(1, tensors, &Now { loss: 0.1 }).unwrap();
    let found = store.latest::<Now>(&network, Precision::F32, &fresh(1.0)).unwrap();
    let restored = found.restored.unwrap().heads;
    let found: Vec<_> =
        restored.iter().map(|(name, values, motion)| (name.to_owned(), values, motion)).collect();
    assert_eq!(found, kept);
    // A run without heads is not resumed from it, nor one with heads from a checkpoint without.
    assert!(
        matches!(&latest(folder.path()).unusable[..], [(_, Unusable::Damaged(why))] if why.contains("digest"))
    );
    save(&mut store, 2, &Now { loss: 0.1 });
    let found = Store::at(folder.path()).latest::<Now>(&network, Precision::F32, &fresh(1.0)).unwrap();
    let [(_, Unusable::Damaged(why))] = &found.unusable[..] else { panic!("it has no heads") };
    assert!(why.contains("no head of shape [3, 2] for dpk.0.a"), "{why}");
}

#[test]
fn no_checkpoint_with_a_flipped_bit_or_another_length_is_gone_on_from() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    save(&mut Store::at(folder), 4, &Now { loss: 0.1 });
    let path = folder.join(file_name(4));
    let whole = std::fs::read(&path).unwrap();
    let flipped = (0..whole.len()).map(|at| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at * 3 % 8);
        bytes
    });
    let cut = (0..whole.len()).map(|length| whole[..length].to_vec());
    let longer = [&whole[..], &[0]].concat();
    let mut tried = 0;
    for bytes in flipped.chain(cut).chain([longer]) {
        std::fs::write(&path, &bytes).unwrap();
        let found = latest(folder);
        assert!(found.restored.is_none() && found.unusable.len() == 1, "{tried}");
        tried += 1;
    }
    eprintln!("{tried} damaged checkpoints of {} bytes: none was taken", whole.len());
    std::fs::write(&path, &whole).unwrap();
    assert!(latest(folder).restored.is_some());
}

#[test]
fn a_run_that_died_after_a_save_keeps_what_an_undisturbed_one_does() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut store = Store::at(folder);
    for step in [2, 4] {
        save(&mut store, step, &Now { loss: 0.1 });
    }
    let second = std::fs::read(folder.join(file_name(2))).unwrap();
    save(&mut store, 6, &Now { loss: 0.1 });
    // As if nobody had come to remove it.
    std::fs::write(folder.join(file_name(2)), second).unwrap();
    std::fs::write(folder.join(file_name(1)), "garbage").unwrap();
    let (network, _) = network();
    let mut store = Store::at(folder);
    let found = store.latest::<Now>(&network, Precision::F32, &Heads::none(Precision::F32)).unwrap();
    assert!(found.restored.is_some());
    assert_eq!(steps(folder), [1, 2, 4, 6], "whoever only looks changes nothing");
    store.go_on();
    assert_eq!(steps(folder), [4, 6]);
}

#[test]
fn a_folder_that_is_not_there_holds_no_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let found = latest(&folder.path().join("absent"));
    assert!(found.restored.is_none() && found.unusable.is_empty());
}
