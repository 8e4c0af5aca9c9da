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

/// What `constants` in `make_weights.py` keeps, as it is written there; the two for pixels up to 255 divided by it.
#[test]
fn constants_that_are_no_tensors_are_seen_in_every_way_that_they_are_kept() {
    let file = std::fs::read(fixture("constants.pt")).unwrap();
    let checkpoint = Checkpoint::open(&file).unwrap();
    let found = crate::kept::normalisers(&checkpoint.kept, 3);
    let found: Vec<(String, Vec<f32>, Vec<f32>)> =
        found.into_iter().map(|one| (one.names.join(" "), one.mean, one.std)).collect();
    let wanted = [
        ("config.data.mean config.data.std", [0.1, 0.2, 0.3], [0.25, 0.5, 0.75]),
        ("args.pixel_mean args.pixel_std", [0.5, 0.2, 0.4], [0.25, 0.2, 0.5]),
        ("arrays.new_mean arrays.new_std", [0.4, 0.5, 0.6], [0.25, 0.5, 1.0]),
        ("hyper_parameters.MEAN hyper_parameters.STD", [0.125; 3], [0.5; 3]),
        ("transform.mean transform.std", [0.7, 0.8, 0.9], [0.5; 3]),
        ("normalization normalization", [0.15, 0.25, 0.35], [0.5, 0.25, 0.5]),
        ("typed.mean typed.std", [0.3, 0.4, 0.5], [0.25; 3]),
        ("settings.cifar10_mean_std settings.cifar10_mean_std", [0.2, 0.3, 0.4], [0.5, 0.5, 0.25]),
    ];
    let wanted = wanted.map(|(names, mean, std)| (names.to_owned(), mean.to_vec(), std.to_vec()));
    assert_eq!(found, wanted);
    assert_eq!(crate::kept::lone_mean(&checkpoint.kept, 3).as_deref(), Some("half.mean"));
}

#[test]
fn the_metadata_of_safetensors_is_kept() {
    let state = read(&fixture("kinds.safetensors")).unwrap();
    assert_eq!(state.metadata.get("rslad").map(String::as_str), Some(r#"{"a":1}"#));
}

fn list(value: &Value) -> &Vec<Value> {
    value.as_array().unwrap()
}
