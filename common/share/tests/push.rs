//! `push` into stores that break, race and lie: all of a label set or none, and never two.

mod fixture;

use std::collections::BTreeSet;
use std::fs;
use std::sync::Barrier;
use std::thread;

use fixture::{Memory, Place, tree, write};
use labels::{Form, Kind};
use share::{Error, push_to};

/// Six shards, card, sums and manifest.
const FILES: usize = 9;

#[test]
fn what_is_pushed_is_the_folder_byte_for_byte_and_the_manifest_comes_last() {
    let (place, store) = (Place::new(), Memory::default());
    fs::write(place.labels().join("LICENSE.txt"), "CC-BY-4.0").unwrap();
    let pushed = push_to(&place.labels(), &store, &()).unwrap();
    let sent = tree(&place.labels());
    assert!(*store.objects.lock().unwrap() == sent);
    let bytes: usize = sent.values().map(Vec::len).sum();
    assert_eq!((pushed.sent, pushed.sent_bytes, pushed.kept), (FILES + 1, bytes as u64, 0));
    let created = store.was_done("create");
    assert_eq!(created.last().unwrap(), "manifest.json");
    let done = store.done.lock().unwrap();
    let of_manifest = done.iter().position(|line| line == "create manifest.json").unwrap();
    let last_write = done.iter().rposition(|line| line.starts_with("write ")).unwrap();
    assert!(last_write < of_manifest, "{done:?}");
}

#[test]
fn a_store_that_writes_over_what_is_there_is_refused_before_anything_else_is_written() {
    let place = Place::new();
    let store = Memory { overwrites: true, ..Memory::default() };
    store.objects.lock().unwrap().insert("theirs".into(), vec![1]);
    let error = push_to(&place.labels(), &store, &()).unwrap_err();
    assert!(matches!(error, Error::Overwrites { .. }), "{error}");
    assert_eq!(error.kind(), Kind::Input);
    assert_eq!(store.objects.lock().unwrap().keys().collect::<Vec<_>>(), ["theirs"]);
    assert!(store.was_done("write").is_empty());
    assert!(store.was_done("create").iter().all(|key| key.starts_with(".rslad-probe-")));
}

#[test]
fn a_push_that_broke_at_any_request_goes_on_and_sends_nothing_twice() {
    let place = Place::new();
    let whole = tree(&place.labels());
    for keeps_hashes in [false, true] {
        for requests in 0.. {
            let store = Memory { keeps_hashes, ..Memory::default() };
            store.breaks_after(Some(requests));
            let first = push_to(&place.labels(), &store, &());
            store.breaks_after(None);
            if first.is_ok() {
                assert!(requests > FILES);
                break;
            }
            assert_eq!(first.unwrap_err().kind(), Kind::Busy);
            if store.objects.lock().unwrap().contains_key("manifest.json") {
                // Only the claim was not taken away.
                let there = store.objects.lock().unwrap().clone();
                assert!(whole.iter().all(|(name, bytes)| there[name] == *bytes));
            }
            let before = store.was_done("write").len();
            let pushed = push_to(&place.labels(), &store, &()).unwrap();
            let written = store.was_done("write");
            assert_eq!(written.len(), FILES - 1, "{requests}: {written:?}");
            assert_eq!(written.iter().collect::<BTreeSet<_>>().len(), FILES - 1);
            assert_eq!(pushed.sent + pushed.kept, FILES);
            assert!(pushed.sent <= FILES - before);
            // What could not be removed is hidden: the probe, if the first push broke at it.
            let left = store.objects.lock().unwrap().clone();
            let visible = left.into_iter().filter(|(name, _)| !name.starts_with(".rslad-probe-"));
            assert!(visible.collect::<std::collections::BTreeMap<_, _>>() == whole, "{requests}");
        }
    }
}

#[test]
fn what_was_lost_cut_or_changed_there_is_sent_again_and_nothing_else() {
    let place = Place::new();
    let (shard, card) = ("shards/train-00001-of-00003.safetensors", "README.md");
    let store = Memory::default();
    push_to(&place.labels(), &store, &()).unwrap();
    let whole = store.objects.lock().unwrap().clone();
    let damages: [fn(&mut Vec<u8>); 3] = [Vec::clear, |bytes| bytes.truncate(100), |bytes| bytes[50] ^= 1];
    for damage in damages {
        for key in [shard, card] {
            damage(store.objects.lock().unwrap().get_mut(key).unwrap());
            store.done.lock().unwrap().clear();
            assert_eq!(push_to(&place.labels(), &store, &()).unwrap().sent, 1);
            assert_eq!(store.was_done("write"), [key]);
            assert!(*store.objects.lock().unwrap() == whole);
        }
    }
    store.objects.lock().unwrap().remove(shard);
    assert_eq!(push_to(&place.labels(), &store, &()).unwrap().sent, 1);
    assert_eq!(push_to(&place.labels(), &store, &()).unwrap().sent, 0);
    assert!(*store.objects.lock().unwrap() == whole);
}

#[test]
fn two_pushes_of_one_label_set_at_once_give_one_manifest() {
    let place = Place::new();
    for _ in 0..50 {
        let (store, start) = (Memory::default(), Barrier::new(3));
        let sent: Vec<usize> = thread::scope(|scope| {
            let push = || {
                start.wait();
                push_to(&place.labels(), &store, &()).unwrap().sent
            };
            let pushes: Vec<_> = (0..3).map(|_| scope.spawn(push)).collect();
            pushes.into_iter().map(|push| push.join().unwrap()).collect()
        });
        let manifests = store.was_done("create").iter().filter(|key| *key == "manifest.json").count();
        assert_eq!(manifests, 1, "{sent:?}");
        assert!(*store.objects.lock().unwrap() == tree(&place.labels()));
    }
}

#[test]
fn two_label_sets_pushed_to_one_place_at_once_are_never_mixed() {
    let place = Place::new();
    write(&place.path("other"), Form::Both, 1.5);
    let sets = [place.labels(), place.path("other")];
    for _ in 0..100 {
        let (store, start) = (Memory::default(), Barrier::new(2));
        let ended: Vec<share::Result<_>> = thread::scope(|scope| {
            let pushes: Vec<_> = sets
                .iter()
                .map(|set| {
                    scope.spawn(|| {
                        start.wait();
                        push_to(set, &store, &())
                    })
                })
                .collect();
            pushes.into_iter().map(|push| push.join().unwrap()).collect()
        });
        let won = ended.iter().position(Result::is_ok).expect("one of them wins");
        let lost = ended[1 - won].as_ref().unwrap_err();
        assert!(matches!(lost, Error::OtherPush { .. } | Error::OtherSet { .. }), "{lost}");
        assert_eq!(lost.kind(), Kind::Input);
        assert!(*store.objects.lock().unwrap() == tree(&sets[won]));
    }
}

#[test]
fn another_label_set_is_not_pushed_where_one_is_or_was_begun() {
    let place = Place::new();
    write(&place.path("other"), Form::Both, 1.5);
    let store = Memory::default();
    store.breaks_after(Some(16));
    push_to(&place.labels(), &store, &()).unwrap_err();
    store.breaks_after(None);
    let begun = store.objects.lock().unwrap().clone();
    assert!(begun.len() > 1 && !begun.contains_key("manifest.json"), "{:?}", begun.keys());
    let error = push_to(&place.path("other"), &store, &()).unwrap_err();
    assert!(matches!(error, Error::OtherPush { .. }), "{error}");
    assert!(*store.objects.lock().unwrap() == begun);
    push_to(&place.labels(), &store, &()).unwrap();
    let error = push_to(&place.path("other"), &store, &()).unwrap_err();
    assert!(matches!(error, Error::OtherSet { .. }), "{error}");
    assert!(*store.objects.lock().unwrap() == tree(&place.labels()));
}

#[test]
fn a_damaged_label_set_is_not_pushed() {
    let (place, store) = (Place::new(), Memory::default());
    let shard = place.labels().join("data/train-00002-of-00003.parquet");
    let mut bytes = fs::read(&shard).unwrap();
    bytes[40] ^= 1;
    fs::write(&shard, bytes).unwrap();
    let error = push_to(&place.labels(), &store, &()).unwrap_err();
    assert_eq!(error.kind(), Kind::Damage);
    assert!(error.to_string().contains("train-00002-of-00003.parquet"), "{error}");
    assert!(store.done.lock().unwrap().is_empty());
}
