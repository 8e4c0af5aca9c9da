//! How a label set keeps an answer: its logits as they are, as codes of eight bits, or the largest of them alone.
//!
//! What is kept of a row is made once, when the teacher answers, and then only copied: parts, interruptions, other label
//! sets that take the row over, all have the same bytes. Whatever is left out, the row still says a logit of every class,
//! whose softmax sums to 1, and what that costs: KL of the stored softmax from the teacher's own.
//!
//! Exponentials and logarithms are those of `libm`, which every machine computes alike.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::num::NonZeroU32;

use half::f16;

use crate::row::column::{ANSWERS, Column, Element, Held, Width};
use crate::row::dtype::{Dtype, Floats};
use crate::row::features::{Features, floats};
use crate::row::logits::Logits;

/// How a label set keeps an answer: K logits, then the F values of its feature maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Coding {
    pub(crate) classes: usize,
    /// N, the logits that are kept; 0 where all are.
    pub(crate) top: usize,
    pub(crate) features: usize,
    pub(crate) floats: Floats,
}

/// A logit that cannot be kept: NaN, infinite, or too large for the stored type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Unkept {
    /// The row among the answers.
    pub row: usize,
    /// The logit's class.
    pub class: usize,
    /// What it is.
    pub value: f32,
}

/// Billionths of a nat in one.
const NANO: f64 = 1e9;

impl Coding {
    /// Of K classes, logits of this type, of which so many are kept where a number is given, and these feature maps.
    pub fn new(
        classes: usize,
        dtype: Dtype,
        top_k: Option<NonZeroU32>,
        features: Option<&Features>,
    ) -> Coding {
        Coding {
            classes,
            top: top_k.map_or(0, |top| top.get() as usize),
            features: features.map_or(0, Features::values),
            floats: floats(dtype, features),
        }
    }

    /// Stored type of the logits.
    pub fn dtype(&self) -> Dtype {
        self.floats.logits
    }

    /// N, where the N largest logits are stored alone.
    pub fn top_k(&self) -> Option<NonZeroU32> {
        NonZeroU32::new(self.top as u32)
    }

    /// Whether every logit is stored as a float of its own.
    pub fn is_plain(&self) -> bool {
        self.top == 0 && self.floats.logits != Dtype::U8
    }

    /// What is wrong with it: a field, what is wanted, what is found.
    pub(crate) fn problem(&self) -> Option<[String; 3]> {
        let Coding { classes, top, floats, .. } = *self;
        match (top, floats.logits) {
            (0, _) => None,
            (_, Dtype::U8) => Some(["top_k".into(), "none beside dtype u8".into(), top.to_string()]),
            _ if top < classes && classes <= 1 << 16 => None,
            _ => Some(["top_k".into(), format!("1 to {}", classes.saturating_sub(1)), top.to_string()]),
        }
    }

    /// Numbers of an answer, K + F.
    pub fn given(&self) -> usize {
        self.classes + self.features
    }

    /// Numbers that an answer is kept as, before they are stored: those of an answer itself where all logits are floats.
    pub fn kept(&self) -> usize {
        ANSWERS.iter().map(|column| self.numbers(column)).sum()
    }

    /// The same of one column. What does not fit in the 24 bits of an f32 is two numbers of 16.
    pub(crate) fn numbers(&self, column: &Column) -> usize {
        if !self.holds(column) {
            return 0;
        }
        if column.element == Element::U32 { 2 } else { self.width(column).unwrap_or(1) }
    }

    /// Bytes of a row of these columns as it is stored, feature maps included.
    pub fn row_bytes(&self) -> usize {
        ANSWERS.iter().map(|column| self.entry(column)).fold(0, usize::saturating_add)
    }

    /// Bytes of a row that the size of a shard goes by: those that are stored, unless what is kept until a shard is written is
    /// more than twice as much.
    pub fn weight(&self) -> usize {
        self.row_bytes().max(2 * self.kept())
    }

    /// Values of one entry of a column; `None` where an entry is one value and has no axis of its own.
    pub(crate) fn width(&self, column: &Column) -> Option<usize> {
        match column.width {
            Width::One => None,
            Width::Fixed(values) => Some(values),
            Width::Logits if self.top == 0 => Some(self.classes),
            Width::Logits | Width::Top => Some(self.top),
            Width::Classes => Some(self.classes),
            Width::Features => Some(self.features),
        }
    }

    /// Whether the label set has the column at all. What has no values has no name in either form, so that sets without
    /// feature maps have the bytes of the format's first version.
    pub(crate) fn holds(&self, column: &Column) -> bool {
        let codes = self.floats.logits == Dtype::U8;
        let held = match column.held {
            Held::Always => true,
            Held::Floats => !codes,
            Held::Top => self.top > 0,
            Held::Codes => codes,
            Held::Coded => !self.is_plain(),
        };
        held && self.width(column) != Some(0)
    }

    /// Bytes of one entry of a column, 0 where it is not held.
    pub(crate) fn entry(&self, column: &Column) -> usize {
        if !self.holds(column) {
            return 0;
        }
        self.width(column).unwrap_or(1).saturating_mul(column.element.size(self.floats))
    }

    /// Answers (N, K + F), row after row, as they are kept: as they are, where all logits are floats; else what is stored of
    /// each row's logits, what that costs, and the feature maps.
    pub fn keep<'a>(&self, answers: &'a [f32]) -> Result<Cow<'a, [f32]>, Unkept> {
        if self.is_plain() {
            return Ok(answers.into());
        }
        let rows = answers.chunks_exact(self.given());
        let mut kept = Vec::with_capacity(rows.len() * self.kept());
        let mut coder = Coder { coding: self, order: Vec::new(), stored: vec![0.0; self.classes] };
        for (row, answer) in rows.enumerate() {
            let (logits, maps) = answer.split_at(self.classes);
            if let Some(class) = logits.iter().position(|&value| !self.floats.logits.holds(value)) {
                return Err(Unkept { row, class, value: logits[class] });
            }
            coder.add(logits, &mut kept);
            kept.extend_from_slice(maps);
        }
        Ok(kept.into())
    }
}

/// How the logits are stored: `f16`, `u8`, or `f16, the 64 largest of 1000`.
impl fmt::Display for Coding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.dtype())?;
        if self.top == 0 { Ok(()) } else { write!(f, ", the {} largest of {}", self.top, self.classes) }
    }
}

/// Room for one row after the other.
struct Coder<'a> {
    coding: &'a Coding,
    order: Vec<u16>,
    /// What is stored, as the logits that a reader gets.
    stored: Vec<f32>,
}

impl Coder<'_> {
    /// Adds what is kept of a row's logits, in the order of the columns.
    fn add(&mut self, logits: &[f32], kept: &mut Vec<f32>) {
        if self.coding.top > 0 {
            self.largest(logits, kept);
        } else {
            self.codes(logits, kept);
        }
        let lost = kl(logits, &self.stored);
        let lost = (lost * NANO).round() as u32;
        let turned = largest(logits) != largest(&self.stored);
        kept.extend([lost >> 16, lost & 0xffff, u32::from(turned)].map(|number| number as f32));
    }

    /// The N largest logits, of equals those of the smaller classes, as they are stored and from the largest down; their
    /// classes; and the logit that every other class has such that together they keep their probability.
    fn largest(&mut self, logits: &[f32], kept: &mut Vec<f32>) {
        let Coding { top, floats, .. } = *self.coding;
        self.order.clear();
        self.order.extend((0..logits.len()).map(|class| class as u16));
        let falling = |value: fn(f32, Dtype) -> f32| {
            move |&one: &u16, &other: &u16| {
                let [a, b] = [one, other].map(|class| value(logits[usize::from(class)], floats.logits));
                b.partial_cmp(&a).unwrap_or(Ordering::Equal).then(one.cmp(&other))
            }
        };
        self.order.select_nth_unstable_by(top - 1, falling(|value, _| value));
        let (first, others) = self.order.split_at_mut(top);
        first.sort_unstable_by(falling(as_stored));
        // In the order of the classes, for a sum depends on the order.
        others.sort_unstable();
        let value = |class: &u16| logits[usize::from(*class)];
        let last = as_stored(value(&first[top - 1]), floats.logits);
        // Rounding must not lift the others above what is kept.
        let rest = (mean_of(others.iter().map(value)) as f32).min(last);
        self.stored.fill(rest);
        for class in first.iter() {
            let stored = as_stored(value(class), floats.logits);
            self.stored[usize::from(*class)] = stored;
            kept.push(stored);
        }
        kept.extend(first.iter().map(|&class| f32::from(class)));
        kept.push(rest);
    }

    /// A code of eight bits for each logit: 0 is the smallest, 255 the largest. No class before the teacher's own has its code:
    /// rounding would put it first.
    fn codes(&mut self, logits: &[f32], kept: &mut Vec<f32>) {
        let smallest = logits.iter().copied().fold(f32::INFINITY, f32::min);
        let first = largest(logits);
        let (low, span) = (f64::from(smallest), f64::from(logits[first]) - f64::from(smallest));
        let scale = (span / 255.0) as f32;
        // So little that f32 cannot divide it well makes no difference to a softmax.
        let scale = if scale < f32::MIN_POSITIVE { 0.0 } else { scale };
        for (class, (&logit, stored)) in logits.iter().zip(&mut self.stored).enumerate() {
            let most = if class < first { 254.0 } else { 255.0 };
            let steps = (f64::from(logit) - low) / f64::from(scale);
            let code = if scale > 0.0 { steps.round_ties_even().clamp(0.0, most) as f32 } else { 0.0 };
            *stored = smallest + scale * code;
            kept.push(code);
        }
        kept.extend([smallest, scale]);
    }
}

/// A logit as it is stored as a float of this type.
fn as_stored(value: f32, dtype: Dtype) -> f32 {
    if dtype == Dtype::F16 { f16::from_f32(value).to_f32() } else { value }
}

/// The first of the largest.
fn largest(logits: &[f32]) -> usize {
    Logits::first(logits.iter().copied())
}

/// The logarithm of the mean of the exponentials.
fn mean_of(logits: impl ExactSizeIterator<Item = f32> + Clone) -> f64 {
    let count = logits.len() as f64;
    let largest = f64::from(logits.clone().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = logits.map(|logit| libm::exp(f64::from(logit) - largest)).sum();
    largest + libm::log(sum / count)
}

/// KL of the softmax of `found` from that of `wanted`, in nats; never negative.
fn kl(wanted: &[f32], found: &[f32]) -> f64 {
    let both = [wanted, found];
    let largest = both.map(|logits| f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max)));
    let mut sums = [0.0; 2];
    let mut moved = 0.0;
    for (&one, &other) in wanted.iter().zip(found) {
        let [one, other] = [f64::from(one) - largest[0], f64::from(other) - largest[1]];
        let [weight, others] = [libm::exp(one), libm::exp(other)];
        sums[0] += weight;
        sums[1] += others;
        moved += weight * (one - other);
    }
    (moved / sums[0] - libm::log(sums[0]) + libm::log(sums[1])).max(0.0)
}
