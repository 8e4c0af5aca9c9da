//! Data on stdout, everything else on stderr; neither ends a run because its reader went away.

use std::fmt::Display;
use std::io::{self, Write};

use serde::Serialize;

use crate::Error;
use crate::screen::{self, Kind};
use crate::talk::talk;

/// Writes to stdout. A reader that has seen enough, such as `head`, is no failure; a full disk is.
pub fn print(text: &str) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(source) if source.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::Io { action: "write", path: "stdout".into(), source })
        }
        _ => Ok(()),
    }
}

/// Prints a value for people, or for programs as JSON.
pub fn show<T: Serialize + Display>(value: &T, as_json: bool) -> Result<(), Error> {
    print(&if as_json { json(value) } else { value.to_string() })
}

/// A value as JSON, with the line's end.
pub fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string_pretty(value).expect("what is reported is plain data") + "\n"
}

/// Writes a line to stderr, whatever was asked for: a finding.
pub fn say(line: impl Display) {
    screen::write(Kind::Note, &line);
}

/// Writes a line to stderr that `--quiet` spares its reader: what is done, and what came of it.
pub fn note(line: impl Display) {
    if !talk().quiet {
        say(line);
    }
}

/// Writes a line to stderr that only `--verbose` asks for: what was read, and from where.
pub fn detail(line: impl Display) {
    if talk().verbose {
        say(line);
    }
}

/// Writes `warning: ..` to stderr: the result stands, and is not what it may seem.
pub fn warn(text: impl Display) {
    screen::write(Kind::Warning, &text);
}
