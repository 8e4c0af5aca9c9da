//! Netpbm's raw forms, as GTSRB has them: P6 in colour, P5 in grey, of eight bits.
//!
//! Source: <https://netpbm.sourceforge.net/doc/ppm.html>: the letters, then width, height and the largest value as
//! decimal numbers with white space between, comments from `#` to the end of a line, one white space, the pixels.

use crate::ImageShape;

/// A Netpbm image whose header was read.
pub(super) struct Netpbm<'a> {
    shape: ImageShape,
    pixels: &'a [u8],
}

/// Whether a file begins as one: two letters, then what may follow them.
pub(super) fn begins(encoded: &[u8]) -> bool {
    matches!(encoded, [b'P', b'5' | b'6', next, ..] if next.is_ascii_whitespace() || *next == b'#')
}

impl<'a> Netpbm<'a> {
    /// Reads the header. The error says what was found instead of an image with sides up to `largest`.
    pub(super) fn open(encoded: &'a [u8], largest: usize) -> Result<Self, String> {
        let channels = if encoded[1] == b'6' { 3 } else { 1 };
        let mut rest = &encoded[2..];
        let mut number = || {
            let (value, after) = number(rest)?;
            rest = after;
            Some(value)
        };
        let (Some(width), Some(height), Some(most)) = (number(), number(), number()) else {
            return Err("a Netpbm image whose header is cut short or no numbers".to_owned());
        };
        if width > largest || height > largest {
            return Err(format!("{width}x{height} pixels"));
        }
        if most != 255 {
            return Err(format!("a Netpbm image of values up to {most}, wanted 255"));
        }
        let shape = ImageShape::new(height, width, channels);
        match rest.get(1..) {
            Some(pixels) if rest[0].is_ascii_whitespace() && pixels.len() >= shape.values() => {
                Ok(Self { shape, pixels: &pixels[..shape.values()] })
            }
            pixels => {
                let found = pixels.map_or(0, <[u8]>::len);
                Err(format!("a Netpbm image cut short: {found} of {} bytes", shape.values()))
            }
        }
    }

    pub(super) fn shape(&self) -> ImageShape {
        self.shape
    }

    /// Copies the pixels into a slice of the shape's size, (H, W, C).
    pub(super) fn decode(self, out: &mut [u8]) {
        out.copy_from_slice(self.pixels);
    }
}

/// The next number of a header and what follows its last digit.
fn number(mut text: &[u8]) -> Option<(usize, &[u8])> {
    loop {
        text = text.trim_ascii_start();
        if text.first() != Some(&b'#') {
            break;
        }
        let end = text.iter().position(|&byte| byte == b'\n' || byte == b'\r')?;
        text = &text[end..];
    }
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let value = std::str::from_utf8(&text[..digits]).ok()?.parse().ok()?;
    Some((value, &text[digits..]))
}
