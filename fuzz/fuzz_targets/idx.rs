//! MNIST's files: images, then labels, each gzipped where the first byte says so.
#![no_main]

use std::io::Write;
use std::path::PathBuf;
use std::sync::LazyLock;

use data::{DatasetSpec, Split};
use libfuzzer_sys::fuzz_target;

static PLACE: LazyLock<PathBuf> = LazyLock::new(|| fuzz::folder("mnist"));
static SPEC: LazyLock<DatasetSpec> =
    LazyLock::new(|| format!("mnist:{}", PLACE.display()).parse().expect("a place of a data set"));

fuzz_target!(|input: &[u8]| {
    let Some((&packed, rest)) = input.split_first() else { return };
    let files = fuzz::parts::<2>(rest);
    for (number, (name, bytes)) in
        ["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"].iter().zip(files).enumerate()
    {
        let bytes = if packed >> number & 1 == 1 { gzipped(bytes) } else { bytes.into() };
        fuzz::put(&PLACE.join(name), &bytes);
    }
    let _ = SPEC.load(Split::Test);
});

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(bytes).and_then(|()| packer.finish()).expect("memory takes what it is given")
}
