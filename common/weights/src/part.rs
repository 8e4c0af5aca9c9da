//! The tensors of a file, listed and not yet read.

use std::collections::HashMap;

use super::error::Problem;
use super::kept::Kept;
use super::state::Dtype;
use super::strided::Strided;

/// What `torch.compile` puts into names, before them or in their middle, wherever it was applied.
const COMPILED: &str = "_orig_mod.";

/// Everything that a file holds.
pub(super) struct Listing {
    /// Mappings of tensors, outer ones first.
    pub parts: Vec<Part>,
    /// Lists of several mappings, which are no part, and of how many.
    pub lists: Vec<(String, usize)>,
    /// Numbers beside the tensors that are named like the constants of a normalisation.
    pub kept: Vec<Kept>,
}

/// Where a tensor's values lie.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// Its storage's name among those of the file.
    pub key: String,
    /// Bytes of the whole storage.
    pub storage_bytes: usize,
    /// The type of its elements.
    pub dtype: Dtype,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its elements among those of the storage.
    pub view: Strided,
    /// Whether the storage holds the other sign.
    pub negated: bool,
}

/// A tensor of a part.
pub(super) struct Listed {
    /// Its name as the file has it.
    pub name: String,
    /// The same without what `torch.compile` put into it.
    pub bare: String,
    /// Where its values lie, or why they cannot be read.
    pub place: Result<Place, Problem>,
}

impl Listed {
    /// Its shape; none where it cannot be read.
    pub fn shape(&self) -> Option<&[usize]> {
        self.place.as_ref().ok().map(|place| place.shape.as_slice())
    }

    /// How many numbers it holds; none where it cannot be read.
    pub fn numbers(&self) -> Option<usize> {
        self.shape().map(|shape| shape.iter().product())
    }
}

/// A mapping of tensors in a file.
pub(super) struct Part {
    /// The keys that lead to it; none for the file itself.
    pub path: Vec<String>,
    /// Its tensors in the order of the file.
    pub tensors: Vec<Listed>,
    places: HashMap<String, usize>,
}

impl Part {
    /// An empty part.
    pub fn at(path: Vec<String>) -> Self {
        Self { path, tensors: Vec::new(), places: HashMap::new() }
    }

    /// Adds a tensor. Of a name that is there already, the last counts, in the place of the first.
    pub fn insert(&mut self, name: &str, place: Result<Place, Problem>) {
        let bare = name.replace(COMPILED, "");
        if let Some(&known) = self.places.get(&bare) {
            if self.tensors[known].name == name {
                self.tensors[known].place = place;
            } else {
                // A compiled copy beside the network itself.
                self.push(name, name.to_owned(), place);
            }
        } else {
            self.push(name, bare, place);
        }
    }

    fn push(&mut self, name: &str, bare: String, place: Result<Place, Problem>) {
        self.places.insert(bare.clone(), self.tensors.len());
        self.tensors.push(Listed { name: name.to_owned(), bare, place });
    }

    /// The place among its tensors of the one of that bare name.
    pub fn find(&self, bare: &str) -> Option<usize> {
        self.places.get(bare).copied()
    }

    /// Bytes of its names: what a file can make us keep is bounded by its own length.
    pub fn name_bytes(&self) -> usize {
        self.tensors.iter().map(|one| one.name.len() + one.bare.len()).sum()
    }
}
