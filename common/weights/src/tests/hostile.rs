//! Files that are not weights, that are broken, and that mean harm.

use proptest::prelude::*;
use zip::CompressionMethod;

use super::forged::{call, dict, int, legacy, program, storage, tensor, text, tuple, zipped, zipped_with};
use super::*;

/// One honest tensor [1, 2] beside whatever else a checkpoint holds.
const ONE_TWO: [u8; 8] = [0, 0, 0x80, 0x3f, 0, 0, 0, 0x40];

fn honest() -> Vec<u8> {
    tensor(storage("FloatStorage", "0", 2, None), 0, &[2], &[1])
}

fn message(bytes: &[u8]) -> String {
    decode(bytes).unwrap_err().to_string()
}

#[test]
fn a_command_in_a_checkpoint_is_not_run() {
    let folder = tempfile::tempdir().unwrap();
    let marker = folder.path().join("marker");
    let command = text(&format!("touch {}", marker.display()));
    let run = [
        call("os", "system", std::slice::from_ref(&command)),
        call("builtins", "eval", std::slice::from_ref(&command)),
        [b"(".to_vec(), command.clone(), b"iposix\nsystem\n".to_vec()].concat(),
        [b"(cposix\nsystem\n".to_vec(), command.clone(), b"o".to_vec()].concat(),
        [b"cposix\nsystem\n(".to_vec(), command.clone(), b"t\x81}b".to_vec()].concat(),
    ];
    for evil in run {
        let object =
            program(&dict(&[("epoch", evil.clone()), ("net", dict(&[("w", honest()), ("x", evil)]))]));
        for bytes in [zipped(&object, &[("data/0", &ONE_TWO)]), legacy(&object, &[("0", 2, &ONE_TWO)])] {
            let state = decode(&bytes).unwrap();
            assert_eq!(state.len(), 1);
            assert_eq!(state.get("w").unwrap().to_f32(), [1.0, 2.0]);
        }
    }
    assert!(!marker.exists());
}

#[test]
fn a_call_in_the_place_of_a_tensor_is_no_tensor() {
    let object = program(&dict(&[("w", call("torch.hub", "load", &[text("x")]))]));
    let text = message(&zipped(&object, &[]));
    assert!(
        text.starts_with("no state dict found; the checkpoint holds: w (torch.hub.load)\nhint: "),
        "{text}"
    );
}

#[test]
fn a_whole_pickled_network_is_named_and_refused() {
    let object = program(&call("models.resnet", "ResNet", &[]));
    let text = message(&zipped(&object, &[]));
    assert!(
        text.contains("whole object of class models.resnet.ResNet") && text.contains("state_dict()"),
        "{text}"
    );
}

#[test]
fn what_people_save_as_weights_by_mistake_is_recognised() {
    let mut tar = vec![0; 600];
    tar[257..262].copy_from_slice(b"ustar");
    // As TensorFlow Lite's FlatBuffers and ONNX's protocol buffers begin.
    let onnx = b"\x08\x06\x12\x07pytorch\x1a\x052.0.0:\x05";
    let cases: [(&[u8], &str, &str); 18] = [
        (b"", "an empty file", "fetch the file again"),
        (b"\n <!DOCTYPE html><html><head>", "an HTML page", "the link led to a page"),
        (b"\xef\xbb\xbf<HTML lang=en>", "an HTML page", "the link led to a page"),
        (b"<!-- x --><html>", "an HTML page", "the link led to a page"),
        (b"{\"message\": \"Not Found\"}", "a text answer of a server", "the link led to a page"),
        (b"<?xml version=\"1.0\"?><Error>", "a text answer of a server", "the link led to a page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "a git-lfs pointer", "git lfs pull"),
        (b"\x1f\x8b\x08\0\0\0\0\0", "a gzip file", "unpack it"),
        (b"BZh91AY", "a compressed file", "unpack it"),
        (&tar, "a tar archive", "unpack it"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file", "safetensors"),
        (b"\x1c\0\0\0TFL3\x14\0 \0", "a TensorFlow Lite model", "label import"),
        (onnx, "an ONNX model", "label import"),
        (b"\x08\x07:\xff\x01\n", "an ONNX model", "label import"),
        (b"\x93NUMPY\x01\0v\0{", "a NumPy array (.npy)", "torch.save"),
        (b"MATLAB 5.0 MAT-file", "a MATLAB file", "label import"),
        (b"\x80\x03}q\0.", "a Python pickle that torch.save did not write", "state_dict()"),
        (b"MZ\x90\0", "unknown bytes that begin [4d, 5a, 90, 00]", "safetensors"),
    ];
    for (bytes, found, hint) in cases {
        let text = message(bytes);
        assert!(text.contains(found) && text.split("\nhint: ").nth(1).unwrap().contains(hint), "{text}");
    }
}

#[test]
fn errors_of_a_file_begin_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("teacher.pt");
    std::fs::write(&page, "<html></html>").unwrap();
    let text = read(&page).unwrap_err().to_string();
    assert!(text.starts_with(&format!("{}: wanted weights", page.display())), "{text}");
    let missing = read(&folder.path().join("no.pt")).unwrap_err();
    assert!(
        matches!(&missing, WeightsError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
    );
    let text = read(folder.path()).unwrap_err().to_string();
    assert!(text.contains("not a regular file"), "{text}");
}

#[test]
fn other_zip_archives_are_named() {
    let text = message(&zipped(b"N.", &[("constants.pkl", b"N.")]));
    assert!(text.contains("TorchScript"), "{text}");
    let whole = zipped(b"N.", &[]);
    // The same archive with its program under another name, of the same length, in both places a zip keeps
    // it.
    let renamed: Vec<u8> = String::from_utf8_lossy(b"data.pkl").into_owned().into_bytes();
    let mut other = whole.clone();
    for at in 0..other.len() - renamed.len() {
        if other[at..].starts_with(&renamed) {
            other[at..at + renamed.len()].copy_from_slice(b"arr0.npy");
        }
    }
    assert!(message(&other).contains("a numpy .npz archive"));
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for name in ["metadata.json", "config.json", "model.weights.h5"] {
        zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
    }
    assert!(message(&zip.finish().unwrap().into_inner()).contains("a Keras model"));
}

#[test]
fn a_file_cut_at_any_byte_is_an_error() {
    for file in ["network_zip.pth", "network_legacy.pth", "training_legacy.pt", "kinds.safetensors"] {
        let bytes = std::fs::read(fixture(file)).unwrap();
        assert!(decode(&bytes).is_ok());
        for length in 0..bytes.len() {
            let error = decode(&bytes[..length]).expect_err(file);
            assert!(error.to_string().contains("\nhint: "), "{file} at {length}: {error}");
        }
    }
}

#[test]
fn a_changed_byte_never_panics_and_a_changed_weight_in_a_zip_is_found() {
    for file in ["network_zip.pth", "network_legacy.pth", "kinds_legacy.pt", "kinds.safetensors"] {
        let bytes = std::fs::read(fixture(file)).unwrap();
        for at in 0..bytes.len() {
            for change in [0x01, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[at] ^= change;
                let _ = decode(&changed);
            }
        }
    }
    let mut changed = zipped(&program(&dict(&[("w", honest())])), &[("data/0", &ONE_TWO)]);
    let at = changed.windows(8).position(|window| window == ONE_TWO).unwrap();
    changed[at] ^= 1;
    let text = message(&changed);
    assert!(text.contains("damaged PyTorch zip checkpoint: archive/data/0"), "{text}");
}

#[test]
fn big_endian_storages_are_turned_round() {
    let swapped = [0x3f, 0x80, 0, 0, 0x40, 0, 0, 0];
    let object = program(&dict(&[("w", honest())]));
    let state = decode(&zipped(&object, &[("byteorder", b"big"), ("data/0", &swapped)])).unwrap();
    assert_eq!(state.get("w").unwrap().to_f32(), [1.0, 2.0]);
    assert!(
        message(&zipped(&object, &[("byteorder", b"mixed"), ("data/0", &swapped)])).contains("byteorder")
    );
}

#[test]
fn a_storage_that_is_part_of_another_is_read_from_there() {
    // As PyTorch 0.x wrote it: elements 1..4 of a storage of five, and a tensor over the last two of those.
    let part = tuple(&[text("part"), int(1), int(3)]);
    let view = tensor(storage("ByteStorage", "root", 5, Some(part.clone())), 1, &[2], &[1]);
    let state =
        decode(&legacy(&program(&dict(&[("w", view)])), &[("root", 5, &[10, 11, 12, 13, 14])])).unwrap();
    assert_eq!(state.get("w").unwrap().bytes(), [12, 13]);
    let beyond = tensor(storage("ByteStorage", "root", 5, Some(part)), 2, &[2], &[1]);
    let text = message(&legacy(&program(&dict(&[("w", beyond)])), &[("root", 5, &[0; 5])]));
    assert!(text.contains("reach outside a storage"), "{text}");
}

#[test]
fn sizes_that_a_file_only_claims_are_not_believed() {
    let huge = 1 << 40;
    let claim = |count, shape: &[i64], strides: &[i64]| {
        let one = tensor(storage("FloatStorage", "0", count, None), 0, shape, strides);
        program(&dict(&[("w", one)]))
    };
    for (object, found) in [
        (claim(huge, &[huge], &[1]), "bytes, out of a file of"),
        (claim(2, &[huge], &[0]), "bytes, out of a file of"),
        (claim(2, &[huge, huge], &[0, 0]), "reach outside a storage"),
        (claim(i64::MAX, &[1], &[1]), "endless storage"),
        (claim(-1, &[1], &[1]), "broken reference"),
        (claim(huge, &[1], &[1]), "wanted"),
        (claim(2, &[-1], &[1]), "not made of counts"),
        (claim(2, &[3], &[1]), "reach outside a storage"),
        (claim(3, &[2], &[1]), "wanted"),
    ] {
        let in_zip = message(&zipped(&object, &[("data/0", &ONE_TWO)]));
        assert!(in_zip.contains(found), "{in_zip}");
        assert!(decode(&legacy(&object, &[("0", 2, &ONE_TWO)])).is_err());
        assert!(decode(&legacy(&object, &[("0", huge, &ONE_TWO)])).is_err());
        assert!(decode(&legacy(&object, &[("0", -1, &ONE_TWO)])).is_err());
    }
}

#[test]
fn a_zip_bomb_is_refused_before_it_is_unpacked() {
    let zeros = vec![0; 64 << 20];
    let count = (zeros.len() / 4) as i64;
    let one = tensor(storage("FloatStorage", "0", count, None), 0, &[1], &[1]);
    let bytes =
        zipped_with(CompressionMethod::Deflated, &program(&dict(&[("w", one)])), &[("data/0", &zeros)]);
    assert!(bytes.len() < 1 << 20);
    let text = message(&bytes);
    assert!(text.contains("archive/data/0 unpacks to 67108864 bytes"), "{text}");
    let bytes = zipped_with(CompressionMethod::Deflated, &zeros, &[]);
    assert!(message(&bytes).contains("archive/data.pkl unpacks to"));
}

#[test]
fn a_checkpoint_packed_again_with_compression_still_reads() {
    let object = program(&dict(&[("w", honest())]));
    let bytes = zipped_with(CompressionMethod::Deflated, &object, &[("data/0", &ONE_TWO)]);
    assert_eq!(decode(&bytes).unwrap().get("w").unwrap().to_f32(), [1.0, 2.0]);
}

#[test]
fn dicts_that_contain_themselves_end_in_an_error() {
    // {'net': <itself>, 'model': <itself>}
    let object = b"\x80\x02}q\x00(X\x03\x00\x00\x00neth\x00X\x05\x00\x00\x00modelh\x00u.";
    assert!(message(&zipped(object, &[])).contains("no state dict found"));
    // A tensor that wraps itself.
    let object = b"\x80\x02}X\x01\x00\x00\x00wctorch._utils\n_rebuild_parameter\n]q\x00R\x94h\x00h\x010s.";
    assert!(decode(&zipped(object, &[])).is_err());
}

#[test]
fn elements_we_have_no_type_for_are_named() {
    let complex = tensor(storage("ComplexFloatStorage", "0", 1, None), 0, &[1], &[1]);
    let text = message(&zipped(&program(&dict(&[("w", complex)])), &[("data/0", &ONE_TWO)]));
    assert!(text.starts_with("tensor w holds ComplexFloatStorage elements\nhint: convert"), "{text}");
    let sparse = call("torch._utils", "_rebuild_sparse_tensor", &[]);
    let text = message(&zipped(&program(&dict(&[("w", sparse)])), &[]));
    assert!(text.contains("tensor w is not a plain dense tensor"), "{text}");
}

#[test]
fn a_negated_tensor_has_the_sign_that_pytorch_gives_it() {
    // What `torch.save` writes for `torch.complex(a, -b).conj().imag`: b's storage with the other sign, and a flag.
    let flagged = |flags: Vec<u8>| {
        let sizes = |n: i64| tuple(&[int(n)]);
        let stored = storage("FloatStorage", "0", 2, None);
        let arguments = [stored, int(0), sizes(2), sizes(1), vec![0x89], b"N".to_vec(), flags];
        let tensor = call("torch._utils", "_rebuild_tensor_v2", &arguments);
        zipped(&program(&dict(&[("w", tensor)])), &[("data/0", &ONE_TWO)])
    };
    let values = |flags| decode(&flagged(flags)).map(|state| state.get("w").unwrap().to_f32());
    let truth = || vec![0x88];
    assert_eq!(values(dict(&[("neg", truth())])).unwrap(), [-1.0, -2.0]);
    assert_eq!(values(dict(&[("neg", vec![0x89]), ("conj", vec![0x89])])).unwrap(), [1.0, 2.0]);
    assert_eq!(values(b"N".to_vec()).unwrap(), [1.0, 2.0]);
    for (flags, found) in [
        (dict(&[("conj", truth())]), "a lazy conjugation"),
        (dict(&[("scaled", truth())]), "flags that are not known"),
        (text("neg"), "flags that are no dict"),
    ] {
        let text = values(flags).unwrap_err().to_string();
        assert!(text.contains("tensor w was saved with") && text.contains(found), "{text}");
        assert!(text.contains("\nhint: "), "{text}");
    }
}

#[test]
fn arguments_that_no_version_of_pytorch_writes_are_refused() {
    let sizes = |n: i64| tuple(&[int(n)]);
    let stored = || storage("FloatStorage", "0", 2, None);
    let known = || vec![stored(), int(0), sizes(2), sizes(1), vec![0x89], b"N".to_vec(), b"N".to_vec()];
    let more = call("torch._utils", "_rebuild_tensor_v2", &[known(), vec![int(2)]].concat());
    let parameter = [honest(), vec![0x88], b"N".to_vec(), b"N".to_vec()];
    let class = b"cmine\nScaled\n".to_vec();
    let rebuild = b"ctorch._utils\n_rebuild_tensor_v2\n".to_vec();
    let subclass =
        call("torch._tensor", "_rebuild_from_type_v2", &[rebuild, class, tuple(&known()), b"N".to_vec()]);
    let restated = [honest(), tuple(&[int(1)]), b"b".to_vec()].concat();
    for (tensor, found) in [
        (more, "more arguments than are known"),
        (call("torch._utils", "_rebuild_parameter", &parameter), "an argument of its parameter"),
        (subclass, "a tensor class of its own"),
        (restated, "a state that is set after it was rebuilt"),
    ] {
        let text = message(&zipped(&program(&dict(&[("w", tensor)])), &[("data/0", &ONE_TWO)]));
        assert!(text.contains("tensor w was saved with") && text.contains(found), "{text}");
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), form in 0..4) {
        let pickle = [&[0x80, 2][..], &bytes].concat();
        let _ = match form {
            0 => decode(&bytes),
            1 => decode(&zipped(&pickle, &[("data/0", &ONE_TWO)])),
            2 => decode(&legacy(&pickle, &[("0", 2, &ONE_TWO)])),
            _ => decode(&[&(bytes.len() as u64).to_le_bytes()[..], b"{", &bytes].concat()),
        };
    }

    #[test]
    fn checkpoints_with_several_changed_bytes_never_panic(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
        file in proptest::sample::select(vec!["kinds_zip.pt", "training_legacy.pt", "kinds.safetensors"]),
    ) {
        let mut bytes = std::fs::read(fixture(file)).unwrap();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = decode(&bytes);
    }
}
