#![allow(clippy::float_cmp)] // Equal bits are the promise here.

use std::fs;

use data::{Dataset, DatasetSpec, ImageShape, Split, cut};
use labels::{Augment, View};

use crate::golden;

const SHAPE: ImageShape = ImageShape::new(5, 7, 2);

/// One line per view: padding, crop, mirror, and the bits of every f32 that PyTorch's pad, slice and flip give.
fn from_pytorch() -> Vec<(Augment, View, Vec<f32>)> {
    let text = fs::read_to_string(golden("views.txt")).unwrap();
    let parse = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| words[at].parse::<u16>().unwrap();
        let view = View { crop_y: number(1), crop_x: number(2), flip: number(3) == 1 };
        let bits = words[4..].iter().map(|word| f32::from_bits(u32::from_str_radix(word, 16).unwrap()));
        (Augment { pad: number(0), flip: true }, view, bits.collect())
    };
    text.lines().map(parse).collect()
}

fn image() -> Vec<u8> {
    (0..70_u8).map(|value| value * 3 + 40).collect()
}

#[test]
fn views_equal_pytorchs_pad_slice_and_flip_bit_for_bit() {
    let views = from_pytorch();
    assert_eq!(views.len(), 9);
    for (augment, view, wanted) in views {
        let mut found = vec![f32::NAN; SHAPE.values()];
        cut(&image(), SHAPE, augment, view, &mut found);
        assert_eq!(found, wanted, "{augment} {view:?}");
    }
}

#[test]
fn an_f64_view_is_the_f32_view_widened() {
    for (augment, view, wanted) in from_pytorch() {
        let mut found = vec![f64::NAN; SHAPE.values()];
        cut(&image(), SHAPE, augment, view, &mut found);
        assert_eq!(found, wanted.into_iter().map(f64::from).collect::<Vec<_>>());
    }
}

#[test]
fn a_batch_holds_each_row_in_its_place() {
    let mut images = image();
    images.extend(image().into_iter().rev());
    let dataset = Dataset::new("two", Split::Train, SHAPE, images, vec![0, 0], vec!["a".to_owned()]).unwrap();
    let augment = Augment { pad: 2, flip: true };
    let views = [(4, 1, false), (1, 4, true), (2, 2, false)].map(|(crop_y, crop_x, flip)| View {
        crop_y,
        crop_x,
        flip,
    });
    let rows = [(0, views[0]), (1, views[2]), (0, views[1])];
    let mut batch = vec![f32::NAN; 3 * SHAPE.values()];
    dataset.gather(augment, &rows, &mut batch);
    let pytorch = from_pytorch();
    let golden = |view: View| &pytorch.iter().find(|(of, at, _)| (of.pad, *at) == (2, view)).unwrap().2;
    assert_eq!(batch[..70], golden(views[0])[..]);
    assert_eq!(batch[140..], golden(views[1])[..]);
    // The centre crop of the second image is the image: plane 1 at row 3, column 5 is value 1 of pixel 26.
    assert_eq!(batch[70 + 35 + 26], f32::from(dataset.pixels(1)[26 * 2 + 1]) / 255.0);
}

#[test]
fn padding_is_black_and_the_far_corner_keeps_what_the_crop_keeps() {
    let dataset = DatasetSpec::sample().load(Split::Test).unwrap();
    let white = vec![255; 784];
    let augment: Augment = dataset_augment();
    let mut out = vec![f32::NAN; 784];
    cut(&white, dataset.shape(), augment, augment.view(0).unwrap(), &mut out);
    // View 0 crops at the padded corner: two rows and two columns of padding.
    assert_eq!(out.iter().filter(|&&pixel| pixel == 0.0).count(), 784 - 26 * 26);
    assert_eq!(out.iter().filter(|&&pixel| pixel == 1.0).count(), 26 * 26);
    assert_eq!((out[0], out[28 + 27], out[2 * 28 + 2]), (0.0, 0.0, 1.0));
}

fn dataset_augment() -> Augment {
    DatasetSpec::sample().default_augment().parse().unwrap()
}

#[test]
#[should_panic(expected = "the view belongs to the augmentation")]
fn a_view_of_another_augmentation_is_our_bug() {
    let view = View { crop_y: 0, crop_x: 0, flip: true };
    cut(&image(), SHAPE, Augment { pad: 0, flip: false }, view, &mut [0.0_f32; 70]);
}
