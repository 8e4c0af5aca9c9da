//! The stack machine: one pass over the opcodes.

use std::borrow::Cow;
use std::collections::HashMap;

use super::operands::Operands;
use super::{Id, MAX_VALUES, Node, Pickle, PickleError, literal};

pub(super) fn run(bytes: &[u8]) -> Result<Pickle<'_>, PickleError> {
    let mut machine = Machine {
        input: Operands::of(bytes),
        spent: 0,
        nodes: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
    };
    loop {
        let opcode = machine.input.opcode()?;
        if opcode == b'.' {
            let root = machine.pop()?;
            return Ok(Pickle { nodes: machine.nodes, root, length: machine.input.at });
        }
        // One unit per opcode bounds the stack, the marks and the memo as well.
        machine.spend(1)?;
        machine.step(opcode)?;
    }
}

struct Machine<'a> {
    input: Operands<'a>,
    spent: usize,
    nodes: Vec<Node<'a>>,
    stack: Vec<Id>,
    /// Stack heights at which a mark lies.
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
}

impl<'a> Machine<'a> {
    #[expect(clippy::too_many_lines, reason = "one arm per opcode reads best as one table")]
    fn step(&mut self, opcode: u8) -> Result<(), PickleError> {
        if let Some(node) = literal::read(opcode, &mut self.input)? {
            return self.push(node);
        }
        match opcode {
            // Protocol and framing.
            0x80 => {
                if self.input.byte()? > 5 {
                    return Err(self.input.malformed("a protocol newer than 5"));
                }
            }
            0x95 => {
                let length = self.input.length::<8>()?;
                if length > self.input.left() {
                    return Err(self.input.ends());
                }
            }
            // The stack.
            b'(' => self.marks.push(self.stack.len()),
            b'0' => {
                // As in Python: on a bare mark, `0` takes the mark away.
                if self.marks.last() == Some(&self.stack.len()) {
                    self.marks.pop();
                } else {
                    self.pop()?;
                }
            }
            b'1' => {
                self.pop_to_mark()?;
            }
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }
            // The memo. Its numbers may have gaps of any size, hence a map.
            b'q' => {
                let slot = u64::from(self.input.byte()?);
                self.remember(slot)?;
            }
            b'r' => {
                let slot = u64::from(u32::from_le_bytes(self.input.array()?));
                self.remember(slot)?;
            }
            b'p' => {
                let slot = self.input.slot_line()?;
                self.remember(slot)?;
            }
            0x94 => self.remember(self.memo.len() as u64)?,
            b'h' => {
                let slot = u64::from(self.input.byte()?);
                self.recall(slot)?;
            }
            b'j' => {
                let slot = u64::from(u32::from_le_bytes(self.input.array()?));
                self.recall(slot)?;
            }
            b'g' => {
                let slot = self.input.slot_line()?;
                self.recall(slot)?;
            }
            // Collections.
            b']' => self.push(Node::List(Vec::new()))?,
            b')' => self.push(Node::Tuple(Vec::new()))?,
            b'}' => self.push(Node::Dict(Vec::new()))?,
            0x8f => self.push(Node::Set(Vec::new()))?,
            b'l' => {
                let elements = self.pop_to_mark()?;
                self.push(Node::List(elements))?;
            }
            b't' => {
                let elements = self.pop_to_mark()?;
                self.push(Node::Tuple(elements))?;
            }
            0x85..=0x87 => {
                let first = self.stack.len().checked_sub(usize::from(opcode - 0x84));
                let floor = self.marks.last().copied().unwrap_or(0);
                let first = first
                    .filter(|&first| first >= floor)
                    .ok_or_else(|| self.input.malformed("a tuple of too few values"))?;
                let elements = self.stack.split_off(first);
                self.push(Node::Tuple(elements))?;
            }
            0x91 => {
                let elements = self.pop_to_mark()?;
                self.push(Node::Set(elements))?;
            }
            b'd' => {
                let pairs = self.pop_pairs()?;
                self.push(Node::Dict(pairs))?;
            }
            b'a' => {
                let element = self.pop()?;
                self.append(&[element])?;
            }
            b'e' | 0x90 => {
                let elements = self.pop_to_mark()?;
                self.append(&elements)?;
            }
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.set_items(&[(key, value)])?;
            }
            b'u' => {
                let pairs = self.pop_pairs()?;
                self.set_items(&pairs)?;
            }
            // Names and calls: recorded, never resolved, never made.
            b'c' => {
                let (module, name) = self.global_lines()?;
                self.push(Node::Global { module, name })?;
            }
            0x93 => {
                let name = self.pop()?;
                let module = self.pop()?;
                self.push(Node::Global { module, name })?;
            }
            b'R' | 0x81 => {
                let arguments = self.pop()?;
                let callable = self.pop()?;
                self.call(callable, arguments)?;
            }
            0x92 => {
                let _keywords = self.pop()?;
                let arguments = self.pop()?;
                let callable = self.pop()?;
                self.call(callable, arguments)?;
            }
            b'i' => {
                let (module, name) = self.global_lines()?;
                let elements = self.pop_to_mark()?;
                let callable = self.add(Node::Global { module, name })?;
                let arguments = self.add(Node::Tuple(elements))?;
                self.call(callable, arguments)?;
            }
            b'o' => {
                let mut elements = self.pop_to_mark()?;
                if elements.is_empty() {
                    return Err(self.input.malformed("an object without a class"));
                }
                let callable = elements.remove(0);
                let arguments = self.add(Node::Tuple(elements))?;
                self.call(callable, arguments)?;
            }
            b'b' => {
                let given = self.pop()?;
                let target = self.top()?;
                // A dict's state is attributes (PyTorch's `_metadata`), which nobody reads.
                if let Node::Call { state, .. } = &mut self.nodes[target.0 as usize] {
                    *state = Some(given);
                }
            }
            b'P' => {
                let line = self.input.line()?;
                let id = self.add(Node::Bytes(Cow::Borrowed(line)))?;
                self.push(Node::Persistent(id))?;
            }
            b'Q' => {
                let id = self.pop()?;
                self.push(Node::Persistent(id))?;
            }
            _ => return Err(PickleError::Opcode { opcode, at: self.input.opcode_at }),
        }
        Ok(())
    }

    /// Records a call; the two collections of the module's documentation become dicts.
    fn call(&mut self, callable: Id, arguments: Id) -> Result<(), PickleError> {
        let entries = match (self.collection_of(callable), &self.nodes[arguments.0 as usize]) {
            (Some(0), Node::Tuple(given)) => match given.first() {
                None => Some(Vec::new()),
                Some(&pairs) => self.pairs_of(pairs)?,
            },
            (Some(_), Node::Tuple(_)) => Some(Vec::new()),
            _ => None,
        };
        match entries {
            Some(entries) => self.push(Node::Dict(entries)),
            None => self.push(Node::Call { callable, arguments, state: None, entries: Vec::new() }),
        }
    }

    /// 0 for `OrderedDict`, whose first argument may be its entries; 1 for `defaultdict`, whose first is a
    /// factory.
    fn collection_of(&self, callable: Id) -> Option<usize> {
        let Node::Global { module, name } = self.nodes[callable.0 as usize] else { return None };
        let text = |id: Id| match &self.nodes[id.0 as usize] {
            Node::Text(text) => Some(text.as_ref()),
            _ => None,
        };
        (text(module)? == "collections").then_some(())?;
        ["OrderedDict", "defaultdict"].into_iter().position(|known| text(name) == Some(known))
    }

    /// The entries that Python 2 passes to `OrderedDict` as a list of lists of two; `None` for anything else.
    fn pairs_of(&mut self, list: Id) -> Result<Option<Vec<(Id, Id)>>, PickleError> {
        let Node::List(pairs) = &self.nodes[list.0 as usize] else { return Ok(None) };
        let pair = |id: &Id| match &self.nodes[id.0 as usize] {
            Node::List(pair) | Node::Tuple(pair) if pair.len() == 2 => Some((pair[0], pair[1])),
            _ => None,
        };
        // One list may be copied again and again by a few bytes each time: copying costs as much as making.
        let copied = pairs.len();
        if self.spent + copied > MAX_VALUES {
            return Err(PickleError::TooLarge);
        }
        let entries = pairs.iter().map(pair).collect();
        self.spent += copied;
        Ok(entries)
    }

    fn append(&mut self, elements: &[Id]) -> Result<(), PickleError> {
        let target = self.top()?;
        match &mut self.nodes[target.0 as usize] {
            Node::List(list) | Node::Set(list) => list.extend_from_slice(elements),
            // A list of a class of its own: its elements are as opaque as the rest of it.
            Node::Call { .. } => {}
            _ => return Err(self.input.malformed("elements for something that is not a list or set")),
        }
        Ok(())
    }

    fn set_items(&mut self, pairs: &[(Id, Id)]) -> Result<(), PickleError> {
        let target = self.top()?;
        match &mut self.nodes[target.0 as usize] {
            Node::Dict(entries) | Node::Call { entries, .. } => entries.extend_from_slice(pairs),
            _ => return Err(self.input.malformed("entries for something that is not a dict")),
        }
        Ok(())
    }

    fn remember(&mut self, slot: u64) -> Result<(), PickleError> {
        let top = self.top()?;
        self.memo.insert(slot, top);
        Ok(())
    }

    fn recall(&mut self, slot: u64) -> Result<(), PickleError> {
        let id = self
            .memo
            .get(&slot)
            .copied()
            .ok_or_else(|| self.input.malformed("a memo slot that was never filled"))?;
        self.stack.push(id);
        Ok(())
    }

    fn push(&mut self, node: Node<'a>) -> Result<(), PickleError> {
        let id = self.add(node)?;
        self.stack.push(id);
        Ok(())
    }

    fn add(&mut self, node: Node<'a>) -> Result<Id, PickleError> {
        self.spend(1)?;
        let id = Id(self.nodes.len() as u32);
        self.nodes.push(node);
        Ok(id)
    }

    fn spend(&mut self, units: usize) -> Result<(), PickleError> {
        self.spent += units;
        if self.spent > MAX_VALUES { Err(PickleError::TooLarge) } else { Ok(()) }
    }

    /// The top of the stack; values below the newest mark are out of reach.
    fn top(&self) -> Result<Id, PickleError> {
        let floor = self.marks.last().copied().unwrap_or(0);
        self.stack[floor..]
            .last()
            .copied()
            .ok_or_else(|| self.input.malformed("a value was wanted and the stack is empty"))
    }

    fn pop(&mut self) -> Result<Id, PickleError> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>, PickleError> {
        let mark =
            self.marks.pop().ok_or_else(|| self.input.malformed("a mark was wanted and there is none"))?;
        Ok(self.stack.split_off(mark))
    }

    fn pop_pairs(&mut self) -> Result<Vec<(Id, Id)>, PickleError> {
        let flat = self.pop_to_mark()?;
        match flat.as_chunks() {
            (pairs, []) => Ok(pairs.iter().map(|&[key, value]| (key, value)).collect()),
            _ => Err(self.input.malformed("a key without a value")),
        }
    }

    fn global_lines(&mut self) -> Result<(Id, Id), PickleError> {
        let mut name = || {
            let line = self.input.line()?;
            let line =
                std::str::from_utf8(line).map_err(|_| self.input.malformed("a name that is not text"))?;
            self.add(Node::Text(Cow::Borrowed(line)))
        };
        Ok((name()?, name()?))
    }
}
