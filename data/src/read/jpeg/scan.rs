//! One scan of a JPEG: which planes and coefficients it codes, and the walk over its codes.

use super::code::{Bits, Code, nothing};
use super::damaged;
use super::frame::{Frame, Plane};

/// Means lie in +-1024: eight times a pixel less 128. Beyond twice that no encoder's rounding reaches.
const FARTHEST: i32 = 2048;

/// A plane in a scan, with the codes of its means and of its details.
struct Part<'c> {
    plane: usize,
    means: Option<&'c Code>,
    details: Option<&'c Code>,
    /// What a mean is counted in.
    step: i32,
}

/// What the scan codes.
pub(super) struct Scan<'c> {
    parts: Vec<Part<'c>>,
    /// The first and the last coefficient, in the order of their coding.
    band: [u32; 2],
    /// Whether it adds a bit to coefficients that earlier scans began.
    refines: bool,
    progressive: bool,
}

impl<'c> Scan<'c> {
    /// A scan from its segment; `None` where that breaks a rule. Marks its planes as begun.
    pub(super) fn read(
        body: &[u8],
        frame: &mut Frame,
        codes: &'c [[Option<Code>; 4]; 2],
        steps: &[i32; 4],
    ) -> Option<Self> {
        let (&count, rest) = body.split_first()?;
        let (parts, rest) = rest.split_at_checked(2 * usize::from(count))?;
        let &[first, last, bits] = rest.first_chunk()?;
        let progressive = frame.progressive;
        let fits = match (progressive, first) {
            (false, _) => true,
            (true, 0) => last == 0,
            (true, _) => first <= last && last < 64 && count == 1,
        };
        if !fits || count == 0 {
            return None;
        }
        let parts = parts.as_chunks().0.iter().map(|&[id, tables]| {
            let plane = frame.planes.iter().position(|plane| plane.id == id)?;
            frame.planes[plane].begun |= !progressive || first == 0;
            let step = *steps.get(frame.planes[plane].steps)? << if progressive { bits & 15 } else { 0 };
            let code = |class: usize, number: u8| codes[class].get(usize::from(number))?.as_ref();
            Some(Part { plane, means: code(0, tables >> 4), details: code(1, tables & 15), step })
        });
        let parts = parts.collect::<Option<Vec<_>>>()?;
        let band = if progressive { [first, last].map(u32::from) } else { [0, 63] };
        Some(Self { parts, band, refines: progressive && bits >> 4 != 0, progressive })
    }

    /// Reads every code of the scan. The error says what was found.
    pub(super) fn walk(&self, bits: &mut Bits, frame: &mut Frame, restart: usize) -> Result<(), String> {
        let alone = self.parts.len() == 1;
        let [across, down] = if alone { frame.planes[self.parts[0].plane].alone } else { frame.units };
        let mut run = 0;
        for unit in 0..across * down {
            if restart != 0 && unit != 0 && unit % restart == 0 {
                bits.restart(unit / restart - 1)?;
            }
            if unit == 0 || restart != 0 && unit % restart == 0 {
                run = 0;
                frame.planes.iter_mut().for_each(|plane| plane.mean = 0);
            }
            let (x, y) = (unit % across, unit / across);
            for part in &self.parts {
                let plane = &mut frame.planes[part.plane];
                let [wide, high] = if alone { [1, 1] } else { plane.per_unit };
                for block in 0..wide * high {
                    let at = (y * high + block / wide) * plane.stride + x * wide + block % wide;
                    self.block(bits, part, plane, at, &mut run)?;
                }
            }
        }
        if run != 0 {
            return Err(damaged("it has codes left over"));
        }
        bits.finish()
    }

    /// The block of a plane at this place; `run` counts blocks without further details.
    fn block(
        &self,
        bits: &mut Bits,
        part: &Part,
        plane: &mut Plane,
        at: usize,
        run: &mut u32,
    ) -> Result<(), String> {
        let lacks = || damaged("it names a table of codes that it lacks");
        if self.band[0] == 0 {
            if self.refines {
                return bits.take(1).map(drop);
            }
            plane.mean += difference(bits, part.means.ok_or_else(lacks)?)?;
            if plane.mean.saturating_mul(part.step).abs() > FARTHEST {
                return Err(damaged("it is brighter than white, or darker than black"));
            }
            if self.progressive {
                return Ok(());
            }
        }
        let details = part.details.ok_or_else(lacks)?;
        // Sequential coding never comes back to a block.
        let known = if self.progressive { &mut plane.known[at] } else { &mut 0 };
        if self.refines {
            self.refine(bits, details, known, run)
        } else {
            self.begin(bits, details, known, run)
        }
    }

    /// Details coded for the first time: runs of zeros, each with the size of the coefficient behind it.
    fn begin(&self, bits: &mut Bits, code: &Code, known: &mut u64, run: &mut u32) -> Result<(), String> {
        if *run > 0 {
            *run -= 1;
            return Ok(());
        }
        let [first, last] = self.band;
        let mut at = first.max(1);
        while at <= last {
            let symbol = bits.symbol(code)?;
            let (zeros, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
            match (zeros, size) {
                (15, 0) => at += 16,
                (1.., 0) if !self.progressive => return Err(nothing()),
                (_, 0) => {
                    // This block is the first of the run.
                    *run = (1 << zeros) + bits.take(zeros)? - 1;
                    return Ok(());
                }
                _ => {
                    at += zeros;
                    if at > last {
                        return Err(beyond());
                    }
                    bits.take(size)?;
                    *known |= 1 << at;
                    at += 1;
                }
            }
        }
        // Sixteen zeros may end with the block, not behind it.
        if at > last + 1 { Err(beyond()) } else { Ok(()) }
    }

    /// Details refined: a bit for each that is known, and new ones between them.
    fn refine(&self, bits: &mut Bits, code: &Code, known: &mut u64, run: &mut u32) -> Result<(), String> {
        let [mut at, last] = self.band;
        while *run == 0 && at <= last {
            let symbol = bits.symbol(code)?;
            let (mut zeros, size) = (u32::from(symbol >> 4), symbol & 15);
            match size {
                0 if zeros < 15 => {
                    *run = (1 << zeros) + bits.take(zeros)?;
                    break;
                }
                0 => {}
                1 => drop(bits.take(1)?),
                _ => return Err(nothing()),
            }
            while at <= last {
                if *known >> at & 1 == 1 {
                    bits.take(1)?;
                } else if zeros == 0 {
                    break;
                } else {
                    zeros -= 1;
                }
                at += 1;
            }
            if size == 1 {
                if at > last {
                    return Err(beyond());
                }
                *known |= 1 << at;
            }
            at += 1;
        }
        if *run > 0 {
            for at in at..=last {
                bits.take((*known >> at & 1) as u32)?;
            }
            *run -= 1;
        }
        Ok(())
    }
}

/// How much a block's mean differs from that of the block before: a size, then so many bits.
fn difference(bits: &mut Bits, code: &Code) -> Result<i32, String> {
    let size = u32::from(bits.symbol(code)?);
    if size > 15 {
        return Err(nothing());
    }
    let value = bits.take(size)? as i32;
    // Values whose highest bit is 0 are negative.
    let negative = size > 0 && value >> (size - 1) == 0;
    Ok(if negative { value - (1 << size) + 1 } else { value })
}

fn beyond() -> String {
    damaged("its codes run beyond a block")
}
