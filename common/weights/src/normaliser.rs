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

impl Normaliser {
    /// The same with the keys that lead to its part in its names.
    pub(super) fn within(self, path: &str) -> Self {
        let named = |name: String| if path.is_empty() { name } else { format!("{path}.{name}") };
        Self { names: self.names.map(named), ..self }
    }
}

/// A mean and a deviation that lie side by side, by their places in a part.
pub(super) struct Pair {
    pub mean: usize,
    pub std: usize,
}

pub(super) const MEANS: [&str; 3] = ["mean", "means", "mu"];
pub(super) const DEVIATIONS: [&str; 6] = ["std", "stds", "sigma", "sd", "sds", "stddev"];
/// What authors put before the two words.
const DECORATIONS: [&str; 9] =
    ["new_", "image_", "img_", "input_", "pixel_", "data_", "dataset_", "channel_", "norm_"];

/// Every pair of a mean and a deviation for so many channels among these tensors of a part.
///
/// Of several deviations beside a mean, the one that belongs to it bears the same decoration, else the same kind of name:
/// `mean` and `std`, `mu` and `sigma`, in one module, are two pairs.
pub(super) fn pairs(part: &Part, among: impl Fn(usize) -> bool, channels: usize) -> Vec<Pair> {
    let named = |words: &'static [&'static str]| -> Vec<(usize, Name)> {
        let of = |place: usize| {
            let one = &part.tensors[place];
            let name = name(one).filter(|name| words.contains(&name.word));
            name.filter(|_| is_usable(one, channels) && among(place)).map(|name| (place, name))
        };
        (0..part.tensors.len()).filter_map(of).collect()
    };
    let deviations = named(&DEVIATIONS);
    let mut pairs = Vec::new();
    for (mean, name) in named(&MEANS) {
        let rules: [&dyn Fn(&Name) -> bool; 3] = [
            &|other| other.decoration == name.decoration && other.is_greek() == name.is_greek(),
            &|other| other.decoration == name.decoration,
            &|_| true,
        ];
        let beside = || deviations.iter().filter(|(_, other)| other.parent == name.parent);
        let partner = rules.iter().find_map(|rule| {
            let mut fitting = beside().filter(|(_, other)| rule(other));
            fitting.next().map(|&(std, _)| fitting.next().is_none().then_some(std))
        });
        pairs.extend(partner.flatten().map(|std| Pair { mean, std }));
    }
    pairs
}

/// A tensor of a part that is named like a mean of so many channels, one number each, and is of no pair.
pub(super) fn lone_mean(part: &Part, channels: usize) -> Option<&str> {
    let found = pairs(part, |_| true, channels);
    let is_lone = |&(place, one): &(usize, &Listed)| {
        let is_mean = name(one).is_some_and(|name| MEANS.contains(&name.word));
        is_mean && one.numbers() == Some(channels) && found.iter().all(|pair| pair.mean != place)
    };
    part.tensors.iter().enumerate().find(is_lone).map(|(_, one)| one.name.as_str())
}

/// Whether a tensor is named like a constant of a normalisation for so many channels.
pub(super) fn is_constant(one: &Listed, channels: usize) -> bool {
    is_usable(one, channels)
        && name(one).is_some_and(|name| MEANS.contains(&name.word) || DEVIATIONS.contains(&name.word))
}

fn is_usable(one: &Listed, channels: usize) -> bool {
    one.numbers().is_some_and(|n| n == 1 || (n > 0 && n.is_multiple_of(channels.max(1))))
}

/// A name in pieces: its module, what its author put before the word, and the word.
struct Name<'n> {
    parent: &'n str,
    decoration: &'n str,
    word: &'n str,
}

impl Name<'_> {
    fn is_greek(&self) -> bool {
        matches!(self.word, "mu" | "sigma")
    }
}

fn name(one: &Listed) -> Option<Name<'_>> {
    let (parent, word) = one.bare.rsplit_once('.').unwrap_or(("", &one.bare));
    let word = word.trim_matches('_');
    let decoration = DECORATIONS.into_iter().find(|decoration| word.starts_with(decoration)).unwrap_or("");
    Some(Name { parent, decoration, word: word.strip_prefix(decoration)? })
}

/// Why numbers are not one for each channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NotOne {
    /// They lie in another shape.
    Shape(Vec<usize>),
    /// Those of a channel differ.
    Differ,
}

/// One number a channel out of a tensor for images (channels, height, width): a single number counts for all, a plane of
/// equal numbers for its channel.
pub(super) fn per_channel(
    tensor: &TensorData,
    [channels, height, width]: [usize; 3],
) -> Result<Vec<f32>, NotOne> {
    let numbers = tensor.to_f32();
    if let &[only] = numbers.as_slice() {
        return Ok(vec![only; channels]);
    }
    let planes: Vec<&[f32]> = numbers.chunks(numbers.len() / channels).collect();
    if planes.iter().any(|plane| plane.iter().any(|number| number.to_bits() != plane[0].to_bits())) {
        return Err(NotOne::Differ);
    }
    // Ones in front, as of a batch, change nothing.
    let is = |wanted: &[usize]| {
        let shape = tensor.shape();
        shape.ends_with(wanted) && shape[..shape.len() - wanted.len()].iter().all(|&side| side == 1)
    };
    let plane = [height, width];
    let fits =
        is(&[channels]) || is(&[channels, 1]) || is(&[channels, 1, 1]) || is(&[channels, height, width]);
    if fits || (channels == 1 && is(&plane)) {
        Ok(planes.iter().map(|plane| plane[0]).collect())
    } else {
        Err(NotOne::Shape(tensor.shape().to_vec()))
    }
}
