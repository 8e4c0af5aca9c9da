//! Where in a file a network is found, and what is said of the rest.

use super::forged::{dict, int, program, storage, tensor, zipped};
use super::*;

const PLAIN: &[(&str, &[usize])] = &[
    ("conv.weight", &[2, 3]),
    ("bn.running_mean", &[2]),
    ("bn.num_batches_tracked", &[]),
    ("fc.bias", &[4]),
];

fn wanted() -> Vec<Wanted> {
    let one = |&(name, shape): &(&str, &[usize])| Wanted {
        name: name.into(),
        shape: shape.to_vec(),
        optional: false,
    };
    PLAIN.iter().map(one).collect()
}

/// A file being made: a tree of keys over tensors of the same few storages.
#[derive(Default)]
struct Made {
    storages: Vec<Vec<u8>>,
    is_normalised: bool,
}

impl Made {
    fn tensor(&mut self, shape: &[usize], values: &[f32]) -> Vec<u8> {
        let count = shape.iter().product::<usize>();
        let bytes = (0..count).flat_map(|at| values[at % values.len()].to_le_bytes()).collect();
        let key = self.storages.len().to_string();
        self.storages.push(bytes);
        let sizes: Vec<i64> = shape.iter().map(|&n| n as i64).collect();
        let strides: Vec<i64> =
            (0..shape.len()).map(|axis| shape[axis + 1..].iter().product::<usize>() as i64).collect();
        tensor(storage("FloatStorage", &key, count as i64, None), 0, &sizes, &strides)
    }

    /// The wanted network's entries behind a prefix, every value the same.
    fn network(&mut self, prefix: &str, value: f32) -> Vec<(String, Vec<u8>)> {
        let entry =
            |&(name, shape): &(&str, &[usize])| (format!("{prefix}{name}"), self.tensor(shape, &[value]));
        PLAIN.iter().map(entry).collect()
    }

    fn locate(&self, root: &[u8], key: Option<&str>) -> Result<Located, LocateError> {
        let keys: Vec<String> = (0..self.storages.len()).map(|key| format!("data/{key}")).collect();
        let entries: Vec<(&str, &[u8])> =
            keys.iter().zip(&self.storages).map(|(key, bytes)| (key.as_str(), bytes.as_slice())).collect();
        let bytes = zipped(&program(root), &entries);
        let wanted = wanted();
        let is_normalised = self.is_normalised;
        let sought = Sought { wanted: &wanted, unused: &["spare."], input: [3, 8, 8], key, is_normalised };
        Checkpoint::open(&bytes).unwrap().locate(&sought)
    }
}

fn mapping(entries: &[(String, Vec<u8>)]) -> Vec<u8> {
    let entries: Vec<(&str, Vec<u8>)> =
        entries.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
    dict(&entries)
}

fn list(elements: &[Vec<u8>]) -> Vec<u8> {
    [b"](".to_vec(), elements.concat(), b"e".to_vec()].concat()
}

fn values(located: &Located) -> Vec<f32> {
    located.tensors.iter().map(|(_, tensor)| tensor.to_f32()[0]).collect()
}

#[test]
fn a_network_is_found_at_any_depth_and_behind_any_prefix() {
    for prefix in ["", "module.", "net.", "basic_net.", "_orig_mod.module.", "module._orig_mod.", "a.b.c."] {
        let mut made = Made::default();
        let mut network = made.network(prefix, 1.5);
        let spare = made.tensor(&[1], &[9.0]);
        network.push((format!("{}spare.weight", prefix.replace("_orig_mod.", "")), spare));
        let optimizer = dict(&[("state", dict(&[("momentum", made.tensor(&[2, 3], &[7.0]))]))]);
        let state = mapping(&network);
        let roots = [
            (state.clone(), ""),
            (dict(&[("epoch", int(3)), ("weights", state.clone())]), "weights"),
            (
                dict(&[("optimizer", optimizer), ("x", dict(&[("y", list(&[state])), ("acc", int(1))]))]),
                "x.y.0",
            ),
        ];
        for (root, path) in roots {
            let located = made.locate(&root, None).unwrap();
            assert_eq!(values(&located), [1.5; 4], "{prefix} under {path}");
            let bare = prefix.replace("_orig_mod.", "");
            let words: Vec<&str> =
                [path, bare.trim_end_matches('.')].into_iter().filter(|word| !word.is_empty()).collect();
            assert_eq!(located.part, words.join("."));
            assert!(located.left.is_empty() && located.normaliser.is_none(), "{located:?}");
        }
    }
}

#[test]
fn two_parts_that_differ_are_refused_until_one_is_named_and_equal_ones_are_one() {
    let mut made = Made::default();
    let (one, other) = (made.network("", 1.0), made.network("", 2.0));
    let copy = made.network("module.", 1.0);
    let root = dict(&[
        ("last", mapping(&one)),
        ("best", dict(&[("ema", mapping(&other))])),
        ("copy", mapping(&copy)),
    ]);
    let text = made.locate(&root, None).unwrap_err().to_string();
    assert!(
        text.contains("last, best.ema, copy.module")
            && text.contains("hint: ")
            && text.contains("--weights-key"),
        "{text}"
    );
    for (key, value, part) in [
        ("last", 1.0, "last"),
        ("best", 2.0, "best.ema"),
        ("best/ema", 2.0, "best.ema"),
        ("ema", 2.0, "best.ema"),
        ("copy.module.", 1.0, "copy.module"),
    ] {
        let located = made.locate(&root, Some(key)).unwrap();
        assert_eq!((values(&located), located.part.as_str()), (vec![value; 4], part), "{key}");
    }
    let text = made.locate(&root, Some("model")).unwrap_err().to_string();
    assert!(text.contains("no part `model`") && text.contains("best.ema (fits)"), "{text}");
    let equal = dict(&[("net", mapping(&one)), ("copy", mapping(&copy))]);
    let located = made.locate(&equal, None).unwrap();
    assert_eq!(
        (located.part.as_str(), located.left.as_slice()),
        ("net", &["copy.module (an equal copy)".into()][..])
    );
}

#[test]
fn what_lies_beside_a_network_is_said_where_it_is_harmless_and_refused_where_it_may_act() {
    let mut made = Made::default();
    let mut entries = made.network("module.", 1.0);
    entries.push(("n_averaged".into(), {
        made.storages.push(5_i64.to_le_bytes().to_vec());
        tensor(storage("LongStorage", &(made.storages.len() - 1).to_string(), 1, None), 0, &[], &[])
    }));
    entries.push(("criterion.weight".into(), made.tensor(&[4], &[1.0])));
    entries.push(("best_acc".into(), made.tensor(&[], &[0.5])));
    let located = made.locate(&mapping(&entries), None).unwrap();
    assert_eq!(
        located.left,
        ["best_acc (a record of the training)", "criterion.weight (of a loss)", "n_averaged (a counter)"]
    );
    entries.push(("denoiser.conv.bias".into(), made.tensor(&[2], &[1.0])));
    let text = made.locate(&mapping(&entries), None).unwrap_err().to_string();
    assert!(text.contains("denoiser.conv.bias") && text.contains("--weights-key module"), "{text}");
    let located = made.locate(&mapping(&entries), Some("module")).unwrap();
    assert!(located.left.iter().any(|left| left.contains("denoiser.conv.bias")), "{located:?}");
    entries.push(("module.temperature".into(), made.tensor(&[], &[2.0])));
    let error = made.locate(&mapping(&entries), Some("module")).unwrap_err();
    assert!(
        matches!(&error, LocateError::Mismatch(one) if one.extra == [("temperature".into(), vec![])]),
        "{error}"
    );
}

#[test]
fn a_normalisation_is_known_by_name_and_shape_wherever_it_lies() {
    let (mean, std) = ([0.5, 0.25, 0.125], [0.5, 0.75, 1.0]);
    for (names, shape, prefix) in [
        (["mu", "sigma"], &[1, 3, 1, 1][..], ""),
        (["mean", "std"], &[3], "model."),
        (["0.mean", "0.std"], &[3, 1, 1], "1."),
        (["normalizer.new_mean", "normalizer.new_std"], &[1, 3], "model."),
        (["model.image_mean", "model.image_std"], &[3], "model."),
    ] {
        let mut made = Made::default();
        let mut entries = made.network(prefix, 1.0);
        entries.push((names[0].into(), made.tensor(shape, &mean)));
        entries.push((names[1].into(), made.tensor(shape, &std)));
        let located = made.locate(&mapping(&entries), None).unwrap();
        let names = names.map(str::to_owned);
        assert_eq!(located.normaliser, Some(Normaliser { names, mean: mean.into(), std: std.into() }));
        assert_eq!(located.hidden, None);
    }
}

#[test]
fn a_normalisation_that_cannot_be_one_or_is_two_is_refused() {
    let with = |more: &[(&str, &[usize], &[f32])]| {
        let mut made = Made::default();
        let mut entries = made.network("net.", 1.0);
        for (name, shape, values) in more {
            entries.push(((*name).into(), made.tensor(shape, values)));
        }
        let found = made.locate(&mapping(&entries), None).map(|located| located.normaliser);
        // Whoever says what is true need not mind what the file has.
        made.is_normalised = true;
        assert!(more.len() < 2 || made.locate(&mapping(&entries), None).is_ok());
        found
    };
    let text = |result: Result<_, LocateError>| result.unwrap_err().to_string();
    let zero = with(&[("mean", &[3], &[0.5]), ("std", &[3], &[0.0])]);
    assert!(text(zero).contains("nothing can be divided by"));
    let pair: [(&str, &[usize], &[f32]); 2] = [("a.mean", &[3], &[0.5]), ("a.std", &[3], &[0.25])];
    let twice = with(&[pair[0], pair[1], ("b.mean", &[3], &[0.4]), ("b.std", &[3], &[0.25])]);
    let twice = text(twice);
    assert!(twice.contains("differ from a.mean and a.std") && twice.contains("--normalize none"), "{twice}");
    let equal = with(&[pair[0], pair[1], ("b.mean", &[1, 3, 1, 1], &[0.5]), ("b.std", &[1], &[0.25])]);
    assert_eq!(equal.unwrap().unwrap().std, [0.25; 3]);
    assert!(
        text(with(&[("mean", &[3, 2], &[0.5, 0.25]), ("std", &[3], &[0.5])])).contains("within a channel")
    );
    assert!(
        text(with(&[("mean", &[3], &[0.5])])).contains("may change its answers: mean"),
        "half of one is none"
    );
}

#[test]
fn a_mean_beside_a_network_without_its_deviation_is_seen() {
    let mut made = Made::default();
    let network = mapping(&made.network("", 1.0));
    let three = made.tensor(&[3], &[0.5]);
    let float = |value: f64| [&b"G"[..], &value.to_be_bytes()].concat();
    let plain = list(&[float(0.5), float(0.25), float(0.125)]);
    let half = |beside: Vec<u8>| {
        let root = dict(&[("net", network.clone()), ("constants", beside)]);
        made.locate(&root, None).unwrap().half
    };
    let mean = Some("constants.mean".to_owned());
    assert_eq!(half(dict(&[("mean", three.clone()), ("var", three.clone())])), mean);
    assert_eq!(half(dict(&[("mean", plain.clone()), ("std", three.clone())])), mean, "of two kinds");
    assert_eq!(half(dict(&[("mean", plain.clone()), ("std", plain.clone())])), None, "a whole one");
    assert_eq!(half(dict(&[("mean", float(0.5))])), None, "a number of something");
}

#[test]
fn two_pairs_in_one_module_are_one_where_they_are_equal_and_wait_for_a_word_where_they_differ() {
    let with = |mu: f32, is_normalised| {
        let mut made = Made { is_normalised, ..Made::default() };
        let mut entries = made.network("net.", 1.0);
        for (name, value) in [("mean", 0.5), ("std", 0.25), ("mu", mu), ("sigma", 0.25)] {
            entries.push((name.into(), made.tensor(&[3], &[value])));
        }
        made.locate(&mapping(&entries), None)
    };
    assert_eq!(with(0.5, false).unwrap().normaliser.unwrap().mean, [0.5; 3]);
    let text = with(0.4, false).unwrap_err().to_string();
    assert!(text.contains("mu and sigma") && text.contains("differ from mean and std"), "{text}");
    assert!(text.contains("hint: ") && text.contains("--mean and --std"), "{text}");
    let located = with(0.4, true).unwrap();
    assert_eq!(located.normaliser, None);
    assert!(
        located.left[0].starts_with("mean, std, mu and 1 more (named like a normalisation"),
        "{located:?}"
    );
}

#[test]
fn constants_that_belong_to_nothing_are_left_aside_at_a_word() {
    for more in [&["mean"][..], &["std"], &["mean", "mu"], &["mean", "std", "stds"]] {
        for prefix in ["", "net."] {
            let mut made = Made::default();
            let mut entries = made.network(prefix, 1.0);
            for name in more {
                entries.push(((*name).into(), made.tensor(&[1, 3, 1, 1], &[0.5])));
            }
            made.is_normalised = true;
            let located =
                made.locate(&mapping(&entries), None).unwrap_or_else(|error| panic!("{more:?}: {error}"));
            assert!(located.left[0].contains("not used"), "{located:?}");
        }
    }
}

/// PyTorch lays (3, 1, 1), (3, 8, 8) and ones before them against (N, 3, 8, 8); (3,) and (1, 3) are viewed so by their
/// networks. A (3, 2) or (8, 8, 3) cannot be laid against images, whatever it holds.
#[test]
fn constants_of_another_shape_than_one_number_a_channel_are_refused_though_all_are_equal() {
    let with = |shape: &[usize]| {
        let mut made = Made::default();
        let mut entries = made.network("net.", 1.0);
        entries.push(("mean".into(), made.tensor(shape, &[0.5])));
        entries.push(("std".into(), made.tensor(&[3], &[0.25])));
        made.locate(&mapping(&entries), None).map(|located| located.normaliser.unwrap().mean)
    };
    for shape in
        [&[][..], &[1], &[3], &[1, 3], &[3, 1, 1], &[1, 3, 1, 1], &[3, 8, 8], &[1, 3, 8, 8], &[1, 1, 1, 3]]
    {
        assert_eq!(with(shape).unwrap(), [0.5; 3], "{shape:?}");
    }
    for shape in [&[3, 2][..], &[6], &[8, 8, 3], &[8, 3, 1, 1], &[192]] {
        let text = with(shape).unwrap_err().to_string();
        assert!(
            text.contains(&format!("the shape {shape:?}")) && text.contains("--mean and --std"),
            "{text}"
        );
    }
}

#[test]
fn constants_in_another_part_and_a_member_without_tensors_are_seen() {
    let mut made = Made::default();
    let network = mapping(&made.network("1.", 1.0));
    let root =
        dict(&[("net", network), ("mean", made.tensor(&[3], &[0.5])), ("std", made.tensor(&[3], &[0.25]))]);
    let located = made.locate(&root, None).unwrap();
    assert_eq!(located.normaliser, None);
    assert_eq!(located.beside[0].mean, [0.5; 3]);
    assert_eq!(located.hidden.as_deref(), Some("0"));
}

#[test]
fn a_list_of_several_networks_is_none() {
    let mut made = Made::default();
    let network = mapping(&made.network("", 1.0));
    let cascade =
        dict(&[("state_dict", list(&[network.clone(), network])), ("err", made.tensor(&[], &[0.7]))]);
    let text = made.locate(&cascade, None).unwrap_err().to_string();
    assert!(text.starts_with("state_dict is a list of 2 mappings") && text.contains("\nhint: "), "{text}");
}

#[test]
fn what_does_not_fit_is_compared_with_the_nearest_part() {
    let mut made = Made::default();
    let mut entries = made.network("module.", 1.0);
    entries.retain(|(name, _)| name != "module.fc.bias");
    entries.push(("module.fc.bias".into(), made.tensor(&[100], &[1.0])));
    entries.push(("module.bn9.bias".into(), made.tensor(&[2], &[1.0])));
    let root = dict(&[("acc", made.tensor(&[], &[0.5])), ("net", mapping(&entries))]);
    let Err(LocateError::Mismatch(found)) = made.locate(&root, None) else { panic!() };
    assert_eq!(found.missing, []);
    assert_eq!(found.extra, [("bn9.bias".into(), vec![2])]);
    assert_eq!((found.misshapen.len(), found.misshapen[0].found.as_slice()), (1, &[100][..]));
}

#[test]
fn safetensors_with_numbers_in_their_metadata_read() {
    let bytes = std::fs::read(fixture("kinds.safetensors")).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    header["__metadata__"]["epoch"] = 3.into();
    let header = serde_json::to_vec(&header).unwrap();
    let other = [&(header.len() as u64).to_le_bytes()[..], &header, &bytes[8 + length..]].concat();
    let (found, wanted) = (decode(&other).unwrap(), decode(&bytes).unwrap());
    assert_eq!(found.metadata["epoch"], "3");
    assert_eq!(found.metadata["rslad"], wanted.metadata["rslad"]);
    assert_eq!(found.len(), wanted.len());
    assert!(wanted.iter().all(|(name, tensor)| found.get(name) == Some(tensor)));
}

#[test]
fn the_same_mapping_under_two_keys_is_one() {
    let mut made = Made::default();
    let network = mapping(&made.network("", 1.0));
    // {'a': <network, kept as memo 5>, 'b': <memo 5>}
    let root = [b"}(\x8c\x01a".to_vec(), network, b"q\x05\x8c\x01bh\x05u".to_vec()].concat();
    let located = made.locate(&root, None).unwrap();
    assert_eq!((located.part.as_str(), located.left.len()), ("a", 0));
}
