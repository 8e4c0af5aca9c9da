//! Teachers in the files of others: found, recognised, normalised, recorded, or refused with a way out.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use labels::{Check, LabelSet};
use method::init::initialise;
use weights::Entry;
use zoo::Task;

use crate::fixture::{DIGITS, Label, Place, inspect, label, real_data};

/// A checkpoint that PyTorch wrote, and `foreign.json` with what PyTorch answers: `tests/golden/make_foreign.py`.
fn foreign(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files").join(name)
}

/// Labels the first eight test images as they are.
fn run(teacher: &Path, out: &Path) -> Label {
    let run =
        label().args(["run", "--data", "sample", "--split", "test", "--limit", "8", "--augment", "none"]);
    run.args(["--views", "all", "--dtype", "f32", "--teacher"]).arg(teacher).arg("--out").arg(out)
}

/// Compares a label set with PyTorch's logits.
fn agrees(out: &Path, with: &str) {
    let expected: serde_json::Value =
        serde_json::from_slice(&fs::read(foreign("foreign.json")).unwrap()).unwrap();
    let set = LabelSet::open(out, Check::Hashes).unwrap();
    for (image, row) in set.rows().enumerate() {
        for (class, logit) in row.logits.to_vec().into_iter().enumerate() {
            let wanted = expected[with][image][class].as_f64().unwrap();
            // All are below 1, and f32 has seven digits.
            assert!(
                (f64::from(logit) - wanted).abs() < 2e-5,
                "{with} {image} {class}: {logit}, wanted {wanted}"
            );
        }
    }
}

#[test]
fn a_checkpoint_out_of_an_attack_answers_as_in_pytorch_and_says_how_it_was_taken() {
    let place = Place::new();
    let out = place.path("labels");
    let ended = run(&foreign("foreign.pt"), &out).ends();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    for said in [
        "recognised as tiny-cnn",
        "took the network in `model.module.model`",
        "model.module.attacker.model (an equal copy)",
        "module.normalizer.new_mean and module.normalizer.new_std: mean 0.25, std 0.5",
    ] {
        assert!(ended.stderr.contains(said), "wanted `{said}` in:\n{}", ended.stderr);
    }
    agrees(&out, "normalised");
    let teacher = &inspect(&out)["teacher"];
    assert_eq!(teacher["weights_key"], "model.module.model");
    assert_eq!((&teacher["mean"][0], &teacher["std"][0]), (&"0.25".into(), &"0.5".into()));
    let card = fs::read_to_string(out.join("README.md")).unwrap();
    assert!(card.contains("mean 0.25, std 0.5") && card.contains("`model.module.model`"), "{card}");
    let verify = label().arg("verify").arg(&out).args(["--recompute", "8", "--data", "sample", "--teacher"]);
    let verified = verify.arg(foreign("foreign.pt")).succeeds();
    assert!(verified.contains("8 with equal bits"), "{verified}");
}

#[test]
fn what_the_user_says_of_the_normalisation_counts_and_is_recorded() {
    let place = Place::new();
    let plain = place.path("plain");
    let ended = run(&foreign("foreign.pt"), &plain).args(["--normalize", "none"]).ends();
    let said = "(mean 0.25, std 0.5) are not used: you asked for no normalisation";
    assert!(ended.stderr.contains(said), "{}", ended.stderr);
    agrees(&plain, "plain");
    assert_eq!(inspect(&plain)["teacher"]["mean"], serde_json::json!([]));
    let verify =
        label().arg("verify").arg(&plain).args(["--recompute", "8", "--data", "sample", "--teacher"]);
    assert!(verify.arg(foreign("foreign.pt")).succeeds().contains("8 with equal bits"));

    // The same network without the constants, as a kuangliu-style file has it.
    let bare = place.path("bare.safetensors");
    rewrite(&foreign("foreign.pt"), &bare, |name| name.strip_prefix("module.model.").map(str::to_owned));
    let normalised = place.path("normalised");
    run(&bare, &normalised).args(["--mean", "63.75/255", "--std", "0.5"]).succeeds();
    agrees(&normalised, "normalised");
    assert_eq!(inspect(&normalised)["teacher"]["mean"][0], "0.25");
    let out = place.path("refused");
    run(&bare, &out).args(["--mean", "0.25"]).fails(2, &["--std"]);
    run(&bare, &out)
        .args(["--normalize", "cifar10"])
        .fails(2, &["images have 1 channel(s)", "one mean and one positive deviation", "hint:"]);
    run(&bare, &out).args(["--normalize", "cifar"]).fails(2, &["unknown normalisation `cifar`", "cifar10"]);
    run(&bare, &out).args(["--mean", "127", "--std", "63"]).fails(2, &["divide constants", "hint:"]);
    assert!(!out.exists());
}

/// Writes the tensors of a file's largest part as safetensors, under other names.
fn rewrite(from: &Path, to: &Path, name: impl Fn(&str) -> Option<String>) {
    let state = weights::read(from).unwrap();
    let entry = |(old, tensor): (&str, &weights::TensorData)| -> Option<Entry<'static>> {
        let bytes = Cow::Owned(tensor.bytes().to_vec());
        Some((name(old)?, tensor.dtype(), tensor.shape().to_vec(), bytes))
    };
    weights::write(to, state.iter().filter_map(entry), None).unwrap();
}

/// Writes an untrained network under other names, without saying what it is.
fn untrained(to: &Path, arch: &str, task: Task, seeds: &[(u64, &str)], keep: impl Fn(&str) -> bool) {
    let (row, network) = zoo::build(arch, task).unwrap();
    let params: Vec<_> = seeds
        .iter()
        .map(|(seed, prefix)| (initialise(&network, row.init, *seed, engine::params::Precision::F32), prefix))
        .collect();
    let entries = params.iter().flat_map(|(params, prefix)| {
        zoo::tensors(params)
            .filter(|(name, ..)| keep(name))
            .map(move |(name, dtype, shape, bytes)| (format!("{prefix}{name}"), dtype, shape, bytes))
    });
    weights::write(to, entries, None).unwrap();
}

#[test]
fn a_file_that_fits_two_architectures_or_two_parts_is_refused_until_one_is_named() {
    let place = Place::new();
    let (file, out) = (place.path("net.safetensors"), place.path("labels"));
    untrained(&file, "preact-resnet18", DIGITS, &[(1, "")], |_| true);
    let refused = run(&file, &out).fails(2, &["preact-resnet18 and of preact-resnet18-raw", "--arch"]);
    assert!(refused.stderr.lines().count() <= 6, "{}", refused.stderr);
    untrained(&file, "tiny-cnn", DIGITS, &[(1, "last."), (2, "best.")], |_| true);
    run(&file, &out).fails(
        2,
        &["two parts fit the network and differ: best, last", "--weights-key best or --weights-key last"],
    );
    run(&file, &out).args(["--weights-key", "ema"]).fails(2, &["no part `ema`", "last (fits)"]);
    assert!(!out.exists());
    run(&file, &out).args(["--weights-key", "best"]).succeeds();
    assert_eq!(inspect(&out)["teacher"]["weights_key"], "best");
    let (alone, other) = (place.path("alone.safetensors"), place.path("other"));
    untrained(&alone, "tiny-cnn", DIGITS, &[(2, "")], |_| true);
    run(&alone, &other).succeeds();
    assert_eq!(inspect(&out)["content_hash"], inspect(&other)["content_hash"]);
}

#[test]
fn of_two_networks_in_a_file_one_has_to_be_named() {
    let place = Place::new();
    let (file, out) = (place.path("net.safetensors"), place.path("labels"));
    let [teacher, student] = ["resnet8", "tiny-cnn"].map(|arch| {
        let (row, network) = zoo::build(arch, DIGITS).unwrap();
        initialise(&network, row.init, 1, engine::params::Precision::F32)
    });
    let behind = |params, prefix| {
        zoo::tensors(params)
            .map(move |(name, dtype, shape, bytes)| (format!("{prefix}{name}"), dtype, shape, bytes))
    };
    weights::write(&file, behind(&teacher, "teacher.").chain(behind(&student, "student.")), None).unwrap();
    run(&file, &out).fails(2, &["resnet8 in `teacher`, tiny-cnn in `student`", "--weights-key teacher"]);
    run(&file, &out).args(["--weights-key", "nobody"]).fails(2, &["no part `nobody`"]);
    assert!(!out.exists());
    // The other network lies beside the one that is named, and the name says that it does not matter.
    run(&file, &out).args(["--weights-key", "student"]).succeeds();
    assert_eq!(inspect(&out)["teacher"]["architecture"], "tiny-cnn");
}

#[test]
fn a_network_behind_a_member_that_has_no_tensors_waits_for_a_word_about_it() {
    let place = Place::new();
    let (file, out) = (place.path("net.safetensors"), place.path("labels"));
    untrained(&file, "tiny-cnn", DIGITS, &[(1, "1.")], |_| true);
    let refused = run(&file, &out).fails(2, &["`0` before it has no tensors", "--normalize none"]);
    assert!(refused.stderr.lines().count() <= 6, "{}", refused.stderr);
    run(&file, &out).args(["--normalize", "mnist"]).succeeds();
    assert_eq!(inspect(&out)["teacher"]["mean"][0], "0.1307");
}

#[test]
fn constants_kept_as_plain_numbers_beside_a_network_wait_for_a_word() {
    let place = Place::new();
    let (file, out) = (place.path("net.safetensors"), place.path("labels"));
    let (row, network) = zoo::build("tiny-cnn", DIGITS).unwrap();
    let params = initialise(&network, row.init, 1, engine::params::Precision::F32);
    let config = r#"{"data": {"mean": [0.1307], "std": [0.3081]}}"#;
    weights::write(&file, zoo::tensors(&params), Some(("config", config))).unwrap();
    let refused = run(&file, &out).fails(
        2,
        &[
            "config.data.mean and config.data.std (mean 0.1307, std 0.3081)",
            "hint: with them: --mean 0.1307 --std 0.3081",
        ],
    );
    assert_eq!(refused.stderr.lines().count(), 2, "{}", refused.stderr);
    assert!(!out.exists());
    let ended = run(&file, &out).args(["--normalize", "none"]).ends();
    let said = "(mean 0.1307, std 0.3081) are not used: you asked for no normalisation";
    assert!(ended.code == Some(0) && ended.stderr.contains(said), "{}", ended.stderr);
    let out = place.path("normalised");
    let ended = run(&file, &out).args(["--normalize", "mnist"]).ends();
    assert!(ended.code == Some(0) && !ended.stderr.contains("not used"), "{}", ended.stderr);
    assert_eq!(inspect(&out)["teacher"]["mean"][0], "0.1307");
}

#[test]
fn weights_of_another_network_are_answered_in_six_lines_with_the_right_one_or_the_way_through_pytorch() {
    let place = Place::new();
    let (file, out) = (place.path("net.safetensors"), place.path("labels"));
    let refused = |file: &Path, arch: &[&str], texts: &[&str]| {
        let ended = run(file, &out).args(arch).fails(2, texts);
        assert!(ended.stderr.lines().count() <= 6, "{}", ended.stderr);
        assert!(ended.stderr.lines().last().unwrap().starts_with("hint: "), "{}", ended.stderr);
    };
    untrained(&file, "resnet8", DIGITS, &[(1, "module.")], |_| true);
    refused(&file, &["--arch", "tiny-cnn"], &["they are those of resnet8: --arch resnet8"]);
    untrained(&file, "resnet8", Task { classes: 7, ..DIGITS }, &[(1, "")], |_| true);
    refused(&file, &[], &["resnet8 for other images or classes"]);
    refused(
        &file,
        &["--arch", "resnet8"],
        &["linear.weight, wanted [10, 64], found [7, 64]", "number of classes"],
    );
    untrained(&file, "resnet8", DIGITS, &[(1, "net.")], |name| !name.starts_with("layer2"));
    for arch in [&[][..], &["--arch", "resnet8"]] {
        refused(&file, arch, &["label plan", "label import"]);
    }
    assert!(!out.exists());
}

#[test]
fn a_tensor_of_a_type_that_cannot_be_read_is_named_with_an_architecture_and_without() {
    let place = Place::new();
    let (file, out) = (place.path("net.safetensors"), place.path("labels"));
    untrained(&file, "tiny-cnn", DIGITS, &[(1, "")], |_| true);
    // The type of the first weights becomes F8_E4M3, of a byte an element, as PyTorch's float8_e4m3fn is written.
    let bytes = fs::read(&file).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let linear = header["linear.weight"]["data_offsets"].clone();
    header["linear.weight"]["dtype"] = "F8_E4M3".into();
    let side = (linear[1].as_u64().unwrap() - linear[0].as_u64().unwrap()) / 10;
    header["linear.weight"]["shape"] = serde_json::json!([10, side]);
    let header = serde_json::to_vec(&header).unwrap();
    let changed = [&(header.len() as u64).to_le_bytes()[..], &header, &bytes[8 + length..]].concat();
    fs::write(&file, changed).unwrap();
    for arch in [&[][..], &["--arch", "tiny-cnn"], &["--arch", "resnet8"]] {
        let refused = run(&file, &out).args(arch).fails(2, &["tensor linear.weight holds F8_E4M3 elements"]);
        assert!(
            refused.stderr.lines().count() <= 6 && refused.stderr.contains("float32"),
            "{}",
            refused.stderr
        );
    }
    assert!(!out.exists());
}

#[test]
fn a_variance_below_zero_is_refused_by_its_name() {
    let place = Place::new();
    let (file, out) = (place.path("net.safetensors"), place.path("labels"));
    untrained(&file, "tiny-cnn", DIGITS, &[(1, "")], |_| true);
    let state = weights::read(&file).unwrap();
    for (value, found) in [(-1.0f32, "a negative variance"), (f32::NAN, "not numbers (NaN)")] {
        let entries = state.iter().map(|(name, tensor)| {
            let mut bytes = tensor.bytes().to_vec();
            if name == "bn2.running_var" {
                bytes[4..8].copy_from_slice(&value.to_le_bytes());
            }
            (name.to_owned(), tensor.dtype(), tensor.shape().to_vec(), Cow::Owned(bytes))
        });
        let bad = place.path("bad.safetensors");
        weights::write(&bad, entries, None).unwrap();
        run(&bad, &out).fails(2, &["bn2.running_var", found, "hint:"]);
    }
    assert!(!out.exists());
}

#[test]
fn a_teacher_at_chance_is_doubted_before_the_work_and_after_it() {
    let place = Place::new();
    let out = place.path("labels");
    let run =
        label().args(["run", "--data", "sample", "--limit", "2048", "--augment", "none", "--views", "all"]);
    let ended = run.arg("--teacher").arg(place.teacher()).arg("--out").arg(&out).ends();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let warnings: Vec<usize> = ended.stderr.match_indices("as often as chance").map(|(at, _)| at).collect();
    let done = ended.stderr.find("complete, 2048 rows").unwrap();
    assert!(warnings.len() == 2 && warnings[0] < done && done < warnings[1], "{}", ended.stderr);
    assert!(ended.stderr.contains("of the first 512 images"), "{}", ended.stderr);
    let trained = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/samples/teacher.safetensors");
    let run =
        label().args(["run", "--data", "sample", "--limit", "2048", "--augment", "none", "--views", "all"]);
    let ended = run.arg("--teacher").arg(trained).arg("--out").arg(place.path("good")).ends();
    assert!(ended.code == Some(0) && !ended.stderr.contains("warning"), "{}", ended.stderr);
}

/// 61.62 % is what PyTorch counts with the same file behind mean .485 .456 .406 and std .225 .225 .225. The file says
/// neither its architecture nor its constants, and its state dict is a list of one.
#[test]
fn a_published_stack_of_layers_is_recognised_and_as_right_as_in_pytorch() {
    let Some(folder) = real_data("the published stack of layers") else { return };
    let place = Place::new();
    let out = place.path("labels");
    let data = format!("cifar10:{}", folder.join("cifar10").display());
    let run =
        label().args(["run", "--split", "test", "--augment", "none", "--views", "all", "--data", &data]);
    let run = run.args(["--mean", ".485,.456,.406", "--std", ".225,.225,.225", "--teacher"]);
    run.arg(folder.join("teachers/cifar_wide.pth")).arg("--out").arg(&out).succeeds();
    let json = inspect(&out);
    assert!((json["clean"].as_f64().unwrap() - 61.62).abs() < 1e-9, "{}", json["clean"]);
    assert_eq!(json["teacher"]["weights_key"], "state_dict.0");
}
