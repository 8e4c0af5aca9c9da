//! Strong changes of an image: the colours and shapes that RandAugment and Cutout alter.
//!
//! A view is cut first, then changed. What is drawn, and when, is another's business: here a change with its size is a
//! pure function of u8 pixels, and gives the bytes that Pillow gives. Fourteen of the kinds are FixMatch's
//! (arXiv:2001.07685, appendix D), the last one is Cutout (arXiv:1708.04552). Where a shape moves, black comes in, as it
//! does around a crop.

mod colour;
mod place;

use rayon::prelude::*;

use crate::ImageShape;

/// One change, with its size. Factors are from 0 (all of the effect) to 1 (the image as it was).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change {
    /// Nothing.
    Identity,
    /// Stretches each channel to 0..=255.
    Autocontrast,
    /// Spreads each channel's levels evenly.
    Equalize,
    /// Towards black.
    Brightness(f32),
    /// Towards the image's mean grey.
    Contrast(f32),
    /// Towards the image in grey; a grey image stays.
    Colour(f32),
    /// Towards the image smoothed; its border stays.
    Sharpness(f32),
    /// Keeps so many of each value's eight bits.
    Posterize(u32),
    /// Inverts values from this one on.
    Solarize(u8),
    /// Turns by degrees, counterclockwise, about the centre.
    Rotate(f64),
    /// Moves each row by this share of its height.
    ShearX(f64),
    /// Moves each column by this share of its width.
    ShearY(f64),
    /// Moves the image left by so many pixels.
    TranslateX(isize),
    /// Moves the image up by so many pixels.
    TranslateY(isize),
    /// Blackens the rows and columns of a rectangle, as far as they lie in the image: from, and up to but not including.
    Cutout {
        /// Its rows.
        rows: (usize, usize),
        /// Its columns.
        columns: (usize, usize),
    },
}

impl Change {
    /// The image changed, (H, W, C) u8. Panics if the pixels are not of this shape, or have neither 1 nor 3 channels.
    pub fn of(self, pixels: &[u8], shape: ImageShape) -> Vec<u8> {
        assert_eq!(pixels.len(), shape.values(), "an image fills its shape");
        assert!(matches!(shape.channels, 1 | 3), "an image is grey or of three colours");
        match self {
            Self::Identity => pixels.to_vec(),
            Self::Autocontrast => colour::by_channel(pixels, shape, colour::stretched),
            Self::Equalize => colour::by_channel(pixels, shape, colour::equalised),
            Self::Brightness(factor) => colour::blend(&vec![0; pixels.len()], pixels, factor),
            Self::Contrast(factor) => {
                colour::blend(&vec![colour::mean_grey(pixels, shape); pixels.len()], pixels, factor)
            }
            Self::Colour(factor) => colour::blend(&colour::greyed(pixels, shape), pixels, factor),
            Self::Sharpness(factor) => colour::blend(&colour::smoothed(pixels, shape), pixels, factor),
            Self::Posterize(bits) => {
                let mask = !(0xff_u8.checked_shr(bits).unwrap_or(0));
                pixels.iter().map(|value| value & mask).collect()
            }
            Self::Solarize(from) => {
                pixels.iter().map(|&value| if value < from { value } else { 255 - value }).collect()
            }
            Self::Rotate(degrees) => place::rotated(pixels, shape, degrees),
            Self::ShearX(share) => place::affine(pixels, shape, [1.0, share, 0.0, 0.0, 1.0, 0.0]),
            Self::ShearY(share) => place::affine(pixels, shape, [1.0, 0.0, 0.0, share, 1.0, 0.0]),
            Self::TranslateX(by) => place::moved(pixels, shape, 0, by),
            Self::TranslateY(by) => place::moved(pixels, shape, by, 0),
            Self::Cutout { rows, columns } => place::cut_out(pixels, shape, rows, columns),
        }
    }
}

/// Changes views in place, in parallel, each by its own changes in turn: `values` are (N, C, H, W), each a byte over 255
/// as [`Dataset::views`](crate::Dataset::views) gives them. Panics if there are not as many images as lists.
pub fn change<const N: usize>(values: &mut [f32], shape: ImageShape, changes: &[[Change; N]]) {
    assert_eq!(values.len(), changes.len() * shape.values(), "every image has its changes");
    let (places, channels) = (shape.height * shape.width, shape.channels);
    values.par_chunks_exact_mut(shape.values()).zip(changes).for_each(|(values, changes)| {
        let at = |place: usize| place % channels * places + place / channels;
        // A byte over 255, times 255 and rounded, is the byte.
        let mut pixels: Vec<u8> =
            (0..values.len()).map(|place| (values[at(place)] * 255.0).round() as u8).collect();
        for change in changes {
            pixels = change.of(&pixels, shape);
        }
        for (place, &pixel) in pixels.iter().enumerate() {
            values[at(place)] = f32::from(pixel) / 255.0;
        }
    });
}
