//! Data on stdout, everything else on stderr; neither ends a run because its reader went away.

use std::fmt::Display;
use std::io::{self, Write};

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::{Formatter, PrettyFormatter};

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

/// Prints a value for people, or for programs as JSON. For people it is given the columns that it has, at most 80, as the
/// formatter's width: a table reads them there, everything else may leave them alone.
pub fn show<T: Serialize + Display>(value: &T, as_json: bool) -> Result<(), Error> {
    print(&if as_json { json(value) } else { format!("{value:0$}", screen::columns_of_stdout().min(80)) })
}

/// A value as JSON, with the line's end. A field has a line, and so has a list, however many numbers are in it.
pub fn json<T: Serialize>(value: &T) -> String {
    let mut text = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut text, ListsInLine::default());
    value.serialize(&mut serializer).expect("what is reported is plain data");
    String::from_utf8(text).expect("JSON is UTF-8") + "\n"
}

/// Objects over several lines, as usual; lists in one.
#[derive(Default)]
struct ListsInLine<'a>(PrettyFormatter<'a>);

impl Formatter for ListsInLine<'_> {
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.begin_object(out)
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_object(out)
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_object_key(out, first)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.begin_object_value(out)
    }

    fn end_object_value<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.0.end_object_value(out)
    }
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

/// Writes `error: ..` to stderr: why this process ends, where no error comes to `main`.
pub fn fail(text: impl Display) {
    screen::write(Kind::Error, &text);
}

#[cfg(test)]
mod tests {
    use serde_json::json as value;

    #[test]
    fn a_list_has_one_line_and_reads_back_as_it_was() {
        let report = value!({ "a": [1, 2.5, null], "b": { "c": [] }, "d": [{ "e": [[1], [2, 3]] }] });
        let text = super::json(&report);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), report);
        assert!(text.contains("\n  \"a\": [1, 2.5, null],\n  \"b\": {\n    \"c\": []\n  },\n"), "{text}");
        assert!(text.contains("\"e\": [[1], [2, 3]]\n"), "{text}");
    }
}
