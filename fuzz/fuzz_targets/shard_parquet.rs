//! A shard of the Parquet form under hashes that agree with it. The first byte chooses the label set.
#![no_main]

use std::sync::LazyLock;

use fuzz::Forgery;
use libfuzzer_sys::fuzz_target;

const SHARD: &str = "data/train-00000-of-00003.parquet";
static SETS: LazyLock<[Forgery; 4]> = LazyLock::new(|| fuzz::KEPT.map(|kept| Forgery::of(kept, SHARD)));

fuzz_target!(
    init: fuzz::let_others_unwind(),
    |input: &[u8]| {
        if fuzz::counts_for_long(input) {
            return;
        }
        if let Some((format, shard)) = input.split_first() {
            SETS[usize::from(format % 4)].read(shard);
        }
    }
);
