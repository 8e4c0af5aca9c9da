//! AutoAttack's parts on a published network and real images, beside its authors' code. Skipped unless `RSLAD_DATA` names
//! a folder with `teachers` and `cifar10`.

use crate::fixture::Scene;

/// A norm, a radius, and how many images each attack alone leaves.
type Left = (&'static str, &'static str, &'static [(&'static str, usize)]);

/// What pyautoattack 0.2.0 leaves of the 81 of the first 100 CIFAR-10 test images that ResNet-4B has right, seed 0.
const LEFT: [Left; 2] = [
    ("linf", "2/255", &[("apgd-ce", 66), ("apgd-t", 66), ("fab-t", 66)]),
    ("l2", "0.5", &[("apgd-ce", 44), ("apgd-t", 42), ("fab-t", 42)]),
];

#[test]
fn each_attack_alone_leaves_at_most_one_image_more_than_the_authors_code_in_either_norm() {
    let Some(folder) = std::env::var_os("RSLAD_DATA").map(std::path::PathBuf::from) else {
        eprintln!("published attacks: skipped, RSLAD_DATA does not name a folder with real data");
        return;
    };
    let scene = Scene::new();
    let student = folder.join("teachers/resnet4b_cifar10.pth");
    let data = format!("cifar10:{}", folder.join("cifar10").display());
    for (norm, eps, attacks) in LEFT {
        let names: Vec<&str> = attacks.iter().map(|(name, _)| *name).collect();
        let names = names.join(",");
        let arguments =
            ["eval", "--student", student.to_str().unwrap(), "--arch", "resnet4b", "--data", &data];
        let how =
            ["--norm", norm, "--eps", eps, "--limit", "100", "--attack", &names, "--json", "report.json"];
        scene.run(&[&arguments[..], &how[..]].concat()).succeeds();
        let report = std::fs::read_to_string(scene.path("report.json")).unwrap();
        let report: serde_json::Value = serde_json::from_str(&report).unwrap();
        assert_eq!(report["right"]["clean"], 81);
        for (name, theirs) in attacks {
            let ours = report["right"][name].as_u64().unwrap() as usize;
            assert!(ours <= theirs + 1, "{name} in {norm}: {ours}, the authors' code leaves {theirs}");
            // Far fewer would be an attack that leaves the ball.
            assert!(ours + 2 >= *theirs, "{name} in {norm}: {ours}, the authors' code leaves {theirs}");
        }
    }
}
