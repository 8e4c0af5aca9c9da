//! What ran which steps of a run. Equal bits are promised for one engine, one build and one instruction set: a run that
//! goes on elsewhere is the same run, and its record says where which part of it was made.

use std::fmt;
use std::path::Path;

use engine::{Engine, Hardware};
use serde::{Deserialize, Serialize};

/// What ran the steps from one on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Part {
    /// Steps of the run that were done before.
    pub after_step: usize,
    /// The engine, with the instruction set or the card that it found.
    pub engine: String,
    /// The version of `distill`.
    pub distill: String,
    /// The first digits of BLAKE3 of the program's file: the same sources compiled otherwise may round otherwise.
    pub build: String,
    /// The kind of machine.
    pub target: String,
}

impl Part {
    /// This process, from the step after so many on.
    pub fn here(engine: &dyn Engine, after_step: usize) -> Self {
        Self {
            after_step,
            engine: match engine.hardware() {
                // Equal bits are promised for one kind of card.
                Hardware { device, room: Some(_), .. } => format!("{} ({device})", engine.name()),
                _ => engine.name().into(),
            },
            distill: env!("CARGO_PKG_VERSION").into(),
            build: build().unwrap_or_else(|| "unknown".into()),
            target: format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
        }
    }

    /// Adds this process to the parts of a run where it is another than the last one; gives what is to be said then.
    pub fn join(parts: &mut Vec<Self>, here: Self) -> Option<String> {
        let note = match parts.last() {
            Some(last) if (Self { after_step: here.after_step, ..last.clone() }) == here => return None,
            // No step was made there.
            Some(last) if last.after_step == here.after_step => {
                parts.pop();
                return Self::join(parts, here);
            }
            Some(last) => Some(here.note(last.after_step, &last.to_string())),
            None if here.after_step > 0 => Some(here.note(0, "a version that did not say")),
            None => None,
        };
        parts.push(here);
        note
    }

    fn note(&self, from: usize, before: &str) -> String {
        let (first, last) = (from + 1, self.after_step);
        format!(
            "steps {first} to {last} ran on {before}; from here on it is {self}: it rounds otherwise, so the student is not that of a run made in one place"
        )
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { engine, distill, build, target, .. } = self;
        write!(f, "{engine} of distill {distill} (build {build}, {target})")
    }
}

fn build() -> Option<String> {
    let hash = weights::blake3_of_file(Path::new(&std::env::current_exe().ok()?)).ok()?;
    Some(hash.to_hex()[..12].into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(after_step: usize, engine: &str) -> Part {
        Part { engine: engine.into(), ..Part::here(&engine::Reference::new(1).unwrap(), after_step) }
    }

    #[test]
    fn a_run_that_goes_on_elsewhere_has_two_parts_and_says_so() {
        let mut parts = vec![];
        assert_eq!(Part::join(&mut parts, part(0, "cpu-avx512")), None);
        assert_eq!(Part::join(&mut parts, part(40, "cpu-avx512")), None, "the same place");
        let note = Part::join(&mut parts, part(60, "cpu-avx2")).unwrap();
        assert!(note.contains("steps 1 to 60 ran on cpu-avx512"), "{note}");
        assert!(note.contains("it is cpu-avx2"), "{note}");
        assert_eq!(parts, [part(0, "cpu-avx512"), part(60, "cpu-avx2")]);
    }

    #[test]
    fn a_place_where_no_step_was_made_leaves_no_part() {
        let mut parts = vec![part(0, "cpu-avx512"), part(60, "cpu-avx2")];
        assert_eq!(Part::join(&mut parts, part(60, "cpu-avx512")), None, "back where it was");
        assert_eq!(parts, [part(0, "cpu-avx512")]);
        let mut old = vec![];
        let note = Part::join(&mut old, part(9, "cpu-avx2")).unwrap();
        assert!(note.contains("steps 1 to 9 ran on a version that did not say"), "{note}");
    }

    #[test]
    fn another_build_of_one_engine_is_another_place() {
        let mut parts = vec![part(0, "cpu-avx2")];
        let other = Part { build: "another".into(), ..part(5, "cpu-avx2") };
        assert!(Part::join(&mut parts, other).is_some());
    }
}
