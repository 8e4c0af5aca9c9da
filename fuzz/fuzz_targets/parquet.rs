//! A data set of one Parquet file with encoded images, as the hub has them.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use data::{DatasetSpec, Split};
use libfuzzer_sys::fuzz_target;

static PLACE: LazyLock<PathBuf> = LazyLock::new(|| fuzz::folder("parquet"));
static SPEC: LazyLock<DatasetSpec> =
    LazyLock::new(|| format!("parquet:{}", PLACE.display()).parse().expect("a place of a data set"));

fuzz_target!(
    init: fuzz::let_others_unwind(),
    |input: &[u8]| {
        if fuzz::counts_for_long(input) {
            return;
        }
        fuzz::put(&PLACE.join("test.parquet"), input);
        let _ = SPEC.load(Split::Test);
    }
);
