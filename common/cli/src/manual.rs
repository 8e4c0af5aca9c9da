//! What a shell and `man` want to know of a binary, made from the same tables as `--help`.

use std::fs;
use std::path::PathBuf;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::{Error, print};

/// Flags of `completions`.
#[derive(Args)]
pub struct CompletionsArgs {
    /// Shell to complete in
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

impl CompletionsArgs {
    /// Prints what the shell has to read.
    pub fn run<C: CommandFactory>(&self) -> Result<(), Error> {
        let mut command = C::command();
        let name = command.get_name().to_owned();
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, name, &mut script);
        print(&String::from_utf8(script).expect("completions are text"))
    }
}

/// Where completions go, for `--help`.
pub const COMPLETIONS: &str = "\
bash   NAME completions bash > ~/.local/share/bash-completion/completions/NAME
zsh    NAME completions zsh > ~/.zfunc/_NAME, a folder of $fpath
fish   NAME completions fish > ~/.config/fish/completions/NAME.fish";

/// Flags of `manual`.
#[derive(Args)]
pub struct ManualArgs {
    /// Folder for the pages, made where there is none; `man -M` wants a folder around one named man1
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

impl ManualArgs {
    /// Writes a page for the binary and one for each of its verbs.
    pub fn run<C: CommandFactory>(&self) -> Result<(), Error> {
        fs::create_dir_all(&self.folder).map_err(Error::io("create", &self.folder))?;
        let command = C::command().disable_help_subcommand(true);
        clap_mangen::generate_to(command, &self.folder).map_err(Error::io("write", &self.folder))?;
        Ok(())
    }
}
