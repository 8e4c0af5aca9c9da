//! What a file is, by its first bytes: for the answer to one that is not what it was taken for.

/// A form that is recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// What it is, as `a NumPy array (.npy)`.
    pub name: &'static str,
    /// What to do, where that does not depend on what was wanted.
    pub hint: Option<&'static str>,
}

const UNPACK: Option<&str> = Some("unpack it, then name what was inside");
const PAGE: Option<&str> = Some(
    "the link led to a page (a login, a confirmation, an error), not to the file; download the file itself",
);

/// How each form begins. Those that begin alike stand from the longest to the shortest.
const FORMS: &[(&[u8], &str, Option<&str>)] = &[
    (b"\x93NUMPY", "a NumPy array (.npy)", None),
    (b"PK\x03\x04", "a zip archive (.npz, .pt or .zip)", None),
    (b"PK\x05\x06", "an empty zip archive", None),
    (b"PAR1", "a Parquet file", None),
    (
        b"PARE",
        "an encrypted Parquet file",
        Some("decrypt it first: read it with its keys and write it without"),
    ),
    (b"ARROW1", "an Arrow file (Feather)", Some("read it with pyarrow.feather and write it as Parquet")),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file (.h5)", None),
    (b"MATLAB", "a MATLAB file (.mat)", None),
    (b"\x89PNG", "a PNG image", None),
    (b"\xff\xd8\xff", "a JPEG image", None),
    (b"GIF8", "a GIF image", None),
    (b"II*\x00", "a TIFF image", None),
    (b"MM\x00*", "a TIFF image", None),
    (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 image", None),
    (b"\x00\x00\x00\x0cJXL ", "a JPEG XL image", None),
    (b"SQLite format 3", "an SQLite database", None),
    (b"\x1f\x8b", "a gzip file", UNPACK),
    (b"BZh", "a bzip2 file", UNPACK),
    (b"\xfd7zXZ", "an xz file", UNPACK),
    (b"\x28\xb5\x2f\xfd", "a zstd file", UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", UNPACK),
    (b"Rar!", "a RAR archive", UNPACK),
    (b"\x00\x00\x08\x03", "an idx file of images (MNIST's form)", None),
    (b"\x00\x00\x08\x01", "an idx file of labels (MNIST's form)", None),
    (
        b"version https://git-lfs",
        "a Git LFS pointer",
        Some("the repository was cloned without its large files; run `git lfs pull` there"),
    ),
];

/// Bytes at a place.
type Stands = (usize, &'static [u8]);

/// Forms that begin with a length or with bytes that others begin with, too: two places each, and what stands there.
const INSIDE: &[([Stands; 2], &str)] = &[
    ([(0, b"RIFF"), (8, b"WEBP")], "a WebP image"),
    ([(4, b"ftyp"), (8, b"avif")], "an AVIF image"),
    ([(4, b"ftyp"), (8, b"heic")], "a HEIC image"),
    // Four bytes that are reserved and zero; two letters alone begin many a file.
    ([(0, b"BM"), (6, b"\0\0\0\0")], "a BMP image"),
];

/// The form of a file that begins with these bytes; a kilobyte is enough. `None` where it is not recognised.
pub fn kind_of(head: &[u8]) -> Option<Kind> {
    if head.is_empty() {
        let hint = Some("the download or copy did not begin; fetch the file again");
        return Some(Kind { name: "an empty file", hint });
    }
    if let Some(&(_, name, hint)) = FORMS.iter().find(|(start, ..)| head.starts_with(start)) {
        return Some(Kind { name, hint });
    }
    let stands = |&(at, bytes): &Stands| head.get(at..at + bytes.len()) == Some(bytes);
    if let Some(&(_, name)) = INSIDE.iter().find(|(places, _)| places.iter().all(stands)) {
        return Some(Kind { name, hint: None });
    }
    if head.get(257..262) == Some(b"ustar") {
        return Some(Kind { name: "a tar archive", hint: UNPACK });
    }
    let text = String::from_utf8_lossy(&head[..head.len().min(1024)]);
    let text = text.trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n']).to_ascii_lowercase();
    if text.starts_with('<') && text.contains("<html") || text.starts_with("<!doctype html") {
        return Some(Kind { name: "an HTML page", hint: PAGE });
    }
    if text.starts_with("<?xml") || text.starts_with('{') {
        return Some(Kind { name: "a text answer of a server (XML or JSON)", hint: PAGE });
    }
    match head {
        [0x80, 2..=5, ..] => Some(Kind { name: "a Python pickle", hint: None }),
        // A message whose first field is a small number and whose second is text: version and producer.
        [0x08, 1..=32, 0x12, ..] => Some(Kind { name: "an ONNX model", hint: None }),
        [_, _, _, 0..=7, 0, 0, 0, 0, b'{', b'"', ..] => Some(Kind { name: "a safetensors file", hint: None }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How files begin that NumPy, `SciPy`, h5py, onnx, pyarrow, torch, safetensors, tar, git-lfs and PIL wrote.
    #[test]
    fn forms_are_known_by_how_other_programs_begin_them() {
        let tar = [b"cifar-10-batches-py/".as_slice(), &[0; 237], b"ustar\x0000"].concat();
        let begins: [(&[u8], &str); 17] = [
            (b"", "an empty file"),
            (b"\x93NUMPY\x01\x00v\x00{'descr': '|u1'", "a NumPy array (.npy)"),
            (b"MATLAB 5.0 MAT-file Platform: posix", "a MATLAB file (.mat)"),
            (b"\x89HDF\r\n\x1a\n\x00\x00", "an HDF5 file (.h5)"),
            (b"\x08\x08\x12\x07pytorch\x1a\x05", "an ONNX model"),
            (b"PARE\x15\x00", "an encrypted Parquet file"),
            (b"\x80\x04\x95\x10\x00", "a Python pickle"),
            (b"\x58\x00\x00\x00\x00\x00\x00\x00{\"conv1.weight\":", "a safetensors file"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:", "a Git LFS pointer"),
            (b"RIFF.\x0c\x00\x00WEBPVP8 ", "a WebP image"),
            (b"BM6\x0c\x00\x00\x00\x00\x00\x006\x00\x00\x00", "a BMP image"),
            (b"II*\x00\x08\x00\x00\x00", "a TIFF image"),
            (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "a JPEG 2000 image"),
            (b"\x00\x00\x00 ftypavif\x00\x00\x00\x00", "an AVIF image"),
            (b"GIF87a", "a GIF image"),
            (b"\n  <!DOCTYPE html>\n<html>", "an HTML page"),
            (&tar, "a tar archive"),
        ];
        for (bytes, name) in begins {
            assert_eq!(kind_of(bytes).map(|kind| kind.name), Some(name), "{bytes:?}");
        }
        for other in [&[6, 200, 17, 3][..], b"BMW and others", b"RIFF\0\0\0\0WAVE"] {
            assert_eq!(kind_of(other), None, "pixels of a CIFAR batch, a text, a sound");
        }
    }
}
