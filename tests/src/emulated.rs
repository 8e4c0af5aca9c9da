//! The emulated driver, which runs the GPU's kernels on the processor: built once for its sources, and found by whatever
//! process is given its folder. Included by path where a binary is built.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Whether tests run on the machine's own GPU.
pub fn on_hardware() -> bool {
    std::env::var_os("RSLAD_GPU").is_some()
}

/// A process's environment in which it finds the GPU.
pub fn with_gpu(command: &mut Command, test: &str) -> bool {
    if on_hardware() {
        return true;
    }
    let Some(folder) = emulated_driver(test) else { return false };
    command.env("LD_LIBRARY_PATH", folder);
    true
}

/// The folder of the emulated driver, built once for its sources.
pub fn emulated_driver(test: &str) -> Option<PathBuf> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    let built = BUILT.get_or_init(build).clone();
    if built.is_none() {
        eprintln!(
            "{test}: skipped, there is no C++ compiler (g++ or what CXX names) to build the emulated GPU"
        );
    }
    built
}

fn build() -> Option<PathBuf> {
    let engine = Path::new(env!("CARGO_MANIFEST_DIR")).join("../common/engine");
    let compiler = std::env::var_os("CXX").unwrap_or_else(|| "g++".into());
    let version = Command::new(&compiler).arg("--version").output().ok()?.stdout;
    let mut sources = version;
    let mut files: Vec<PathBuf> = ["kernels", "emulator"]
        .iter()
        .flat_map(|folder| std::fs::read_dir(engine.join(folder)).expect("the sources lie in the repository"))
        .map(|entry| entry.expect("a folder can be read").path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    for file in files {
        sources.extend(std::fs::read(&file).expect("a source can be read"));
    }
    // Beside the tests themselves, where Cargo keeps what it builds.
    let test = std::env::current_exe().expect("a test knows where it lies");
    let built = test.parent().expect("a file lies in a folder");
    let folder = built.join(format!("emulated-gpu-{:016x}", digest(&sources)));
    if !folder.join("libcuda.so.1").exists() {
        // Several test processes may build it at once: each in a folder of its own, and one of them stays.
        let own = tempfile::tempdir_in(built).expect("a folder can be made");
        let output = Command::new("bash").arg(engine.join("emulator/build")).arg(own.path()).output();
        let output = output.expect("bash runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let _ = std::fs::rename(own.keep(), &folder);
    }
    Some(folder)
}

/// FNV-1a: enough to tell one state of the sources from another.
fn digest(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
