//! Exit codes: what a script may go by, chosen by the cause of an error and not by the place where it was noticed.

use std::fmt::Display;
use std::io;

use engine::{DeviceError, EngineError};

/// What a process's exit code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 1: the command was right, what it looked at or computed is not.
    Failed = 1,
    /// 2: bad usage or input.
    Refused = 2,
    /// 74: the disk or the operating system.
    Disk = 74,
    /// 75: interrupted; the same command goes on.
    Interrupted = 75,
    /// 101: our bug, as a panic.
    Bug = 101,
}

impl Exit {
    /// A path that is not there or is of the wrong kind is the user's slip; anything else is the disk's.
    pub fn of_io(error: &io::Error) -> Self {
        use io::ErrorKind::{AlreadyExists, InvalidInput, IsADirectory, NotADirectory, NotFound};
        match error.kind() {
            NotFound | InvalidInput | IsADirectory | NotADirectory | AlreadyExists => Self::Refused,
            _ => Self::Disk,
        }
    }

    /// What a process that ended with this code said; one that is not in the table is a bug's.
    pub fn of_code(code: u8) -> Self {
        let known = [Self::Failed, Self::Refused, Self::Disk, Self::Interrupted];
        known.into_iter().find(|&exit| exit as u8 == code).unwrap_or(Self::Bug)
    }

    /// Ends the process at once, from whichever thread: nothing is flushed, closed or waited for.
    pub fn at_once(self) -> ! {
        signal_hook::low_level::exit(self as i32)
    }

    /// Threads that the system does not grant are no fault of the command; a device that is not there, or too small, is.
    pub fn of_engine(error: &EngineError) -> Self {
        match error {
            EngineError::Threads { .. } => Self::Disk,
            EngineError::Interrupted => Self::Interrupted,
            EngineError::Device(error) if matches!(**error, DeviceError::Failed { .. }) => Self::Failed,
            EngineError::Device(_)
            | EngineError::Precisions { .. }
            | EngineError::InstructionSet { .. }
            | EngineError::NoKernels { .. } => Self::Refused,
            _ => Self::Bug,
        }
    }
}

/// An error that knows its exit code.
pub trait Exits: Display {
    /// What to tell scripts.
    fn exit(&self) -> Exit;

    /// Whether another process of the same command says it, so that this one ends in silence.
    fn is_said(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `EX_IOERR` is 74 and `EX_TEMPFAIL` 75 in BSD's sysexits.h; 101 is what a Rust process that panicked exits with.
    #[test]
    fn codes_are_those_that_scripts_know() {
        let codes = [Exit::Failed, Exit::Refused, Exit::Disk, Exit::Interrupted, Exit::Bug];
        assert_eq!(codes.map(|code| code as u8), [1, 2, 74, 75, 101]);
        assert_eq!(codes.map(|code| Exit::of_code(code as u8)), codes);
    }

    #[test]
    fn a_slip_in_a_path_is_not_blamed_on_the_disk() {
        let of = |kind: io::ErrorKind| Exit::of_io(&kind.into());
        assert_eq!(of(io::ErrorKind::NotFound), Exit::Refused);
        assert_eq!(of(io::ErrorKind::IsADirectory), Exit::Refused);
        assert_eq!(of(io::ErrorKind::StorageFull), Exit::Disk);
        assert_eq!(of(io::ErrorKind::PermissionDenied), Exit::Disk);
    }
}
