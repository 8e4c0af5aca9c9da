//! Whether a JPEG is whole: its segments one after the other, every Huffman code of every scan, and its end.
//!
//! What decoders and Pillow pass over is passed over here: bytes between segments, fill bytes, zeros after a scan,
//! anything after the end. A bit that flips inside a code mostly shows: the codes then run out early or late.
//!
//! Source: ITU-T T.81, annexes B (segments), F (sequential) and G (progressive).

use super::code::{Bits, Code};
use super::frame::Frame;
use super::scan::Scan;
use super::{damaged, short};

/// More scans than encoders write, and than the decoder takes.
const MOST_SCANS: usize = 100;

/// Walks the file. The error says what was found, to stand after "found".
pub(super) fn check(file: &[u8]) -> Result<(), String> {
    let codes = [const { [const { None }; 4] }; 2];
    let mut walker = Walker { file, at: 2, codes, steps: [1; 4], frame: None, restart: 0, scans: 0 };
    while walker.segment()? {}
    Ok(())
}

struct Walker<'a> {
    file: &'a [u8],
    at: usize,
    /// Codes by class (0 of means, 1 of details) and number.
    codes: [[Option<Code>; 4]; 2],
    /// The step of means in each table of steps.
    steps: [i32; 4],
    frame: Option<Frame>,
    /// Units between two restarts; 0 for none.
    restart: usize,
    scans: usize,
}

impl<'a> Walker<'a> {
    /// Reads the next segment; false after the last.
    fn segment(&mut self) -> Result<bool, String> {
        let marker = self.marker()?;
        match marker {
            // The end.
            0xd9 if self.frame.as_ref().is_some_and(Frame::is_complete) => return Ok(false),
            0xd9 => return Err(short("it ends before its last plane")),
            // Markers without a segment: a restart out of its place, a second start, a private one.
            0x01 | 0xd0..=0xd8 => return Ok(true),
            _ => {}
        }
        let body = self.body()?;
        match marker {
            0xc0..=0xc2 if self.frame.is_some() => return Err(damaged("it has two frames")),
            0xc0..=0xc2 => self.frame = Some(Frame::read(body, marker == 0xc2).ok_or_else(broken)?),
            0xc4 => self.tables(body)?,
            0xdb => self.steps(body)?,
            0xdd => self.restart = usize::from(u16::from_be_bytes(*body.first_chunk().ok_or_else(broken)?)),
            0xda => self.scan(body)?,
            _ => {}
        }
        Ok(true)
    }

    /// The next marker, whatever stands before it.
    fn marker(&mut self) -> Result<u8, String> {
        while let Some(&[first, second]) = self.file.get(self.at..).and_then(<[u8]>::first_chunk) {
            self.at += 1;
            if first == 0xff && second != 0xff && second != 0 {
                self.at += 1;
                return Ok(second);
            }
        }
        Err(short("its end is missing"))
    }

    /// The content of a segment, before which its length stands.
    fn body(&mut self) -> Result<&'a [u8], String> {
        let rest = &self.file[self.at..];
        let length = rest.first_chunk().map_or(0, |&length| usize::from(u16::from_be_bytes(length)));
        self.at += length;
        rest.get(2..length).ok_or_else(|| short("it ends in a header"))
    }

    fn tables(&mut self, mut body: &[u8]) -> Result<(), String> {
        while let Some((&head, rest)) = body.split_first() {
            let (counts, rest) = rest.split_first_chunk::<16>().ok_or_else(broken)?;
            let symbols =
                rest.get(..counts.iter().map(|&count| usize::from(count)).sum()).ok_or_else(broken)?;
            let (class, number) = (usize::from(head >> 4), usize::from(head & 15));
            let place =
                self.codes.get_mut(class).and_then(|class| class.get_mut(number)).ok_or_else(broken)?;
            *place = Some(Code::new(counts, symbols).ok_or_else(broken)?);
            body = &rest[symbols.len()..];
        }
        Ok(())
    }

    /// Of each table the first step, that of means, in one byte or two.
    fn steps(&mut self, mut body: &[u8]) -> Result<(), String> {
        while let Some(&[head, high, low]) = body.first_chunk() {
            let wide = head >> 4 != 0;
            let step = if wide { u16::from_be_bytes([high, low]) } else { u16::from(high) };
            *self.steps.get_mut(usize::from(head & 15)).ok_or_else(broken)? = i32::from(step);
            body = body.get(1 + if wide { 128 } else { 64 }..).ok_or_else(broken)?;
        }
        Ok(())
    }

    fn scan(&mut self, body: &[u8]) -> Result<(), String> {
        self.scans += 1;
        let frame = self.frame.as_mut().filter(|_| self.scans <= MOST_SCANS).ok_or_else(broken)?;
        let scan = Scan::read(body, frame, &self.codes, &self.steps).ok_or_else(broken)?;
        let mut bits = Bits::new(self.file, self.at);
        scan.walk(&mut bits, frame, self.restart)?;
        self.at = bits.at();
        Ok(())
    }
}

fn broken() -> String {
    damaged("its headers contradict themselves")
}
