//! Attacks that follow every image on its own, and the pool that runs many of them together.
//!
//! A [`Search`] is the state of one attack on one image: it names a point, is told what the network says there, and
//! names the next. The pool keeps the batch full: an image that fell, or whose search is exhausted, leaves at once and
//! the next one takes its place. What a search finds depends on its image alone, since nothing random in it knows its
//! neighbours and no engine lets images of a batch meet.

use candle_core::{DType, Device, Tensor};
use engine::EngineError;
use rayon::prelude::*;

use super::victim::Victim;
use crate::rng::{Purpose, Stream};
use crate::threat::Threat;

/// One image as a search begins with it.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Its pixels in (channel, row, column) order, in [0, 1].
    pub image: Vec<f32>,
    /// Channels, height and width.
    pub shape: [usize; 3],
    /// The class that the network is to be wrong about.
    pub label: usize,
    /// What the adversary may do.
    pub threat: Threat,
    /// Keys everything random, with the three below.
    pub seed: u64,
    /// The run of the attack, from 0.
    pub restart: usize,
    /// The image's index in the data set.
    pub place: usize,
}

impl Subject {
    /// Its draws for an attack's part of this number: no two attacks and no two parts share any.
    pub(super) fn draws(&self, purpose: Purpose, part: usize) -> Stream {
        Stream::new(self.seed, purpose, self.restart << 16 | part, self.place)
    }

    /// Whether these logits are of another class than the subject's; the first of equals counts.
    pub(super) fn is_wrong(&self, logits: &[f32]) -> bool {
        largest(logits) != self.label
    }

    /// Moves a pixel into the ball around the image's and into [0, 1].
    pub(super) fn project(&self, place: usize, value: f32) -> f32 {
        let (image, eps) = (self.image[place], self.threat.eps as f32);
        value.max(image - eps).min(image + eps).clamp(0.0, 1.0)
    }
}

/// The place of the largest value; the first of equals.
pub(super) fn largest(values: &[f32]) -> usize {
    values.iter().enumerate().fold(0, |best, (place, value)| if *value > values[best] { place } else { best })
}

/// What a search wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// To know more, at its point.
    Ask,
    /// Nothing: the network is wrong at its point, which lies in the ball.
    Found,
    /// Nothing: it has tried all that it would.
    Exhausted,
}

/// One attack on one image.
pub trait Search: Send {
    /// Where it wants to know what the network says.
    fn point(&self) -> &[f32];

    /// The derivative by the logits `(K,)` of what is to be differentiated at the point.
    fn slope(&mut self, logits: &[f32], slope: &mut [f32]);

    /// Takes what the network said at the point and names the next. `gradient` is empty for attacks that ask for none.
    fn learn(&mut self, logits: &[f32], gradient: &[f32]) -> Next;
}

/// An attack made of searches.
pub trait Searching: Send + Sync {
    /// Whether searches want gradients; else logits are all they are told.
    fn climbs(&self) -> bool;

    /// The search on one image.
    fn begin(&self, subject: Subject) -> Box<dyn Search>;
}

/// Runs searches until all have ended, `batch` at a time.
///
/// `subject` gives the image of an index below `count`; `ended` is told each index in the order in which searches end,
/// and may stop everything by an error. `asked` hears after each forward how many
/// images are done.
pub fn run<E: From<EngineError>>(
    attack: &dyn Searching,
    victim: &Victim,
    count: usize,
    batch: usize,
    subject: &mut dyn FnMut(usize) -> Result<Subject, E>,
    ended: &mut dyn FnMut(usize, End) -> Result<(), E>,
    asked: &mut dyn FnMut(usize) -> Result<(), E>,
) -> Result<(), E> {
    let mut slots: Vec<Slot> = Vec::with_capacity(batch.min(count));
    let (mut begun, mut done) = (0, 0);
    loop {
        while slots.len() < batch.max(1) && begun < count {
            let search = attack.begin(subject(begun)?);
            slots.push(Slot { index: begun, search, next: Next::Ask, is_blind: attack.climbs() });
            begun += 1;
        }
        if slots.is_empty() {
            return Ok(());
        }
        ask(attack.climbs(), victim, &mut slots)?;
        for slot in slots.iter().filter(|slot| slot.next != Next::Ask) {
            let found = (slot.next == Next::Found).then(|| slot.search.point());
            ended(slot.index, End { found, is_blind: slot.is_blind })?;
            done += 1;
        }
        slots.retain(|slot| slot.next == Next::Ask);
        asked(done)?;
    }
}

/// How a search ended.
#[derive(Clone, Copy, Debug)]
pub struct End<'a> {
    /// Where the network is wrong, if the search found that.
    pub found: Option<&'a [f32]>,
    /// Whether every gradient that it met had vanished: then nothing was tried.
    pub is_blind: bool,
}

/// A gradient whose largest value is smaller has vanished: on its way through a network in f32, whose smallest normal
/// number is 1.2e-38, most of what it says is rounded to zero. Softmax does that to logits that lie far apart, and an
/// attack then counts images as robust that it never moved.
pub(crate) const VANISHED: f64 = 1e-30;

struct Slot {
    index: usize,
    search: Box<dyn Search>,
    next: Next,
    is_blind: bool,
}

/// Tells each search what the network says at its point.
fn ask(climbs: bool, victim: &Victim, slots: &mut [Slot]) -> Result<(), EngineError> {
    let [channels, height, width] = victim.network.input();
    let size = channels * height * width;
    let mut pixels = vec![0.0f32; slots.len() * size];
    pixels
        .par_chunks_mut(size)
        .zip(slots.par_iter_mut())
        .for_each(|(to, slot)| to.copy_from_slice(slot.search.point()));
    let images = Tensor::from_vec(pixels, (slots.len(), channels, height, width), &Device::Cpu)?;
    let precision = match victim.params.precision() {
        engine::params::Precision::F32 => DType::F32,
        engine::params::Precision::F64 => DType::F64,
    };
    let images = images.to_dtype(precision)?;
    if !climbs {
        let logits = victim.logits(&images)?;
        let (values, classes) = (flat(&logits)?, logits.dim(1)?);
        slots.par_iter_mut().zip(values.par_chunks(classes)).for_each(|(slot, logits)| {
            slot.next = slot.search.learn(logits, &[]);
        });
        return Ok(());
    }
    let pass = victim.pass(&images)?;
    let (values, classes) = (flat(&pass.logits)?, pass.logits.dim(1)?);
    let mut slopes = vec![0.0f32; values.len()];
    let each = slots.par_iter_mut().zip(values.par_chunks(classes)).zip(slopes.par_chunks_mut(classes));
    each.for_each(|((slot, logits), slope)| slot.search.slope(logits, slope));
    let slopes = Tensor::from_vec(slopes, (slots.len(), classes), &Device::Cpu)?.to_dtype(precision)?;
    let gradient = victim.engine.backward(pass.tape, &[Some(slopes)], None)?.expect("forward kept the image");
    let gradient = flat(&gradient)?;
    let each = slots.par_iter_mut().zip(values.par_chunks(classes)).zip(gradient.par_chunks(size));
    each.for_each(|((slot, logits), gradient)| {
        slot.is_blind &= gradient.iter().all(|slope| f64::from(slope.abs()) < VANISHED);
        slot.next = slot.search.learn(logits, gradient);
    });
    Ok(())
}

fn flat(tensor: &Tensor) -> Result<Vec<f32>, EngineError> {
    Ok(tensor.flatten_all()?.to_dtype(DType::F32)?.to_vec1()?)
}
