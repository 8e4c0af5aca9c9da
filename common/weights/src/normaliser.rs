//! Constants of a normalisation among the tensors of a file: networks that normalise inside save them as buffers,
//! under names that differ from author to author and shapes that differ by taste.

use super::part::{Listed, Part};
use super::state::TensorData;

/// What one channel's pixels have taken away, and what they are then divided by.
#[derive(Debug, Clone, PartialEq)]
pub struct Normaliser {
    /// Names of the two tensors, as the file has them.
    pub names: [String; 2],
    /// One mean a channel.
    pub mean: Vec<f32>,
    /// One deviation a channel.
    pub std: Vec<f32>,
}

/// A mean and a deviation that lie side by side, by their places in a part.
pub(super) struct Pair {
    pub mean: usize,
    pub std: usize,
}

const MEANS: [&str; 3] = ["mean", "means", "mu"];
const DEVIATIONS: [&str; 6] = ["std", "stds", "sigma", "sd", "sds", "stddev"];
/// What authors put before the two words.
const DECORATIONS: [&str; 9] =
    ["new_", "image_", "img_", "input_", "pixel_", "data_", "dataset_", "channel_", "norm_"];

/// Every pair of a mean and a deviation for so many channels among these tensors of a part.
pub(super) fn pairs(part: &Part, among: impl Fn(usize) -> bool, channels: usize) -> Vec<Pair> {
    let usable = |place: usize| {
        let numbers = part.tensors[place].numbers()?;
        let fits = numbers == 1 || (numbers > 0 && numbers.is_multiple_of(channels.max(1)));
        (fits && among(place)).then_some(place)
    };
    let find = |place: usize, words: &[&str]| {
        let (parent, word) = split(&part.tensors[place]);
        (words.contains(&word)).then_some(parent)
    };
    let places = || (0..part.tensors.len()).filter_map(usable);
    let mut pairs = Vec::new();
    for mean in places() {
        let Some(parent) = find(mean, &MEANS) else { continue };
        let mut deviations = places().filter(|&place| find(place, &DEVIATIONS) == Some(parent));
        if let (Some(std), None) = (deviations.next(), deviations.next()) {
            pairs.push(Pair { mean, std });
        }
    }
    pairs
}

/// A name's module, and its last word without decorations.
fn split(one: &Listed) -> (&str, &str) {
    let (parent, word) = one.bare.rsplit_once('.').unwrap_or(("", &one.bare));
    let word = word.trim_matches('_');
    let plain = DECORATIONS.iter().find_map(|decoration| word.strip_prefix(decoration));
    (parent, plain.unwrap_or(word))
}

/// One number a channel out of a tensor of any shape: a single number counts for all, a plane of equal numbers for its
/// channel. None where the numbers of a channel differ.
pub(super) fn per_channel(tensor: &TensorData, channels: usize) -> Option<Vec<f32>> {
    let numbers = tensor.to_f32();
    if let &[only] = numbers.as_slice() {
        return Some(vec![only; channels]);
    }
    let planes = numbers.chunks(numbers.len() / channels);
    planes
        .map(|plane| plane.iter().all(|number| number.to_bits() == plane[0].to_bits()).then_some(plane[0]))
        .collect()
}
