//! `distill export`: a student in a form that other programs run. Nothing is called written before its answers to 64 images
//! have been compared with the engine's.

mod candle;
mod card;
mod int8;
mod torch;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use candle_core::{D, DType, Tensor};
use cli::{Progress, Stop, Unchanged, note};
use data::{Dataset, DatasetSpec};
use engine::Engine;
use engine::params::Precision;
use method::eval::Exam;
use names::Row;
use weights::onnx::Model;
use weights::{Dtype, Entry};
use zoo::{Loaded, onnx};

use self::card::Facts;
use crate::error::RunError;
use crate::evaluate::{Examination, evaluate};
use crate::source;

/// Images whose logits are compared.
const COMPARED: usize = 64;
/// How far logits may be apart, as a share of the largest: rounding of f32 sums in another order.
const APART: f32 = 1e-5;
/// Images of the training split that eight bits are calibrated with, and their adversarial ones beside them.
const CALIBRATED: usize = 128;

/// A form that a student leaves in.
#[derive(Debug)]
pub struct Form {
    name: &'static str,
    summary: &'static str,
    /// What the card says of it.
    about: &'static str,
}

impl Row for Form {
    const WHAT: &'static str = "form";

    fn name(&self) -> &'static str {
        self.name
    }

    fn summary(&self) -> &'static str {
        self.summary
    }
}

/// Every form.
pub static FORMS: &names::Table<Form> = &[&ONNX, &TORCH, &CANDLE];

static ONNX: Form = Form {
    name: "onnx",
    summary: "one model of operators of set 17, for ONNX Runtime, OpenVINO, TensorRT ..; with --int8 also in eight bits",
    about: "An ONNX model, opset 17, for any number of images at once. In Python: `onnxruntime.InferenceSession(\"student.onnx\").run(None, {\"images\": images})`.",
};
static TORCH: Form = Form {
    name: "torch",
    summary: "one self-contained student.py for PyTorch, and the weights",
    about: "A module for PyTorch: `from student import load; logits = load()(images)`. It trains on like any other. `python student.py` checks it.",
};
static CANDLE: Form = Form {
    name: "candle",
    summary: "a small Rust program that runs the student with candle-nn's VarBuilder",
    about: "A program for candle: `Student::load` and `Student::logits` in src/main.rs. `cargo run --release` checks it.",
};

/// What is exported, and how.
pub struct Export {
    /// The form.
    pub form: &'static Form,
    /// What its accuracies are measured with.
    pub exam: Examination,
    /// Whether an ONNX model comes in eight bits too.
    pub int8: bool,
    /// The folder.
    pub out: PathBuf,
}

/// What was exported.
#[derive(serde::Serialize)]
pub struct Exported {
    /// The folder.
    pub folder: PathBuf,
    /// The card.
    pub card: String,
}

impl fmt::Display for Exported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\nwritten: {}", self.card.trim_end(), self.folder.display())
    }
}

/// What every form is made from.
pub(crate) struct Subject<'a> {
    engine: &'a dyn Engine,
    loaded: &'a Loaded,
    exam: &'a Examination,
    dataset: &'a Dataset,
}

/// Exports a student.
pub fn export(what: &Export, engine: &dyn Engine, threads: usize, stop: &Stop) -> Result<Exported, RunError> {
    if what.out.exists() {
        return Err(RunError::Refused(format!(
            "{}: there already\nhint: remove it, or give another --out",
            what.out.display()
        )));
    }
    let exam = &what.exam;
    let spec: DatasetSpec = exam.data.parse()?;
    let dataset = cli::images(&spec, exam.split)?;
    let task = source::task(&dataset);
    let loaded = zoo::load(&exam.student, &exam.said, task, Precision::F32)?;
    let subject = Subject { engine, loaded: &loaded, exam, dataset: &dataset };
    let places: Vec<usize> = (0..COMPARED.min(dataset.len())).collect();
    let images = Unchanged(&dataset).images(&places).map_err(engine::EngineError::from)?;
    let logits = engine.logits(&loaded.network, &loaded.params, &images.clone().into())?;
    let partial = beside(&what.out);
    std::fs::create_dir_all(&partial).map_err(cli::Error::io("make", &partial))?;
    let made = || -> Result<Exported, RunError> {
        let (report, _) = evaluate(exam, engine, threads, stop)?;
        let mut compared = Vec::new();
        let mut int8 = Vec::new();
        let mut files = vec![("README.md", "this card")];
        if what.form.name == ONNX.name {
            let written = write_onnx(&subject, &partial, (&images, &logits))?;
            compared.push(written.1);
            files.push(("student.onnx", "the model, f32"));
            if what.int8 {
                int8 = int8::write(&subject, &written.0, &partial, stop)?;
                files.push(("student.int8.onnx", "the same in eight bits"));
            }
        } else {
            zoo::save(&partial.join("student.safetensors"), &loaded.network, &loaded.params)?;
            write_check(&partial, &images, &logits)?;
            files.push(("student.safetensors", "the weights under PyTorch's names"));
            files
                .push(("check.safetensors", "64 images, and the logits that the program must give for them"));
            if what.form.name == TORCH.name {
                files.push(("student.py", "the network"));
                write_text(&partial.join("student.py"), &torch::program(&loaded.network))?;
                compared.push(ask_python(&partial)?);
            } else {
                files.push(("src/main.rs", "the network, and its check"));
                let program = candle::program(&loaded.network)
                    .map_err(|what| RunError::Refused(format!("{what}\nhint: export it --to onnx")))?;
                write_text(&partial.join("Cargo.toml"), &candle::manifest())?;
                write_text(&partial.join("src/main.rs"), &program)?;
                compared.push(
                    "not here: `cargo run --release` in this folder compares it with check.safetensors"
                        .into(),
                );
            }
        }
        let facts = Facts {
            form: what.form.about,
            files: &files,
            classes: dataset.class_names(),
            data: dataset.name(),
            eps: exam.trained_eps.as_ref().map(ToString::to_string),
            blake3: &loaded.blake3,
            report: Some(&report),
            compared: &compared,
            int8: &int8,
        };
        let card = card::text(&loaded.network, &facts);
        write_text(&partial.join("README.md"), &card)?;
        std::fs::rename(&partial, &what.out).map_err(cli::Error::io("name", &what.out))?;
        Ok(Exported { folder: what.out.clone(), card })
    };
    let made = made();
    if made.is_err() {
        // Nobody should take it for an export; what cannot be removed is named as what it is.
        let _ = std::fs::remove_dir_all(&partial);
    }
    made
}

/// The folder's name until all of it is there.
fn beside(out: &Path) -> PathBuf {
    let name = out.file_name().map_or_else(|| "export".into(), |name| name.to_string_lossy().into_owned());
    out.with_file_name(format!("{name}.partial"))
}

fn write_text(path: &Path, text: &str) -> Result<(), RunError> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(cli::Error::io("make", folder))?;
    }
    std::fs::write(path, text).map_err(cli::Error::io("write", path))?;
    Ok(())
}

/// The images that were asked about, and the answers.
fn write_check(folder: &Path, images: &Tensor, logits: &Tensor) -> Result<(), RunError> {
    let entry = |name: &str, tensor: &Tensor| -> Result<Entry<'static>, RunError> {
        let values = tensor.flatten_all().and_then(|flat| flat.to_vec1::<f32>());
        let values = values.map_err(engine::EngineError::from)?;
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Ok((name.to_owned(), Dtype::F32, tensor.dims().to_vec(), bytes.into()))
    };
    let entries = [entry("images", images)?, entry("logits", logits)?];
    Ok(weights::write(&folder.join("check.safetensors"), entries, None)?)
}

/// Writes a model, reads it back from the disk, and compares what its operators give with the engine's logits.
fn write_onnx(
    subject: &Subject,
    folder: &Path,
    (images, logits): (&Tensor, &Tensor),
) -> Result<(Model, String), RunError> {
    let loaded = subject.loaded;
    let notes = [
        ("architecture", loaded.network.architecture().to_owned()),
        ("classes", subject.dataset.class_names().join(",")),
        ("pixels", "0..1".into()),
        ("weights_blake3", loaded.blake3.clone()),
    ];
    let notes: BTreeMap<String, String> = notes.map(|(key, text)| (key.to_owned(), text)).into();
    let model = onnx::model_of(&loaded.network, &loaded.params, notes);
    let path = folder.join("student.onnx");
    std::fs::write(&path, model.encode()).map_err(cli::Error::io("write", &path))?;
    let (model, _) = weights::WeightsFile::read(&path)?.model()?;
    let found = onnx::evaluate(&model, images, &mut |_, _| Ok(())).map_err(engine::EngineError::from)?;
    let apart = apart(&found, logits).map_err(engine::EngineError::from)?;
    if apart.is_nan() || apart > APART {
        return Err(RunError::Refused(format!(
            "the exported model's logits differ by {apart:.1e} of the largest; wanted {APART:.0e} at most\nhint: nothing was written; please report this with the student's architecture"
        )));
    }
    let count = images.dims()[0];
    Ok((
        model,
        format!(
            "{count} images, read back and evaluated operator by operator: logits differ by {apart:.1e} of the largest"
        ),
    ))
}

/// The largest difference, as a share of the largest logit, or of 1 where all are smaller.
fn apart(found: &Tensor, wanted: &Tensor) -> candle_core::Result<f32> {
    let largest =
        |x: &Tensor| x.to_dtype(DType::F32)?.abs()?.flatten_all()?.max(D::Minus1)?.to_scalar::<f32>();
    Ok(largest(&(found - wanted)?)? / largest(wanted)?.max(1.0))
}

/// Lets a Python with torch run the program's own check, where there is one.
fn ask_python(folder: &Path) -> Result<String, RunError> {
    let python = std::env::var_os("RSLAD_PYTHON").unwrap_or_else(|| "python3".into());
    let has_torch = Command::new(&python).args(["-c", "import torch"]).output();
    if !has_torch.is_ok_and(|output| output.status.success()) {
        let python = python.to_string_lossy();
        note(format_args!(
            "{python} has no torch: `python student.py` compares the answers where there is one"
        ));
        return Ok(
            "not here, where no torch was: `python student.py` compares it with check.safetensors".into()
        );
    }
    let busy = Progress::busy("asking PyTorch");
    let output = Command::new(&python).arg("student.py").current_dir(folder).output();
    drop(busy);
    let output = output.map_err(cli::Error::io("run", Path::new(&python)))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if !output.status.success() {
        let said = text(&output.stderr);
        let said = said.lines().last().unwrap_or_default();
        return Err(RunError::Refused(format!(
            "PyTorch does not give the student's answers: {}; {said}\nhint: nothing was written; please report this with the student's architecture",
            text(&output.stdout)
        )));
    }
    // What else Python left there.
    let _ = std::fs::remove_dir_all(folder.join("__pycache__"));
    Ok(format!("by PyTorch, {}", text(&output.stdout)))
}
