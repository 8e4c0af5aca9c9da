use std::fs;

use data::{Change, ImageShape, change};

use crate::golden;

const HEIGHT: usize = 26;
const WIDTH: usize = 21;

/// As in `golden/make_strong.py`.
fn changes() -> Vec<Change> {
    use Change::*;
    vec![
        Autocontrast,
        Equalize,
        Brightness(0.05),
        Brightness(0.7),
        Contrast(0.05),
        Contrast(0.7),
        Colour(0.05),
        Colour(0.7),
        Sharpness(0.05),
        Sharpness(0.7),
        Posterize(4),
        Posterize(7),
        Posterize(8),
        Solarize(0),
        Solarize(100),
        Solarize(255),
        Rotate(-30.0),
        Rotate(-7.25),
        Rotate(0.0),
        Rotate(12.5),
        Rotate(29.9),
        ShearX(-0.3),
        ShearX(0.11),
        ShearY(-0.3),
        ShearY(0.11),
        TranslateX(-4),
        TranslateX(3),
        TranslateY(-4),
        TranslateY(3),
        Cutout { rows: (2, 7), columns: (5, 11) },
        Cutout { rows: (12, HEIGHT + 3), columns: (9, WIDTH + 2) },
    ]
}

#[test]
fn changes_equal_pillows_byte_for_byte_on_coloured_and_grey_images() {
    let bytes = fs::read(golden("strong.u8")).unwrap();
    let mut rest = bytes.as_slice();
    for channels in [3, 1] {
        let shape = ImageShape::new(HEIGHT, WIDTH, channels);
        let mut next = || {
            let (image, others) = rest.split_at(shape.values());
            rest = others;
            image
        };
        let image = next();
        assert_eq!(Change::Identity.of(image, shape), image);
        for change in changes() {
            let (found, wanted) = (change.of(image, shape), next());
            let apart = found.iter().zip(wanted).filter(|(found, wanted)| found != wanted).count();
            assert_eq!(
                apart,
                0,
                "{change:?} of {channels} channels: {apart} of {} bytes differ",
                wanted.len()
            );
        }
    }
    assert!(rest.is_empty(), "every image of the file is compared");
}

/// What a view is but for its changes: a byte over 255, as PyTorch's are.
#[test]
fn every_byte_of_a_view_keeps_its_place_and_a_changed_view_is_the_image_moved() {
    let shape = ImageShape::new(16, 16, 3);
    let image: Vec<f32> = (0..768u16).map(|place| f32::from((place % 256) as u8) / 255.0).collect();
    let mut views = [image.clone(), image.clone()].concat();
    let still = [Change::Identity, Change::Identity];
    change(&mut views, shape, &[still, [Change::TranslateX(3), Change::TranslateY(-2)]]);
    assert!(views[..768] == image);
    for (place, value) in views[768..].iter().enumerate() {
        let (channel, y, x) = (place / 256, place / 16 % 16, place % 16);
        let inside = y >= 2 && x < 13;
        let wanted = if inside { image[channel * 256 + (y - 2) * 16 + x + 3] } else { 0.0 };
        assert!((value - wanted).abs() < 1e-9, "{channel} {y} {x}");
    }
}
