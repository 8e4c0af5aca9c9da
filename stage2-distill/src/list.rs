//! A list of images in a file, by their indices in the data set.

use std::collections::BTreeSet;
use std::path::Path;

use crate::error::RunError;

/// Reads whole numbers with spaces, commas or ends of lines between them, in brackets or not; of `images` in all, where it
/// is known how many there are.
pub fn read(path: &Path, images: Option<usize>) -> Result<BTreeSet<usize>, RunError> {
    let shown = path.display();
    let refuse = |what: String| {
        RunError::Refused(format!(
            "{shown}{what}\nhint: a list has the indices of images from 0, in the order of the training split, with spaces, commas or ends of lines between; of an array, numpy.savetxt(FILE, indices, fmt='%d') makes one"
        ))
    };
    let bytes = std::fs::read(path).map_err(|error| refuse(format!(": cannot be read: {error}")))?;
    let text = String::from_utf8(bytes).map_err(|_| refuse(": no text".into()))?;
    let mut found = BTreeSet::new();
    for (number, line) in (1..).zip(text.lines()) {
        let separates = |letter: char| letter.is_whitespace() || ",[]".contains(letter);
        for word in line.split(separates).filter(|word| !word.is_empty()) {
            let word: String = word.chars().take(40).collect();
            let index: usize = word
                .parse()
                .map_err(|_| refuse(format!(" line {number}: `{word}` is no index of an image")))?;
            if let Some(images) = images.filter(|&images| index >= images) {
                return Err(refuse(format!(" line {number}: there is no image {index} of {images}")));
            }
            found.insert(index);
        }
    }
    if found.is_empty() { Err(refuse(": lists no image".into())) } else { Ok(found) }
}

/// What a list holds, whatever its form and order: a digest of its indices.
pub fn identity(images: &BTreeSet<usize>) -> String {
    let mut hasher = blake3::Hasher::new();
    for &image in images {
        hasher.update(&(image as u64).to_le_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(text: &[u8], images: Option<usize>) -> Result<BTreeSet<usize>, RunError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hard.txt");
        std::fs::write(&path, text).unwrap();
        read(&path, images)
    }

    #[test]
    fn a_list_is_read_in_any_form_and_is_the_same_in_any_order() {
        let wanted = BTreeSet::from([3, 17, 250]);
        for text in ["3\n17\n250\n", "[250, 17, 3]", "17 3,250\r\n3", "[\n  3,\n  17,\n  250\n]\n"] {
            let found = listed(text.as_bytes(), Some(251)).unwrap();
            assert_eq!(found, wanted, "{text}");
            assert_eq!(identity(&found), identity(&wanted));
        }
        assert_ne!(identity(&wanted), identity(&BTreeSet::from([3, 17, 251])));
        assert_eq!(listed(b"7000", None).unwrap().len(), 1, "of more images than it is known of");
    }

    #[test]
    fn what_is_no_list_is_refused_with_its_line() {
        for (text, words) in [
            (&b"3\n4\n-5\n"[..], "line 3: `-5` is no index"),
            (b"3 4.0", "line 1: `4.0` is no index"),
            (b"0\n251", "line 2: there is no image 251 of 251"),
            (b"[ ]\n", "lists no image"),
            (b"\x93NUMPY\x01", "no text"),
        ] {
            let error = listed(text, Some(251)).unwrap_err().to_string();
            assert!(
                error.contains(words) && error.contains("hard.txt") && error.contains("hint:"),
                "{error}"
            );
        }
        let error = read(Path::new("nowhere.txt"), None).unwrap_err().to_string();
        assert!(error.starts_with("nowhere.txt: cannot be read"), "{error}");
    }
}
