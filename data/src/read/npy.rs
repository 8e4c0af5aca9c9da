//! NumPy's array files, held against what they say of themselves.

use std::path::Path;

use weights::npy::Header;

use crate::DataError;

/// The head of an array file and its elements, exactly as many bytes as the head says where they are numbers.
pub(crate) fn parsed<'a>(file: &'a [u8], place: &Path) -> Result<(Header, &'a [u8]), DataError> {
    let mut elements = file;
    let header = Header::read(&mut elements).map_err(|error| DataError::damaged(place, "npy", &error))?;
    if header.fortran {
        return Err(DataError::WrongContent {
            path: place.to_owned(),
            wanted: "an array in C order".to_owned(),
            found: "Fortran order".to_owned(),
            hint: "save numpy.ascontiguousarray(array)",
        });
    }
    let wanted = header.data_length();
    if header.element().is_some() && wanted != Some(elements.len() as u64) {
        let wanted = wanted.map_or("more than there can be".to_owned(), |wanted| wanted.to_string());
        let found = elements.len().to_string();
        return Err(DataError::WrongLength { path: place.to_owned(), wanted, found });
    }
    Ok((header, elements))
}
