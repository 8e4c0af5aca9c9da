//! A training's checkpoint, with the digest that its tensors and its state ask for; and the same bytes as a student's file.
#![no_main]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::LazyLock;

use engine::graph::{Builder, Op};
use engine::params::{Arena, Precision};
use engine::{Network, Params};
use libfuzzer_sys::fuzz_target;
use method::checkpoint::{Store, Tensors};
use method::objective::{Heads, Memory};
use serde::{Deserialize, Serialize};
use weights::{StateDict, WeightsFile};
use zoo::{Foreign, Task};

/// A state as runs have it: numbers, texts, and what an objective remembers.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    inputs: Vec<String>,
    step: usize,
    loss_sum: f64,
    #[serde(default)]
    objective: Memory,
}

static NETWORK: LazyLock<Network> = LazyLock::new(|| {
    let draw = || {
        let (mut builder, input) = Builder::new([1, 2, 2]);
        let flat = builder.node("flat", Op::Flatten, &[input])?;
        builder.node("linear", Op::Linear { out: 2, bias: true }, &[flat])?;
        builder.finish("line")
    };
    draw().expect("a line is a network")
});

static PLACE: LazyLock<PathBuf> = LazyLock::new(|| fuzz::folder("checkpoints"));

/// Writes a checkpoint and a student as seeds, where they are wanted.
fn seeds() {
    let Some(folder) = std::env::var_os("RSLAD_SEEDS").map(PathBuf::from) else { return };
    let params = Params::zeros(NETWORK.layout(), Precision::F32);
    let velocity = Arena::zeros(NETWORK.layout().trainable_len(), Precision::F32);
    let state = State {
        inputs: vec!["sample".into()],
        step: 3,
        loss_sum: 0.25,
        objective: Memory::default().with("row", vec![0.5, 1e-9]),
    };
    for (step, average) in [(1, None), (2, Some(&params))] {
        let heads = Heads::none(Precision::F32);
        let tensors = Tensors { params: &params, velocity: &velocity, average, heads: &heads };
        Store::at(&folder).save(step, tensors, &state).expect("a folder that takes seeds");
    }
}

fuzz_target!(
    init: seeds(),
    |input: &[u8]| {
        let bytes = forged(input).unwrap_or_else(|| input.into());
        let path = PLACE.join("step-0000000001.safetensors");
        fuzz::put(&path, &bytes);
        let heads = Heads::none(Precision::F32);
        let found = Store::at(&PLACE).latest::<State>(&NETWORK, Precision::F32, &heads);
        found.expect("a folder that can be listed");
        let file = WeightsFile::read(&path).expect("the file was just written");
        let _ = zoo::load_from(&file, Foreign::default(), Task { input: [1, 2, 2], classes: 2 }, Precision::F32);
    }
);

/// The file with the digest that it asks for; none where it is no checkpoint.
fn forged(input: &[u8]) -> Option<Vec<u8>> {
    const OPENING: &str = "{\\\"digest\\\":\\\"";
    let at = input.windows(OPENING.len()).position(|window| window == OPENING.as_bytes())? + OPENING.len();
    let tensors = weights::decode(input).ok()?;
    let envelope = tensors.metadata.get("rslad-checkpoint")?;
    let state = envelope.split_once("\",\"state\":")?.1.strip_suffix('}')?;
    let mut bytes = input.to_vec();
    let digest = digest(&tensors, state);
    bytes.get_mut(at..at + digest.len())?.copy_from_slice(digest.as_bytes());
    Some(bytes)
}

/// The digest in `method::checkpoint`: names, lengths and bytes in the network's order, then the state.
fn digest(tensors: &StateDict, state: &str) -> String {
    let layout = NETWORK.layout();
    let trainable: Vec<&str> = layout.trainable().iter().map(|entry| entry.name.as_str()).collect();
    let order = ["", "velocity/", "average/"]
        .iter()
        .flat_map(|section| trainable.iter().map(move |name| format!("{section}{name}")));
    let by_name: BTreeMap<&str, &[u8]> =
        tensors.iter().map(|(name, tensor)| (name, tensor.bytes())).collect();
    let mut hasher = blake3::Hasher::new();
    for name in order {
        if let Some(bytes) = by_name.get(name.as_str()) {
            hasher.update(name.as_bytes()).update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
        }
    }
    hasher.update(state.as_bytes());
    hasher.finalize().to_hex().to_string()
}
