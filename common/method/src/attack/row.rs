//! What an attack is: what it is told, what it gives, and its row in the table.

use candle_core::{DType, Device, Tensor};
use engine::EngineError;

use super::field::At;
use super::search::{self, End, Searching, Subject};
use super::start::Starts;
use super::victim::Victim;
use crate::threat::Threat;

/// What an attack is to achieve on a batch of images, and within which bounds.
pub struct Aim<'a> {
    /// The classes `(N,)` u32 that the student is to be wrong about.
    pub classes: &'a Tensor,
    /// Everything random: keyed by seed, restart and image, so that no image depends on its batch.
    pub starts: Starts<'a>,
    /// What the adversary may do.
    pub threat: Threat,
    /// Change of a pixel per step, for attacks that do not find their own.
    pub step_size: f64,
    /// To be shown every gradient that the attack climbs by, of all images of the batch in order: where one vanished, the
    /// attack stood still, and the evaluator says so.
    pub watch: &'a dyn Fn(&At) -> candle_core::Result<()>,
}

/// An attack that judges.
pub trait Attack: Send + Sync {
    /// The name under which it is reported.
    fn name(&self) -> String;

    /// Images that the student is to get wrong, from `images` `(N, C, H, W)`.
    fn perturb(&self, victim: &Victim, images: &Tensor, aim: &Aim) -> Result<Tensor, EngineError>;

    /// Its searches, where it is made of them: they end image by image, and the evaluator keeps their batch full.
    fn searching(&self) -> Option<&dyn Searching> {
        None
    }
}

/// An attack made of searches, under a name.
pub(super) struct Searches<S> {
    pub name: &'static str,
    pub searching: S,
}

impl<S: Searching> Attack for Searches<S> {
    fn name(&self) -> String {
        self.name.into()
    }

    /// Images that were not broken come back as they are.
    fn perturb(&self, victim: &Victim, images: &Tensor, aim: &Aim) -> Result<Tensor, EngineError> {
        let (count, channels, height, width) = images.dims4()?;
        let size = channels * height * width;
        let mut pixels: Vec<f32> = images.flatten_all()?.to_dtype(DType::F32)?.to_vec1()?;
        let clean = pixels.clone();
        let labels: Vec<u32> = aim.classes.to_vec1()?;
        let mut subject = |index: usize| {
            Ok::<_, EngineError>(Subject {
                image: clean[index * size..(index + 1) * size].to_vec(),
                shape: [channels, height, width],
                label: labels[index] as usize,
                threat: aim.threat,
                seed: aim.starts.seed,
                restart: aim.starts.epoch,
                place: aim.starts.images[index],
            })
        };
        let mut ended = |index: usize, end: End| {
            if let Some(found) = end.found {
                pixels[index * size..(index + 1) * size].copy_from_slice(found);
            }
            Ok(())
        };
        search::run(&self.searching, victim, count, count, &mut subject, &mut ended, &mut |_| Ok(()))?;
        Tensor::from_vec(pixels, (count, channels, height, width), &Device::Cpu)?
            .to_dtype(images.dtype())
            .map_err(Into::into)
    }

    fn searching(&self) -> Option<&dyn Searching> {
        Some(&self.searching)
    }
}

/// An attack that the command line knows.
pub struct Row {
    /// Its name; `N` stands for a number.
    pub name: &'static str,
    /// What it is, in a line.
    pub summary: &'static str,
    /// One name that it answers to.
    pub example: &'static str,
    /// Makes it where `name` is one of its names.
    pub make: fn(name: &str) -> Option<Box<dyn Attack>>,
}

impl names::Row for Row {
    const WHAT: &'static str = "attack";

    fn name(&self) -> &'static str {
        self.name
    }

    fn summary(&self) -> &'static str {
        self.summary
    }

    fn example(&self) -> &'static str {
        self.example
    }

    const ALIASES: &'static [(&'static str, &'static str)] = &[
        ("aa", "autoattack"),
        ("auto-attack", "autoattack"),
        ("autoattack-standard", "autoattack"),
        ("apgd", "apgd-ce"),
        ("fab", "fab-t"),
        ("fabt", "fab-t"),
        ("apgdt", "apgd-t"),
        ("apgd-dlr-t", "apgd-t"),
        ("square-attack", "square"),
    ];

    const SIGNPOSTS: &'static [(&'static str, &'static str)] = &[
        ("cw", "CW is not here yet; `pgdN` climbs cross-entropy, as in pgd20"),
        ("pgd", "`pgdN` has its number of steps in its name, as in `pgd20`"),
        ("pgd-20", "written in one word: `pgd20`"),
        ("pgd-10", "written in one word: `pgd10`"),
        ("bim", "`pgdN` starts at random within eps; `fgsm` is one step from the image"),
        ("none", "`clean` is the accuracy without an attack"),
    ];
}
