//! Reading images, and saying what is to be said of them.

use data::{Dataset, DatasetSpec, Split};

use crate::{Error, say};

/// Reads a split, and says where it is not quite what the dataset's name promises.
pub fn images(spec: &DatasetSpec, split: Split) -> Result<Dataset, Error> {
    let dataset = spec.load(split)?;
    for note in dataset.notes() {
        say(format_args!("note: {note}"));
    }
    Ok(dataset)
}
