//! ONNX models that PyTorch's exporters wrote, read as networks and run, against what PyTorch itself answers.
//!
//! `tests/golden/make_onnx.py` made the models, from networks that between them have every operator that is read.

use std::path::PathBuf;

use candle_core::{DType, Device, Tensor};
use engine::Engine;
use engine::params::Precision;
use rslad_tests::{Golden, cpu, reference, relative, values};
use zoo::{Foreign, Loaded, Task};

const TASK: Task = Task { input: [3, 8, 8], classes: 5 };

/// The models, and whether BatchNorm is a node of them or was folded away by the exporter.
const MODELS: [(&str, bool); 7] = [
    ("folded", false),
    ("kept", true),
    ("padded", false),
    ("mobile", false),
    ("gated", false),
    ("exported-program", false),
    ("one-file", false),
];

fn path(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/golden/onnx")).join(format!("{name}.onnx"))
}

fn load(name: &str, precision: Precision) -> Loaded {
    zoo::load(&path(name), None, TASK, precision).unwrap()
}

fn images(golden: &Golden, name: &str, dtype: DType) -> Tensor {
    let values = golden.values(&format!("{name}/images")).to_vec();
    Tensor::from_vec(values, (4, 3, 8, 8), &Device::Cpu).unwrap().to_dtype(dtype).unwrap()
}

/// The weights are f32, and folding a BatchNorm rounds them again: 1e-6 of the logits in f64, 1e-5 where all is f32.
#[test]
fn a_model_answers_as_the_network_that_pytorch_exported() {
    let golden = Golden::open("onnx.safetensors");
    for (name, has_batch_norm) in MODELS {
        let wanted = golden.values(&format!("{name}/logits"));
        let runs: [(&dyn Engine, Precision, DType, f64); 2] =
            [(&reference(1), Precision::F64, DType::F64, 1e-6), (&cpu(1), Precision::F32, DType::F32, 1e-5)];
        for (engine, precision, dtype, bound) in runs {
            let loaded = load(name, precision);
            assert_eq!(loaded.network.has_batch_norm(), has_batch_norm, "{name}");
            let images = images(&golden, name, dtype).into();
            let found = engine.logits(&loaded.network, &loaded.params, &images).unwrap();
            let apart = relative(&values(&found), wanted);
            assert!(apart <= bound, "{name}: off by {apart:.1e}");
        }
    }
}

/// 0.4914 is the f32 of that decimal in the file, and must not come back as 0.49140000343322754.
#[test]
fn constants_at_the_entry_are_the_networks_own_normalisation() {
    for name in ["padded", "exported-program"] {
        let loaded = load(name, Precision::F32);
        let (mean, std) = loaded.network.normalisation().unwrap();
        assert_eq!(mean, [0.4914, 0.4822, 0.4465], "{name}");
        assert_eq!(std, [0.2471, 0.2435, 0.2616], "{name}");
    }
    let said = Foreign { inputs: Some(zoo::Inputs::Plain), ..Foreign::default() };
    let plain = zoo::load(&path("padded"), said, TASK, Precision::F32).unwrap();
    assert_eq!(plain.network.normalisation(), None);
    assert!(plain.notes.iter().any(|note| note.contains("is not used")), "{:?}", plain.notes);
}
