//! The only way to stderr: lines that stay, and below them one line that is drawn again and again.
//!
//! Nothing here fails: what cannot be said is not worth a run, so a closed or full stderr is passed over.

use std::fmt::Display;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use serde_json::json;

use crate::talk::{Form, talk};

/// The line that is drawn again, as it stands on the terminal; none where there is none.
static DRAWN: Mutex<Option<String>> = Mutex::new(None);

/// Whether another process of the same command says what is to be said.
static MUTE: AtomicBool = AtomicBool::new(false);

/// From here on this process says why it stopped, and nothing else: another one of the same command speaks.
pub fn mute() {
    MUTE.store(true, Ordering::SeqCst);
}

fn is_mute() -> bool {
    MUTE.load(Ordering::SeqCst)
}

/// Back to the line's beginning, and what stands on it away.
const WIPE: &str = "\r\x1b[K";

/// What a line is to its reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Note,
    Warning,
    Error,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }

    /// clap's colours: its errors are bold red, what it suggests is green.
    fn label(self, coloured: bool) -> String {
        match (self, coloured) {
            (Self::Note, _) => String::new(),
            (Self::Warning, false) => "warning: ".into(),
            (Self::Error, false) => "error: ".into(),
            (Self::Warning, true) => "\x1b[1m\x1b[33mwarning:\x1b[0m ".into(),
            (Self::Error, true) => "\x1b[1m\x1b[31merror:\x1b[0m ".into(),
        }
    }
}

/// Writes a line that stays, or the lines of a message; the drawn line moves below them.
pub(crate) fn write(kind: Kind, text: &impl Display) {
    if is_mute() && kind != Kind::Error {
        return;
    }
    let talk = talk();
    let text = if talk.form == Form::Json {
        json!({ "event": kind.name(), "text": text.to_string() }).to_string()
    } else {
        let text = plain(&text.to_string());
        // What is wrong may hold a command to be copied: a terminal's own wrapping leaves it whole.
        let on_terminal = kind == Kind::Note && talk.form == Form::Bar;
        let text = if on_terminal { wrapped(&text, columns()) } else { text };
        painted(kind, &text, talk.coloured)
    };
    emit_line(&text);
}

/// A text whose names, which may come from somebody's file, move no cursor, change no colour and turn no text.
fn plain(text: &str) -> String {
    let is_loud = |sign: char| names::acts(sign) && sign != '\n';
    text.chars().map(|sign| if is_loud(sign) { '\u{fffd}' } else { sign }).collect()
}

/// Writes a line as it is.
pub(crate) fn write_raw(text: &str) {
    if !is_mute() {
        emit_line(text);
    }
}

fn emit_line(text: &str) {
    let drawn = DRAWN.lock().unwrap_or_else(PoisonError::into_inner);
    let line = match drawn.as_deref() {
        Some(below) => format!("{WIPE}{text}\n{below}"),
        None => format!("{text}\n"),
    };
    emit(&line);
}

/// Draws the line anew.
pub(crate) fn draw(line: String) {
    if is_mute() {
        return;
    }
    let mut drawn = DRAWN.lock().unwrap_or_else(PoisonError::into_inner);
    if drawn.as_ref() != Some(&line) {
        emit(&format!("{WIPE}{line}"));
    }
    *drawn = Some(line);
}

/// Takes the drawn line away.
pub(crate) fn wipe() {
    let mut drawn = DRAWN.lock().unwrap_or_else(PoisonError::into_inner);
    if drawn.take().is_some() {
        emit(WIPE);
    }
}

/// In one piece, so that lines of two threads do not mix.
fn emit(text: &str) {
    let mut stderr = io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}

/// The label, and the hint's label, in clap's colours.
fn painted(kind: Kind, text: &str, coloured: bool) -> String {
    let text = format!("{}{text}", kind.label(coloured));
    if coloured { text.replace("\nhint:", "\n\x1b[32mhint:\x1b[0m") } else { text }
}

/// Lines of at most so many columns, broken between words; what goes on below is set in by two.
fn wrapped(text: &str, columns: usize) -> String {
    let mut lines = Vec::new();
    for line in text.lines() {
        let words = line.trim_start();
        let mut filled = line[..line.len() - words.len()].to_owned();
        for word in words.split(' ') {
            let begins = filled.trim_start().is_empty();
            if !begins && filled.chars().count() + 1 + word.chars().count() >= columns {
                lines.push(std::mem::replace(&mut filled, format!("  {word}")));
                continue;
            }
            if !begins {
                filled.push(' ');
            }
            filled += word;
        }
        lines.push(filled);
    }
    lines.join("\n")
}

/// Columns of the terminal on stderr; 80 where it does not say.
pub(crate) fn columns() -> usize {
    columns_of(io::stderr())
}

/// Columns of the terminal on stdout; 80 where there is none, or it does not say.
pub(crate) fn columns_of_stdout() -> usize {
    columns_of(io::stdout())
}

fn columns_of(stream: impl std::os::fd::AsFd) -> usize {
    let size = rustix::termios::tcgetwinsize(stream).ok();
    size.map(|size| usize::from(size.ws_col)).filter(|&columns| columns > 0).unwrap_or(80)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_out_of_a_file_reach_the_terminal_without_its_commands() {
        assert_eq!(plain("took `a\u{1b}[31mb\r`\nhint: c"), "took `a\u{fffd}[31mb\u{fffd}`\nhint: c");
    }

    #[test]
    fn lines_break_between_words_and_go_on_set_in() {
        assert_eq!(wrapped("one two three\nfour", 80), "one two three\nfour");
        assert_eq!(wrapped("one two three four", 9), "one two\n  three\n  four");
        assert_eq!(
            wrapped("  a-word-that-is-longer-than-a-line b", 9),
            "  a-word-that-is-longer-than-a-line\n  b"
        );
    }

    #[test]
    fn errors_have_claps_colours_where_there_are_colours_and_none_elsewhere() {
        let text = "no such thing\nhint: look elsewhere";
        assert_eq!(painted(Kind::Error, text, false), format!("error: {text}"));
        let coloured = painted(Kind::Error, text, true);
        // What clap's own error begins with under `Styles::styled()`, its default.
        assert!(coloured.starts_with("\x1b[1m\x1b[31merror:\x1b[0m no such thing\n"), "{coloured:?}");
        assert!(coloured.ends_with("\x1b[32mhint:\x1b[0m look elsewhere"), "{coloured:?}");
    }
}
