//! The orientation that cameras write beside the pixels, applied as Hugging Face `datasets` and Pillow's
//! `exif_transpose` apply it.
//!
//! It is in EXIF's tag 0x0112, or else in the `tiff:Orientation` of XMP. Values that are none are passed over.

use crate::ImageShape;

/// How stored rows and columns become those that are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Orientation(u8);

impl Orientation {
    /// The pixels are shown as they are stored.
    pub(super) const AS_STORED: Self = Self(1);

    /// The orientation that an image's EXIF (a TIFF header and on) or XMP names.
    pub(super) fn of(exif: Option<&[u8]>, xmp: Option<&[u8]>) -> Self {
        let named = exif.and_then(in_exif).or_else(|| xmp.and_then(in_xmp));
        named.filter(|value| (1..=8).contains(value)).map_or(Self::AS_STORED, Self)
    }

    /// The size of the image as it is shown.
    pub(super) fn turned(self, stored: ImageShape) -> ImageShape {
        let ImageShape { height, width, channels } = stored;
        if self.0 >= 5 { ImageShape::new(width, height, channels) } else { stored }
    }

    /// Writes the stored pixels, (H, W, C), in the order in which they are shown.
    pub(super) fn turn(self, pixels: &[u8], stored: ImageShape, out: &mut [u8]) {
        let ImageShape { height, width, channels } = stored;
        let shown = self.turned(stored);
        for (at, pixel) in out.chunks_exact_mut(channels).enumerate() {
            let (y, x) = (at / shown.width, at % shown.width);
            let (y, x) = match self.0 {
                2 => (y, width - 1 - x),
                3 => (height - 1 - y, width - 1 - x),
                4 => (height - 1 - y, x),
                5 => (x, y),
                6 => (height - 1 - x, y),
                7 => (height - 1 - x, width - 1 - y),
                8 => (x, width - 1 - y),
                _ => (y, x),
            };
            pixel.copy_from_slice(&pixels[(y * width + x) * channels..][..channels]);
        }
    }
}

/// The value of tag 0x0112 in the first directory.
fn in_exif(exif: &[u8]) -> Option<u8> {
    let big = match exif.first_chunk()? {
        b"MM\0*" => true,
        b"II*\0" => false,
        _ => return None,
    };
    let short = |at: usize| {
        let bytes = *exif.get(at..)?.first_chunk()?;
        Some(if big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    };
    let long = |at: usize| {
        let bytes = *exif.get(at..)?.first_chunk()?;
        Some(if big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    };
    let directory = long(4)? as usize;
    let entry = |number: u16| directory + 2 + 12 * usize::from(number);
    let tag = (0..short(directory)?).map(entry).find(|&at| short(at) == Some(0x0112))?;
    // Its type is a short, but some cameras write a long.
    let value = if short(tag + 2)? == 4 { long(tag + 8)? } else { u32::from(short(tag + 8)?) };
    u8::try_from(value).ok()
}

/// The digit after `tiff:Orientation="` or `tiff:Orientation>`.
fn in_xmp(xmp: &[u8]) -> Option<u8> {
    let name = b"tiff:Orientation";
    let rest = xmp.windows(name.len()).position(|window| window == name).map(|at| &xmp[at + name.len()..])?;
    let digit = rest.strip_prefix(b"=\"").or_else(|| rest.strip_prefix(b">"))?.first()?;
    digit.checked_sub(b'0')
}
