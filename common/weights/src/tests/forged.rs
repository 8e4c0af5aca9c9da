//! Checkpoints written byte by byte, for what PyTorch would not write.

use std::io::Write;

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// `SHORT_BINUNICODE`.
pub fn text(text: &str) -> Vec<u8> {
    [&[0x8c, text.len() as u8], text.as_bytes()].concat()
}

/// `LONG1` of eight bytes.
pub fn int(value: i64) -> Vec<u8> {
    [&[0x8a, 8][..], &value.to_le_bytes()].concat()
}

/// `MARK .. TUPLE`.
pub fn tuple(parts: &[Vec<u8>]) -> Vec<u8> {
    [b"(".to_vec(), parts.concat(), b"t".to_vec()].concat()
}

/// `GLOBAL`, arguments, `REDUCE`.
pub fn call(module: &str, name: &str, arguments: &[Vec<u8>]) -> Vec<u8> {
    [format!("c{module}\n{name}\n").into_bytes(), tuple(arguments), b"R".to_vec()].concat()
}

pub fn dict(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let entries: Vec<Vec<u8>> =
        entries.iter().map(|(key, value)| [text(key), value.clone()].concat()).collect();
    [b"}(".to_vec(), entries.concat(), b"u".to_vec()].concat()
}

pub fn program(value: &[u8]) -> Vec<u8> {
    [&[0x80, 2], value, b"."].concat()
}

/// A reference to a storage; `part` is the sixth element that only the old form has.
pub fn storage(class: &str, key: &str, count: i64, part: Option<Vec<u8>>) -> Vec<u8> {
    let class = format!("ctorch\n{class}\n").into_bytes();
    let mut parts = vec![text("storage"), class, text(key), text("cpu"), int(count)];
    parts.extend(part);
    [tuple(&parts), b"Q".to_vec()].concat()
}

pub fn tensor(storage: Vec<u8>, offset: i64, shape: &[i64], strides: &[i64]) -> Vec<u8> {
    let sizes = |sizes: &[i64]| tuple(&sizes.iter().map(|&n| int(n)).collect::<Vec<_>>());
    let arguments = [storage, int(offset), sizes(shape), sizes(strides), vec![0x89], b"N".to_vec()];
    call("torch._utils", "_rebuild_tensor_v2", &arguments)
}

/// A checkpoint in the zip form: `archive/data.pkl` and further entries.
pub fn zipped(pickle: &[u8], entries: &[(&str, &[u8])]) -> Vec<u8> {
    zipped_with(CompressionMethod::Stored, pickle, entries)
}

pub fn zipped_with(method: CompressionMethod, pickle: &[u8], entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in [("data.pkl", pickle)].iter().chain(entries) {
        zip.start_file(format!("archive/{name}"), SimpleFileOptions::default().compression_method(method))
            .unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// A checkpoint in the form before 1.6.
pub fn legacy(object: &[u8], storages: &[(&str, i64, &[u8])]) -> Vec<u8> {
    let magic =
        [&[0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19][..], b"."].concat();
    let keys: Vec<Vec<u8>> = storages.iter().map(|(key, ..)| text(key)).collect();
    let keys = [b"](".to_vec(), keys.concat(), b"e".to_vec()].concat();
    let mut bytes = [magic, program(&int(1001)), program(b"}"), object.to_vec(), program(&keys)].concat();
    for (_, count, raw) in storages {
        bytes.extend(count.to_le_bytes());
        bytes.extend_from_slice(raw);
    }
    bytes
}
