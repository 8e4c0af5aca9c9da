//! `label` on a GPU: the machine's own where `RSLAD_GPU` is set, else one that a driver emulates.

use std::path::{Path, PathBuf};

use labels::{Check, LabelSet};

use crate::emulated::{emulated_driver, on_hardware};
use crate::fixture::{Ended, Label, Place, inspect, label, real_data, tree};

/// A teacher that knows the digits of the sample.
fn sample_teacher() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/samples/teacher.safetensors")
}

/// Labels two views of each of the first 64 digits, in f32.
fn digits(out: &Path) -> Label {
    let run = label().args(["run", "--data", "sample", "--limit", "64", "--views", "random:2@0"]);
    run.args(["--dtype", "f32", "--teacher"]).arg(sample_teacher()).arg("--out").arg(out)
}

/// Compares every logit of two label sets of the same rows.
fn agree(found: &Path, wanted: &Path, within: f32) {
    let [found, wanted] = [found, wanted].map(|dir| LabelSet::open(dir, Check::Hashes).unwrap());
    let mut rows = 0;
    for (found, wanted) in found.rows().zip(wanted.rows()) {
        let [found, wanted] = [found, wanted].map(|row| row.logits.to_vec());
        let largest = wanted.iter().fold(0.0f32, |most, logit| most.max(logit.abs()));
        for (found, wanted) in found.iter().zip(&wanted) {
            assert!((found - wanted).abs() <= within * largest, "row {rows}: {found}, wanted {wanted}");
        }
        assert_eq!(cli::largest(&found), cli::largest(&wanted), "row {rows}");
        rows += 1;
    }
    assert_eq!(rows, wanted.manifest().rows);
}

/// The right values are the CPU engine's, which `tests/golden` compares with PyTorch's; 1e-5 is what f32 sums in another
/// order may differ by.
#[test]
fn a_gpus_logits_are_the_processors_and_the_label_set_says_what_made_them() {
    let place = Place::new();
    let [on_gpu, on_cpu] = ["gpu", "cpu"].map(|name| place.path(name));
    let Some(run) = digits(&on_gpu).on_gpu("a GPU's logits") else { return };
    let said = run.ends();
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    digits(&on_cpu).succeeds();
    agree(&on_gpu, &on_cpu, 1e-5);
    let teacher = &inspect(&on_gpu)["teacher"];
    let device = teacher["device"].as_str().unwrap();
    assert!(teacher["engine"].as_str().unwrap().starts_with("cuda-f32 "), "{teacher}");
    assert_eq!(teacher["precision"], "f32");
    assert!(on_hardware() || device == "emulated GPU 0", "{device}");
    assert!(said.stderr.contains(&format!("on cuda-f32 ({device})")), "{}", said.stderr);
}

#[test]
fn a_published_teacher_answers_to_real_images_on_a_gpu_as_on_the_processor() {
    let Some(folder) = real_data("a published teacher on a GPU") else { return };
    let place = Place::new();
    let run = |out: &Path| {
        let data = format!("cifar10:{}", folder.join("cifar10").display());
        let run = label().args(["run", "--split", "test", "--augment", "none", "--views", "all"]);
        let run = run.args(["--dtype", "f32", "--limit", "64", "--arch", "resnet4b", "--data", &data]);
        run.arg("--teacher").arg(folder.join("teachers/resnet4b_cifar10.pth")).arg("--out").arg(out)
    };
    let [on_gpu, on_cpu] = ["gpu", "cpu"].map(|name| place.path(name));
    let Some(on) = run(&on_gpu).on_gpu("a published teacher on a GPU") else { return };
    on.succeeds();
    run(&on_cpu).succeeds();
    agree(&on_gpu, &on_cpu, 1e-5);
    if on_hardware() {
        return;
    }
    // Another chip multiplies f32 by other instructions: other last places, as near to the processor's.
    let elsewhere = place.path("elsewhere");
    let old = run(&elsewhere).on_gpu("a published teacher on another GPU").unwrap();
    old.env("RSLAD_FAKE_CUDA_CAPABILITY", "80").succeeds();
    agree(&elsewhere, &on_cpu, 1e-5);
    let [here, there] = [&on_gpu, &elsewhere].map(|dir| inspect(dir)["content_hash"].clone());
    assert_ne!(here, there, "both chips took the same kernels");
}

#[test]
fn a_lesser_precision_is_recorded_and_verify_says_what_it_costs() {
    let place = Place::new();
    let [coarse, plain] = ["coarse", "plain"].map(|name| place.path(name));
    let Some(run) = digits(&coarse).args(["--precision", "bf16"]).on_gpu("a lesser precision") else {
        return;
    };
    run.succeeds();
    digits(&plain).succeeds();
    let teacher = &inspect(&coarse)["teacher"];
    assert_eq!(teacher["precision"], "bf16");
    let verify = |dir: &Path| {
        let verify = label().arg("verify").arg(dir).args(["--recompute", "32", "--data", "sample"]);
        verify.arg("--teacher").arg(sample_teacher())
    };
    let there = verify(&coarse).succeeds();
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let line = |text: &str, name: &str| {
        lines(text)
            .into_iter()
            .find(|line| line.starts_with(name))
            .unwrap_or_else(|| panic!("{name}: {text}"))
    };
    assert!(line(&there, "computed now").contains("cpu") && line(&there, "computed now").ends_with("in f32"));
    assert!(line(&there, "computed then").contains("cuda-bf16") && there.contains(" in bf16 on "), "{there}");
    // bf16 has 8 bits: an answer of it is further from f32 than f32 could be, and nearer than 3 %.
    let largest = |text: &str| -> f64 {
        let found = line(text, "difference").split("largest ").nth(1).unwrap().to_owned();
        found.split(',').next().unwrap().parse().unwrap()
    };
    assert!(largest(&there) > 1e-3, "{there}");
    assert!(there.contains(" 0 beyond"), "{there}");
    let back = verify(&plain).args(["--precision", "bf16"]).on_gpu("a lesser precision").unwrap().succeeds();
    assert!(line(&back, "computed now").contains(" in bf16 on "), "{back}");
    assert!(line(&back, "computed then").ends_with("in f32"), "{back}");
    assert!(largest(&back) > 1e-3 && back.contains(" 0 beyond"), "{back}");
    let fine = verify(&plain).on_gpu("a lesser precision").unwrap().succeeds();
    assert!(largest(&fine) < 1e-3, "f32 of both kinds: {fine}");
    for text in [there, back, fine] {
        // Above it stands what has to be as wide as a digest.
        let said = text.split("\nrecomputed").nth(1).unwrap();
        assert!(said.lines().all(|line| line.chars().count() <= 80), "{text}");
    }
}

/// What the program says where the emulated driver is set so.
fn refused(settings: &[(&str, &str)], args: &[&str], said: &[&str]) -> Ended {
    let place = Place::new();
    let out = place.path("labels");
    let run = settings.iter().fold(digits(&out), |run, (name, value)| run.env(name, value));
    let ended = run.args(args).fails(2, said);
    assert!(ended.stderr.lines().count() <= 6 && ended.stderr.contains("\nhint: "), "{}", ended.stderr);
    assert!(!ended.stderr.contains("bug"), "{}", ended.stderr);
    assert!(!out.exists(), "nothing is left behind");
    ended
}

#[test]
fn a_gpu_that_will_not_do_is_refused_in_a_line_with_a_way_out() {
    let Some(driver) = emulated_driver("refusals of a GPU") else { return };
    let driver = driver.to_str().unwrap();
    let on = |settings: &[(&str, &str)], args: &[&str], said: &[&str]| {
        let settings = [&[("LD_LIBRARY_PATH", driver)], settings].concat();
        refused(&settings, args, said)
    };
    let cuda = ["--device", "cuda"];
    on(&[("RSLAD_FAKE_CUDA_DEVICES", "0")], &cuda, &["finds no GPU", "nvidia-smi"]);
    on(&[("RSLAD_FAKE_CUDA_DRIVER", "11080")], &cuda, &["CUDA 11.8, too old", "525"]);
    on(&[], &["--device", "cuda:7"], &["no GPU 7: this machine has 1", "--device cuda:0"]);
    let old = [("RSLAD_FAKE_CUDA_CAPABILITY", "75")];
    on(&old, &["--device", "cuda", "--precision", "bf16"], &["7.5, and bf16 needs 8.0", "--precision f16"]);
    on(&[("RSLAD_FAKE_CUDA_CAPABILITY", "70")], &cuda, &["7.0, and f16 needs 7.5", "--device cpu"]);
    refused(&[], &["--device", "cpu", "--precision", "bf16"], &["precision bf16 is for GPUs"]);
    // A chip that cannot do f32's sums says so, and labels.
    let place = Place::new();
    let run = digits(&place.path("labels")).args(cuda).env("LD_LIBRARY_PATH", driver);
    let ended = run.env(old[0].0, old[0].1).ends();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("warning: emulated GPU 0 computes in f16 at best"), "{}", ended.stderr);
    assert_eq!(inspect(&place.path("labels"))["teacher"]["precision"], "f16");
}

/// A folder in which whatever looks for the driver finds files that are no libraries, as if there were none.
fn without_driver(place: &Place) -> PathBuf {
    let folder = place.path("no-driver");
    std::fs::create_dir(&folder).unwrap();
    for name in ["libcuda.so", "libcuda.so.1"] {
        std::fs::write(folder.join(name), "no library").unwrap();
    }
    folder
}

#[test]
fn without_a_driver_cuda_is_refused_and_auto_says_why_it_is_the_processor() {
    let place = Place::new();
    let nothing = without_driver(&place);
    let nothing = nothing.to_str().unwrap();
    refused(&[("LD_LIBRARY_PATH", nothing)], &["--device", "cuda"], &["no NVIDIA driver", "--device cpu"]);
    let auto = |name: &str, libraries: &str| {
        let run = digits(&place.path(name)).args(["--device", "auto"]).env("LD_LIBRARY_PATH", libraries);
        let ended = run.ends();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        ended.stderr
    };
    let said = auto("without", nothing);
    assert!(said.starts_with("--device auto is cpu: no NVIDIA driver"), "{said}");
    let Some(driver) = emulated_driver("auto beside a GPU") else { return };
    let said = auto("with", driver.to_str().unwrap());
    assert!(said.starts_with("--device auto is cuda, since there is emulated GPU 0"), "{said}");
}

/// Its bytes are damaged, which would be found and said before.
#[test]
fn verify_looks_for_the_device_before_it_hashes_a_byte() {
    let place = Place::new();
    let out = place.path("labels");
    digits(&out).succeeds();
    let shard = tree(&out).into_keys().find(|name| name.to_string_lossy().contains("-of-")).unwrap();
    let shard = shard.to_str().unwrap();
    let path = out.join(shard);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let nothing = without_driver(&place);
    let verify = |device: &str| {
        let verify = label().arg("verify").arg(&out).args(["--recompute", "4", "--data", "sample"]);
        let verify = verify.arg("--teacher").arg(sample_teacher()).args(["--device", device]);
        verify.env("LD_LIBRARY_PATH", nothing.to_str().unwrap())
    };
    let refused = verify("cuda").fails(2, &["no NVIDIA driver", "--device cpu"]);
    assert!(refused.stdout.is_empty(), "{}", refused.stdout);
    let found = verify("cpu").ends();
    assert!(found.stderr.contains(shard), "the damage is seen where there is a device: {}", found.stderr);
}

/// Runs on an emulated GPU with so many bytes.
fn with_memory(run: Label, driver: &Path, bytes: usize) -> Label {
    let run = run.args(["--device", "cuda"]).env("LD_LIBRARY_PATH", driver);
    run.env("RSLAD_FAKE_CUDA_MEMORY", bytes.to_string())
}

#[test]
fn a_batch_that_does_not_fit_is_refused_with_the_one_that_does() {
    let Some(driver) = emulated_driver("a batch that does not fit") else { return };
    let place = Place::new();
    let run = |name: &str, batch: usize| {
        let run = digits(&place.path(name)).args(["--batch", &batch.to_string()]);
        with_memory(run, &driver, 8_000_000)
    };
    let ended = run("large", 512).fails(2, &["a batch of 512, needs", "of 8 MiB are free", "--device cpu"]);
    assert!(!place.path("large").exists());
    let fits = ended.stderr.split("hint: --batch ").nth(1).unwrap().split(' ').next().unwrap();
    let fits: usize = fits.parse().unwrap();
    assert!((16..512).contains(&fits), "{fits}");
    run("beyond", fits + 1).fails(2, &["hint: --batch"]);
    run("fits", fits).succeeds();
    // Nobody need say it, and it changes no byte.
    with_memory(digits(&place.path("usual")), &driver, 8_000_000).succeeds();
    with_memory(digits(&place.path("roomy")), &driver, 8 << 30).succeeds();
    assert!(tree(&place.path("fits")) == tree(&place.path("usual")));
    assert!(tree(&place.path("fits")) == tree(&place.path("roomy")));
    let none = with_memory(digits(&place.path("none")), &driver, 100_000);
    none.fails(2, &["a batch of 1, needs", "not even one image fits"]);
}

/// The driver itself counts what it gave at most.
#[test]
fn an_estimate_of_the_memory_is_enough_and_not_far_off() {
    let Some(driver) = emulated_driver("an estimate of memory") else { return };
    let place = Place::new();
    let estimate = ["estimate", "--teacher-arch", "tiny-cnn-x4", "--student", "tiny-cnn", "--data", "sample"];
    let estimate = label().args(estimate).args(["--views", "all", "--epochs", "3", "--device", "cuda"]);
    let estimate = estimate.args(["--batch", "64", "--json"]).succeeds();
    let estimate: serde_json::Value = serde_json::from_str(&estimate).unwrap();
    let memory = &estimate["gpu"]["label"];
    assert_eq!((&memory["precision"], &memory["batch"]), (&"f32".into(), &64.into()));
    let bytes = memory["bytes"].as_u64().unwrap() as usize;
    let run = digits(&place.path("labels")).args(["--batch", "64"]).env("RSLAD_FAKE_CUDA_REPORT", "1");
    let ended = with_memory(run, &driver, bytes).ends();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let most = ended.stderr.split(" at most ").nth(1).unwrap_or_else(|| panic!("{}", ended.stderr));
    let most: usize = most.split(' ').next().unwrap().parse().unwrap();
    assert!(bytes <= most * 3 / 2, "{bytes} estimated, {most} taken");
}

#[test]
fn killed_on_a_gpu_and_run_again_gives_the_same_folder() {
    let place = Place::new();
    let whole = place.path("whole");
    let Some(run) = digits(&whole).on_gpu("a kill on a GPU") else { return };
    run.succeeds();
    let out = place.path("killed");
    let answers = out.join(".work/answers-00000");
    let kept = || std::fs::metadata(&answers).map_or(0, |meta| meta.len());
    for signal in ["KILL", "INT"] {
        let had = kept();
        let mut child = digits(&out).args(["--batch", "1"]).on_gpu("a kill on a GPU").unwrap().start();
        // An answer is 10 classes of 4 bytes and 20 bytes before them.
        while kept() < had + 60 * 10 && child.try_wait().unwrap().is_none() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        let id = child.id().to_string();
        let sent = std::process::Command::new("kill").args(["-s", signal, &id]).status().unwrap();
        assert!(sent.success(), "caught alive");
        let ended = crate::fixture::ended(&child.wait_with_output().unwrap());
        assert_eq!(ended.code, (signal == "INT").then_some(75), "{}", ended.stderr);
    }
    digits(&out).on_gpu("a kill on a GPU").unwrap().succeeds();
    assert!(tree(&out) == tree(&whole));
}
