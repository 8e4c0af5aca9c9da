//! Just enough of Python's pickle to read a dictionary of byte strings, lists of numbers and one array.
//!
//! Objects become nodes of an arena: a global is only a name, a call only a record of what would be called. Nothing is
//! executed, nothing recurses, and memory is bounded by the file's length.

use std::collections::HashMap;

/// Index of a node.
pub(crate) type Node = usize;

/// One object.
#[derive(Debug)]
pub(crate) enum Value<'a> {
    Nothing,
    Integer(i64),
    /// A byte string, or text of Python 3.
    Bytes(&'a [u8]),
    Tuple(Vec<Node>),
    List(Vec<Node>),
    Dict(Vec<(Node, Node)>),
    /// A class or function, by name only.
    Global,
    /// The result of a call: its arguments, and the state given to it afterwards.
    Call {
        arguments: Node,
        state: Option<Node>,
    },
}

/// A pickle taken apart.
#[derive(Debug, Default)]
pub(crate) struct Pickle<'a> {
    nodes: Vec<Value<'a>>,
    root: Node,
}

/// An array as NumPy pickles it.
pub(crate) struct Array<'a> {
    pub kind: String,
    pub shape: Vec<i64>,
    pub fortran: bool,
    pub bytes: &'a [u8],
}

impl<'a> Pickle<'a> {
    pub(crate) fn root(&self) -> Node {
        self.root
    }

    pub(crate) fn value(&self, node: Node) -> &Value<'a> {
        &self.nodes[node]
    }

    /// The value of a text or byte key of a dictionary.
    pub(crate) fn get(&self, dict: Node, key: &str) -> Option<Node> {
        let Value::Dict(entries) = self.value(dict) else { return None };
        let is_key = |node: Node| matches!(self.value(node), Value::Bytes(bytes) if *bytes == key.as_bytes());
        entries.iter().rev().find(|(name, _)| is_key(*name)).map(|(_, value)| *value)
    }

    pub(crate) fn list(&self, node: Node) -> Option<&[Node]> {
        let Value::List(items) = self.value(node) else { return None };
        Some(items)
    }

    /// The array that `numpy.core.multiarray._reconstruct` and its state describe:
    /// (version, shape, dtype, is Fortran, bytes), the dtype a call with its name as first argument.
    pub(crate) fn array(&self, node: Node) -> Option<Array<'a>> {
        let Value::Call { state: Some(state), .. } = *self.value(node) else { return None };
        let &[_, shape, dtype, fortran, bytes] = self.tuple(state)? else { return None };
        let Value::Call { arguments, .. } = *self.value(dtype) else { return None };
        let Value::Bytes(kind) = *self.value(*self.tuple(arguments)?.first()?) else { return None };
        let Value::Bytes(bytes) = *self.value(bytes) else { return None };
        let Value::Integer(fortran) = *self.value(fortran) else { return None };
        let side = |node: &Node| match self.value(*node) {
            Value::Integer(side) => Some(*side),
            _ => None,
        };
        let shape = self.tuple(shape)?.iter().map(side).collect::<Option<_>>()?;
        let kind = String::from_utf8_lossy(kind).into_owned();
        Some(Array { kind, shape, fortran: fortran != 0, bytes })
    }

    fn tuple(&self, node: Node) -> Option<&[Node]> {
        let Value::Tuple(items) = self.value(node) else { return None };
        Some(items)
    }
}

/// Takes a pickle of protocol 2 to 5 apart. The error says what stopped it.
pub(crate) fn load(bytes: &[u8]) -> Result<Pickle<'_>, String> {
    let mut machine = Machine {
        pickle: Pickle::default(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        rest: bytes,
    };
    if !bytes.starts_with(&[0x80]) {
        return Err("no protocol mark at the start".to_owned());
    }
    while machine.step()? {}
    machine.pickle.root = machine.pop()?;
    Ok(machine.pickle)
}

struct Machine<'a> {
    pickle: Pickle<'a>,
    stack: Vec<Node>,
    marks: Vec<usize>,
    memo: HashMap<u32, Node>,
    rest: &'a [u8],
}

impl<'a> Machine<'a> {
    /// Follows one opcode; false at the end.
    fn step(&mut self) -> Result<bool, String> {
        let [code] = self.number()?;
        match code {
            b'.' => return Ok(false),
            0x80 => {
                self.take(1)?;
            }
            // FRAME: its length bounds nothing here.
            0x95 => {
                self.take(8)?;
            }
            b'(' => self.marks.push(self.stack.len()),
            b'N' => self.push(Value::Nothing),
            0x88 | 0x89 | b'K' | b'M' | b'J' => self.integer(code)?,
            // Short byte strings and text; then those with four and with eight bytes of length.
            b'U' | b'C' | 0x8c => {
                let [length] = self.number()?;
                self.text(length.into())?;
            }
            b'T' | b'B' | b'X' => {
                let length = u32::from_le_bytes(self.number()?);
                self.text(length.into())?;
            }
            0x8e | 0x8d | 0x96 => {
                let length = u64::from_le_bytes(self.number()?);
                self.text(length)?;
            }
            b']' => self.push(Value::List(Vec::new())),
            b'}' => self.push(Value::Dict(Vec::new())),
            b')' => self.push(Value::Tuple(Vec::new())),
            0x85..=0x87 => {
                let from =
                    self.stack.len().checked_sub(usize::from(code) - 0x84).ok_or("a tuple of too few")?;
                let items = self.stack.split_off(from);
                self.push(Value::Tuple(items));
            }
            b't' => {
                let items = self.since_mark()?;
                self.push(Value::Tuple(items));
            }
            b'a' => {
                let item = self.pop()?;
                self.extend_list(&[item])?;
            }
            b'e' => {
                let items = self.since_mark()?;
                self.extend_list(&items)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.extend_dict(&[key, value])?;
            }
            b'u' => {
                let items = self.since_mark()?;
                self.extend_dict(&items)?;
            }
            b'c' => {
                self.line()?;
                self.line()?;
                self.push(Value::Global);
            }
            0x93 => {
                self.pop()?;
                self.pop()?;
                self.push(Value::Global);
            }
            b'R' | 0x81 => {
                let arguments = self.pop()?;
                self.pop()?;
                self.push(Value::Call { arguments, state: None });
            }
            b'b' => {
                let given = self.pop()?;
                let top = *self.stack.last().ok_or("a state of nothing")?;
                let Value::Call { state, .. } = &mut self.pickle.nodes[top] else {
                    return Err("a state of no object".to_owned());
                };
                *state = Some(given);
            }
            b'q' | b'r' | 0x94 | b'h' | b'j' => self.memo(code)?,
            other => return Err(format!("opcode 0x{other:02x}, which a CIFAR batch does not have")),
        }
        Ok(true)
    }

    /// True, false, and integers of one, two and four bytes.
    fn integer(&mut self, code: u8) -> Result<(), String> {
        let value = match code {
            0x88 | 0x89 => i64::from(code == 0x88),
            b'K' => i64::from(u8::from_le_bytes(self.number()?)),
            b'M' => i64::from(u16::from_le_bytes(self.number()?)),
            _ => i64::from(i32::from_le_bytes(self.number()?)),
        };
        self.push(Value::Integer(value));
        Ok(())
    }

    /// Keeps the object on top under a number, or puts a kept one on top.
    fn memo(&mut self, code: u8) -> Result<(), String> {
        let at = match code {
            0x94 => self.memo.len() as u32,
            b'q' | b'h' => u32::from(u8::from_le_bytes(self.number()?)),
            _ => u32::from_le_bytes(self.number()?),
        };
        if matches!(code, b'h' | b'j') {
            self.stack.push(*self.memo.get(&at).ok_or("an object that was not kept")?);
        } else {
            self.memo.insert(at, *self.stack.last().ok_or("the stack is empty")?);
        }
        Ok(())
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], String> {
        let length = usize::try_from(length).map_err(|_| "it ends too early")?;
        let (taken, rest) = self.rest.split_at_checked(length).ok_or("it ends too early")?;
        self.rest = rest;
        Ok(taken)
    }

    fn number<const N: usize>(&mut self) -> Result<[u8; N], String> {
        Ok(self.take(N as u64)?.try_into().expect("take returns what was asked for"))
    }

    fn line(&mut self) -> Result<(), String> {
        let end = self.rest.iter().position(|&byte| byte == b'\n').ok_or("it ends too early")?;
        self.take(end as u64 + 1).map(drop)
    }

    fn text(&mut self, length: u64) -> Result<(), String> {
        let bytes = self.take(length)?;
        self.push(Value::Bytes(bytes));
        Ok(())
    }

    fn push(&mut self, value: Value<'a>) {
        self.stack.push(self.pickle.nodes.len());
        self.pickle.nodes.push(value);
    }

    fn pop(&mut self) -> Result<Node, String> {
        let floor = self.marks.last().copied().unwrap_or(0);
        self.stack.pop().filter(|_| self.stack.len() >= floor).ok_or_else(|| "the stack is empty".to_owned())
    }

    fn since_mark(&mut self) -> Result<Vec<Node>, String> {
        let mark = self.marks.pop().ok_or("no mark on the stack")?;
        if mark > self.stack.len() {
            return Err("the stack is empty".to_owned());
        }
        Ok(self.stack.split_off(mark))
    }

    fn extend_list(&mut self, more: &[Node]) -> Result<(), String> {
        let top = *self.stack.last().ok_or("the stack is empty")?;
        let Value::List(items) = &mut self.pickle.nodes[top] else {
            return Err("items for no list".to_owned());
        };
        items.extend_from_slice(more);
        Ok(())
    }

    fn extend_dict(&mut self, more: &[Node]) -> Result<(), String> {
        let top = *self.stack.last().ok_or("the stack is empty")?;
        let Value::Dict(entries) = &mut self.pickle.nodes[top] else {
            return Err("entries for no dictionary".to_owned());
        };
        let (pairs, []) = more.as_chunks::<2>() else { return Err("a key without a value".to_owned()) };
        entries.extend(pairs.iter().map(|&[key, value]| (key, value)));
        Ok(())
    }
}
