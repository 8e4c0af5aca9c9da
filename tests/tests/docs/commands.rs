//! Command lines of the pages, as the programs of today read them.
//!
//! A line of a block is to be typed: it must be whole. A command in a sentence is a mention: its verb, flags and values
//! must be there, but what else it needs may be left out. A value that is called as help calls it (`--mode MODE`, `--batch N`)
//! stands for any.

use std::fs;

use clap::error::ErrorKind;
use clap::{ArgMatches, Command, CommandFactory};
use data::DatasetSpec;
use method::{attack, objective};
use stage1_label::verb::Label;
use stage2_distill::config::{Layers, SETTINGS};
use stage2_distill::export::FORMS;
use stage2_distill::verb::Distill;
use zoo::Task;

use crate::{pages_in, root};

/// A command line of a page.
struct Written {
    page: String,
    line: String,
    is_mention: bool,
}

/// Every command line of one of the two programs, in the order of the page.
fn written(page: &str, text: &str) -> Vec<Written> {
    let mut found = Vec::new();
    let mut keep = |line: &str, is_mention: bool| {
        let line = line.split(" #").next().unwrap_or_default().trim();
        let line = line.strip_prefix("$ ").unwrap_or(line);
        if ["label ", "distill "].iter().any(|name| line.starts_with(name)) {
            found.push(Written { page: page.into(), line: line.into(), is_mention });
        }
    };
    for (place, part) in text.split("```").enumerate() {
        let whole = part.replace("\\\n", " ");
        if place % 2 == 1 {
            whole.lines().for_each(|line| keep(line, false));
            continue;
        }
        for line in whole.lines() {
            match line.strip_prefix("    ") {
                Some(line) => keep(line, false),
                None => line.split('`').skip(1).step_by(2).for_each(|code| keep(code, true)),
            }
        }
    }
    found
}

/// The words of a command line without what stands for more of them; whether anything did.
fn words(line: &str) -> (Vec<String>, bool) {
    assert!(!line.contains(['"', '\'']), "no quotes are read here: {line}");
    let all: Vec<&str> = line.split_whitespace().collect();
    let (mut kept, mut cut) = (Vec::new(), false);
    for word in &all {
        if ["..", "..."].contains(word) {
            // Behind a flag it is the value that is left out.
            kept.pop_if(|flag: &mut String| flag.starts_with("--"));
            cut = true;
        } else {
            kept.push(word.trim_end_matches("...").replace("SEED", "0"));
        }
    }
    (kept, cut)
}

/// The same command with nothing required of a command line.
fn lenient(command: Command) -> Command {
    command.mut_args(|arg| arg.required(false)).mut_subcommands(lenient)
}

/// The words with a value in place of each that only names its flag's.
fn filled(command: &Command, words: &[String]) -> Vec<String> {
    let verb = words.get(1).and_then(|name| command.find_subcommand(name)).unwrap_or(command);
    let mut filled = words.to_vec();
    for at in 1..words.len() {
        let flag = words[at - 1].strip_prefix("--").unwrap_or_default();
        let Some(arg) = verb.get_arguments().find(|arg| arg.get_long() == Some(flag)) else { continue };
        let is_name = |name: &str| name == words[at] && name.chars().all(char::is_uppercase);
        if arg.get_value_names().is_some_and(|names| names.iter().any(|name| is_name(name))) {
            let default = arg.get_default_values().first().map(|value| value.to_string_lossy().into_owned());
            filled[at] =
                default.unwrap_or_else(|| if words[at].len() == 1 { "1".into() } else { words[at].clone() });
        }
    }
    filled
}

/// What is wrong with the values of a verb's flags that clap takes as any text.
fn wrong_value(verb: &str, given: &ArgMatches) -> Option<String> {
    let task = Task { input: [3, 32, 32], classes: 10 };
    for id in given.ids().map(clap::Id::as_str) {
        let Ok(Some(values)) = given.try_get_raw(id) else { continue };
        if given.value_source(id) == Some(clap::parser::ValueSource::DefaultValue) {
            continue;
        }
        for value in values {
            let value = value.to_string_lossy();
            if value.chars().all(|sign| sign.is_uppercase() || sign == '_') || value.starts_with("..") {
                continue;
            }
            let is_file = value.contains(['/', '.']) || value.starts_with("onnx:");
            let found = match id {
                "student" | "arch" | "teacher_arch" if !is_file => {
                    zoo::build(&value, task).map(drop).map_err(|e| e.to_string())
                }
                "objective" => objective::find(&value).map(drop).map_err(|e| e.to_string()),
                "attack" => {
                    let names: Vec<String> = value.split(',').map(str::to_owned).collect();
                    attack::chains(&names).map(drop).map_err(|e| e.to_string())
                }
                // A name alone is looked up on the disk.
                "data" if value.contains(':') || value == "sample" => {
                    value.parse::<DatasetSpec>().map(drop).map_err(|e| e.to_string())
                }
                "to" => names::find(FORMS, &value).map(drop).map_err(|e| e.to_string()),
                _ => Ok(()),
            };
            if let Err(what) = found {
                return Some(format!("--{id} {value}: {what}"));
            }
        }
    }
    (verb == "train").then(|| wrong_setting(given).err()).flatten()
}

/// The settings of `distill train`, which a table reads.
fn wrong_setting(given: &ArgMatches) -> Result<(), String> {
    let said = |error: stage2_distill::config::ConfigError| error.to_string();
    let mut layers = Layers::defaults();
    if let Some(preset) = given.get_one::<String>("preset") {
        layers.preset(preset).map_err(said)?;
    }
    for assignment in given.get_many::<String>("set").into_iter().flatten() {
        layers.set(assignment).map_err(said)?;
    }
    for setting in SETTINGS {
        let Ok(Some(value)) = given.try_get_one::<String>(setting.key) else { continue };
        if value != "NAME" {
            layers.put("the page", setting.key, value).map_err(said)?;
        }
    }
    // What is left out of a mention is no fault of it.
    if layers.missing().is_empty() { layers.resolve().map(drop).map_err(said) } else { Ok(()) }
}

/// What today's programs say against a command line.
fn refusal(written: &Written) -> Option<String> {
    let (words, is_cut) = words(&written.line);
    let mut command = if words[0] == "label" { Label::command() } else { Distill::command() };
    command.build();
    let words = filled(&command, &words);
    let is_help = |word: &String| word == "--help" || word == "--version";
    if words.iter().skip(1).any(is_help) {
        let verb = words.get(1).filter(|word| !is_help(word));
        return verb
            .filter(|verb| command.find_subcommand(verb).is_none())
            .map(|verb| format!("no verb {verb}"));
    }
    let is_part = written.is_mention || is_cut;
    let command = if is_part { lenient(command) } else { command };
    let is_short = |error: &clap::Error| is_part && error.kind() == ErrorKind::MissingRequiredArgument;
    // What a run's folder stands for is often told in words.
    let more = [&words[..], &["RUN".to_owned()]].concat();
    let matches = command.clone().try_get_matches_from(&words);
    let matches = match matches {
        Err(error) if is_short(&error) => command.try_get_matches_from(&more).map_err(|_| error),
        matches => matches,
    };
    let matches = match matches {
        Ok(matches) => matches,
        Err(error) if is_short(&error) => return None,
        Err(error) => return Some(error.to_string()),
    };
    let (verb, given) = matches.subcommand()?;
    wrong_value(verb, given)
}

/// All of the pages.
fn all() -> Vec<Written> {
    let pages = pages_in("").into_iter().chain(pages_in("docs"));
    let of = |page: std::path::PathBuf| {
        let name = page.strip_prefix(root()).unwrap().display().to_string();
        // The changelog tells of former command lines, the plan of later ones.
        let is_read = !["CHANGELOG.md", "docs/plan.md"].contains(&name.as_str());
        if is_read { written(&name, &fs::read_to_string(&page).unwrap()) } else { Vec::new() }
    };
    pages.flat_map(of).collect()
}

#[test]
fn every_command_line_of_the_pages_is_one_that_the_programs_take() {
    let all = all();
    let whole = all.iter().filter(|written| !written.is_mention).count();
    assert!(whole > 30 && all.len() > 80, "only {whole} of {} commands were found", all.len());
    let refused: Vec<String> = all
        .iter()
        .filter_map(|written| {
            refusal(written).map(|what| format!("{}: {}\n{what}", written.page, written.line))
        })
        .collect();
    assert!(refused.is_empty(), "{}", refused.join("\n\n"));
}

#[test]
fn command_lines_that_the_programs_refuse_are_seen_wherever_they_stand() {
    let page = "```\n$ distill train --data sample --student tiny-cnn --objective sat --out run   # a comment\n\
                label run --teacher t.pt --data sample\n```\n    distill eval run --limit \\\n  10\n\n\
                `distill eval --attak pgd20` and `label verify DIR --recompute N`, `distill bench --mode MODE`\n\
                `distill train --set colour=red`, `distill train --objective rslat`, `distill eval --attack pgd`\n\
                `distill train --student resnet19`, `label run --views plan:0@0`, `distill export run --to tflite`\n\
                `distill eval run --data cifar11:x`, `label paint`, `distill train --epochs many`, `label run ... --eps`\n";
    let all = written("page", page);
    let whole: Vec<&str> =
        all.iter().filter(|written| !written.is_mention).map(|written| written.line.as_str()).collect();
    let wanted = [
        "distill train --data sample --student tiny-cnn --objective sat --out run",
        "label run --teacher t.pt --data sample",
        "distill eval run --limit    10",
    ];
    assert_eq!(whole, wanted);
    let refused: Vec<&str> = all
        .iter()
        .filter(|written| refusal(written).is_some())
        .map(|written| written.line.as_str())
        .collect();
    let wanted = [
        "label run --teacher t.pt --data sample",
        "distill eval --attak pgd20",
        "distill train --set colour=red",
        "distill train --objective rslat",
        "distill eval --attack pgd",
        "distill train --student resnet19",
        "label run --views plan:0@0",
        "distill export run --to tflite",
        "distill eval run --data cifar11:x",
        "label paint",
        "distill train --epochs many",
        "label run ... --eps",
    ];
    assert_eq!(refused, wanted);
}
