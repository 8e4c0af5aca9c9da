//! The end of a process.

use std::process::ExitCode;

use crate::Exits;
use crate::screen::{self, Kind};

/// Says why a command stopped, if it did, and gives the process's exit code: the last thing in `main`.
pub fn end<E: Exits>(result: Result<(), E>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !error.is_said() {
                screen::write(Kind::Error, &error);
            }
            ExitCode::from(error.exit() as u8)
        }
    }
}
