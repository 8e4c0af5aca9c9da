//! Published teachers on real images. Skipped unless `RSLAD_DATA` names a folder with `teachers`, `cifar10` and `mnist`.

use std::path::Path;

use crate::fixture::{Place, inspect, label, real_data};

/// Clean accuracy in percent of a teacher on the 10,000 test images.
fn clean(place: &Place, folder: &Path, teacher: &str, arch: &str, data: &str) -> f64 {
    let out = place.path("labels");
    let data = format!("{data}:{}", folder.join(data).display());
    let run =
        label().args(["run", "--split", "test", "--augment", "none", "--views", "all", "--dtype", "f32"]);
    let run = run
        .arg("--teacher")
        .arg(folder.join("teachers").join(teacher))
        .args(["--arch", arch, "--data", &data]);
    run.arg("--out").arg(&out).succeeds();
    let json = inspect(&out);
    assert_eq!(json["clean_rows"], 10_000);
    json["clean"].as_f64().unwrap()
}

/// 77.20 % and 99.48 % are what PyTorch counts with the same files.
#[test]
fn published_teachers_are_as_right_as_in_pytorch() {
    let Some(folder) = real_data("published teachers") else { return };
    let accuracy = clean(&Place::new(), &folder, "resnet4b_cifar10.pth", "resnet4b", "cifar10");
    assert!((accuracy - 77.20).abs() < 1e-9, "{accuracy}");
    let accuracy = clean(&Place::new(), &folder, "small_cnn_mnist.pt", "small-cnn", "mnist");
    assert!((accuracy - 99.48).abs() < 1e-9, "{accuracy}");
}
