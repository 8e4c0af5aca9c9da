//! JPEG: grey, or anything that becomes RGB.
//!
//! The decoder makes up what a file lacks: a JPEG cut short comes back completed with grey. So [`whole`] walks every
//! code of the file first, and what is short or contradicts itself is refused.

mod code;
mod frame;
mod scan;
mod whole;

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::orientation::Orientation;
use crate::ImageShape;

/// How every JPEG begins.
pub(super) const MAGIC: &[u8] = b"\xff\xd8\xff";

/// A JPEG whose headers were read.
pub(super) struct Jpeg<'a> {
    encoded: &'a [u8],
    options: DecoderOptions,
    shape: ImageShape,
    orientation: Orientation,
}

impl<'a> Jpeg<'a> {
    /// Reads the headers. The error says what was found instead of an image with sides up to `largest`.
    pub(super) fn open(encoded: &'a [u8], largest: usize) -> Result<Self, String> {
        let options =
            DecoderOptions::default().set_strict_mode(false).set_max_width(largest).set_max_height(largest);
        let mut decoder = JpegDecoder::new_with_options(ZCursor::new(encoded), options);
        decoder.decode_headers().map_err(|error| format!("Format error decoding Jpeg: {error}"))?;
        let (width, height) = decoder.dimensions().expect("the headers were read");
        let (space, channels) = match decoder.input_colorspace().expect("the headers were read") {
            ColorSpace::Luma => (ColorSpace::Luma, 1),
            // Inks have no one colour on a screen: programs differ by far more than decoders of RGB do.
            ColorSpace::CMYK | ColorSpace::YCCK => return Err("pixels of kind Cmyk8".to_owned()),
            _ => (ColorSpace::RGB, 3),
        };
        let exif = decoder.exif().map(Vec::as_slice);
        let orientation = Orientation::of(exif, decoder.xmp().map(Vec::as_slice));
        let options = options.jpeg_set_out_colorspace(space);
        Ok(Self { encoded, options, shape: ImageShape::new(height, width, channels), orientation })
    }

    /// The size as it is stored, before the image is turned.
    pub(super) fn shape(&self) -> ImageShape {
        self.shape
    }

    pub(super) fn orientation(&self) -> Orientation {
        self.orientation
    }

    /// Decodes into a slice of the shape's size, (H, W, C).
    pub(super) fn decode(self, out: &mut [u8]) -> Result<(), String> {
        whole::check(self.encoded)?;
        let mut decoder = JpegDecoder::new_with_options(ZCursor::new(self.encoded), self.options);
        decoder.decode_into(out).map_err(|error| format!("Format error decoding Jpeg: {error}"))
    }
}

fn short(what: &str) -> String {
    format!("a JPEG cut short: {what}")
}

fn damaged(what: &str) -> String {
    format!("a damaged JPEG: {what}")
}
