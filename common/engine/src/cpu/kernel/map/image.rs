//! Images (channel, row, column) in, and the gradient with respect to them out.

/// Mean and standard deviation per channel: the normalisation at the head of a network.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Normalisation<'a> {
    pub(crate) mean: &'a [f32],
    pub(crate) std: &'a [f32],
}

/// Images in [0, 1], (C, H, W) each, as channels-last maps, `pixel` f32 from one place to the next: as many as the
/// channels where the first layer reads them dense, else whole vectors with zeros in the padding.
pub(crate) fn images_to_map(
    images: &[f32],
    [channels, height, width]: [usize; 3],
    normalisation: Option<Normalisation<'_>>,
    to: &mut [f32],
    pixel: usize,
) {
    let positions = height * width;
    assert!(pixel >= channels && images.len() / channels == to.len() / pixel, "maps differ in length");
    for (image, map) in images.chunks_exact(channels * positions).zip(to.chunks_exact_mut(pixel * positions))
    {
        for (c, plane) in image.chunks_exact(positions).enumerate() {
            let (mean, std) = normalisation.map_or((0.0, 1.0), |n| (n.mean[c], n.std[c]));
            for (pixel, value) in map.chunks_exact_mut(pixel).zip(plane) {
                pixel[c] = (value - mean) / std;
            }
        }
        if pixel > channels {
            map.chunks_exact_mut(pixel).for_each(|pixel| pixel[channels..].fill(0.0));
        }
    }
}

/// The gradient with respect to the images from that of the map.
pub(crate) fn map_to_images(
    map: &[f32],
    pixel: usize,
    [channels, height, width]: [usize; 3],
    normalisation: Option<Normalisation<'_>>,
    images: &mut [f32],
) {
    let positions = height * width;
    assert!(pixel >= channels && images.len() / channels == map.len() / pixel, "maps differ in length");
    for (image, map) in images.chunks_exact_mut(channels * positions).zip(map.chunks_exact(pixel * positions))
    {
        for (c, plane) in image.chunks_exact_mut(positions).enumerate() {
            let std = normalisation.map_or(1.0, |n| n.std[c]);
            for (value, pixel) in plane.iter_mut().zip(map.chunks_exact(pixel)) {
                *value = pixel[c] / std;
            }
        }
    }
}
