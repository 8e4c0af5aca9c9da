//! What people save as `.pt` by mistake.

use super::error::{Problem, SAVE_STATE_DICT};

const PAGE: &str =
    "the link led to a page (a login, a confirmation, an error), not to the file; download the file itself";
const UNPACK: &str = "unpack it, then pass the file inside";
/// The hint for networks of other frameworks.
pub(super) const ANOTHER_FRAMEWORK: &str = "pass the PyTorch weights it was made from, or let it answer where it runs: `label plan`, then `label import`";

/// Says what bytes are that no reader took.
pub(super) fn recognise(bytes: &[u8]) -> Problem {
    let head = &bytes[..bytes.len().min(1024)];
    let text = String::from_utf8_lossy(head);
    let text = text.trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n']).to_ascii_lowercase();
    let (found, hint) = if bytes.is_empty() {
        ("an empty file", "the download or copy did not begin; fetch the file again")
    } else if head.starts_with(b"version https://git-lfs") {
        ("a git-lfs pointer", "the repository was cloned without its large files; run `git lfs pull` there")
    } else if text.starts_with("<!doctype html")
        || text.starts_with("<html")
        || (text.starts_with('<') && text.contains("<html"))
    {
        ("an HTML page", PAGE)
    } else if text.starts_with("<?xml") || text.starts_with('{') {
        ("a text answer of a server (XML or JSON)", PAGE)
    } else if head.starts_with(&[0x1f, 0x8b]) {
        ("a gzip file", UNPACK)
    } else if head.starts_with(b"BZh")
        || head.starts_with(b"\xfd7zXZ")
        || head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd])
    {
        ("a compressed file", UNPACK)
    } else if head.get(257..262) == Some(b"ustar") {
        (
            "a tar archive",
            "unpack it; PyTorch 0.1's own tar checkpoints must be saved again by a newer PyTorch",
        )
    } else if head.starts_with(b"\x89HDF") {
        ("an HDF5 file (Keras or TensorFlow)", "convert it to safetensors first")
    } else if head.get(4..8) == Some(b"TFL3") {
        ("a TensorFlow Lite model", ANOTHER_FRAMEWORK)
    } else if is_onnx(head) {
        ("an ONNX model", ANOTHER_FRAMEWORK)
    } else if head.starts_with(b"\x93NUMPY") {
        ("a NumPy array (.npy)", "a network is many tensors; pass the file that torch.save wrote")
    } else if head.starts_with(b"GGUF") {
        ("a GGUF file", ANOTHER_FRAMEWORK)
    } else if head.starts_with(b"MATLAB ") {
        ("a MATLAB file (.mat)", ANOTHER_FRAMEWORK)
    } else if head.starts_with(b"\x80") && head.get(1).is_some_and(|&protocol| protocol <= 5) {
        ("a Python pickle that torch.save did not write", SAVE_STATE_DICT)
    } else {
        return Problem::NotWeights {
            found: format!("unknown bytes that begin {:02x?}", &head[..head.len().min(8)]),
            hint: "pass a .safetensors file, or a .pt or .pth that torch.save wrote",
        };
    };
    Problem::NotWeights { found: found.into(), hint }
}

/// Whether bytes begin like ONNX's `ModelProto`: its version as field 1, then the producer, the domain, the graph or the
/// operator sets. Protocol buffers have no magic number.
pub(super) fn is_onnx(head: &[u8]) -> bool {
    let &[0x08, version @ 1..=32, tag, length, ref rest @ ..] = head else { return false };
    let name = &rest[..rest.len().min(usize::from(length))];
    match tag {
        // producer_name, producer_version, domain
        0x12 | 0x1a | 0x22 => version > 0 && name.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' '),
        // graph, opset_import
        0x3a | 0x42 => true,
        _ => false,
    }
}
