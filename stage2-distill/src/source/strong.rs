//! Strong views: two changes of RandAugment's kinds, then a hole, drawn per image as everything random is.

use data::{Change, ImageShape};
use method::rng::{Stream, below};

/// Blocks of draws that one strong view takes.
const BLOCKS: usize = 4;

/// The two changes and the hole of the strong view of this number, from an image's own stream.
///
/// Source: FixMatch, arXiv:2001.07685, appendix D: two of fourteen kinds, each with a size drawn anew from its whole
/// range, then Cutout. The ranges are that table's; Cutout's side is up to half of the image's, as there. A move is of
/// whole pixels, and what comes in is black, where its authors' code has grey.
pub(super) fn drawn(stream: &Stream, number: usize, shape: ImageShape) -> [Change; 3] {
    let block = |part| number * BLOCKS + part;
    let kind = |part| {
        let kind = below(stream.draws(block(part))[0], 14);
        change(kind, stream.units(block(part))[1], shape)
    };
    let [size, _] = stream.units(block(2));
    let [y, x] = stream.units(block(3));
    let hole = |extent: usize, at: f64| {
        let side = (size * 0.5 * extent as f64).round();
        let from = at * extent as f64 - side / 2.0;
        // From a negative place on is from the border.
        (from.round() as usize, (from + side).round() as usize)
    };
    [kind(0), kind(1), Change::Cutout { rows: hole(shape.height, y), columns: hole(shape.width, x) }]
}

/// The change of a kind, at this part of its range.
fn change(kind: usize, part: f64, shape: ImageShape) -> Change {
    let between = |low: f64, high: f64| low + part * (high - low);
    let factor = between(0.05, 0.95) as f32;
    let pixels = |extent: usize| (between(-0.3, 0.3) * extent as f64).round() as isize;
    match kind {
        0 => Change::Identity,
        1 => Change::Autocontrast,
        2 => Change::Equalize,
        3 => Change::Brightness(factor),
        4 => Change::Contrast(factor),
        5 => Change::Colour(factor),
        6 => Change::Sharpness(factor),
        7 => Change::Posterize(4 + (part * 5.0) as u32),
        8 => Change::Solarize((part * 256.0) as u8),
        9 => Change::Rotate(between(-30.0, 30.0)),
        10 => Change::ShearX(between(-0.3, 0.3)),
        11 => Change::ShearY(between(-0.3, 0.3)),
        12 => Change::TranslateX(pixels(shape.width)),
        _ => Change::TranslateY(pixels(shape.height)),
    }
}

#[cfg(test)]
mod tests {
    use method::rng::Purpose;

    use super::*;

    const SHAPE: ImageShape = ImageShape::new(32, 28, 3);

    /// Appendix D of arXiv:2001.07685: the names and ranges of its table.
    #[test]
    fn every_kind_is_drawn_within_its_published_range() {
        let mut kinds = [0; 14];
        for image in 0..2_000 {
            let stream = Stream::new(5, Purpose::Strong, 1, image);
            let [first, second, hole] = drawn(&stream, 3, SHAPE);
            for change in [first, second] {
                let (kind, within) = match change {
                    Change::Identity => (0, true),
                    Change::Autocontrast => (1, true),
                    Change::Equalize => (2, true),
                    Change::Brightness(factor) => (3, (0.05..=0.95).contains(&factor)),
                    Change::Contrast(factor) => (4, (0.05..=0.95).contains(&factor)),
                    Change::Colour(factor) => (5, (0.05..=0.95).contains(&factor)),
                    Change::Sharpness(factor) => (6, (0.05..=0.95).contains(&factor)),
                    Change::Posterize(bits) => (7, (4..=8).contains(&bits)),
                    Change::Solarize(_) => (8, true),
                    Change::Rotate(degrees) => (9, degrees.abs() <= 30.0),
                    Change::ShearX(share) => (10, share.abs() <= 0.3),
                    Change::ShearY(share) => (11, share.abs() <= 0.3),
                    Change::TranslateX(pixels) => (12, pixels.abs() <= 8),
                    Change::TranslateY(pixels) => (13, pixels.abs() <= 10),
                    Change::Cutout { .. } => panic!("the hole comes last"),
                };
                assert!(within, "{change:?}");
                kinds[kind] += 1;
            }
            let Change::Cutout { rows, columns } = hole else { panic!("{hole:?} is no hole") };
            assert!(rows.1 - rows.0 <= 16 && columns.1 - columns.0 <= 14, "{hole:?}");
            assert_ne!(drawn(&stream, 3, SHAPE), drawn(&stream, 4, SHAPE));
        }
        // 4,000 draws of 14 kinds: 286 each, give or take five times 16.3.
        assert!(kinds.iter().all(|count| (204..=367).contains(count)), "{kinds:?}");
    }
}
