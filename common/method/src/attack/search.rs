//! An attack on one image, step by step.
//!
//! A [`Search`] is the state of one attack on one image: it names a point, is told what the network says there, and
//! names the next. What it finds depends on its image alone: everything random in it is keyed by seed, restart and
//! image, and by the attack ([`Subject::draws`]; the kinds of PGD share their starts), and no engine lets images of a
//! batch meet. It can be saved at any step and go on in another process.

use engine::{Ascent, Stride};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::lead::Stand;
use super::margin::Loss;
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
    /// Change of a pixel per step, for attacks that do not find their own.
    pub step_size: f64,
    /// Keys everything random, with the two below.
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
    /// To be judged by its point: it is done.
    Judge,
    /// Nothing: it has tried all that it would, and found nothing.
    Exhausted,
}

/// What is left of a search's way where that is signed steps of one length on one loss: an engine may go it in one call.
pub struct Way<'a> {
    /// What it raises.
    pub(super) loss: Loss,
    /// The image, its class, and the steps.
    pub(super) subject: &'a Subject,
    /// Steps of this length, within the subject's ball.
    pub(super) by: Ascent,
}

/// One attack on one image.
pub trait Search: Send {
    /// Where it wants to know what the network says.
    fn point(&self) -> &[f32];

    /// Whether logits are all that it wants to know at this point, of an attack that climbs: `learn` then gets no gradient.
    fn is_query(&self) -> bool {
        false
    }

    /// The derivative by the logits `(K,)` of what is to be differentiated at the point.
    fn slope(&mut self, logits: &[f32], slope: &mut [f32]);

    /// Takes what the network said at the point and names the next. `gradient` is empty where none was asked
    /// for.
    fn learn(&mut self, logits: &[f32], gradient: &[f32]) -> Next;

    /// What is left of its way, where an engine may go it in one call; `arrive` then takes where that ends.
    fn way(&self) -> Option<Way<'_>> {
        None
    }

    /// Takes the end of its [`way`](Self::way), or the point that it was led to and wants to be judged by.
    fn arrive(&mut self, _end: &[f32]) -> Next {
        unreachable!("only who names a way, or is led, comes to its end")
    }

    /// Whether the engine takes its steps from here: it is then told logits by [`lead`](Self::lead), and nothing by `slope`
    /// and `learn`.
    fn is_led(&self) -> bool {
        false
    }

    /// Hands over its image and where it stands, to be led; none where it is on its way already. Until it is given back
    /// ([`settle`](Self::settle), or [`arrive`](Self::arrive) at the end) it has no point.
    fn depart(&mut self) -> Option<(&[f32], Stand)> {
        None
    }

    /// As `slope` and `learn`, of a search that is led: what it wants next, and the step that takes it there. Where it wants
    /// to be judged, that is by the point at which these logits were said.
    fn lead(&mut self, _logits: &[f32], _slope: &mut [f32]) -> (Next, Stride) {
        unreachable!("only who departs is led")
    }

    /// Takes back where it stands.
    fn settle(&mut self, _stand: Stand) {
        unreachable!("only who departs comes back")
    }

    /// How much of what it will try at most is done, from 0 to 1.
    fn share(&self) -> f64;

    /// All that it has learned, for [`restore`](Self::restore).
    fn save(&self) -> Vec<u8>;

    /// Goes on where a search of the same attack on the same subject was saved, instead of at the beginning.
    fn restore(&mut self, saved: &[u8]) -> Result<(), Unreadable>;
}

/// What was saved is not a state of this search.
#[derive(Debug, thiserror::Error)]
#[error("the saved state of an attack cannot be read: {0}")]
pub struct Unreadable(#[from] postcard::Error);

/// The bytes of a search's state.
pub(super) fn saved<S: Serialize>(state: &S) -> Vec<u8> {
    postcard::to_allocvec(state).expect("a state of numbers has bytes")
}

/// The state of a search from its bytes.
pub(super) fn restored<S: DeserializeOwned>(saved: &[u8]) -> Result<S, Unreadable> {
    Ok(postcard::from_bytes(saved)?)
}
