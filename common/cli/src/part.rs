//! `--part`: which share of the work is this process's, as given or as the scheduler says.

use std::env;

use labels::Part;

/// Where schedulers say which of several processes this is, counted from a first one; and of how many.
struct Scheduler {
    name: &'static str,
    index: &'static str,
    /// The number of the first and the distance of two, where they are not 0 and 1.
    first: Option<&'static str>,
    step: Option<&'static str>,
    count: Option<&'static str>,
}

/// A step of several tasks inside an element of an array is neither, and refused.
const SCHEDULERS: [Scheduler; 3] = [
    Scheduler {
        name: "SLURM array",
        index: "SLURM_ARRAY_TASK_ID",
        first: Some("SLURM_ARRAY_TASK_MIN"),
        step: Some("SLURM_ARRAY_TASK_STEP"),
        count: Some("SLURM_ARRAY_TASK_COUNT"),
    },
    Scheduler {
        name: "SLURM step",
        index: "SLURM_PROCID",
        first: None,
        step: None,
        count: Some("SLURM_NTASKS"),
    },
    Scheduler {
        name: "Kubernetes Indexed Job",
        index: "JOB_COMPLETION_INDEX",
        first: None,
        step: None,
        count: None,
    },
];

/// The value of `--part`: `I/N` counted from 0; `auto`, as SLURM's array or step says; `auto/N`, whose number alone SLURM or
/// Kubernetes says.
pub fn part(text: &str) -> Result<Part, String> {
    resolve(text, |name| env::var(name).ok())
}

fn resolve(text: &str, variable: impl Fn(&str) -> Option<String>) -> Result<Part, String> {
    let Some(rest) = text.strip_prefix("auto") else { return text.parse() };
    let of = match rest.strip_prefix('/').map(str::parse) {
        None if rest.is_empty() => None,
        Some(Ok(of @ 1..=Part::MOST)) => Some(of),
        _ => return Err(format!("`{text}` is neither auto nor auto/N")),
    };
    let number = |name: &str| variable(name).and_then(|value| value.parse::<usize>().ok());
    let Some(scheduler) = SCHEDULERS.iter().find(|by| variable(by.index).is_some()) else {
        let names = SCHEDULERS.map(|by| by.index).join(", ");
        return Err(format!("no scheduler says which part this is: none of {names} is set"));
    };
    let Scheduler { name, count, first, step, .. } = scheduler;
    let said = variable(scheduler.index).unwrap_or_default();
    let index = said.parse().map_err(|_| format!("{} is `{said}`, which is no number", scheduler.index))?;
    if variable(SCHEDULERS[0].index).is_some() && number("SLURM_NTASKS").is_some_and(|tasks| tasks > 1) {
        return Err("a SLURM step of several tasks in an element of an array: write I/N".into());
    }
    if let Some(of) = of {
        // Of an array that was begun again in part, the scheduler counts what it begins.
        return if index < of {
            Ok(Part { index, of })
        } else {
            Err(format!("the {name} says {index}, and parts of {of} are 0 to {}", of - 1))
        };
    }
    let of = count.and_then(&number).filter(|of| (1..=Part::MOST).contains(of));
    let of = of.ok_or_else(|| format!("the {name} does not say of how many: write auto/N"))?;
    let or = |name: Option<&str>, usual| name.and_then(&number).unwrap_or(usual);
    let step = or(*step, 1).max(1);
    let offset = usize::checked_sub(index, or(*first, 0)).filter(|offset| offset % step == 0);
    let index = offset.map(|offset| offset / step).filter(|&index| index < of);
    let index = index.ok_or_else(|| format!("the {name} has gaps: write auto/N, and number it 0 to N-1"))?;
    Ok(Part { index, of })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(text: &str, variables: &[(&str, &str)]) -> Result<String, String> {
        let variable = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        resolve(text, variable).map(|part| part.to_string())
    }

    /// Of `sbatch --array=RANGE`, as Slurm's manual of sbatch has its variables.
    fn array(
        id: &'static str,
        count: &'static str,
        min: &'static str,
        step: &'static str,
    ) -> [(&'static str, &'static str); 4] {
        [
            ("SLURM_ARRAY_TASK_ID", id),
            ("SLURM_ARRAY_TASK_COUNT", count),
            ("SLURM_ARRAY_TASK_MIN", min),
            ("SLURM_ARRAY_TASK_STEP", step),
        ]
    }

    #[test]
    fn what_is_given_is_taken_and_auto_is_what_the_scheduler_says() {
        assert_eq!(with("1/3", &array("0", "9", "0", "1")), Ok("1/3".into()));
        assert_eq!(with("auto", &array("2", "8", "0", "1")), Ok("2/8".into()));
        assert_eq!(with("auto", &array("3", "8", "1", "1")), Ok("2/8".into()), "--array=1-8");
        assert_eq!(with("auto", &array("10", "4", "4", "3")), Ok("2/4".into()), "--array=4-13:3");
        assert_eq!(
            with("auto/8", &array("5", "1", "5", "1")),
            Ok("5/8".into()),
            "--array=5, of 0-7 the one that failed"
        );
        let step = [("SLURM_PROCID", "1"), ("SLURM_NTASKS", "3")];
        assert_eq!(with("auto", &step), Ok("1/3".into()));
        assert_eq!(with("auto/4", &[("JOB_COMPLETION_INDEX", "3")]), Ok("3/4".into()));
    }

    #[test]
    fn what_no_scheduler_says_is_refused() {
        for (text, variables, said) in [
            ("auto", &[][..], "no scheduler"),
            ("auto", &[("JOB_COMPLETION_INDEX", "3")][..], "write auto/N"),
            ("auto/3", &[("JOB_COMPLETION_INDEX", "3")][..], "parts of 3 are 0 to 2"),
            ("auto", &array("9", "3", "0", "1")[..], "has gaps"),
            ("auto", &array("0", "3", "1", "1")[..], "has gaps"),
            ("auto", &array("3", "4", "0", "2")[..], "has gaps"),
            ("auto", &[("SLURM_ARRAY_TASK_ID", "abc"), ("SLURM_PROCID", "0")][..], "is `abc`"),
            ("auto/2", &[("SLURM_ARRAY_TASK_ID", "0"), ("SLURM_NTASKS", "2")][..], "several tasks"),
            ("+0/2", &[][..], "is no part"),
            ("auto/0", &[][..], "neither auto nor auto/N"),
            ("automatic", &[][..], "neither auto nor auto/N"),
            ("3/3", &[][..], "is no part"),
        ] {
            let error = with(text, variables).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
