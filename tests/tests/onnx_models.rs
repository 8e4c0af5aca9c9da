//! ONNX models in and out: what is read of a model, what is refused and how, and that what is written gives the engine's
//! logits. Models are written here; PyTorch's own are in `golden_onnx.rs`.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use engine::graph::Op;
use engine::params::Precision;
use method::init::initialise;
use weights::onnx::{Attribute, Dimension, Image, Model, Node, Operators};
use weights::{Dtype, TensorData};

use engine::{Engine, Network, Params};
use rslad_tests::cpu;
use zoo::onnx::{Ranges, evaluate, folded, model_of, quantised, widen};
use zoo::{Foreign, LoadError, Loaded, Task, ZOO, build};

const TASK: Task = Task { input: [2, 4, 4], classes: 3 };

fn tensor(shape: &[usize], first: f32) -> TensorData {
    let count: usize = shape.iter().product();
    let bytes = (0..count).flat_map(|place| (first + place as f32 / 8.0).to_le_bytes()).collect();
    TensorData::new(Dtype::F32, shape.to_vec(), bytes).unwrap()
}

fn node(operator: &str, inputs: &[&str], output: &str, settings: &[(&str, Attribute)]) -> Node {
    Node {
        name: format!("/{output}/{operator}"),
        operator: operator.into(),
        inputs: inputs.iter().map(|name| (*name).to_owned()).collect(),
        outputs: vec![output.into()],
        attributes: settings.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
        ..Node::default()
    }
}

/// Nodes before a convolution to three channels, whose mean is the logits.
fn onnx(before: &[Node], last: &str) -> Model {
    let mut nodes = before.to_vec();
    nodes.push(node("Conv", &[last, "w"], "map", &[]));
    nodes.push(node("GlobalAveragePool", &["map"], "mean", &[]));
    nodes.push(node("Flatten", &["mean"], "logits", &[]));
    let sizes = [-1, 2, 4, 4].map(|size| match size {
        -1 => Dimension::Any("N".into()),
        size => Dimension::Known(size),
    });
    Model {
        operators: vec![Operators { domain: String::new(), version: 17 }],
        nodes,
        tensors: [
            ("w".to_owned(), tensor(&[3, 2, 3, 3], -1.0)),
            ("per_channel".to_owned(), tensor(&[2, 1, 1], 0.5)),
            ("two".to_owned(), tensor(&[], 2.0)),
            ("row".to_owned(), tensor(&[4], 1.0)),
        ]
        .into(),
        inputs: vec![Image { name: "x".into(), element: 1, shape: Some(sizes.to_vec()) }],
        outputs: vec![Image { name: "logits".into(), element: 1, shape: None }],
        ir_version: 8,
        producer: "maker".into(),
        ..Model::default()
    }
}

/// The network that a model draws, by way of a file.
fn draw(given: &Model, task: Task) -> Result<Loaded, LoadError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.onnx");
    std::fs::write(&path, given.encode()).unwrap();
    zoo::load(&path, None, task, Precision::F32)
}

fn refused(model: &Model, texts: &[&str]) {
    let error = draw(model, TASK).map(|_| ()).unwrap_err().to_string();
    for text in texts.iter().chain(&["\nhint: "]) {
        assert!(error.contains(text), "{text}: {error}");
    }
}

fn operators(model: &Model) -> Vec<Op> {
    draw(model, TASK).unwrap().network.nodes().iter().map(|node| node.op.clone()).collect()
}

#[test]
fn an_operator_that_does_not_run_is_refused_by_its_name_its_node_and_the_opset() {
    for operator in ["Softmax", "HardSwish", "LeakyRelu", "ConvTranspose", "If"] {
        let given = onnx(&[node(operator, &["x"], "y", &[])], "y");
        refused(&given, &[&format!("node /y/{operator} ({operator}, opset 17): no such operator runs here")]);
    }
    let mut own = node("Relu", &["x"], "y", &[]);
    own.domain = "com.microsoft".into();
    refused(&onnx(&[own], "y"), &["com.microsoft::Relu"]);
    let mut old = onnx(&[], "x");
    old.operators[0].version = 6;
    refused(&old, &["ONNX's sets 7 to 25", "uses 6"]);
}

#[test]
fn settings_that_change_what_is_computed_are_refused() {
    let ints = |values: &[i64]| Attribute::Ints(values.to_vec());
    let pool = |more: &[(&str, Attribute)]| {
        let settings = [&[("kernel_shape", ints(&[2, 2]))][..], more].concat();
        onnx(&[node("MaxPool", &["x"], "y", &settings)], "y")
    };
    refused(&pool(&[("pads", ints(&[1, 1, 1, 1]))]), &["MaxPool", "edge"]);
    refused(&pool(&[("ceil_mode", Attribute::Int(1)), ("strides", ints(&[3, 3]))]), &["ceil_mode"]);
    refused(&pool(&[("dilations", ints(&[2, 2]))]), &["dilated"]);
    refused(&onnx(&[node("Clip", &["x", "two"], "y", &[])], "y"), &["keeps values in [2"]);
    refused(&onnx(&[node("Mul", &["y0", "two"], "y", &[])], "y"), &["`y0` comes from nowhere"]);
    let relu = node("Relu", &["x"], "y0", &[]);
    refused(&onnx(&[relu.clone(), node("Mul", &["y0", "two"], "y", &[])], "y"), &["behind the first layer"]);
    refused(&onnx(&[relu, node("Sub", &["y0", "y0"], "y", &[])], "y"), &["of two maps"]);
    let norm = node("BatchNormalization", &["x", "row", "row", "row", "row"], "y", &[]);
    refused(&onnx(std::slice::from_ref(&norm), "y"), &["shape [4] where [2] was wanted"]);
    let mut training = norm;
    training.attributes.insert("training_mode".into(), Attribute::Int(1));
    refused(&onnx(&[training], "y"), &["normalises by the batch", "PRESERVE"]);
}

#[test]
fn a_graph_that_is_no_classifier_says_why() {
    let mut two = onnx(&[], "x");
    two.inputs.push(Image { name: "mask".into(), ..Image::default() });
    refused(&two, &["takes x, mask and gives logits"]);
    let mut map = onnx(&[], "x");
    map.outputs[0].name = "map".into();
    refused(&map, &["its output map is no vector of logits"]);
    let mut other = onnx(&[], "x");
    other.tensors.insert("w".into(), tensor(&[5, 2, 1, 1], 0.0));
    refused(
        &other,
        &["the model is for 2x4x4 images and 5 classes", "the data has 2x4x4 images and 3 classes"],
    );
    let mut channels = onnx(&[], "x");
    channels.tensors.insert("w".into(), tensor(&[3, 1, 1, 1], 0.0));
    refused(&channels, &["weights for 1 channels in each of 1 group(s), on a map of 2x4x4"]);
}

/// What stands before the first layer: `(x * 2 - c) / 2` per channel is `(x - c / 2) / 1`, with c of 0.5 and 0.625.
#[test]
fn constants_before_the_first_layer_become_one_normalisation() {
    let chain = [
        node("Mul", &["two", "x"], "a", &[]),
        node("Sub", &["a", "per_channel"], "b", &[]),
        node("Div", &["b", "two"], "c", &[]),
    ];
    let normalise = Op::Normalize { mean: vec![0.25, 0.3125], std: vec![1.0, 1.0] };
    assert_eq!(operators(&onnx(&chain, "c"))[1], normalise);
    refused(&onnx(&[node("Sub", &["two", "x"], "y", &[])], "y"), &["constant behind the first layer"]);
    refused(
        &onnx(&[node("Sub", &["x", "row"], "y", &[])], "y"),
        &["shape [4] where one number for each of 2"],
    );
    let mut zero = onnx(&[node("Div", &["x", "two"], "y", &[])], "y");
    zero.tensors.insert("two".into(), tensor(&[], 0.0));
    refused(&zero, &["would be divided by [0.0, 0.0]"]);
}

#[test]
fn the_same_graph_has_one_name_and_another_graph_another() {
    let name = |model: &Model| draw(model, TASK).unwrap().network.architecture().to_owned();
    let plain = onnx(&[], "x");
    let mut other_weights = plain.clone();
    other_weights.tensors.insert("w".into(), tensor(&[3, 2, 3, 3], 7.0));
    assert_eq!(name(&plain), name(&other_weights));
    assert_ne!(name(&plain), name(&onnx(&[node("Relu", &["x"], "y", &[])], "y")));
    assert!(name(&plain).starts_with("onnx:") && name(&plain).len() == 17, "{}", name(&plain));
}

#[test]
fn a_student_of_a_graph_carries_it_and_loads_without_the_model() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.onnx");
    let given = onnx(&[], "x");
    std::fs::write(&path, given.encode()).unwrap();
    let name = format!("onnx:{}", path.display());
    let (row, network) = build(&name, TASK).unwrap();
    assert_eq!(build(&path.display().to_string(), TASK).unwrap().1.nodes(), network.nodes());
    let params = initialise(&network, row.init, 5, Precision::F32);
    let student = folder.path().join("student.safetensors");
    zoo::save(&student, &network, &params).unwrap();
    let said = Foreign { architecture: Some(name.clone()), ..Foreign::default() };
    let with_name = zoo::load(&student, said, TASK, Precision::F32).unwrap();
    std::fs::remove_file(&path).unwrap();
    let alone = zoo::load(&student, None, TASK, Precision::F32).unwrap();
    for loaded in [with_name, alone] {
        assert_eq!(loaded.network.nodes(), network.nodes());
        assert_eq!(loaded.network.architecture(), network.architecture());
        assert_eq!(format!("{:?}", loaded.params.trainable()), format!("{:?}", params.trainable()));
    }
    let gone = build(&name, TASK).unwrap_err().to_string();
    assert!(gone.contains("net.onnx: cannot read") && gone.contains("hint: check the path"), "{gone}");
}

#[test]
fn a_file_says_no_name_but_its_graphs_and_no_node_that_is_code_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("student.safetensors");
    let drawn = draw(&onnx(&[], "x"), TASK).unwrap();
    zoo::save(&path, &drawn.network, &drawn.params).unwrap();
    let whole = std::fs::read(&path).unwrap();
    let (own, map) = (drawn.network.architecture(), "\\\"map.Conv\\\"");
    // Of the same length, so that the file stays one. The text of the metadata is JSON within JSON.
    for (found, put, words) in [
        (own.to_owned(), format!("onnx:\\\\\\\"{}", "x".repeat(own.len() - 9)), "says another name"),
        (own.to_owned(), format!("onnx:{}", "f".repeat(own.len() - 5)), "says another name"),
        (map.to_owned(), map.replace('.', " "), "says another name"),
    ] {
        let at = whole.windows(found.len()).position(|bytes| bytes == found.as_bytes());
        let at = at.unwrap_or_else(|| panic!("{found} is in {}", String::from_utf8_lossy(&whole)));
        let mut other = whole.clone();
        other[at..at + found.len()].copy_from_slice(put.as_bytes());
        std::fs::write(&path, &other).unwrap();
        let error = zoo::load(&path, None, TASK, Precision::F32).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(words), "{put}: {error}");
    }
    // An exporter may call a weight anything; a node is called something that a module may be.
    let mut given = onnx(&[], "x");
    let weight = given.tensors.remove("w").unwrap();
    let code = "x\")?, {std::process::abort()}; (\"\n.weight";
    given.tensors.insert(code.into(), weight);
    given.nodes[0].inputs[1] = code.into();
    let network = draw(&given, TASK).unwrap().network;
    for node in network.nodes() {
        let is_plain = |sign: char| sign.is_ascii_alphanumeric() || "._-".contains(sign);
        assert!(node.name.chars().all(is_plain), "{}", node.name);
    }
}

#[test]
fn graphs_that_no_exporter_writes_are_refused_and_stop_nothing() {
    let relus: Vec<Node> = (0..20_000)
        .map(|place| {
            let input = if place == 0 { "x".to_owned() } else { format!("r{}", place - 1) };
            node("Relu", &[input.as_str()], &format!("r{place}"), &[])
        })
        .collect();
    refused(&onnx(&relus, "r19999"), &["20003 nodes; graphs of 16384 at most are read"]);
    let mut twice = onnx(&[node("Relu", &["x"], "y", &[])], "y");
    twice.nodes.insert(1, node("Sigmoid", &["x"], "y", &[]));
    refused(&twice, &["a second value called y"]);
    refused(&onnx(&[node("Relu", &["x"], "x", &[])], "x"), &["a second value called x"]);
    let mut nameless = onnx(&[], "x");
    let weight = nameless.tensors.remove("w").unwrap();
    nameless.tensors.insert(String::new(), weight);
    nameless.nodes[0].inputs = vec!["x".into()];
    refused(&nameless, &["its input 1 is missing"]);
}

/// Values as every architecture of the zoo starts with, with statistics that BatchNorm cannot ignore.
fn filled(name: &str, task: Task) -> (Network, Params) {
    let (row, network) = build(name, task).unwrap();
    let mut params = initialise(&network, row.init, 3, Precision::F32);
    let layout = network.layout().clone();
    for entry in layout.statistics() {
        for (number, place) in entry.range.clone().enumerate() {
            let value = match entry.role {
                engine::params::Role::RunningMean => (number % 7) as f64 / 20.0 - 0.15,
                engine::params::Role::RunningVar => 0.5 + (number % 5) as f64 / 4.0,
                _ => 0.25,
            };
            params.statistics_mut().set(place, value);
        }
    }
    (network, params)
}

fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |most, value| most.max(value.abs()))
}

/// The evaluator knows ONNX's operators and nothing of the engine, and ONNX Runtime agrees with the files
/// (`python/tests/test_onnx.py`); 1e-5 is rounding of f32 sums in another order.
#[test]
fn every_architecture_is_written_as_a_model_that_gives_its_logits() {
    let task = Task { input: [3, 32, 32], classes: 10 };
    let images: Vec<f32> = (0..3 * 32 * 32).map(|place| (place * 7919 % 256) as f32 / 255.0).collect();
    let images = Tensor::from_vec(images, (1, 3, 32, 32), &Device::Cpu).unwrap();
    let engine = cpu(1);
    for row in ZOO {
        let (network, params) = filled(row.example, task);
        let logits = engine.logits(&network, &params, &images.clone().into()).unwrap();
        let model = Model::decode(&model_of(&network, &params, BTreeMap::new()).encode()).unwrap();
        for model in [&model, &folded(&model)] {
            let found = evaluate(model, &images, &mut |_, _| Ok(())).unwrap();
            let wanted: Vec<f32> = logits.flatten_all().unwrap().to_vec1().unwrap();
            let found: Vec<f32> = found.flatten_all().unwrap().to_vec1().unwrap();
            let differences: Vec<f32> = found.iter().zip(&wanted).map(|(a, b)| a - b).collect();
            let apart = largest(&differences) / largest(&wanted).max(1.0);
            assert!(apart <= 1e-5, "{}: off by {apart:.1e}", row.example);
        }
        // What is written is read again, but for two operations that no other program writes.
        let unread = |op: &Op| matches!(op, Op::Standardize | Op::MeanSparse);
        if !network.nodes().iter().any(|node| unread(&node.op)) {
            let drawn = draw(&model, task).unwrap();
            // Of these the zoo's order is that of PyTorch's parameters, where no file has one.
            if row.example.contains("ra-wrn") {
                let read = engine.logits(&drawn.network, &drawn.params, &images.clone().into()).unwrap();
                let numbers = |logits: &Tensor| logits.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                let (read, wanted) = (numbers(&read), numbers(&logits));
                let differences: Vec<f32> = read.iter().zip(&wanted).map(|(a, b)| a - b).collect();
                assert!(largest(&differences) <= 1e-5 * largest(&wanted).max(1.0), "{}", row.example);
                assert_eq!(drawn.network.nodes().len(), network.nodes().len(), "{}", row.example);
                continue;
            }
            let ops = |network: &Network| -> Vec<Op> {
                network.nodes().iter().map(|node| node.op.clone()).collect()
            };
            assert_eq!(ops(&drawn.network), ops(&network), "{}", row.example);
            let values = |params: &Params| format!("{:?}{:?}", params.trainable(), params.statistics());
            assert!(values(&drawn.params) == values(&params), "{}: other values", row.example);
        }
    }
}

/// Steps of 1/255 of the range at what is read, and of 1/127 of the largest weight: by hand, for a layer of one channel.
#[test]
fn eight_bits_round_to_the_steps_that_the_scheme_says() {
    let given = Model {
        nodes: vec![
            node(
                "Conv",
                &["images", "w"],
                "map",
                &[
                    ("kernel_shape", Attribute::Ints(vec![1, 1])),
                    ("strides", Attribute::Ints(vec![1, 1])),
                    ("pads", Attribute::Ints(vec![0; 4])),
                ],
            ),
            node("Flatten", &["map"], "logits", &[]),
        ],
        tensors: [(
            "w".to_owned(),
            TensorData::new(Dtype::F32, vec![1, 1, 1, 1], 0.3f32.to_le_bytes().to_vec()).unwrap(),
        )]
        .into(),
        ..Model::default()
    };
    let mut ranges = Ranges::new();
    let pixels = |values: Vec<f32>| {
        let count = values.len();
        Tensor::from_vec(values, (1, 1, 1, count), &Device::Cpu).unwrap()
    };
    widen(&given, &pixels(vec![-0.5, 2.05]), &mut ranges).unwrap();
    assert_eq!(format!("{:?}", ranges["images"]), "[-0.5, 2.05]");
    let eight = quantised(&given, &ranges);
    let found = evaluate(&eight, &pixels(vec![0.004, 0.996, 9.0, -9.0]), &mut |_, _| Ok(())).unwrap();
    let found: Vec<f32> = found.flatten_all().unwrap().to_vec1().unwrap();
    // A step is 2.55 / 255 = 0.01, zero lies at 50: 0.004 is 0 steps, 0.996 is 100, the ends are 205 above and 50 below.
    for (found, wanted) in found.iter().zip([0.0, 0.3, 0.615, -0.15]) {
        assert!((found - wanted).abs() < 1e-6, "{found} for {wanted}");
    }
}
