//! The columns themselves, and which of them hold answers.

use crate::row::column::{Column, Element, Float, Held, Parquet, Per, Source, Width};

pub(crate) const IMAGE: Column = Column {
    name: "image",
    element: Element::U64,
    width: Width::One,
    held: Held::Always,
    source: Source::Image,
    parquet: Parquet::Ranged,
    card: true,
};

/// Where each image's rows begin, counted within the shard, and the number of rows.
pub(crate) const OFFSET: Column = Column {
    name: "offset",
    element: Element::U64,
    width: Width::One,
    held: Held::Always,
    source: Source::Stored { place: 0, per: Per::Border, hashed: false },
    parquet: Parquet::Absent,
    card: false,
};

pub(crate) const VIEW: Column = Column {
    name: "view",
    element: Element::U16,
    width: Width::One,
    held: Held::Always,
    source: Source::Stored { place: 8, per: Per::Row, hashed: true },
    parquet: Parquet::Ranged,
    card: true,
};

const CROP_Y: Column = Column {
    name: "crop_y",
    element: Element::I16,
    width: Width::One,
    held: Held::Always,
    source: Source::View(|view| view.crop_y.into()),
    parquet: Parquet::Plain,
    card: false,
};

const CROP_X: Column = Column { name: "crop_x", source: Source::View(|view| view.crop_x.into()), ..CROP_Y };

const FLIP: Column =
    Column { name: "flip", element: Element::Bool, source: Source::View(|view| view.flip.into()), ..CROP_Y };

pub(crate) const LABEL: Column = Column {
    name: "label",
    element: Element::I32,
    width: Width::One,
    held: Held::Always,
    source: Source::Stored { place: 1, per: Per::Image, hashed: true },
    parquet: Parquet::Ranged,
    card: true,
};

const TEACHER_PRED: Column = Column { name: "teacher_pred", source: Source::Answer, ..LABEL };

pub(crate) const LOGITS: Column = Column {
    name: "logits",
    element: Element::Float(Float::Logits),
    width: Width::Logits,
    held: Held::Floats,
    source: Source::Stored { place: 6, per: Per::Row, hashed: true },
    parquet: Parquet::Plain,
    card: true,
};

/// The classes of the logits that are kept, from the largest logit down.
pub(crate) const CLASSES: Column = Column {
    name: "classes",
    element: Element::U16,
    width: Width::Top,
    held: Held::Top,
    source: Source::Stored { place: 9, per: Per::Row, hashed: true },
    parquet: Parquet::Plain,
    card: true,
};

/// The logit of each class that is not kept.
pub(crate) const REST: Column = Column {
    name: "rest",
    element: Element::Float(Float::Single),
    width: Width::One,
    held: Held::Top,
    source: Source::Stored { place: 2, per: Per::Row, hashed: true },
    parquet: Parquet::Plain,
    card: true,
};

/// A logit is `low + scale * code`.
pub(crate) const CODES: Column = Column {
    name: "codes",
    element: Element::U8,
    width: Width::Classes,
    held: Held::Codes,
    source: Source::Stored { place: 11, per: Per::Row, hashed: true },
    parquet: Parquet::Dictionary,
    card: true,
};

pub(crate) const LOW: Column = Column {
    name: "low",
    held: Held::Codes,
    source: Source::Stored { place: 3, per: Per::Row, hashed: true },
    ..REST
};

pub(crate) const SCALE: Column =
    Column { name: "scale", source: Source::Stored { place: 4, per: Per::Row, hashed: true }, ..LOW };

/// What the storage costs a row: KL of what is stored from the teacher's answer, in billionths of a nat.
pub(crate) const LOST: Column = Column {
    name: "lost",
    element: Element::U32,
    width: Width::One,
    held: Held::Coded,
    source: Source::Stored { place: 5, per: Per::Row, hashed: true },
    parquet: Parquet::Plain,
    card: false,
};

/// Whether another class comes first in what is stored than in the teacher's answer.
pub(crate) const TURNED: Column = Column {
    name: "turned",
    element: Element::Bool,
    source: Source::Stored { place: 12, per: Per::Row, hashed: true },
    ..LOST
};

/// A row's feature maps, one after the other, each channel by channel, row by row. Behind the logits, whose type is no
/// narrower.
pub(crate) const FEATURES: Column = Column {
    name: "features",
    element: Element::Float(Float::Features),
    width: Width::Features,
    held: Held::Always,
    source: Source::Stored { place: 7, per: Per::Row, hashed: true },
    parquet: Parquet::Plain,
    card: false,
};

pub(crate) const IMAGE_HASH: Column = Column {
    name: "image_hash",
    element: Element::U8,
    width: Width::Fixed(16),
    held: Held::Always,
    source: Source::Stored { place: 10, per: Per::Image, hashed: false },
    parquet: Parquet::Plain,
    card: false,
};

/// Every column, in the order of the Parquet form.
pub(crate) const COLUMNS: [&Column; 18] = [
    &IMAGE,
    &OFFSET,
    &VIEW,
    &CROP_Y,
    &CROP_X,
    &FLIP,
    &LABEL,
    &TEACHER_PRED,
    &LOGITS,
    &CLASSES,
    &REST,
    &CODES,
    &LOW,
    &SCALE,
    &LOST,
    &TURNED,
    &FEATURES,
    &IMAGE_HASH,
];

/// The columns that hold what the teacher answers to a row, in the order of the table. No label set has all of them.
pub(crate) const ANSWERS: [&Column; 9] =
    [&LOGITS, &CLASSES, &REST, &CODES, &LOW, &SCALE, &LOST, &TURNED, &FEATURES];
