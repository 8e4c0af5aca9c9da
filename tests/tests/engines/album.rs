//! Views that the GPU cuts out of images of 8 bits, and where attacks start from them: the host's bits.

use candle_core::{DType, Device, Tensor};
use data::{Dataset, ImageShape, Split};
use engine::params::Precision;
use engine::{Album, Cutting, Engine, EngineError, Images, Shelf, Storage, host};
use labels::Augment;
use rslad_tests::{cpu, gpu, values};

use crate::gpu::cuda;
use crate::{tensor, uniform};

fn bits(images: &Images) -> Vec<u32> {
    let pixels = images.tensor().unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    pixels.into_iter().map(f32::to_bits).collect()
}

/// Seven images that are no squares.
fn dataset(channels: usize) -> Dataset {
    let shape = ImageShape { height: 9, width: 12, channels };
    let pixels = uniform(50, 7 * shape.values()).into_iter().map(|value| (value * 256.0) as u8).collect();
    let names = ["one", "two"].map(String::from).to_vec();
    Dataset::new("drawn", Split::Train, shape, pixels, vec![0; 7], names).unwrap()
}

/// The right bits are those of the data's own cut, which `data/tests` compares with PyTorch's.
#[test]
fn every_view_of_an_image_is_cut_on_the_device_as_on_the_host() {
    let Some(_gpu) = gpu("every_view_of_an_image_is_cut_on_the_device_as_on_the_host") else { return };
    for storage in [Storage::F32, Storage::Bf16] {
        let engine = cuda(storage);
        for (channels, augment) in [(3, "crop4+flip"), (1, "crop2"), (3, "flip"), (4, "none")] {
            let (dataset, augment): (_, Augment) = (dataset(channels), augment.parse().unwrap());
            let shelf = Shelf::default();
            let album = Album { pixels: dataset.images(), shape: dataset.shape().input(), shelf: &shelf };
            let rows: Vec<(usize, u16)> =
                (0..augment.views()).map(|view| (view as usize * 3 % 7, view as u16)).collect();
            let cutting = |&(image, id): &(usize, u16)| {
                let view = augment.view(id).unwrap();
                let moved = |crop: u16| crop as i16 - augment.pad as i16;
                Cutting { image, down: moved(view.crop_y), right: moved(view.crop_x), mirrored: view.flip }
            };
            let cuttings: Vec<Cutting> = rows.iter().map(cutting).collect();
            let found = engine.cut(&album, &cuttings).unwrap().expect("so small an album is kept");
            let (wanted, (count, channels, height, width)) = dataset.views::<f32>(augment, &rows);
            assert_eq!(found.shape(), [count, channels, height, width]);
            let wanted: Vec<u32> = wanted.into_iter().map(f32::to_bits).collect();
            assert!(bits(&found) == wanted, "{storage}, {channels} channels, {augment}");
            // Once more from what is kept, in another order.
            let last = engine.cut(&album, &cuttings[cuttings.len() - 1..]).unwrap().unwrap();
            assert!(bits(&last) == wanted[wanted.len() - bits(&last).len()..]);
        }
    }
}

#[test]
fn an_album_that_lies_on_another_device_is_left_to_the_host_and_strangers_are_refused() {
    let Some(_gpu) = gpu("an_album_that_lies_on_another_device_is_left_to_the_host") else { return };
    let (dataset, shelf) = (dataset(3), Shelf::default());
    let album = Album { pixels: dataset.images(), shape: dataset.shape().input(), shelf: &shelf };
    let view = Cutting { image: 6, down: 0, right: 0, mirrored: false };
    let engine = cuda(Storage::Bf16);
    assert!(engine.cut(&album, &[view]).unwrap().is_some());
    assert!(cuda(Storage::Bf16).cut(&album, &[view]).unwrap().is_none());
    assert!(cpu(1).cut(&album, &[view]).unwrap().is_none());
    let error = engine.cut(&album, &[view, Cutting { image: 7, ..view }]).err().unwrap();
    assert!(matches!(error, EngineError::Row { row: 7, .. }), "{error}");
}

#[test]
fn an_attack_starts_at_the_hosts_bits() {
    let Some(_gpu) = gpu("an_attack_starts_at_the_hosts_bits") else { return };
    let engine = cuda(Storage::Bf16);
    let shape = [3, 3, 9, 12];
    let images: Images = tensor(1, &shape, Precision::F32).into();
    let offsets = ((tensor(2, &shape, Precision::F32) * 2.0).unwrap() - 1.0).unwrap();
    for by in [8.0 / 255.0, 0.001] {
        let found = engine.shift(&images, &offsets, by).unwrap();
        assert!(bits(&found) == bits(&host::shift(&images, &offsets, by).unwrap()));
        // As plainly as it can be said.
        let plain = values(images.tensor().unwrap()).into_iter().zip(values(&offsets));
        let plain: Vec<u32> = plain.map(|(x, d)| (x as f32 + d as f32 * by as f32).to_bits()).collect();
        assert!(bits(&found) == plain);
    }
    let other = Tensor::zeros((3, 3, 9, 11), DType::F32, &Device::Cpu).unwrap();
    assert!(engine.shift(&images, &other, 1.0).is_err(), "offsets of another shape");
}
