//! PyTorch checkpoints in the form before 1.6: five pickles in a row (magic number, protocol version, the
//! writer's machine, the object, the keys of its storages), then each storage as a count and its elements.

use std::borrow::Cow;
use std::collections::HashMap;

use super::error::{Problem, SAVE_STATE_DICT};
use super::part::Listing;
use super::pickle::{self, Pickle};
use super::storages::Storages;
use super::torch;

/// 0x1950a86a20f9469cfc6c, little-endian.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
const FORM: &str = "PyTorch pickle checkpoint";
const PROTOCOL_VERSION: i64 = 1001;

/// Whether the bytes begin with the pickled magic number.
pub(super) fn looks_like(bytes: &[u8]) -> bool {
    // Every protocol writes the number in fewer bytes than these, and a foreign pickle need not be read in
    // whole.
    let start = &bytes[..bytes.len().min(64)];
    pickle::load(start).is_ok_and(|magic| magic.root().as_big_int() == Some(&MAGIC))
}

/// What a checkpoint of that form holds, and where its storages lie.
pub(super) fn open(bytes: &[u8]) -> Result<(Listing, Raw<'_>), Problem> {
    let mut at = 0;
    let mut next = || -> Result<Pickle, Problem> {
        let pickle = pickle::load(&bytes[at..]).map_err(|error| Problem::of_pickle(FORM, &error))?;
        at += pickle.length();
        Ok(pickle)
    };
    let _magic = next()?;
    let version = next()?.root().as_int();
    if version != Some(PROTOCOL_VERSION) {
        return Err(Problem::Unsupported {
            what: format!("wanted checkpoint protocol {PROTOCOL_VERSION}, found {version:?}"),
            hint: SAVE_STATE_DICT,
        });
    }
    // The third pickle describes the writer's machine. PyTorch stores little-endian elements whatever it
    // says.
    let _machine = next()?;
    let object = next()?;
    let keys = next()?;
    let mut raw = Raw { bytes, places: HashMap::new() };
    raw.locate(&object, &keys, at)?;
    Ok((torch::list(&object, FORM)?, raw))
}

/// The storages behind the pickles.
pub(super) struct Raw<'a> {
    bytes: &'a [u8],
    /// First byte and length of each storage.
    places: HashMap<String, (usize, usize)>,
}

impl Raw<'_> {
    /// Finds the storages. Only the object says how wide their elements are.
    fn locate(&mut self, object: &Pickle, keys: &Pickle, mut at: usize) -> Result<(), Problem> {
        let broken = |what: String| Problem::damaged(FORM, what);
        let mut referred = HashMap::new();
        for storage in object.values().filter_map(torch::storage) {
            let storage = storage.map_err(broken)?;
            referred.insert(storage.key, (storage.width, storage.count));
        }
        let keys =
            keys.root().elements().ok_or_else(|| broken("the list of storages is not a list".into()))?;
        for key in keys {
            let key = key.as_str().ok_or_else(|| broken("a storage's key is not text".into()))?;
            let &(width, wanted) =
                referred.get(key).ok_or_else(|| broken(format!("nothing refers to storage {key}")))?;
            let short = || broken(format!("storage {key}: the file ends at byte {}", self.bytes.len()));
            let count = self.bytes.get(at..).and_then(<[u8]>::first_chunk).ok_or_else(short)?;
            let count = i64::from_le_bytes(*count);
            if usize::try_from(count) != Ok(wanted) {
                return Err(broken(format!("storage {key}: wanted {wanted} elements, found {count}")));
            }
            at += 8;
            let length = wanted.checked_mul(width).filter(|&length| length <= self.bytes.len() - at);
            let length = length.ok_or_else(short)?;
            self.places.insert(key.to_owned(), (at, length));
            at += length;
        }
        Ok(())
    }
}

impl Storages for Raw<'_> {
    fn form(&self) -> &'static str {
        FORM
    }

    fn big_endian(&self) -> bool {
        false
    }

    fn bytes(&mut self, key: &str, _wanted: usize) -> Result<Cow<'_, [u8]>, Problem> {
        let &(first, length) = self
            .places
            .get(key)
            .ok_or_else(|| Problem::damaged(FORM, format!("storage {key} is not in the list of storages")))?;
        Ok(Cow::Borrowed(&self.bytes[first..][..length]))
    }
}
