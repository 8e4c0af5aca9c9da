//! A file of weights as it comes: safetensors, PyTorch's zip and its older form. Whatever lies in it is asked for a network.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let _ = weights::kind_of(input);
    let _ = weights::decode(input);
    fuzz::locate(input);
});
