//! Reading Python pickles without running Python.
//!
//! A pickle is a program for a small stack machine whose opcodes build data and call functions by name.
//! [`load`] builds the data and calls nothing: a call is recorded as a value that says which name would have
//! been called with which arguments, and readers above decide what they recognise (a tensor, a numpy array).
//! Names that nobody recognises stay what they are, so a checkpoint with an optimizer or a parsed command
//! line beside its weights still loads.
//!
//! All values lie in one table and refer to each other by number. Shared values stay shared, cycles are
//! harmless, and values nested a million deep are dropped without recursion. The table is bounded by
//! [`MAX_VALUES`], and text and bytes are borrowed from the input, so memory is bounded by the input and that
//! constant.
//!
//! Two collections are understood here because their entries arrive through opcodes:
//! `collections.OrderedDict` and `collections.defaultdict` are dicts. Source for the opcodes: Python's
//! `pickletools`, protocols 0 to 5.

mod item;
mod literal;
mod machine;
mod numpy;
mod operands;
mod text;

use std::borrow::Cow;

pub use item::{Call, Item};
pub use numpy::Array;

/// The most values (and copied entries) a pickle may make: 4 Mi, far above any checkpoint or dataset batch.
pub const MAX_VALUES: usize = 1 << 22;

/// Why bytes are not a pickle that can be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PickleError {
    /// The bytes end before the pickle does.
    #[error("the pickle stops in the middle of a value, at byte {at}")]
    Truncated {
        /// Where, counted from the pickle's first byte.
        at: usize,
    },
    /// An opcode that does not exist, or one whose data lies outside the file (extension registry,
    /// out-of-band buffers).
    #[error("the pickle has an unknown opcode {opcode:#04x} at byte {at}")]
    Opcode {
        /// The byte found.
        opcode: u8,
        /// Where, counted from the pickle's first byte.
        at: usize,
    },
    /// An opcode whose operands are missing or of the wrong kind.
    #[error("the pickle breaks at byte {at}: {what}")]
    Malformed {
        /// Where, counted from the pickle's first byte.
        at: usize,
        /// The broken rule.
        what: &'static str,
    },
    /// More than [`MAX_VALUES`] values.
    #[error("the pickle makes more than {MAX_VALUES} values")]
    TooLarge,
}

/// A value's number in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Id(u32);

/// A value; its parts are numbers of other values.
#[derive(Debug)]
enum Node<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// An integer beyond 64 bits, as it was stored: little-endian two's complement (or digits, in protocol
    /// 0).
    BigInt(&'a [u8]),
    Float(f64),
    Bytes(Cow<'a, [u8]>),
    Text(Cow<'a, str>),
    List(Vec<Id>),
    Tuple(Vec<Id>),
    Set(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// A function or class by name, never resolved.
    Global {
        module: Id,
        name: Id,
    },
    /// What a call would have returned.
    Call {
        callable: Id,
        arguments: Id,
        state: Option<Id>,
        /// What was set in it by key, where it is a mapping of a class of its own.
        entries: Vec<(Id, Id)>,
    },
    /// A reference to something outside the pickle.
    Persistent(Id),
}

/// A pickle that was read: a table of values, one of them the root.
#[derive(Debug)]
pub struct Pickle<'a> {
    nodes: Vec<Node<'a>>,
    root: Id,
    length: usize,
}

impl Pickle<'_> {
    /// The value that was pickled.
    pub fn root(&self) -> Item<'_> {
        Item::new(self, self.root)
    }

    /// How many bytes of the input the pickle took; more may follow it.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Every value that was made, also those no longer reachable, in the order of their making.
    pub fn values(&self) -> impl ExactSizeIterator<Item = Item<'_>> {
        (0..self.nodes.len() as u32).map(|number| Item::new(self, Id(number)))
    }
}

/// Reads the pickle that `bytes` begin with. Executes nothing; see the module's documentation.
pub fn load(bytes: &[u8]) -> Result<Pickle<'_>, PickleError> {
    machine::run(bytes)
}

#[cfg(test)]
mod tests;
