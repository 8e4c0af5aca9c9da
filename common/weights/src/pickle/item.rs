//! Looking at the values of a pickle.

use std::borrow::Cow;

use super::{Id, Node, Pickle};

/// One value of a [`Pickle`]. Cheap to copy; it borrows the pickle.
#[derive(Clone, Copy)]
pub struct Item<'p> {
    pickle: &'p Pickle<'p>,
    id: Id,
}

/// A call that was recorded and never made: an object of a class, a tensor, a numpy array.
#[derive(Clone, Copy)]
pub struct Call<'p> {
    /// The module of the function or class, for instance `torch._utils`; empty where even the callable was
    /// computed.
    pub module: &'p str,
    /// The function or class.
    pub name: &'p str,
    /// The positional arguments, a tuple.
    pub arguments: Item<'p>,
    /// What the object's attributes would have been set from.
    pub state: Option<Item<'p>>,
}

impl<'p> Item<'p> {
    pub(super) fn new(pickle: &'p Pickle<'p>, id: Id) -> Self {
        Self { pickle, id }
    }

    fn node(self) -> &'p Node<'p> {
        &self.pickle.nodes[self.id.0 as usize]
    }

    fn other(self, id: Id) -> Self {
        Self { id, ..self }
    }

    /// Whether it is text or bytes that are read at a glance. One long value shared by a million others would be read a
    /// million times.
    pub(super) fn is_short(self) -> bool {
        let short = |node: &Node| match node {
            Node::Bytes(bytes) => bytes.len() <= 16,
            Node::Text(text) => text.len() <= 16,
            _ => false,
        };
        // Bytes of Python 3 in an old protocol are a call on their text.
        let arguments = self.as_call().and_then(|call| call.arguments.elements());
        short(self.node())
            || arguments.is_some_and(|mut all| all.len() <= 2 && all.all(|one| short(one.node())))
    }

    /// A number that is equal for equal references: shared values, and values reached through a cycle.
    pub fn identity(self) -> u32 {
        self.id.0
    }

    /// What the value is, in Python's words, for messages.
    pub fn kind(self) -> String {
        let kind = match self.node() {
            Node::None => "None",
            Node::Bool(_) => "bool",
            Node::Int(_) | Node::BigInt(_) => "int",
            Node::Float(_) => "float",
            Node::Bytes(_) => "bytes",
            Node::Text(_) => "str",
            Node::List(_) => "list",
            Node::Tuple(_) => "tuple",
            Node::Set(_) => "set",
            Node::Dict(_) => "dict",
            Node::Global { .. } => "name",
            Node::Persistent(_) => "reference",
            Node::Call { .. } => match self.as_call() {
                Some(call) => return format!("{}.{}", call.module, call.name),
                None => "object",
            },
        };
        kind.into()
    }

    /// Whether it is `None`.
    pub fn is_none(self) -> bool {
        matches!(self.node(), Node::None)
    }

    /// The boolean.
    pub fn as_bool(self) -> Option<bool> {
        match self.node() {
            Node::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The integer, where 64 bits hold it.
    pub fn as_int(self) -> Option<i64> {
        match self.node() {
            Node::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// The bytes of an integer beyond 64 bits, little-endian two's complement.
    pub fn as_big_int(self) -> Option<&'p [u8]> {
        match self.node() {
            Node::BigInt(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The floating-point number.
    pub fn as_float(self) -> Option<f64> {
        match self.node() {
            Node::Float(value) => Some(*value),
            _ => None,
        }
    }

    /// The text; also of bytes that are UTF-8, because Python 2 made no difference.
    pub fn as_str(self) -> Option<&'p str> {
        match self.node() {
            Node::Text(text) => Some(text),
            Node::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// The bytes, in any of the forms Python gives them: a Python 2 string, bytes, a bytearray, and the
    /// Latin-1 text that Python 3 writes in old protocols. Plain text is not bytes.
    pub fn as_bytes(self) -> Option<Cow<'p, [u8]>> {
        if let Node::Bytes(bytes) = self.node() {
            return Some(Cow::Borrowed(bytes));
        }
        let call = self.as_call()?;
        let made_of_text = match (call.module, call.name) {
            ("_codecs", "encode") => true,
            ("builtins" | "__builtin__", "bytes" | "bytearray") => false,
            _ => return None,
        };
        let mut arguments = call.arguments.elements()?;
        let Some(content) = arguments.next() else {
            return (!made_of_text).then_some(Cow::Borrowed(&[]));
        };
        if !made_of_text && let Node::Bytes(bytes) = content.node() {
            return Some(Cow::Borrowed(bytes));
        }
        let Node::Text(text) = content.node() else { return None };
        matches!(arguments.next()?.as_str()?, "latin1" | "latin-1").then_some(())?;
        let bytes: Option<Vec<u8>> = text.chars().map(|letter| u8::try_from(letter).ok()).collect();
        bytes.map(Cow::Owned)
    }

    /// The elements of a list, tuple or set.
    pub fn elements(self) -> Option<impl ExactSizeIterator<Item = Item<'p>>> {
        match self.node() {
            Node::List(ids) | Node::Tuple(ids) | Node::Set(ids) => {
                Some(ids.iter().map(move |&id| self.other(id)))
            }
            _ => None,
        }
    }

    /// The keys and values of a dict, as they were set: of a key that was set twice, the last one counts.
    pub fn entries(self) -> Option<impl ExactSizeIterator<Item = (Item<'p>, Item<'p>)>> {
        match self.node() {
            Node::Dict(pairs) => {
                Some(pairs.iter().map(move |&(key, value)| (self.other(key), self.other(value))))
            }
            _ => None,
        }
    }

    /// The keys and values that were set in an object: a mapping of a class of its own, as configurations are.
    pub fn own_entries(self) -> impl ExactSizeIterator<Item = (Item<'p>, Item<'p>)> {
        let pairs = match self.node() {
            Node::Call { entries, .. } => entries.as_slice(),
            _ => &[],
        };
        pairs.iter().map(move |&(key, value)| (self.other(key), self.other(value)))
    }

    /// The value of a dict under an ASCII key, which may be text or bytes in any of their forms.
    pub fn get(self, key: &str) -> Option<Item<'p>> {
        let Node::Dict(pairs) = self.node() else { return None };
        let is_key = |candidate: Item<'p>| {
            // Bytes of Python 3 in an old protocol; ASCII is its own Latin-1, so nothing needs decoding to
            // compare.
            let encoded =
                candidate.as_call().filter(|call| (call.module, call.name) == ("_codecs", "encode"));
            let text = encoded.and_then(|call| call.arguments.elements()?.next()).unwrap_or(candidate);
            text.as_str() == Some(key)
        };
        let pair = pairs.iter().rev().find(|(candidate, _)| is_key(self.other(*candidate)))?;
        Some(self.other(pair.1))
    }

    /// The module and name of a function or class.
    pub fn as_global(self) -> Option<(&'p str, &'p str)> {
        match self.node() {
            Node::Global { module, name } => {
                Some((self.other(*module).as_str()?, self.other(*name).as_str()?))
            }
            _ => None,
        }
    }

    /// The call that would have made this value.
    pub fn as_call(self) -> Option<Call<'p>> {
        match self.node() {
            Node::Call { callable, arguments, state, .. } => {
                let (module, name) = self.other(*callable).as_global().unwrap_or(("", ""));
                Some(Call {
                    module,
                    name,
                    arguments: self.other(*arguments),
                    state: state.map(|id| self.other(id)),
                })
            }
            _ => None,
        }
    }

    /// The identifier of a value that lies outside the pickle.
    pub fn as_persistent(self) -> Option<Item<'p>> {
        match self.node() {
            Node::Persistent(id) => Some(self.other(*id)),
            _ => None,
        }
    }
}
