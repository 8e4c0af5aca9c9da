//! Weights out.

use std::borrow::Cow;

use super::*;

fn entries(state: &StateDict) -> Vec<Entry<'_>> {
    let mut all = Vec::new();
    for (name, tensor) in state.iter() {
        let values = Cow::Borrowed(tensor.bytes());
        all.push((name.to_owned(), tensor.dtype(), tensor.shape().to_vec(), values));
    }
    all
}

fn bytes(name: &str, count: usize) -> Entry<'static> {
    (name.to_owned(), Dtype::F32, vec![2], Cow::Owned(vec![0; count]))
}

#[test]
fn writing_what_python_wrote_gives_its_bytes_whatever_the_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("again.safetensors");
    let state = read(&fixture("kinds.safetensors")).unwrap();
    let expected = std::fs::read(fixture("kinds.safetensors")).unwrap();
    let mut rows = entries(&state);
    for _ in 0..rows.len() {
        rows.rotate_left(1);
        write(&path, rows.clone(), Some(("rslad", r#"{"a":1}"#))).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), expected);
    }
}

#[test]
fn what_was_written_reads_back_and_nothing_else_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("student.safetensors");
    let state = read(&fixture("network_zip.pth")).unwrap();
    write(&path, entries(&state), None).unwrap();
    let again = read(&path).unwrap();
    assert_eq!(again.len(), state.len());
    assert!(state.iter().all(|(name, tensor)| again.get(name) == Some(tensor)));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_refused_write_leaves_the_old_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("student.safetensors");
    std::fs::write(&path, "old").unwrap();
    let short = write(&path, [bytes("a", 7)], None).unwrap_err().to_string();
    assert!(short.contains("tensor a: 7 bytes are not F32 of shape [2]"), "{short}");
    let twice = write(&path, [bytes("a", 8), bytes("a", 8)], None).unwrap_err().to_string();
    assert!(twice.contains("tensor a: the name is there twice"), "{twice}");
    assert_eq!(std::fs::read(&path).unwrap(), b"old");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_missing_folder_is_an_error_that_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("missing").join("student.safetensors");
    let error = write(&path, [bytes("a", 8)], None).unwrap_err();
    assert!(matches!(&error, WeightsError::Io { doing: "write", .. }), "{error}");
    assert!(error.to_string().contains("student.safetensors"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_published_file_has_the_permissions_of_any_new_file() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let (ours, plain) = (folder.path().join("ours"), folder.path().join("plain"));
    write(&ours, [bytes("a", 8)], None).unwrap();
    std::fs::write(&plain, "").unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&ours), mode(&plain));
}

#[test]
fn the_hash_of_a_file_is_blake3s() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("empty");
    std::fs::write(&path, "").unwrap();
    // From BLAKE3's published test vectors, input length 0.
    let expected = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
    assert_eq!(blake3_of_file(&path).unwrap().to_hex().as_str(), expected);
    assert!(matches!(blake3_of_file(&folder.path().join("no")), Err(WeightsError::Io { doing: "hash", .. })));
}
