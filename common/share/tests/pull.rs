//! `pull` from stores that break and lie: the very bytes, or no label set.

mod fixture;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use fixture::{Memory, Place, tree, write};
use labels::{Form, Kind};
use share::{Error, Wanted, pull_from, push_to};

/// A label set in a store.
fn pushed(place: &Place) -> Memory {
    let store = Memory::default();
    push_to(&place.labels(), &store, &()).unwrap();
    store
}

fn of_form(form: Form) -> Wanted {
    Wanted { form: Some(form), ..Wanted::default() }
}

#[test]
fn what_is_pulled_is_what_was_pushed_byte_for_byte() {
    let place = Place::new();
    fs::write(place.labels().join("LICENSE"), "CC-BY-4.0").unwrap();
    let store = pushed(&place);
    let pulled = pull_from(&store, &place.path("to"), Wanted::default(), &()).unwrap();
    assert!(tree(&place.path("to")) == tree(&place.labels()));
    assert_eq!((pulled.fetched, pulled.kept, pulled.absent), (6, 0, None));
    let again = pull_from(&store, &place.path("to"), Wanted::default(), &()).unwrap();
    assert_eq!((again.fetched, again.fetched_bytes, again.kept), (0, 0, 6));
}

/// Shards that have their names, and bytes of shards with or without one.
fn arrived(to: &Path) -> (usize, u64) {
    let files = if to.exists() { tree(to) } else { BTreeMap::new() };
    let shards = || files.iter().filter(|(name, _)| name.contains("train-"));
    let named = shards().filter(|(name, _)| !name.starts_with(".work/")).count();
    (named, shards().map(|(_, bytes)| bytes.len() as u64).sum())
}

fn shard_bytes(labels: &Path) -> u64 {
    arrived(labels).1
}

#[test]
fn a_pull_that_broke_at_any_request_goes_on_and_fetches_nothing_twice() {
    let place = Place::new();
    let (store, total) = (pushed(&place), shard_bytes(&place.labels()));
    for jobs in [1, 4] {
        let wanted = Wanted { jobs, ..Wanted::default() };
        for requests in 0.. {
            let to = place.path(&format!("to {jobs} {requests}"));
            store.breaks_after(Some(requests));
            let first = pull_from(&store, &to, wanted, &());
            store.breaks_after(None);
            let Err(error) = first else {
                assert!(requests > 9);
                break;
            };
            assert_eq!(error.kind(), Kind::Busy, "{error}");
            assert!(!to.join("manifest.json").exists());
            let (named, bytes) = arrived(&to);
            let second = pull_from(&store, &to, wanted, &()).unwrap();
            assert_eq!((second.fetched, second.kept), (6 - named, named));
            assert_eq!(second.fetched_bytes, total - bytes);
            assert!(tree(&to) == tree(&place.labels()));
        }
    }
}

#[test]
fn a_pull_that_broke_between_any_two_bytes_goes_on_at_the_next_one() {
    let place = Place::new();
    let (store, total) = (pushed(&place), shard_bytes(&place.labels()));
    let longest = tree(&place.labels()).into_iter().filter(|(name, _)| name.contains("train-"));
    let longest = longest.map(|(_, bytes)| bytes.len()).max().unwrap();
    for jobs in [1, 3, 16] {
        let wanted = Wanted { jobs, ..Wanted::default() };
        for left in (0..longest).step_by(longest / 15).chain([1, longest - 1]) {
            let to = place.path(&format!("to {jobs} {left}"));
            let mut fetched = 0;
            // Each time so many bytes of some shards come, and a shard that goes on needs fewer.
            *store.bytes_left.lock().unwrap() = Some(left);
            for _ in 0..3 {
                let before = arrived(&to).1;
                match pull_from(&store, &to, wanted, &()) {
                    Ok(pulled) => {
                        fetched += pulled.fetched_bytes;
                        break;
                    }
                    Err(error) => assert_eq!(error.kind(), Kind::Busy, "{error}"),
                }
                let after = arrived(&to).1;
                assert!(after > before || left == 0, "{left} bytes of a shard came and did not stay");
                assert!(!to.join("manifest.json").exists());
                fetched += after - before;
            }
            *store.bytes_left.lock().unwrap() = None;
            fetched += pull_from(&store, &to, wanted, &()).unwrap().fetched_bytes;
            assert_eq!(fetched, total, "broken after {left} bytes");
            assert!(tree(&to) == tree(&place.labels()));
        }
    }
}

#[test]
fn what_a_power_cut_left_of_a_shard_is_fetched_anew() {
    let place = Place::new();
    let (store, to) = (pushed(&place), place.path("to"));
    *store.bytes_left.lock().unwrap() = Some(1000);
    pull_from(&store, &to, Wanted::default(), &()).unwrap_err();
    *store.bytes_left.lock().unwrap() = None;
    let left: Vec<_> = tree(&to).into_keys().filter(|name| name.contains("arriving-")).collect();
    assert!(!left.is_empty());
    for name in &left {
        fs::write(to.join(name), vec![0; 700]).unwrap();
    }
    pull_from(&store, &to, Wanted::default(), &()).unwrap();
    assert!(tree(&to) == tree(&place.labels()));
}

#[test]
fn one_turned_bit_or_another_length_of_any_file_that_counts_is_refused_by_name() {
    let place = Place::new();
    let store = pushed(&place);
    let whole = store.objects.lock().unwrap().clone();
    let damages: [fn(&mut Vec<u8>); 4] = [
        |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 4;
        },
        |bytes| bytes.truncate(bytes.len() - 1),
        |bytes| bytes.push(0),
        Vec::clear,
    ];
    let mut tried = 0;
    for key in whole.keys().filter(|key| key.contains("train-") || *key == "manifest.json") {
        for (number, damage) in damages.iter().enumerate() {
            damage(store.objects.lock().unwrap().get_mut(key).unwrap());
            let to = place.path(&format!("{} {number}", key.replace('/', "-")));
            let error = pull_from(&store, &to, Wanted::default(), &()).unwrap_err();
            assert_eq!(error.kind(), Kind::Damage, "{error}");
            assert!(error.to_string().contains(&format!("memory://store/{key}")), "{error}");
            assert!(!to.join("manifest.json").exists());
            // Once it is mended there, the same command goes on here.
            *store.objects.lock().unwrap() = whole.clone();
            pull_from(&store, &to, Wanted::default(), &()).unwrap();
            assert!(tree(&to) == tree(&place.labels()));
            tried += 1;
        }
    }
    assert_eq!(tried, 28);
}

#[test]
fn a_form_is_half_and_the_other_half_comes_later() {
    let place = Place::new();
    let store = pushed(&place);
    let to = place.path("to");
    let half = pull_from(&store, &to, of_form(Form::Safetensors), &()).unwrap();
    assert_eq!(half.fetched, 3);
    assert!(!to.join("data").exists());
    labels::LabelSet::open(&to, labels::Check::Hashes).unwrap();
    assert_eq!(pull_from(&store, &to, of_form(Form::Parquet), &()).unwrap().fetched, 3);
    assert!(tree(&to) == tree(&place.labels()));
}

#[test]
fn a_form_that_did_not_travel_is_missed_by_those_alone_who_name_it() {
    let place = Place::new();
    fs::remove_dir_all(place.labels().join("data")).unwrap();
    let store = pushed(&place);
    let pulled = pull_from(&store, &place.path("to"), Wanted::default(), &()).unwrap();
    assert_eq!((pulled.fetched, pulled.absent), (3, Some(Form::Parquet)));
    assert!(tree(&place.path("to")) == tree(&place.labels()));
    let error = pull_from(&store, &place.path("other"), of_form(Form::Parquet), &()).unwrap_err();
    assert!(matches!(error, Error::NoForm { .. }), "{error}");
    assert!(!place.path("other").exists());
    // A shard that is missing is another matter.
    store.objects.lock().unwrap().remove("shards/train-00001-of-00003.safetensors");
    let error = pull_from(&store, &place.path("third"), Wanted::default(), &()).unwrap_err();
    assert!(matches!(error, Error::Missing { .. }), "{error}");
    assert_eq!(error.kind(), Kind::Damage);
}

#[test]
fn another_label_set_than_the_one_that_was_named_is_not_fetched() {
    let place = Place::new();
    let store = pushed(&place);
    write(&place.path("other"), Form::Both, 1.5);
    let named = |name: &str| {
        let content_hash = labels::Manifest::read(&place.path(name)).unwrap().content_hash;
        Wanted { content_hash: Some(content_hash), ..Wanted::default() }
    };
    let error = pull_from(&store, &place.path("to"), named("other"), &()).unwrap_err();
    assert!(matches!(error, Error::Unexpected { .. }), "{error}");
    assert!(!place.path("to").exists());
    pull_from(&store, &place.path("to"), named("labels"), &()).unwrap();
}

#[test]
fn where_no_label_set_is_or_not_yet_none_is_fetched() {
    let place = Place::new();
    let store = Memory::default();
    let pull = |store: &Memory| pull_from(store, &place.path("to"), Wanted::default(), &()).unwrap_err();
    assert!(matches!(pull(&store), Error::NoLabelSet { .. }));
    store.breaks_after(Some(16));
    push_to(&place.labels(), &store, &()).unwrap_err();
    store.breaks_after(None);
    assert!(matches!(pull(&store), Error::NoLabelSet { .. }));
    store.objects.lock().unwrap().insert("manifest.json".into(), b"<html>not found</html>".to_vec());
    assert_eq!(pull(&store).kind(), Kind::Damage);
    assert!(!place.path("to").exists());
}
