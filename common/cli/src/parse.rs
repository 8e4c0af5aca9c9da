//! From a command line to typed arguments, and what is said of one that will not do: what was found, and a hint.

use std::error::Error as _;
use std::ffi::OsString;
use std::num::{IntErrorKind, ParseIntError};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, Parser};

use crate::Exit;
use crate::screen::{self, Kind};
use crate::signpost::{self, instead_of, own_name};
use crate::talk::TalkArgs;
use crate::words::quoted;

/// Parses the process's command line, or says what is wrong with it and ends the process.
pub fn parse<T: Parser>() -> T {
    let words: Vec<OsString> = std::env::args_os().collect();
    parsed(&words).unwrap_or_else(|(error, message)| {
        let Some(message) = message else { error.exit() };
        TalkArgs::default().configure();
        screen::write(Kind::Error, &message);
        std::process::exit(Exit::Refused as i32)
    })
}

/// A command line of these words, the program's name first; else clap's error with what is said in its place, of which there is
/// none where clap says it well, such as help.
pub fn parsed<T: Parser>(words: &[OsString]) -> Result<T, (clap::Error, Option<String>)> {
    T::try_parse_from(words).map_err(|error| {
        let words: Vec<String> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        let mut command = T::command();
        command.build();
        let message = explain(&error, &command, &words);
        (error, message)
    })
}

/// A whole number of a flag, in words where it is none.
pub fn whole<const LEAST: u32, const MOST: u32>(text: &str) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| (LEAST..=MOST).contains(number));
    number.ok_or_else(|| match MOST {
        u32::MAX => format!("wanted a whole number of at least {LEAST}"),
        _ => format!("wanted a whole number from {LEAST} to {MOST}"),
    })
}

/// Whether an argument without a flag is what a flag of this name is elsewhere: a run is judged by its student.
fn takes(arg: &Arg, flag: &str) -> bool {
    is_of(arg, "RUN") && flag == "student"
}

/// Whether help calls an argument's value so.
fn is_of(arg: &Arg, value: &str) -> bool {
    arg.get_value_names().is_some_and(|names| names.iter().any(|name| name.as_str() == value))
}

/// What is wrong, and a hint; none for what clap says well by itself, such as help.
fn explain(error: &clap::Error, root: &Command, words: &[String]) -> Option<String> {
    let (command, path, rest) = subcommand(root, words);
    let help = format!("`{path} --help` lists what it takes");
    let text = |kind| match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        ContextValue::Strings(texts) => Some(texts.join(", ")),
        _ => None,
    };
    let flag = || text(ContextKind::InvalidArg).unwrap_or_default();
    Some(match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
        | ErrorKind::MissingSubcommand => return None,
        ErrorKind::UnknownArgument => {
            let flag = flag();
            if flag.parse::<f64>().is_ok() {
                let before = rest.iter().zip(rest.iter().skip(1)).find(|(_, word)| **word == flag);
                let before = before.map(|(before, _)| before.as_str()).unwrap_or_default();
                let (name, hint) = match argument(command, before) {
                    Some(_) if before.starts_with("--") => {
                        (format!("{before} "), meaning(command, before, &help))
                    }
                    _ => (String::new(), format!("\nhint: {help}")),
                };
                return Some(format!("{name}{flag}: no number here is below zero{hint}"));
            }
            let said = |name: &str| said(rest, name);
            let has = |name: &str| command.get_arguments().any(|arg| arg.get_long() == Some(name));
            let near =
                || text(ContextKind::SuggestedArg).map(|near| format!("did you mean `{near}`? {help}"));
            let way = if flag.starts_with('-') {
                // What stands without a flag here has one elsewhere.
                let bare =
                    command.get_positionals().find(|arg| own_name(&flag, &|own| takes(arg, own)).is_some());
                let bare = bare.map(|arg| {
                    let value = arg.get_value_names().map_or("VALUE", |names| names[0].as_str());
                    format!("it is given without a flag, as in `{path} {value}`")
                });
                bare.or_else(|| instead_of(&flag, &has, &said)).or_else(near).unwrap_or(help)
            } else {
                format!("everything is given by flags; {help}")
            };
            format!("{path} has no {}\nhint: {way}", called(&flag))
        }
        ErrorKind::InvalidSubcommand => {
            let given = text(ContextKind::InvalidSubcommand).unwrap_or_default();
            let known = || command.get_subcommands().map(Command::get_name).filter(|name| *name != "help");
            match signpost::command(&given, &|name| known().any(|known| known == name)) {
                Some(way) => format!("unknown command `{given}`\nhint: {way}"),
                None => names::Unknown::new("command", &given, known()).to_string(),
            }
        }
        ErrorKind::MissingRequiredArgument => missing(error, command, &path, rest),
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            let (flag, value) = (flag(), text(ContextKind::InvalidValue).unwrap_or_default());
            let name = flag.split(' ').next().unwrap_or_default();
            if value.is_empty() {
                let hint = meaning(command, name, &help);
                return Some(format!("{name} wants a value: {}{hint}", flag.trim_end_matches("...")));
            }
            let wanted = match (error.source(), text(ContextKind::ValidValue)) {
                (_, Some(known)) => format!("wanted one of {known}"),
                (Some(source), None) => {
                    source.downcast_ref().map_or_else(|| source.to_string(), |error| number(error).into())
                }
                (None, None) => "no such value".into(),
            };
            // Some name what was given once more: `split `valid`: wanted ..`.
            let again = format!("`{value}`: ");
            let wanted = match wanted.split_once(&again) {
                Some((what, rest)) if !what.contains('\n') && what.len() < 16 => rest.to_owned(),
                _ => wanted,
            };
            let hint =
                if wanted.contains("\nhint: ") { String::new() } else { meaning(command, name, &help) };
            format!("{name} {}: {wanted}{hint}", quoted(&value))
        }
        _ => {
            // clap's own words, without its usage: the help has it.
            let said = error.to_string();
            let first: Vec<&str> = said.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
            format!("{}\nhint: {help}", first.join(" ").trim_start_matches("error: "))
        }
    })
}

/// How a stray word is called: flags by their name, anything else in quotes.
fn called(word: &str) -> String {
    if word.starts_with('-') { word.into() } else { format!("place for `{word}`") }
}

/// The subcommand that the words lead to, what it is called from the shell, and the words after it.
fn subcommand<'a, 'w>(root: &'a Command, words: &'w [String]) -> (&'a Command, String, &'w [String]) {
    let found = words.iter().enumerate().skip(1).find_map(|(place, word)| {
        let is = |command: &&Command| !word.is_empty() && command.get_name().starts_with(word.as_str());
        root.get_subcommands().find(is).map(|command| (place, command))
    });
    match found {
        Some((place, command)) => {
            (command, format!("{} {}", root.get_name(), command.get_name()), &words[place + 1..])
        }
        None => (root, root.get_name().into(), &words[words.len().min(1)..]),
    }
}

/// What the words give a flag: `--beta 6` or `--beta=6`.
fn said(words: &[String], name: &str) -> Option<String> {
    let place = words.iter().position(|word| word == name || word.starts_with(&format!("{name}=")))?;
    let own = words[place].split_once('=').map(|(_, value)| value);
    own.or_else(|| words.get(place + 1).map(String::as_str)).map(str::to_owned)
}

/// All that is missing, and the whole command with it.
fn missing(error: &clap::Error, command: &Command, path: &str, given: &[String]) -> String {
    let Some(ContextValue::Strings(missing)) = error.get(ContextKind::InvalidArg) else {
        return format!("{path} wants more arguments\nhint: `{path} --help` lists them");
    };
    let mut whole: Vec<String> = given.iter().map(|word| quoted(word)).collect();
    // One of what there may be several of is enough.
    let missing: Vec<&str> = missing.iter().map(|wanted| wanted.trim_end_matches("...")).collect();
    for wanted in &missing {
        let name = wanted.split(' ').next().unwrap_or_default();
        let arg = argument(command, name);
        let example = arg.map_or("..", example);
        whole.push(if name.starts_with('-') { format!("{name} {example}") } else { example.into() });
    }
    format!("{path} wants {}\nhint: for example `{path} {}`", missing.join(", "), whole.join(" "))
}

/// The argument whose flag, or place, is called `name`.
fn argument<'a>(command: &'a Command, name: &str) -> Option<&'a Arg> {
    let long = name.trim_start_matches('-');
    command.get_arguments().find(|arg| match arg.get_long() {
        Some(own) => own == long,
        None => is_of(arg, name.trim_matches(['<', '>', '[', ']'])),
    })
}

/// A value that the argument may well have.
fn example(arg: &Arg) -> &'static str {
    let value = arg.get_value_names().and_then(|names| names.first()).map_or("", |name| name.as_str());
    match (arg.get_id().as_str(), value) {
        ("teacher_arch", _) => "wrn-34-10",
        ("student" | "arch", "NAME") => "resnet18",
        ("student", _) => "run/student.safetensors",
        ("teacher_name", _) => "my-teacher",
        (_, "DATASET") => "sample",
        (_, "WEIGHTS") => "teacher.safetensors",
        (_, "SPEC") => "all",
        (_, "LABELS") => "labelled",
        (_, "DIR") | ("dir", _) => "labels",
        ("out", "FOLDER") => "runs",
        ("folder", "FOLDER") => "man1",
        ("file", "FILE") => "runs.toml",
        (_, "FORM") => "onnx",
        (_, "SHELL") => "bash",
        (_, "RUN") => "run",
        (_, "ROWS.parquet") => "rows.parquet",
        (_, "FILE.npy") => "logits.npy",
        (_, "E") => "300",
        (_, "FRACTION") => "8/255",
        (_, "N" | "S") => "1",
        _ => "..",
    }
}

/// `hint: ..` with what the flag means.
fn meaning(command: &Command, name: &str, help: &str) -> String {
    let line = argument(command, name).and_then(Arg::get_help).map(ToString::to_string);
    match line {
        Some(line) => format!("\nhint: {name}: {line}"),
        None => format!("\nhint: {help}"),
    }
}

/// Rust's words for a number that is none, in ours.
fn number(error: &ParseIntError) -> &'static str {
    match error.kind() {
        IntErrorKind::Zero => "wanted a whole number of at least 1",
        IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "wanted a smaller number",
        _ => "wanted a whole number, in digits alone",
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use clap::Subcommand;

    use super::*;

    #[derive(Parser)]
    #[command(name = "tea", infer_subcommands = true)]
    struct Tea {
        #[command(subcommand)]
        verb: Verb,
    }

    #[derive(Subcommand)]
    enum Verb {
        /// Brew it
        Brew {
            /// Leaves
            #[arg(long, value_name = "DATASET")]
            data: String,
            /// Where it goes
            #[arg(long, value_name = "DIR")]
            out: String,
            /// Cups
            #[arg(long, value_name = "N")]
            batch: Option<NonZeroUsize>,
            /// Minutes
            #[arg(long, value_name = "N", value_parser = whole::<2, 10>)]
            minutes: Option<u32>,
        },
    }

    fn said(words: &str) -> String {
        let words: Vec<String> = words.split(' ').map(Into::into).collect();
        let error = Tea::try_parse_from(&words).err().expect("it is wrong");
        let mut command = <Tea as clap::CommandFactory>::command();
        command.build();
        explain(&error, &command, &words).expect("it is no help")
    }

    #[test]
    fn all_that_is_missing_is_said_at_once_with_a_whole_command() {
        assert_eq!(
            said("tea brew --batch 3"),
            "tea brew wants --data <DATASET>, --out <DIR>\nhint: for example `tea brew --batch 3 --data sample --out labels`"
        );
    }

    #[test]
    fn a_flag_from_elsewhere_is_called_by_its_name_here_and_a_slip_is_recognised() {
        let flags = "--data x --out y";
        assert_eq!(
            said(&format!("tea brew {flags} --batch_size 3")),
            "tea brew has no --batch_size\nhint: it is called --batch here"
        );
        let slip = said(&format!("tea brew {flags} --minuets 3"));
        assert!(slip.starts_with("tea brew has no --minuets\nhint: did you mean `--minutes`?"), "{slip}");
        let stray = said(&format!("tea brew {flags} green"));
        assert!(
            stray.starts_with("tea brew has no place for `green`\nhint: everything is given by"),
            "{stray}"
        );
    }

    #[test]
    fn a_number_below_zero_names_its_flag() {
        let flags = "--data x --out y";
        let below = "no number here is below zero\nhint: ";
        assert_eq!(
            said(&format!("tea brew {flags} --batch -1")),
            format!("--batch -1: {below}--batch: Cups")
        );
        assert_eq!(
            said(&format!("tea brew {flags} -1")),
            format!("-1: {below}`tea brew --help` lists what it takes")
        );
    }

    #[test]
    fn numbers_are_refused_in_words() {
        for (words, wanted) in [
            ("--batch 0", "--batch 0: wanted a whole number of at least 1\nhint: --batch: Cups"),
            ("--batch 1e3", "--batch 1e3: wanted a whole number, in digits alone\nhint: --batch: Cups"),
            (
                "--batch 99999999999999999999",
                "--batch 99999999999999999999: wanted a smaller number\nhint: --batch: Cups",
            ),
            ("--minutes 11", "--minutes 11: wanted a whole number from 2 to 10\nhint: --minutes: Minutes"),
        ] {
            assert_eq!(said(&format!("tea brew --data x --out y {words}")), wanted);
        }
    }

    #[test]
    fn a_command_that_is_not_there_is_answered_with_the_ones_that_are() {
        assert_eq!(said("tea brwe"), "unknown command `brwe`\nhint: did you mean `brew`? known: brew");
    }
}
