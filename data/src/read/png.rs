//! PNG: grey or RGB of eight bits, or of fewer, or from a palette.

use std::io::Cursor;

use png::{BitDepth, ColorType, Decoder, Limits, Reader, Transformations};

use super::orientation::Orientation;
use crate::ImageShape;

/// How every PNG begins.
pub(super) const MAGIC: &[u8] = b"\x89PNG\r\n\x1a\n";

/// What a decoder may take, whatever the file declares.
const MOST_BYTES: usize = 512 << 20;

/// A PNG whose header was read.
pub(super) struct Png<'a> {
    reader: Reader<Cursor<&'a [u8]>>,
    shape: ImageShape,
    orientation: Orientation,
}

impl<'a> Png<'a> {
    /// Reads the header. The error says what was found instead of an image with sides up to `largest`.
    pub(super) fn open(encoded: &'a [u8], largest: usize) -> Result<Self, String> {
        let mut decoder = Decoder::new_with_limits(Cursor::new(encoded), Limits { bytes: MOST_BYTES });
        decoder.set_ignore_text_chunk(true);
        let header =
            decoder.read_header_info().map_err(|error| format!("Format error decoding Png: {error}"))?;
        let (width, height) = (header.width as usize, header.height as usize);
        if width > largest || height > largest {
            return Err(format!("{width}x{height} pixels"));
        }
        // Palettes are looked up and narrow greys widened; sixteen bits stay, to be refused.
        decoder.set_transformations(Transformations::EXPAND);
        let reader = decoder.read_info().map_err(|error| format!("Format error decoding Png: {error}"))?;
        let channels = match reader.output_color_type() {
            (ColorType::Grayscale, BitDepth::Eight) => 1,
            (ColorType::Rgb, BitDepth::Eight) => 3,
            (color, depth) => {
                let color = match color {
                    ColorType::Grayscale => "L",
                    ColorType::GrayscaleAlpha => "La",
                    ColorType::Rgb => "Rgb",
                    ColorType::Rgba => "Rgba",
                    ColorType::Indexed => "Indexed",
                };
                return Err(format!("pixels of kind {color}{}", depth as u8));
            }
        };
        let orientation = Orientation::of(exif(encoded), None);
        Ok(Self { reader, shape: ImageShape::new(height, width, channels), orientation })
    }

    /// The size as it is stored, before the image is turned.
    pub(super) fn shape(&self) -> ImageShape {
        self.shape
    }

    pub(super) fn orientation(&self) -> Orientation {
        self.orientation
    }

    /// Decodes into a slice of the shape's size, (H, W, C).
    pub(super) fn decode(mut self, out: &mut [u8]) -> Result<(), String> {
        self.reader.next_frame(out).map(drop).map_err(|error| format!("Format error decoding Png: {error}"))
    }
}

/// The content of the chunk `eXIf`, which may stand before the pixels or behind them.
fn exif(encoded: &[u8]) -> Option<&[u8]> {
    let mut rest = encoded.get(MAGIC.len()..)?;
    loop {
        let (&length, after) = rest.split_first_chunk()?;
        let (kind, after) = after.split_first_chunk::<4>()?;
        let content = after.get(..u32::from_be_bytes(length) as usize)?;
        if kind == b"eXIf" {
            return Some(content);
        }
        // Behind the content stands its checksum.
        rest = after.get(content.len() + 4..)?;
    }
}
