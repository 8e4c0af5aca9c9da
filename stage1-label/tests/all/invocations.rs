//! What is said of wrong command lines, word for word.

use std::fs;
use std::path::Path;

use crate::fixture::{Place, label};

#[path = "../../../tests/src/invocations.rs"]
mod written;

#[test]
fn what_is_said_of_wrong_command_lines_is_what_is_written_down() {
    let place = Place::new();
    let out = place.path("labels");
    place.run(&out, 9).succeeds();
    let plan = ["plan", "--data", "sample", "--limit", "9", "--views", "all", "--out"];
    label().args(plan).arg(place.path("rows.parquet")).succeeds();
    fs::create_dir(place.path("notes")).unwrap();
    fs::write(place.path("notes/chapter1.txt"), "robustness").unwrap();
    fs::write(place.path("page.pt"), "<!DOCTYPE html><html><body>Sign in</body></html>").unwrap();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/invocations.txt");
    written::check(&file, env!("CARGO_BIN_EXE_label"), &place.path("").canonicalize().unwrap());
}
