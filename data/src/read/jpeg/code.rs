//! Huffman codes, and the bits that they are read from.

use super::{damaged, short};

/// Bits that are looked up in one step.
const SHORT: u32 = 9;

/// A table of codes and what they stand for.
pub(super) struct Code {
    /// By the next nine bits: length and symbol, 0 where the code is longer.
    short: Vec<(u8, u8)>,
    /// By length: the first value of 16 bits that begins with a longer code.
    beyond: [u32; 17],
    /// By length: what to add to a code to find its symbol.
    offset: [i32; 17],
    symbols: Vec<u8>,
}

impl Code {
    /// A table from the number of codes of each length, 1 to 16, and their symbols in order.
    ///
    /// `None` where there are more codes of a length than its bits tell apart.
    pub(super) fn new(counts: &[u8; 16], symbols: &[u8]) -> Option<Self> {
        let mut code = Self {
            short: vec![(0, 0); 1 << SHORT],
            beyond: [0; 17],
            offset: [0; 17],
            symbols: symbols.to_vec(),
        };
        let (mut next, mut symbol) = (0_u32, 0_usize);
        for (length, &count) in (1_u32..).zip(counts) {
            code.offset[length as usize] = symbol as i32 - next as i32;
            for _ in 0..count {
                if next >> length != 0 {
                    return None;
                }
                if length <= SHORT {
                    let first = (next << (SHORT - length)) as usize;
                    code.short[first..first + (1 << (SHORT - length))].fill((length as u8, symbols[symbol]));
                }
                (next, symbol) = (next + 1, symbol + 1);
            }
            code.beyond[length as usize] = next << (16 - length);
            next <<= 1;
        }
        Some(code)
    }
}

/// The bits of coded data: 0xff stands for itself where a zero follows, and ends them where anything else does.
pub(super) struct Bits<'a> {
    file: &'a [u8],
    at: usize,
    /// The next bits, from the highest down, and how many there are.
    buffer: u64,
    count: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(file: &'a [u8], at: usize) -> Self {
        Self { file, at, buffer: 0, count: 0 }
    }

    /// Where the data ended, once all of it was read.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    fn fill(&mut self) {
        while self.count <= 56 {
            let byte = match self.file.get(self.at..) {
                Some([0xff, 0, ..]) => {
                    self.at += 2;
                    0xff
                }
                // Fill bytes before a marker.
                Some([0xff, 0xff, ..]) => {
                    self.at += 1;
                    continue;
                }
                None | Some([] | [0xff, ..]) => return,
                Some(&[byte, ..]) => {
                    self.at += 1;
                    byte
                }
            };
            self.buffer |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
    }

    /// The next bits as a number, at most 16.
    pub(super) fn take(&mut self, bits: u32) -> Result<u32, String> {
        if self.count < bits {
            self.fill();
            if self.count < bits {
                return Err(short("its codes run out"));
            }
        }
        let value = (self.buffer >> 32 >> (32 - bits)) as u32;
        self.buffer <<= bits;
        self.count -= bits;
        Ok(value)
    }

    /// What the next code stands for.
    pub(super) fn symbol(&mut self, code: &Code) -> Result<u8, String> {
        if self.count < 16 {
            self.fill();
        }
        let (length, symbol) = code.short[(self.buffer >> (64 - SHORT)) as usize];
        if length != 0 {
            self.take(u32::from(length))?;
            return Ok(symbol);
        }
        let next = (self.buffer >> 48) as u32;
        let length = (SHORT + 1..=16).find(|&length| next < code.beyond[length as usize]);
        let length = length.ok_or_else(|| match self.count {
            0..16 => short("its codes run out"),
            _ => nothing(),
        })?;
        let found = self.take(length)? as i32 + code.offset[length as usize];
        usize::try_from(found).ok().and_then(|found| code.symbols.get(found).copied()).ok_or_else(nothing)
    }

    /// Passes over what fills the last byte, and zeros behind it, to the next marker.
    pub(super) fn finish(&mut self) -> Result<(), String> {
        self.take(self.count % 8)?;
        loop {
            self.fill();
            if self.count == 0 {
                return Ok(());
            }
            if self.take(8)? != 0 {
                return Err(damaged("it has codes left over"));
            }
        }
    }

    /// Passes over the restart marker of this number, modulo 8, that ends the data so far.
    pub(super) fn restart(&mut self, number: usize) -> Result<(), String> {
        self.finish()?;
        let marker = self.file.get(self.at + 1).copied();
        if marker != Some(0xd0 + (number % 8) as u8) {
            return Err(marker.map_or_else(|| short("its codes run out"), |_| damaged("it lacks a part")));
        }
        self.at += 2;
        Ok(())
    }
}

/// The error of a code, or of what it stands for, that no encoder writes.
pub(super) fn nothing() -> String {
    damaged("it has a code that stands for nothing")
}
