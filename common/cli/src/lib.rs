//! What both binaries say and how: one progress, one stop signal, one set of exit codes, one way to print, one `--help`.
//!
//! A binary parses, chooses a verb and runs it; everything between that and the person before the terminal is here. No
//! result depends on this crate.

pub mod build;
mod end;
mod error;
mod exit;
pub mod help;
mod images;
mod label_set;
mod machine;
mod manual;
mod network;
mod parse;
mod part;
mod print;
mod progress;
mod screen;
mod signpost;
mod stop;
mod talk;
mod travel;
mod trust;
mod words;

pub use end::end;
pub use error::Error;
pub use exit::{Exit, Exits};
pub use images::{Unchanged, images, limited, say_if_beyond};
pub use label_set::label_set_facts;
pub use machine::{
    BATCH_ON_GPU, Machine, MachineArgs, Verdicts, one_to, refuse_too_large, usual_batch, whereabouts,
};
pub use manual::{COMPLETIONS, CompletionsArgs, ManualArgs};
pub use network::{NetworkArgs, foreign, say_notes};
pub use parse::{parse, parsed, whole};
pub use part::part;
pub use print::{detail, fail, json, note, print, say, show, warn};
pub use progress::{Progress, rate_in_words, time_in_words, with_commas};
pub use screen::mute;
pub use stop::{Interruptible, Stop};
pub use talk::{Form, TalkArgs};
pub use travel::{folder_of_labels, onlooker};
pub use trust::{doubt, first_look, largest};
pub use words::quoted;
