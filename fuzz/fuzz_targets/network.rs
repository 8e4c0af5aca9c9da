//! A network out of a file: an ONNX model, the file beside it that its tensors may lie in, or a student of ours with its graph.
#![no_main]

use std::path::{Path, PathBuf};

use engine::params::Precision;
use libfuzzer_sys::fuzz_target;
use weights::WeightsFile;
use weights::onnx::Model;
use zoo::{Foreign, Task};

/// What `tests/golden/make_onnx.py` draws its networks for.
const TASK: Task = Task { input: [3, 8, 8], classes: 5 };

/// Writes students of the golden models as seeds, where they are wanted.
fn seeds() {
    let Some(folder) = std::env::var_os("RSLAD_SEEDS").map(PathBuf::from) else { return };
    for name in ["mobile", "folded", "kept"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../tests/golden/onnx/{name}.onnx"));
        let loaded = zoo::load(&path, Foreign::default(), TASK, Precision::F32).expect("a golden model");
        let student = folder.join("student");
        zoo::save(&student, &loaded.network, &loaded.params).expect("a folder that takes seeds");
        // Nothing lies beside a student.
        let bytes = [&[0, 0][..], &std::fs::read(&student).expect("it was just written")].concat();
        fuzz::put(&folder.join(format!("student-{name}")), &bytes);
        std::fs::remove_file(student).expect("it was just written");
    }
}

fuzz_target!(
    init: seeds(),
    |input: &[u8]| {
        let [beside, bytes] = fuzz::parts::<2>(input);
        let place = fuzz::folder("network");
        fuzz::put(&place.join("exported-program.onnx.data"), beside);
        let path = place.join("model.onnx");
        fuzz::put(&path, bytes);
        let file = WeightsFile::read(&path).expect("the file was just written");
        if let Ok(model) = Model::decode(bytes) {
            let _ = model.encode();
        }
        if let Ok(loaded) = zoo::load_from(&file, Foreign::default(), TASK, Precision::F32) {
            let _ = zoo::onnx::model_of(&loaded.network, &loaded.params, Default::default()).encode();
        }
    }
);
