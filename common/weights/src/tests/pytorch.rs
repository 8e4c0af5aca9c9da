//! Every form and kind of tensor, against the values PyTorch reads from the same file.

use serde_json::Value;

use super::*;

#[test]
fn every_fixture_reads_as_pytorch_reads_it() {
    let text = std::fs::read_to_string(fixture("expected.json")).unwrap();
    let files: serde_json::Map<String, Value> = serde_json::from_str(&text).unwrap();
    assert_eq!(files.len(), 17);
    for (file, expected) in &files {
        let state = read(&fixture(file)).unwrap_or_else(|error| panic!("{error}"));
        let nesting: Vec<&str> =
            list(&expected["nesting"]).iter().map(|name| name.as_str().unwrap()).collect();
        assert_eq!(state.nesting, nesting, "{file}");
        let tensors = list(&expected["tensors"]);
        assert_eq!(state.len(), tensors.len(), "{file}");
        for (place, tensor) in tensors.iter().enumerate() {
            let name = tensor["name"].as_str().unwrap();
            let found = state.get(name).unwrap_or_else(|| panic!("{file}: no {name}"));
            if !file.ends_with("safetensors") {
                assert_eq!(state.iter().nth(place).unwrap().0, name, "{file}: order");
            }
            assert_eq!(format!("{:?}", found.dtype()), tensor["dtype"].as_str().unwrap(), "{file}: {name}");
            let shape: Vec<u64> = found.shape().iter().map(|&n| n as u64).collect();
            let wanted: Vec<u64> = list(&tensor["shape"]).iter().map(|n| n.as_u64().unwrap()).collect();
            assert_eq!(shape, wanted, "{file}: {name}");
            let values = tensor["values"].as_str().unwrap().split_whitespace();
            let values: Vec<f64> = values.map(|value| value.parse().unwrap()).collect();
            assert_eq!(found.to_f64(), values, "{file}: {name}");
            let narrow: Vec<f32> = values.iter().map(|&value| value as f32).collect();
            assert_eq!(found.to_f32(), narrow, "{file}: {name}");
        }
    }
}

#[test]
fn the_metadata_of_safetensors_is_kept() {
    let state = read(&fixture("kinds.safetensors")).unwrap();
    assert_eq!(state.metadata.get("rslad").map(String::as_str), Some(r#"{"a":1}"#));
}

fn list(value: &Value) -> &Vec<Value> {
    value.as_array().unwrap()
}
