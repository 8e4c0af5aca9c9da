//! How much is said, and in which form: the flags that every command has, kept for the whole process.

use std::io::IsTerminal;
use std::sync::OnceLock;

use clap::{ArgAction, Args, ValueEnum};

/// How much a command says on stderr. No result depends on it.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct TalkArgs {
    /// Say nothing on stderr but warnings and errors
    #[arg(short, long, global = true, display_order = 910, action = ArgAction::SetTrue, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say more: what was read, and from where
    #[arg(short, long, global = true, display_order = 911, action = ArgAction::SetTrue)]
    pub verbose: bool,
    /// How progress is shown: bar, lines, json or none [default: bar on a terminal, else lines]
    #[arg(long, global = true, display_order = 912, value_name = "FORM", hide_possible_values = true)]
    pub progress: Option<Form>,
}

/// The forms of progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// One line that is drawn again and again.
    Bar,
    /// A line now and then.
    Lines,
    /// Everything that is said as JSON, an object a line.
    Json,
    /// Nothing.
    None,
}

/// What is said in this process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Talk {
    pub quiet: bool,
    pub verbose: bool,
    pub form: Form,
    /// Whether stderr is shown in colours.
    pub coloured: bool,
}

static TALK: OnceLock<Talk> = OnceLock::new();

impl TalkArgs {
    /// Keeps them for the process; early in `main`, before anything is said.
    pub fn configure(&self) {
        let _ = TALK.set(self.talk());
    }

    fn talk(self) -> Talk {
        let usual = if on_terminal() { Form::Bar } else { Form::Lines };
        let usual = if self.quiet { Form::None } else { usual };
        let form = self.progress.unwrap_or(usual);
        Talk { quiet: self.quiet, verbose: self.verbose, form, coloured: form != Form::Json && coloured() }
    }
}

/// What was configured, or the usual.
pub(crate) fn talk() -> Talk {
    *TALK.get_or_init(|| TalkArgs::default().talk())
}

/// Whether a line on stderr can be drawn again.
fn on_terminal() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("TERM").is_some_and(|term| term != "dumb")
}

/// clap's rule for its own messages, so that ours look alike: <https://bixense.com/clicolors> and <https://no-color.org>.
fn coloured() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty() && value != "0");
    let off = |name| std::env::var_os(name).is_some_and(|value| value == "0");
    if set("NO_COLOR") || off("CLICOLOR") {
        return false;
    }
    set("CLICOLOR_FORCE") || on_terminal()
}
