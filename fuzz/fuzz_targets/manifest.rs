//! A label set's manifest, which bounds all that is read after it: as pushed and pulled, and over shards that are there.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use labels::{Check, Form, Manifest};
use libfuzzer_sys::fuzz_target;

static SET: LazyLock<PathBuf> = LazyLock::new(|| fuzz::label_set("format-2", &["data", "shards"]));

fuzz_target!(|input: &[u8]| {
    let bytes = fuzz::sealed(input);
    if let Ok(manifest) = Manifest::of_bytes("elsewhere", &bytes) {
        let _ = (manifest.shards_of(Form::Safetensors), manifest.shards_of(Form::Parquet));
    }
    fuzz::put(&SET.join("manifest.json"), &bytes);
    fuzz::read_label_set(&SET, Check::Sizes);
    fuzz::verify_label_set(&SET);
});
