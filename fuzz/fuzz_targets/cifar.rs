//! CIFAR's batches. The first byte chooses CIFAR-10 or CIFAR-100, the binary or the python form.
#![no_main]

use data::{DatasetSpec, Split};
use libfuzzer_sys::fuzz_target;

/// Data set, and the file of its test part.
const FORMS: [(&str, &str); 4] = [
    ("cifar10", "test_batch.bin"),
    ("cifar100", "test.bin"),
    ("cifar10", "test_batch"),
    ("cifar100", "test"),
];

fuzz_target!(|input: &[u8]| {
    let Some((&form, batch)) = input.split_first() else { return };
    let form = usize::from(form) % FORMS.len();
    let (name, file) = FORMS[form];
    let place = fuzz::folder(&form.to_string());
    fuzz::put(&place.join(file), batch);
    let spec: DatasetSpec = format!("{name}:{}", place.display()).parse().expect("a place of a data set");
    let _ = spec.load(Split::Test);
});
