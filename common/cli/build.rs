//! Tells the program which commit it is built from, where git knows.

use std::path::Path;
use std::process::Command;

fn main() {
    // As it is now, not as it was when this was compiled: folders are moved.
    let here = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo says where the package is");
    let root = Path::new(&here).join("../..");
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(&root).args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned()).filter(|text| !text.is_empty())
    };
    // Only of a repository that holds this file: an unpacked archive may lie inside another one.
    let ours = git(&["ls-files", "--error-unmatch", "common/cli/build.rs"]).is_some();
    let commit = git(&["describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=+changes"]);
    println!("cargo::rustc-env=RSLAD_COMMIT={}", commit.filter(|_| ours).unwrap_or_default());
    // A commit moves the first two; the sources decide whether there are changes.
    for name in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", name]) {
            println!("cargo::rerun-if-changed={}", root.join(path).display());
        }
    }
    for folder in ["common", "data", "stage1-label/src", "stage2-distill/src"] {
        println!("cargo::rerun-if-changed={}", root.join(folder).display());
    }
}
