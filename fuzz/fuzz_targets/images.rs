//! One or two images of a class of a folder: PNG, JPEG or Netpbm by their first bytes. The first byte of the input says whether they are
//! brought to a size.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use data::{DatasetSpec, Split};
use libfuzzer_sys::fuzz_target;

static PLACE: LazyLock<PathBuf> = LazyLock::new(|| {
    fuzz::folder("images/test/class");
    fuzz::scratch().join("images")
});

fuzz_target!(|input: &[u8]| {
    let Some((&form, rest)) = input.split_first() else { return };
    for (name, image) in ["a.png", "b.jpg"].iter().zip(fuzz::parts::<2>(rest)) {
        let path = PLACE.join("test/class").join(name);
        fuzz::put(&path, image);
        if image.is_empty() {
            std::fs::remove_file(&path).expect("it was just written");
        }
    }
    let size = if form & 1 == 1 { "@9" } else { "" };
    let spec: DatasetSpec =
        format!("imagefolder:{}{size}", PLACE.display()).parse().expect("a place of a data set");
    let _ = spec.load(Split::Test);
});
