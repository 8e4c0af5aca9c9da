//! The columns of a label set: one row of this table each. Both forms of a shard, the content hash and the card read it.
//!
//! The table's order is that of the Parquet form and of the content hash. docs/label-set.md shows the table to people who
//! write a reader of their own; a test compares the two.

use half::f16;

use crate::row::augment::View;
use crate::row::dtype::{Dtype, Floats};

mod each;

pub(crate) use each::*;

/// What one column is and where it is held.
#[derive(Debug)]
pub(crate) struct Column {
    pub name: &'static str,
    pub element: Element,
    pub width: Width,
    pub held: Held,
    pub source: Source,
    pub parquet: Parquet,
    /// Whether the card's example query selects it.
    pub card: bool,
}

/// Type of a column's values, little-endian in both forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Element {
    Bool,
    U8,
    U16,
    I16,
    I32,
    U32,
    U64,
    /// A float of the type that the label set has for these.
    Float(Float),
}

/// Which floats: each sort has a type of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Float {
    Logits,
    Features,
    /// f32 whatever the logits are.
    Single,
}

/// How many values one entry has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Width {
    One,
    Fixed(usize),
    /// The logits that are stored of a row: K, the number of classes, or N where the largest are kept alone.
    Logits,
    /// N, the number of the largest logits that are kept.
    Top,
    /// K.
    Classes,
    /// F, the values of a row's feature maps. A set without any does not have the column.
    Features,
}

/// Which label sets have a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    Always,
    /// Those that store logits as floats: all but those of codes.
    Floats,
    /// Those that keep the largest logits of a row alone.
    Top,
    /// Those that keep logits as codes of eight bits.
    Codes,
    /// Both of the latter.
    Coded,
}

/// What has an entry of its own in a safetensors shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Per {
    Row,
    Image,
    /// Every image, and the end of the last.
    Border,
}

/// Where a column's values come from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Source {
    /// A tensor of the safetensors form: its place among them, and whether each row's entry enters the content hash.
    Stored { place: usize, per: Per, hashed: bool },
    /// The number of the row's image, counted over the whole set; it enters the content hash.
    Image,
    /// A part of the row's view.
    View(Part),
    /// The class of the largest logit, the first of equals.
    Answer,
}

/// One number that says something of a view.
pub(crate) type Part = fn(View) -> i64;

/// How the Parquet form holds a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parquet {
    Absent,
    Plain,
    /// By a dictionary: the library's own numbers of eight bits take four bytes.
    Dictionary,
    /// With the smallest and largest value of each row group, so that queries skip groups.
    Ranged,
}

/// Number of tensors of a safetensors shard.
pub(crate) const TENSORS: usize = {
    let (mut tensors, mut at) = (0, 0);
    while at < COLUMNS.len() {
        tensors += matches!(COLUMNS[at].source, Source::Stored { .. }) as usize;
        at += 1;
    }
    tensors
};

/// The columns of the safetensors form, in the order in which their tensors lie.
pub(crate) fn tensors() -> [(&'static Column, Per); TENSORS] {
    let mut tensors = [(COLUMNS[0], Per::Row); TENSORS];
    for column in COLUMNS {
        if let Source::Stored { place, per, .. } = column.source {
            tensors[place] = (column, per);
        }
    }
    tensors
}

impl Column {
    /// Its place among the tensors of a safetensors shard. Panics where that form does not hold it.
    #[inline]
    pub const fn place(&self) -> usize {
        match self.source {
            Source::Stored { place, .. } => place,
            Source::Image | Source::View(_) | Source::Answer => panic!("the column is no tensor"),
        }
    }
}

impl Element {
    /// Bytes of one value in a label set of these types.
    pub fn size(self, floats: Floats) -> usize {
        match self {
            Element::Bool | Element::U8 => 1,
            Element::U16 | Element::I16 => 2,
            Element::I32 | Element::U32 => 4,
            Element::U64 => 8,
            Element::Float(which) => which.dtype(floats).size(),
        }
    }

    /// A value's bytes as text, for messages.
    pub fn text(self, floats: Floats, bytes: &[u8]) -> String {
        match self {
            Element::Bool => (bytes != [0]).to_string(),
            Element::U8 => number(bytes, u8::from_le_bytes),
            Element::U16 => number(bytes, u16::from_le_bytes),
            Element::I16 => number(bytes, i16::from_le_bytes),
            Element::I32 => number(bytes, i32::from_le_bytes),
            Element::U32 => number(bytes, u32::from_le_bytes),
            Element::U64 => number(bytes, u64::from_le_bytes),
            Element::Float(which) => match which.dtype(floats) {
                Dtype::F16 => number(bytes, f16::from_le_bytes),
                Dtype::F32 => number(bytes, f32::from_le_bytes),
                Dtype::U8 => unreachable!("codes are no floats"),
            },
        }
    }
}

impl Float {
    /// The type that a label set of these types has for them.
    pub fn dtype(self, floats: Floats) -> Dtype {
        match self {
            Float::Logits => floats.logits,
            Float::Features => floats.features,
            Float::Single => Dtype::F32,
        }
    }
}

fn number<const N: usize, T: ToString>(bytes: &[u8], value: fn([u8; N]) -> T) -> String {
    value(bytes.try_into().expect("a value has its element's size")).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::coding::Coding;

    #[test]
    fn tensors_have_each_place_once_and_start_aligned() {
        use Dtype::{F16, F32, U8};
        // Features are never wider than logits that are floats: `Features::problem`.
        for (logits, features) in [(F16, F16), (F32, F16), (F32, F32), (U8, F16), (U8, F32)] {
            for top in if logits == U8 { 0..1 } else { 0..2 } {
                let floats = Floats { logits, features };
                let coding = Coding { classes: 3, top, features: 5, floats };
                let held = tensors().into_iter().filter(|(column, _)| coding.holds(column));
                let sizes: Vec<usize> = held.map(|(column, _)| column.element.size(floats)).collect();
                assert!(sizes.is_sorted_by(|a, b| a >= b), "a larger element after a smaller one: {sizes:?}");
            }
        }
        for (place, (column, _)) in tensors().into_iter().enumerate() {
            assert_eq!(column.place(), place, "{} shares its place", column.name);
        }
    }

    #[test]
    fn what_no_row_has_stays_out_of_parquet_and_the_content_hash() {
        for column in COLUMNS {
            if let Source::Stored { per: Per::Border, hashed, .. } = column.source {
                assert!(!hashed && column.parquet == Parquet::Absent && !column.card, "{}", column.name);
            }
        }
    }

    #[test]
    fn values_are_shown_as_numbers() {
        let floats = Floats { logits: Dtype::F16, features: Dtype::F32 };
        let shown = |element: Element, bytes: &[u8]| element.text(floats, bytes);
        assert_eq!(shown(Element::I16, &[0xfe, 0xff]), "-2");
        assert_eq!(shown(Element::Bool, &[1]), "true");
        assert_eq!(shown(Element::Float(Float::Logits), &[0x00, 0x3c]), "1");
        assert_eq!(shown(Element::Float(Float::Features), &[0, 0, 0x20, 0xc1]), "-10");
        assert_eq!(shown(Element::U64, &[0, 1, 0, 0, 0, 0, 0, 0]), "256");
    }

    /// A row of docs/label-set.md.
    fn documented(column: &Column) -> String {
        let width = match column.width {
            Width::One => String::new(),
            Width::Fixed(values) => format!(", {values}"),
            Width::Logits => ", K or N".into(),
            Width::Top => ", N".into(),
            Width::Classes => ", K".into(),
            Width::Features => ", F".into(),
        };
        let (tensor, arrow) = match column.element {
            Element::Bool => ("BOOL", "bool"),
            Element::U8 => ("U8", "uint8"),
            Element::U16 => ("U16", "uint16"),
            Element::I16 => ("I16", "int16"),
            Element::I32 => ("I32", "int32"),
            Element::U32 => ("U32", "uint32"),
            Element::U64 => ("U64", "uint64"),
            Element::Float(Float::Single) => ("F32", "float32"),
            Element::Float(_) => ("F16 or F32", "float16 or float32"),
        };
        let (safetensors, hashed) = match column.source {
            Source::Stored { per: Per::Row, hashed, .. } => (format!("{tensor} [rows{width}]"), hashed),
            Source::Stored { per: Per::Image, hashed, .. } => (format!("{tensor} [images{width}]"), hashed),
            Source::Stored { per: Per::Border, hashed, .. } => (format!("{tensor} [images+1]"), hashed),
            Source::Image => ("-".into(), true),
            Source::View(_) | Source::Answer => ("-".into(), false),
        };
        let parquet = match (column.parquet, column.width, column.element) {
            (Parquet::Absent, ..) => "-".into(),
            (_, Width::One, _) => arrow.into(),
            (_, Width::Fixed(_), _) => format!("fixed_size_binary({})", &width[2..]),
            _ => format!("fixed_size_list<{arrow}{width}>"),
        };
        let hashed = if hashed { "yes" } else { "no" };
        format!("| `{}` | {safetensors} | {parquet} | {hashed} |\n", column.name)
    }

    #[test]
    fn the_specification_lists_every_column() {
        let page = include_str!("../../../../docs/label-set.md");
        let table: String = COLUMNS.into_iter().map(documented).collect();
        let head = "| column | safetensors | Parquet | content hash |\n|---|---|---|---|\n";
        assert!(page.contains(&format!("{head}{table}\n")), "docs/label-set.md should have:\n{head}{table}");
        let order = tensors().map(|(column, _)| column.name).join(", ");
        assert!(page.contains(&format!("in the order {order},")), "tensors lie in the order {order}");
    }
}
