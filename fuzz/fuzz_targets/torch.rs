//! The pickle machine, and what PyTorch's readers make of what it built. The first byte chooses: the pickle alone, one in a zip
//! whose sums are right, stored or deflated, or one in the older form; then a storage and the pickle.
#![no_main]

use libfuzzer_sys::fuzz_target;
use weights::pickle::{self, Item};

fuzz_target!(|input: &[u8]| {
    let Some((&form, rest)) = input.split_first() else { return };
    let [storage, pickle] = fuzz::parts::<2>(rest);
    match form % 4 {
        0 => look_at_all(pickle),
        1 | 2 => {
            let files =
                [("archive/data.pkl", pickle), ("archive/data/0", storage), ("archive/byteorder", b"little")];
            look_into(&fuzz::zipped(&files, form % 4 == 2));
        }
        _ => look_into(&older(pickle, storage)),
    }
});

fn look_into(file: &[u8]) {
    let _ = weights::decode(file);
    fuzz::locate(file);
}

fn look_at_all(pickle: &[u8]) {
    let Ok(pickle) = pickle::load(pickle) else { return };
    for item in pickle.values().chain([pickle.root()]) {
        let _ =
            (item.kind(), item.identity(), item.as_int(), item.as_float(), item.as_str(), item.as_bytes());
        let _ = (item.as_global(), item.get("state_dict"), item.integers());
        let _ = item.as_persistent().map(Item::kind);
        let _ = item.as_array().map(|array| (array.kind.len(), array.row_major().map(|bytes| bytes.len())));
        let _ = item.elements().map(|all| all.map(Item::kind).map(|kind| kind.len()).sum::<usize>());
        let _ = item.entries().map(Iterator::count);
        let _ = item.own_entries().count();
    }
}

/// A checkpoint from before PyTorch 1.6 around a pickle, with one storage `0` of f32.
fn older(pickle: &[u8], storage: &[u8]) -> Vec<u8> {
    let magic = [0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, b'.'];
    let protocol = [0x80, 2, b'M', 0xe9, 3, b'.'];
    let system = [0x80, 2, b'}', b'.'];
    let keys = [0x80, 2, b']', 0x8c, 1, b'0', b'a', b'.'];
    let count = (storage.len() as u64 / 4).to_le_bytes();
    [&magic[..], &protocol, &system, pickle, &keys, &count, storage].concat()
}
