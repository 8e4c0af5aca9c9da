//! A student beside its possible teachers: what it answers to the untouched images, and how far each teacher is away.

use std::path::{Path, PathBuf};

use clap::Args;
use cli::{Machine, NetworkArgs};
use data::{Dataset, DatasetSpec};
use labels::{Augment, LabelSet, Wanted};
use serde::Serialize;

use super::{Answers, Gap};
use crate::args::task;
use crate::teacher::{RowId, Teacher};
use crate::verb::inspect::statistics::{Answer, Statistics};
use crate::{Error, Result};

/// Images run together on a processor.
const BATCH: usize = 256;

/// Which student to set beside the label sets.
#[derive(Debug, Clone, Args)]
pub struct StudentArgs {
    /// A student's weights, set beside each label set on the untouched images
    #[arg(long, value_name = "FILE", requires = "data")]
    pub student: Option<PathBuf>,
    /// What is said of its file.
    #[command(flatten)]
    pub network: NetworkArgs,
    /// The labelled dataset, for --student
    #[arg(long, value_name = "DATASET", requires = "student")]
    pub data: Option<DatasetSpec>,
    /// Bring every image to N x N pixels, as `@N` behind the dataset's place does
    #[arg(long, value_name = "N", value_parser = cli::whole::<1, 1024>, requires = "data")]
    pub size: Option<u32>,
}

/// A student that was asked for: its file, what is said of it, and where its images are.
pub(crate) struct Asked<'a> {
    file: &'a Path,
    said: zoo::Foreign,
    data: DatasetSpec,
}

impl StudentArgs {
    /// The student, where one was named.
    pub(crate) fn asked(&self) -> Result<Option<Asked<'_>>> {
        match (&self.student, &self.data, self.network.given()) {
            (Some(file), Some(data), _) => {
                let data = data.clone().sized(self.size)?;
                Ok(Some(Asked { file, said: self.network.foreign()?, data }))
            }
            (_, _, None) => Ok(None),
            (_, _, Some(flag)) => Err(Error::Usage {
                what: format!("{flag} says something of a student, and none is named"),
                hint: "add --student FILE with --data, or drop it".into(),
            }),
        }
    }
}

/// A student and its distance from each label set, on untouched images that all of them hold.
#[derive(Debug, Serialize)]
pub struct Student {
    /// Its file, as it was named.
    pub file: String,
    /// Its architecture.
    pub architecture: String,
    /// Untouched images on which it was asked.
    pub images: u64,
    /// Right answers, in percent.
    pub accuracy: f64,
    /// Its distance from each label set, in their order.
    pub gaps: Vec<Distance>,
}

/// How far a student is from one teacher.
#[derive(Debug, Serialize)]
pub struct Distance {
    /// Mean KL(teacher || student), in nats: what distillation on clean images lowers.
    pub kl: f64,
    /// Images that both answer alike, in percent.
    pub agreement: f64,
    /// Images that the teacher answers right and the student wrong.
    pub lost: u64,
}

/// Runs the student on the untouched images that all label sets hold.
pub(super) fn beside(sets: &[LabelSet], asked: &Asked, machine: Machine) -> Result<Student> {
    let first = &sets[0];
    let dataset = cli::images(&asked.data, first.manifest().dataset.split.parse()?)?.limit(first.images());
    first.check_against(&Wanted { dataset: &dataset.record(), augment: None, plan: None })?;
    if dataset.len() < first.images() {
        return Err(labels::Error::TooFewImages {
            dir: first.dir().into(),
            wanted: dataset.len() as u64,
            found: first.images() as u64,
        }
        .into());
    }
    let student = Teacher::load(asked.file, &asked.said, task(&dataset), machine)?;
    let said = ask(&student, &dataset)?;

    let mut right = Statistics::new(first.classes());
    let mut gaps: Vec<Gap> = sets.iter().map(|_| Gap::default()).collect();
    let (mut answers, mut answer) = (Answers::of(sets), Answer::new(first.classes()));
    let centre = first.manifest().augment.centre();
    for row in first.rows().filter(|row| row.view == centre) {
        if !answers.read(&row) {
            continue;
        }
        answer.read(&said[row.image * first.classes()..][..first.classes()]);
        right.add(&answer, row.label);
        for (gap, teacher) in gaps.iter_mut().zip(&answers.each) {
            gap.add(teacher, &answer, row.label);
        }
    }
    if right.rows() == 0 {
        return Err(Error::Usage {
            what: "the label sets hold no untouched image in common, and a student is compared on those"
                .into(),
            hint: "label with --augment none or with --views all".into(),
        });
    }
    let distance =
        |gap: &Gap| Distance { kl: gap.kl / gap.rows as f64, agreement: gap.agreement(), lost: gap.lost };
    Ok(Student {
        file: asked.file.display().to_string(),
        architecture: student.architecture().into(),
        images: right.rows(),
        accuracy: right.accuracy(),
        gaps: gaps.iter().map(distance).collect(),
    })
}

/// Logits of a network on all images as they are, (N, K) row after row.
fn ask(network: &Teacher, dataset: &Dataset) -> Result<Vec<f32>> {
    let images: Vec<RowId> = (0..dataset.len()).map(|image| (image, Augment::NONE.centre())).collect();
    let mut logits = Vec::new();
    for images in images.chunks(network.batch(None, BATCH)?) {
        logits.extend(network.logits(dataset, Augment::NONE, images)?);
    }
    Ok(logits)
}
