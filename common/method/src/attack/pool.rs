//! Many searches together, in batches that stay full.

use candle_core::{DType, Device, Storage, Tensor};
use engine::{Climbers, EngineError, Images};
use rayon::prelude::*;

use super::lead::{call_home, lead};
use super::row::Attack;
use super::search::{Next, Search, Subject, Unreadable};
use super::victim::Victim;
use super::walk::{go, walks};

/// Searches of one attack under way, asked together.
///
/// An image that fell, or whose search is exhausted, leaves at once; whoever runs the pool lets the next one in.
pub struct Pool<'a> {
    attack: &'a dyn Attack,
    victim: Victim<'a>,
    slots: Vec<Slot>,
    /// The pixels of those that the engine leads.
    party: Option<Climbers>,
}

/// A search under way, and what it said last.
pub(super) struct Slot {
    index: usize,
    pub(super) search: Box<dyn Search>,
    pub(super) next: Next,
    pub(super) asked: Asked,
    /// Its row in the pool's party; none where its pixels are its own.
    pub(super) row: Option<usize>,
}

/// What a search asked of the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Asked {
    /// Forwards of its image.
    pub forwards: u64,
    /// Gradients by its image.
    pub gradients: u64,
    /// Those of them that had vanished.
    pub vanished: u64,
}

impl Asked {
    /// Whether it looked at gradients, and all had vanished: then nothing was tried.
    pub fn is_blind(self) -> bool {
        self.gradients > 0 && self.vanished == self.gradients
    }
}

impl std::ops::AddAssign for Asked {
    fn add_assign(&mut self, other: Self) {
        self.forwards += other.forwards;
        self.gradients += other.gradients;
        self.vanished += other.vanished;
    }
}

/// How a search ended.
#[derive(Clone, Debug, PartialEq)]
pub struct End {
    /// The index that its subject was let in under.
    pub index: usize,
    /// The point that it wants to be judged by, if it found one.
    pub point: Option<Vec<f32>>,
    /// What it asked.
    pub asked: Asked,
}

/// A search under way, as bytes.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Saved {
    /// The index that its subject was let in under.
    pub index: usize,
    asked: Asked,
    state: Vec<u8>,
}

/// A gradient whose largest value is smaller has vanished: on its way through a network in f32, whose smallest normal
/// number is 1.2e-38, most of what it says is rounded to zero. Softmax does that to logits that lie far apart, and an
/// attack then counts images as robust that it never moved.
pub(crate) const VANISHED: f32 = 1e-30;

impl<'a> Pool<'a> {
    /// An empty one, of searches on `victim`.
    pub fn new(attack: &'a dyn Attack, victim: Victim<'a>) -> Self {
        Self { attack, victim, slots: Vec::new(), party: None }
    }

    /// Searches under way.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// How much of them is done, in searches.
    pub fn share(&self) -> f64 {
        self.slots.iter().map(|slot| slot.search.share()).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Begins the search on a subject.
    pub fn admit(&mut self, index: usize, subject: Subject) {
        let search = self.attack.begin(subject);
        self.slots.push(Slot { index, search, next: Next::Ask, asked: Asked::default(), row: None });
    }

    /// Goes on with a search that was saved.
    pub fn readmit(&mut self, saved: &Saved, subject: Subject) -> Result<(), Unreadable> {
        let mut search = self.attack.begin(subject);
        search.restore(&saved.state)?;
        let Saved { index, asked, .. } = *saved;
        self.slots.push(Slot { index, search, next: Next::Ask, asked, row: None });
        Ok(())
    }

    /// All searches under way. Those that the engine leads come home for it.
    pub fn save(&mut self) -> Result<Vec<Saved>, EngineError> {
        if let Some(party) = self.party.take() {
            call_home(&party, &mut self.slots)?;
        }
        let save = |slot: &Slot| Saved { index: slot.index, asked: slot.asked, state: slot.search.save() };
        Ok(self.slots.iter().map(save).collect())
    }

    /// Tells each search what the network says at its point; those that ended leave.
    pub fn ask(&mut self) -> Result<Vec<End>, EngineError> {
        if self.slots.is_empty() {
            return Ok(Vec::new());
        }
        let is_query = |slot: &&mut Slot| !self.attack.climbs() || slot.search.is_query();
        let (queries, climbs): (Vec<&mut Slot>, Vec<&mut Slot>) = self.slots.iter_mut().partition(is_query);
        query(&self.victim, queries)?;
        let (walks, climbs) = walks(&self.victim, climbs);
        for walk in walks {
            go(&self.victim, walk)?;
        }
        let (led, climbs): (Vec<_>, Vec<_>) = climbs.into_iter().partition(|slot| slot.search.is_led());
        differentiate(&self.victim, climbs)?;
        self.party = lead(&self.victim, self.party.take(), led)?;
        let ended = self.slots.extract_if(.., |slot| slot.next != Next::Ask);
        let end = |slot: Slot| End {
            index: slot.index,
            point: (slot.next == Next::Judge).then(|| slot.search.point().to_vec()),
            asked: slot.asked,
        };
        Ok(ended.map(end).collect())
    }
}

/// The points of these searches `(N, C, H, W)`, in the precision of the victim.
pub(super) fn points(victim: &Victim, slots: &mut [&mut Slot]) -> Result<Images, EngineError> {
    let [channels, height, width] = victim.network.input();
    let size = channels * height * width;
    let mut pixels = vec![0.0f32; slots.len() * size];
    let each = pixels.par_chunks_mut(size).zip(&mut *slots);
    each.for_each(|(to, slot)| to.copy_from_slice(slot.search.point()));
    let images = Tensor::from_vec(pixels, (slots.len(), channels, height, width), &Device::Cpu)?;
    Ok(images.to_dtype(precision(victim))?.into())
}

pub(super) fn precision(victim: &Victim) -> DType {
    victim.params.precision().dtype()
}

/// Tells searches the logits at their points.
fn query(victim: &Victim, mut slots: Vec<&mut Slot>) -> Result<(), EngineError> {
    if slots.is_empty() {
        return Ok(());
    }
    let logits = victim.query(&points(victim, &mut slots)?)?;
    let (values, classes) = (flat(&logits)?, logits.dim(1)?);
    slots.par_iter_mut().zip(values.par_chunks(classes)).for_each(|(slot, logits)| {
        slot.asked.forwards += 1;
        slot.next = slot.search.learn(logits, &[]);
    });
    Ok(())
}

/// Tells searches the logits at their points and the gradients of what they climb.
fn differentiate(victim: &Victim, mut slots: Vec<&mut Slot>) -> Result<(), EngineError> {
    if slots.is_empty() {
        return Ok(());
    }
    let pass = victim.pass(&points(victim, &mut slots)?)?;
    let (values, classes) = (flat(&pass.logits)?, pass.logits.dim(1)?);
    let mut slopes = vec![0.0f32; values.len()];
    let each = slots.par_iter_mut().zip(values.par_chunks(classes)).zip(slopes.par_chunks_mut(classes));
    each.for_each(|((slot, logits), slope)| slot.search.slope(logits, slope));
    let slopes = Tensor::from_vec(slopes, (slots.len(), classes), &Device::Cpu)?;
    let slopes = slopes.to_dtype(precision(victim))?;
    let gradient = victim.engine.backward(pass.tape, &[Some(slopes)], None)?;
    let gradient = gradient.expect("forward kept the image").contiguous()?.to_dtype(DType::F32)?;
    let (storage, layout) = gradient.storage_and_layout();
    let (Storage::Cpu(gradient), Some((from, to))) = (&*storage, layout.contiguous_offsets()) else {
        unreachable!("engines answer in the host's memory, and it was made contiguous")
    };
    let gradient = &gradient.as_slice::<f32>()?[from..to];
    let size = gradient.len() / slots.len();
    let each = slots.par_iter_mut().zip(values.par_chunks(classes)).zip(gradient.par_chunks(size));
    each.for_each(|((slot, logits), gradient)| {
        slot.asked.forwards += 1;
        slot.asked.gradients += 1;
        // What is no number leads nowhere either.
        let leads = |slope: &f32| slope.is_finite() && slope.abs() >= VANISHED;
        slot.asked.vanished += u64::from(!gradient.iter().any(leads));
        slot.next = slot.search.learn(logits, gradient);
    });
    Ok(())
}

pub(super) fn flat(tensor: &Tensor) -> Result<Vec<f32>, EngineError> {
    Ok(tensor.flatten_all()?.to_dtype(DType::F32)?.to_vec1()?)
}
