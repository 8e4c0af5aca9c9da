//! Wrong command lines and what is said of them, word for word: a file that people read and a test checks.
//!
//! A block is `$ COMMAND LINE`, `exit CODE`, and what the command says on stderr; an empty line ends it. Lines before the
//! first block, and headings that begin with `#`, are for people. With `RSLAD_WRITE_INVOCATIONS=1` the file is written
//! anew, to be read before it is committed. Included by path where the binary is built.

use std::fmt::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Runs every command line of the file in `folder` with `program` and compares.
pub fn check(file: &Path, program: &str, folder: &Path) {
    let text = std::fs::read_to_string(file).unwrap();
    let mut found = String::new();
    for block in text.trim_end().split("\n\n") {
        let line = block.lines().find_map(|line| line.strip_prefix("$ "));
        let Some(line) = line else {
            writeln!(found, "{block}\n").unwrap();
            continue;
        };
        writeln!(found, "$ {line}\n{}\n", said(line, program, folder)).unwrap();
    }
    let found = found.trim_end().to_owned() + "\n";
    if std::env::var_os("RSLAD_WRITE_INVOCATIONS").is_some() {
        return std::fs::write(file, &found).unwrap();
    }
    let mut wanted = text.split("\n\n");
    for block in found.split("\n\n") {
        assert_eq!(Some(block.trim_end()), wanted.next().map(str::trim_end), "said, and written down");
    }
    assert_eq!(wanted.next(), None);
}

/// The exit code and stderr of one command line; the folder itself is said as `HERE`.
fn said(line: &str, program: &str, folder: &Path) -> String {
    let words = line.split(' ').skip(1);
    let mut child = Command::new(program)
        .args(words)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .env_remove("CLICOLOR_FORCE")
        .spawn()
        .unwrap();
    // What was wrong once may be understood one day, and train for hours.
    let began = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if began.elapsed() > Duration::from_mins(1) {
            child.kill().unwrap();
            panic!("{line}: is no wrong command line any more");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "{line}: is no wrong command line any more");
    assert!(!stderr.contains("panicked"), "{line}: {stderr}");
    let lines = stderr.trim_end().lines().filter(|line| !line.is_empty());
    let text = lines.collect::<Vec<_>>().join("\n");
    let here = folder.canonicalize().unwrap();
    let text = text.replace(here.to_str().unwrap(), "HERE").replace(folder.to_str().unwrap(), "HERE");
    format!("exit {}\n{text}", output.status.code().unwrap())
}
