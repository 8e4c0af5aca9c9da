//! What both binaries say of themselves.

use clap::{Command, CommandFactory};
use stage1_label::verb::Label;
use stage2_distill::verb::Distill;

fn binaries() -> [Command; 2] {
    [Label::command(), Distill::command()].map(|binary| {
        let mut binary = binary.term_width(80);
        binary.build();
        binary
    })
}

#[test]
fn every_verb_and_every_flag_says_what_it_is_in_eighty_columns() {
    for mut binary in binaries() {
        let name = binary.get_name().to_string();
        for verb in binary.get_subcommands_mut().filter(|verb| verb.get_name() != "help") {
            let name = format!("{name} {}", verb.get_name());
            // Without a line of its own a verb would show that of its flags.
            let about = verb.get_about().expect("a verb says what it does").to_string();
            assert!(!about.starts_with("Flags of"), "{name}: {about}");
            for arg in verb.get_arguments() {
                assert!(arg.get_help().is_some(), "{name} {}", arg.get_id());
            }
            let help = verb.render_long_help().to_string();
            // clap does not wrap the line of usage.
            let lines = help.lines().filter(|line| !line.starts_with("Usage:"));
            for line in lines {
                assert!(line.chars().count() <= 80, "{name}: {line}");
            }
        }
    }
}

#[test]
fn every_verb_takes_threads_device_and_precision() {
    for mut binary in binaries() {
        for verb in binary.get_subcommands_mut().filter(|verb| verb.get_name() != "help") {
            let long: Vec<&str> = verb.get_arguments().filter_map(clap::Arg::get_long).collect();
            for flag in ["threads", "device", "precision", "quiet", "verbose", "progress"] {
                assert!(long.contains(&flag), "{} has --{flag}", verb.get_name());
            }
            let device = verb.get_arguments().find(|arg| arg.get_long() == Some("device")).unwrap();
            assert_eq!(device.get_all_aliases(), Some(vec!["engine"]), "its former name works too");
            assert!(device.get_visible_aliases().is_none_or(|shown| shown.is_empty()), "and is not shown");
        }
    }
}
