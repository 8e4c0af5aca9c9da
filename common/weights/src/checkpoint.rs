//! A weights file whose tensors are listed, and read when they are asked for.

use std::collections::BTreeMap;

use super::error::{Problem, SAVE_STATE_DICT};
use super::kept::Kept;
use super::part::{Listed, Listing, Part, Place};
use super::state::{StateDict, TensorData};
use super::storages::Storages;
use super::{foreign, safetensors, torch_legacy, torch_zip};

/// Every mapping of tensors in a weights file. Nothing of a tensor but its name and shape is read before it is wanted.
pub struct Checkpoint<'a> {
    /// What a safetensors file says about itself, by key (ours is `rslad`); empty for PyTorch's own forms.
    pub metadata: BTreeMap<String, String>,
    pub(super) parts: Vec<Part>,
    pub(super) lists: Vec<(String, usize)>,
    pub(super) kept: Vec<Kept>,
    storages: Box<dyn Storages + 'a>,
    /// The most bytes that tensors of this file may take: tied tensors and expanded views make more than the file has,
    /// and without a limit a few bytes make terabytes.
    limit: usize,
    file_bytes: usize,
}

impl<'a> Checkpoint<'a> {
    /// Lists what the bytes of a weights file hold. The form is decided by content, never by the file's suffix.
    pub fn open(bytes: &'a [u8]) -> Result<Self, Problem> {
        if safetensors::looks_like(bytes) {
            let (metadata, listing, storages) = safetensors::open(bytes)?;
            Self::of(metadata, listing, Box::new(storages), bytes.len())
        } else if torch_zip::looks_like(bytes) {
            let (listing, storages) = torch_zip::open(bytes)?;
            Self::of(BTreeMap::new(), listing, Box::new(storages), bytes.len())
        } else if torch_legacy::looks_like(bytes) {
            let (listing, storages) = torch_legacy::open(bytes)?;
            Self::of(BTreeMap::new(), listing, Box::new(storages), bytes.len())
        } else {
            Err(foreign::recognise(bytes))
        }
    }

    fn of(
        metadata: BTreeMap<String, String>,
        listing: Listing,
        storages: Box<dyn Storages + 'a>,
        file_bytes: usize,
    ) -> Result<Self, Problem> {
        let limit = file_bytes.saturating_mul(8).saturating_add(16 << 20);
        let Listing { parts, lists, kept } = listing;
        let names: usize = parts.iter().map(Part::name_bytes).sum();
        if names > limit {
            let what = format!("the names of its tensors take {names} bytes, out of a file of {file_bytes}");
            return Err(Problem::Unsupported { what, hint: SAVE_STATE_DICT });
        }
        Ok(Self { metadata, parts, lists, kept, storages, limit, file_bytes })
    }

    /// The whole of the part with most tensors: the state dict of a file that holds nothing else, or nothing as large.
    pub fn largest(&mut self) -> Result<StateDict, Problem> {
        let sizes =
            self.parts.iter().enumerate().map(|(place, part)| (part.tensors.len(), usize::MAX - place));
        let part = usize::MAX - sizes.max().expect("a checkpoint without tensors is an error").1;
        let wanted: Vec<usize> = (0..self.parts[part].tensors.len()).collect();
        let tensors = self.read(part, &wanted)?;
        let mut state = StateDict::default();
        state.metadata = self.metadata.clone();
        state.nesting.clone_from(&self.parts[part].path);
        for (listed, tensor) in self.parts[part].tensors.iter().zip(tensors) {
            state.insert(listed.name.clone(), tensor);
        }
        Ok(state)
    }

    /// The tensors at these places of a part, in their order.
    pub(super) fn read(&mut self, part: usize, wanted: &[usize]) -> Result<Vec<TensorData>, Problem> {
        let listed: Vec<&Listed> = wanted.iter().map(|&place| &self.parts[part].tensors[place]).collect();
        let places: Vec<&Place> =
            listed.iter().map(|one| one.place.as_ref().map_err(Clone::clone)).collect::<Result<_, _>>()?;
        let total = places.iter().fold(0_usize, |sum, one| sum.saturating_add(one.view.bytes()));
        if total > self.limit {
            return Err(Problem::Unsupported {
                what: format!("the tensors take {total} bytes, out of a file of {}", self.file_bytes),
                hint: SAVE_STATE_DICT,
            });
        }
        // Tensors of one storage together, so that each storage is fetched once.
        let mut order: Vec<usize> = (0..places.len()).collect();
        order.sort_by_key(|&place| &places[place].key);
        let mut gathered: Vec<Option<TensorData>> = vec![None; places.len()];
        let (form, big_endian) = (self.storages.form(), self.storages.big_endian());
        for group in order.chunk_by(|&a, &b| places[a].key == places[b].key) {
            let first = places[group[0]];
            let bytes = self.storages.bytes(&first.key, first.storage_bytes)?;
            for &at in group {
                let place = places[at];
                if place.storage_bytes != bytes.len() {
                    let what = format!(
                        "tensor {}: wanted a storage of {} bytes, found {}",
                        listed[at].name,
                        place.storage_bytes,
                        bytes.len()
                    );
                    return Err(Problem::damaged(form, what));
                }
                let mut values = place.view.gather(&bytes);
                if big_endian {
                    values.chunks_exact_mut(place.dtype.size()).for_each(<[u8]>::reverse);
                }
                if place.negated {
                    // Of every floating-point type, the sign is the highest bit.
                    let sign = place.dtype.size() - 1;
                    values.chunks_exact_mut(place.dtype.size()).for_each(|value| value[sign] ^= 0x80);
                }
                gathered[at] = TensorData::new(place.dtype, place.shape.clone(), values);
            }
        }
        Ok(gathered
            .into_iter()
            .map(|tensor| tensor.expect("a view gathers what its shape asks for"))
            .collect())
    }
}
