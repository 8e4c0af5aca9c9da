//! Against a file that ONNX's own package wrote (`tests/golden/make_onnx.py`), and against files that nobody should make.

use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::model::Operators;
use super::*;
use crate::state::{Dtype, TensorData};

fn file() -> Vec<u8> {
    std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/files/every_kind.onnx")).unwrap()
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

#[test]
fn numbers_are_found_in_every_place_where_onnxs_own_package_puts_them() {
    let model = Model::decode(&file()).unwrap();
    assert_eq!((model.ir_version, model.producer.as_str(), model.opset()), (8, "maker", Some(17)));
    assert_eq!(model.operators[1], Operators { domain: "own".into(), version: 2 });
    assert_eq!(model.metadata["key"], "text");
    let as_f64 = |name: &str| model.tensors[name].to_f64();
    assert_eq!(as_f64("half"), [1.5, -2.0]);
    assert_eq!(as_f64("dbl"), [0.1]);
    assert_eq!((as_f64("flt"), model.tensors["flt"].shape()), (vec![1.0, 2.0, 3.0, -4.5], &[2, 2][..]));
    assert_eq!(as_f64("raw"), [-1.0, (1u64 << 40) as f64]);
    assert_eq!(as_f64("i64"), [0.0, -1.0, 7.0]);
    assert_eq!(as_f64("i8"), [-128.0, 127.0]);
    let sizes = |known: &[i64]| known.iter().map(|&size| Dimension::Known(size)).collect::<Vec<_>>();
    let images = [vec![Dimension::Any("N".into())], sizes(&[3, 8, 8])].concat();
    assert_eq!(model.inputs, [Image { name: "x".into(), element: 1, shape: Some(images) }]);
    assert_eq!(model.outputs, [Image { name: "y".into(), element: 1, shape: Some(sizes(&[1, 10])) }]);
    let [node] = &model.nodes[..] else { panic!("one node") };
    assert_eq!((node.name.as_str(), node.operator.as_str(), node.is_own()), ("n", "Mixed", false));
    assert_eq!(
        (&node.inputs[..], &node.outputs[..]),
        (&["x", "", "flt"].map(String::from)[..], &["y".into()][..])
    );
    let nine = TensorData::new(Dtype::I32, vec![], vec![9, 0, 0, 0]).unwrap();
    for (name, wanted) in [
        ("f", Attribute::Float(0.25)),
        ("i", Attribute::Int(-3)),
        ("s", Attribute::Text("same".into())),
        ("fs", Attribute::Floats(vec![0.5, -1.0])),
        ("ints", Attribute::Ints(vec![1, -2, 3])),
        ("t", Attribute::Tensor(nine)),
    ] {
        assert_eq!(node.attributes[name], wanted, "{name}");
    }
}

#[test]
fn what_is_written_is_read_as_it_was() {
    let model = Model::decode(&file()).unwrap();
    let bytes = model.encode();
    assert_eq!(Model::decode(&bytes).unwrap(), model);
    assert_eq!(Model::decode(&bytes).unwrap().encode(), bytes);
}

#[test]
fn a_file_that_is_cut_short_anywhere_is_damaged_or_says_less() {
    let whole = file();
    let all = Model::decode(&whole).unwrap();
    let mut refused = 0;
    for length in 0..whole.len() {
        match Model::decode(&whole[..length]) {
            Ok(model) => assert_ne!(model, all, "{length} bytes"),
            Err(error) => {
                refused += 1;
                assert!(error.to_string().contains("hint:"), "{error}");
            }
        }
    }
    assert!(refused > whole.len() / 2, "{refused}");
}

#[test]
fn sizes_that_a_file_cannot_have_are_refused_before_anything_is_made_for_them() {
    // Wire: field 7 (graph) with 2^63 bytes; a varint of eleven bytes; field 0; a group.
    let huge = [0x3a, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01];
    for bytes in [
        &huge[..],
        &[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
        &[0x02, 0x00],
        &[0x0b],
    ] {
        let error = Model::decode(bytes).unwrap_err().to_string();
        assert!(error.contains("damaged ONNX model"), "{error}");
    }
    let of = |shape: &[u8]| {
        // A tensor with this shape, of type f32, in a graph in a model.
        let tensor = [shape, &[0x10, 1]].concat();
        let graph = [&[0x2a, tensor.len() as u8][..], &tensor].concat();
        Model::decode(&[&[0x08, 8, 0x3a, graph.len() as u8][..], &graph].concat())
    };
    assert!(of(&[0x08, 0]).is_ok(), "no numbers are as many as it has");
    let minus = [0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    let large = [0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    for shape in [&minus[..], &[large, large].concat(), &[0x08, 1].repeat(17), &[0x08, 1]] {
        assert!(of(shape).unwrap_err().to_string().contains("tensor"), "{shape:?}");
    }
    // Two million nodes without anything in them.
    let nodes = [0x0a, 0].repeat(2 << 20);
    let mut bytes = vec![0x08, 8, 0x3a, 0x80, 0x80, 0x80, 0x02];
    bytes.extend(nodes);
    assert!(Model::decode(&bytes).unwrap_err().to_string().contains("more than 1048576 nodes"));
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_stumble(at in 0usize..381, byte: u8, more in prop::collection::vec(any::<u8>(), 0..40)) {
        let mut bytes = file();
        let place = at % bytes.len();
        bytes[place] = byte;
        let _ = Model::decode(&bytes);
        let _ = Model::decode(&more);
        bytes.splice(place..place, more);
        let _ = Model::decode(&bytes);
    }
}

/// A model whose one tensor, two floats, lies in another file.
fn elsewhere(location: &str, offset: u64, length: Option<u64>) -> Model {
    let external = External { dtype: Dtype::F32, shape: vec![2], location: location.into(), offset, length };
    Model { external: [("w".to_owned(), external)].into(), ..Model::default() }
}

#[test]
fn tensors_in_a_file_beside_are_read_from_where_the_model_says() {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("net.onnx");
    let bytes = [vec![0; 4], floats(&[1.0, -2.0])].concat();
    std::fs::write(folder.path().join("net.onnx.data"), &bytes).unwrap();
    let mut model = elsewhere("net.onnx.data", 4, Some(8));
    let files = model.gather(&path).unwrap();
    assert_eq!(files, [("net.onnx.data".into(), blake3::hash(&bytes))]);
    assert_eq!((model.tensors["w"].to_f64(), model.external.len()), (vec![1.0, -2.0], 0));
    let refused = |mut model: Model, text: &str| {
        let error = model.gather(&path).unwrap_err().to_string();
        assert!(error.contains(text) && error.contains("hint:"), "{error}");
    };
    refused(elsewhere("net.onnx.data", 8, None), "bytes 8.. and 8 more of net.onnx.data, which has 12");
    refused(elsewhere("net.onnx.data", u64::MAX, None), "which has 12");
    refused(elsewhere("net.onnx.data", 0, Some(4)), "Some(4) bytes are not F32 of shape [2]");
    refused(elsewhere("gone.data", 0, None), "gone.data, which is no file beside the model");
    // Reading a pipe would not end.
    #[cfg(unix)]
    {
        let pipe = folder.path().join("pipe.data");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        refused(elsewhere("pipe.data", 0, None), "pipe.data, which is no file beside the model");
    }
    let absolute = folder.path().join("net.onnx.data").display().to_string();
    for outside in ["../net.onnx.data", "sub/net.data", "..", ".", "", &absolute, "a\\b"] {
        refused(elsewhere(outside, 0, None), "outside the model's folder");
    }
}

/// Without a limit a model of a megabyte, with a file of another beside it, takes ten gigabytes.
#[test]
fn tensors_that_share_the_bytes_of_a_file_beside_make_no_more_than_eight_times_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let size = 4 << 20;
    std::fs::write(folder.path().join("w.data"), vec![0; size]).unwrap();
    let gathered = |count: usize| {
        let mut model = elsewhere("w.data", 0, Some(size as u64));
        let mut one = model.external.pop_first().unwrap().1;
        one.shape = vec![size / 4];
        model.external = (0..count).map(|number| (number.to_string(), one.clone())).collect();
        model.gather(&path)
    };
    assert!(gathered(12).is_ok(), "8 * 4 MiB and 16 MiB");
    let error = gathered(13).unwrap_err().to_string();
    assert!(error.contains("out of 4194304 beside the model") && error.contains("\nhint: "), "{error}");
}

#[test]
fn the_digest_of_a_model_covers_the_files_that_belong_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("every_kind.onnx");
    std::fs::write(&path, file()).unwrap();
    let digest = |path: &Path| {
        let file = crate::WeightsFile::read(path).unwrap();
        assert!(file.is_onnx());
        (file.model().unwrap().1, file.blake3())
    };
    let (all, own) = digest(&path);
    assert_eq!(all, own, "no other file belongs to it");
    // A tensor of one float at the beginning of the file `d`.
    let place = b"\x0a\x08location\x12\x01d";
    let tensor =
        [b"\x08\x01\x10\x01\x42\x01w\x6a".as_slice(), &[place.len() as u8], place, b"\x70\x01"].concat();
    let graph = [&[0x2a, tensor.len() as u8][..], &tensor].concat();
    std::fs::write(&path, [&[0x08, 8, 0x3a, graph.len() as u8][..], &graph].concat()).unwrap();
    let with = |value: f32| {
        std::fs::write(folder.path().join("d"), value.to_le_bytes()).unwrap();
        digest(&path)
    };
    let (one, two) = (with(1.0), with(2.0));
    assert_eq!(one.1, two.1);
    assert_ne!(one.0, two.0);
    assert_eq!(one, with(1.0));
}
