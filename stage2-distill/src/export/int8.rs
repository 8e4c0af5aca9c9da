//! A model in eight bits, and what is left of its accuracy.

use std::path::Path;

use candle_core::{D, Device, Tensor};
use cli::{Progress, Stop, Unchanged};
use data::{Dataset, DatasetSpec, Split};
use engine::EngineError;
use method::attack::{self, Attack, End, Pool, Victim};
use method::eval::Exam;
use weights::onnx::Model;
use zoo::onnx::{self, Ranges};

use super::{CALIBRATED, Subject};
use crate::error::RunError;

/// Images that are evaluated together.
const BATCH: usize = 64;
/// The attack: that of the card's other figures.
const ATTACK: &str = "pgd20";

/// Writes `student.int8.onnx`, calibrated with training images and adversarial ones, and gives for each kind of images of
/// the split that is judged what they are, and the accuracy in percent in f32 and in eight bits.
///
/// Adversarial images are the f32 student's, those that its own figure under the same attack is of: rounding hides
/// gradients from an attack on the eight bits themselves, so that its figure would flatter.
pub(super) fn write(
    subject: &Subject,
    model: &Model,
    folder: &Path,
    stop: &Stop,
) -> Result<Vec<(String, f64, f64)>, RunError> {
    let Some(reach) = &subject.exam.reach else {
        return Err(RunError::Refused(
            "--int8 is calibrated on adversarial images too, and no radius is known\nhint: add --eps, as in --eps 8/255".into(),
        ));
    };
    let attack = attack::find(ATTACK).expect("the table has it");
    let attack = attack.as_ref();
    let folded = onnx::folded(model);
    let spec: DatasetSpec = subject.exam.data.parse()?;
    let training = cli::images(&spec, Split::Train)?.limit(CALIBRATED);
    let mut ranges = Ranges::new();
    let busy = Progress::busy("calibrating eight bits");
    for places in batches(&training) {
        if stop.requested() {
            return Err(EngineError::Interrupted.into());
        }
        let (clean, adversarial) = both(subject, attack, &training, &places)?;
        for images in [&clean, &adversarial] {
            onnx::widen(&folded, images, &mut ranges).map_err(EngineError::from)?;
        }
    }
    drop(busy);
    let path = folder.join("student.int8.onnx");
    std::fs::write(&path, onnx::quantised(&folded, &ranges).encode())
        .map_err(cli::Error::io("write", &path))?;
    let (eight, _) = weights::WeightsFile::read(&path)?.model()?;
    let judged = match subject.exam.limit {
        Some(limit) => subject.dataset.clone().limit(limit),
        None => subject.dataset.clone(),
    };
    let mut right = [[0usize; 2]; 2];
    let mut progress = Progress::on_stderr("images");
    progress.begin(0, judged.len() as u64);
    for places in batches(&judged) {
        if stop.requested() {
            return Err(EngineError::Interrupted.into());
        }
        let (clean, adversarial) = both(subject, attack, &judged, &places)?;
        let labels: Vec<u32> = places.iter().map(|&place| judged.labels()[place] as u32).collect();
        for (right, images) in right.iter_mut().zip([clean, adversarial]) {
            let network = (&subject.loaded.network, &subject.loaded.params);
            let f32s = subject.engine.logits(network.0, network.1, &images.clone().into())?;
            let eight = onnx::evaluate(&eight, &images, &mut |_, _| Ok(())).map_err(EngineError::from)?;
            for (right, logits) in right.iter_mut().zip([f32s, eight]) {
                *right += hits(&logits, &labels).map_err(EngineError::from)?;
            }
        }
        progress.add(places.len() as u64);
    }
    let share = |right: usize| 100.0 * right as f64 / judged.len().max(1) as f64;
    let of = |name: String, [f32s, eight]: [usize; 2]| (name, share(f32s), share(eight));
    let adversarial = format!(
        "adversarial, of the f32 student: {ATTACK}, steps of {}, eps {}",
        reach.step_size.value, reach.eps.value
    );
    Ok(vec![
        of(format!("clean, the first {} of {}", judged.len(), judged.split().name()), right[0]),
        of(adversarial, right[1]),
    ])
}

fn batches(dataset: &Dataset) -> Vec<Vec<usize>> {
    (0..dataset.len()).collect::<Vec<_>>().chunks(BATCH).map(<[usize]>::to_vec).collect()
}

/// Images as they are, and adversarial ones of the student: the points that an evaluation would judge it by. An image that it
/// gets wrong as it is stays as it is, as there.
fn both(
    subject: &Subject,
    attack: &dyn Attack,
    dataset: &Dataset,
    places: &[usize],
) -> Result<(Tensor, Tensor), RunError> {
    let reach = subject.exam.reach.as_ref().expect("it was asked for");
    let (network, params) = (&subject.loaded.network, &subject.loaded.params);
    let clean = Unchanged(dataset).images(places).map_err(EngineError::from)?;
    let answers = subject.engine.logits(network, params, &clean.clone().into())?;
    let answers = answers.argmax(D::Minus1).and_then(|found| found.to_vec1::<u32>());
    let answers = answers.map_err(EngineError::from)?;
    let pixels = clean.flatten_from(1).and_then(|flat| flat.to_vec2::<f32>());
    let mut pixels = pixels.map_err(EngineError::from)?;
    let mut pool = Pool::new(attack, Victim::new(subject.engine, network, params));
    for (index, (&place, answer)) in places.iter().zip(answers).enumerate() {
        let label = dataset.labels()[place] as usize;
        if answer as usize == label {
            let (threat, step_size) = (reach.threat, reach.step_size.value.value());
            let (image, shape, seed) = (pixels[index].clone(), network.input(), subject.exam.seed);
            pool.admit(
                index,
                attack::Subject { image, shape, label, threat, step_size, seed, restart: 0, place },
            );
        }
    }
    while !pool.is_empty() {
        for End { index, point, .. } in pool.ask()? {
            pixels[index] = point.expect("gradient steps end somewhere");
        }
    }
    let found = Tensor::from_vec(pixels.concat(), clean.shape(), &Device::Cpu).map_err(EngineError::from)?;
    let found = reach.threat.project(&clean, &found).map_err(EngineError::from)?;
    Ok((clean, found))
}

/// How many logits are largest where the label says.
fn hits(logits: &Tensor, labels: &[u32]) -> candle_core::Result<usize> {
    let found = logits.argmax(D::Minus1)?.to_vec1::<u32>()?;
    Ok(found.iter().zip(labels).filter(|(found, label)| found == label).count())
}
