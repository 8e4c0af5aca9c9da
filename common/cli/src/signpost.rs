//! Flags that people bring from other programs, and what they are called here.

/// A foreign flag's name, in small letters with `-`, and the flags here that may be meant: the first that the command
/// has.
const FLAGS: &[(&[&str], &[&str])] = &[
    (&["learning-rate", "lr-max", "base-lr", "rate"], &["lr"]),
    (&["batch-size", "bs", "train-batch-size", "test-batch-size", "batchsize", "b"], &["batch"]),
    (&["epsilon", "eps-linf", "linf", "radius"], &["eps"]),
    (&["num-epochs", "n-epochs", "max-epochs", "epoch", "max-epoch"], &["epochs"]),
    (&["stepsize", "pgd-alpha", "eps-step", "eps-iter"], &["step-size"]),
    (
        &["num-steps", "attack-steps", "iters", "attack-iters", "pgd-steps", "nb-iter", "perturb-steps"],
        &["steps"],
    ),
    (&["wd", "decay", "l2"], &["weight-decay"]),
    (&["lr-schedule", "scheduler", "lr-scheduler"], &["schedule"]),
    (&["workers", "num-workers", "jobs", "j", "num-threads", "cpus"], &["threads"]),
    (
        &["output", "out-dir", "output-dir", "save-dir", "save", "log-dir", "o", "fname", "model-dir"],
        &["out"],
    ),
    (&["dataset", "data-dir", "data-path", "dataroot", "root", "d"], &["data"]),
    (&["model", "net", "network", "student-arch", "student-model"], &["student", "arch", "teacher"]),
    (&["architecture", "teacher-arch", "teacher-model", "model-name"], &["arch", "teacher-arch", "student"]),
    (&["checkpoint", "ckpt", "weights", "model-path", "teacher-path"], &["student", "teacher", "init"]),
    (&["pretrained", "load", "finetune"], &["init", "student"]),
    (&["label-set", "label-dir", "soft-labels", "teacher-labels"], &["labels"]),
    (&["attacks", "adversary", "method"], &["attack", "objective"]),
    (&["loss", "criterion"], &["objective"]),
    (&["num-samples", "n-samples", "n-ex", "n-examples", "subset", "max-samples"], &["limit"]),
    (&["random-seed", "manual-seed"], &["seed"]),
    (&["augmentation", "transform", "aug"], &["augment"]),
    (&["view", "num-views"], &["views"]),
    (&["val-split", "val", "validation", "valid-size"], &["holdout"]),
    (&["licence"], &["license"]),
    (&["backend", "accelerator"], &["device"]),
    (&["no-progress", "disable-tqdm", "no-tqdm"], &["progress"]),
    (&["silent", "s"], &["quiet"]),
    (&["json-out", "report"], &["json"]),
    (&["threat-model", "threat", "p"], &["norm"]),
    (&["n-restarts", "num-restarts", "nb-restarts"], &["restarts"]),
    (&["cfg", "config-file", "yaml"], &["config"]),
];

/// Foreign flags without a counterpart, and what to do.
const WAYS: &[(&[&str], &str)] = &[
    (&["gpu", "gpus", "cuda", "gpu-id", "no-cuda", "use-cuda"], GPU),
    (
        &["optimizer", "optim"],
        "students are trained by SGD: --lr, --momentum, --nesterov and --weight-decay are its settings",
    ),
    (
        &["norm", "threat-model", "threat"],
        "students train in the l-infinity ball: --eps is its radius; `distill eval --norm l2` judges in the other",
    ),
    (
        &["force", "overwrite", "f"],
        "nothing is ever written over: name another --out, or remove the old one yourself",
    ),
    (&["resume-from", "restart"], "the same command with the same --out goes on where it stopped"),
    (&["download"], "nothing is downloaded: say where the files lie, as in --data cifar10:FOLDER"),
];

/// Flags of numbers' types: in computing, where they go together with a GPU, or in storing.
const TYPES: &[&str] =
    &["half", "fp16", "f16", "float16", "amp", "bf16", "bfloat16", "fp32", "mixed-precision"];

/// Commands of other programs, and of the other one of ours.
const COMMANDS: &[(&[&str], &str, &str)] = &[
    (&["test", "evaluate", "attack", "validate", "val"], "eval", "it is called `eval` here"),
    (&["fit", "run", "distill"], "train", "it is called `train` here"),
    (&["label", "teacher"], "train", "labels are written by the other program: `label run`"),
    (
        &["train", "eval", "distill", "student"],
        "run",
        "students are trained by the other program: `distill train`",
    ),
    (&["check", "validate", "hash"], "verify", "it is called `verify` here"),
    (&["info", "show", "stat", "stats"], "inspect", "it is called `inspect` here"),
];

/// Where to go instead of a command that the program does not have; `has` says which it has.
pub(crate) fn command(given: &str, has: &dyn Fn(&str) -> bool) -> Option<&'static str> {
    let given = names::plain(given);
    COMMANDS
        .iter()
        .find(|(foreign, own, _)| foreign.contains(&given.as_str()) && has(own))
        .map(|(_, _, way)| *way)
}

/// How a GPU is chosen.
const GPU: &str =
    "--device chooses what runs the networks: cpu, cuda (the first GPU), cuda:1 (the second) or auto";

/// What a foreign flag is called here; `has` says which flags there are.
pub(crate) fn own_name(flag: &str, has: &dyn Fn(&str) -> bool) -> Option<&'static str> {
    let flag = names::plain(flag.trim_start_matches('-'));
    let here = FLAGS.iter().filter(|(foreign, _)| foreign.contains(&flag.as_str()));
    here.flat_map(|(_, own)| own.iter()).find(|own| has(own)).copied()
}

/// Where to go instead of a flag that the command does not have; `has` says which it has, `said` what the command line
/// gives a flag.
pub(crate) fn instead_of(
    flag: &str,
    has: &dyn Fn(&str) -> bool,
    said: &dyn Fn(&str) -> Option<String>,
) -> Option<String> {
    if let Some(own) = own_name(flag, has) {
        return Some(format!("it is called --{own} here"));
    }
    let given = said(flag);
    let flag = names::plain(flag.trim_start_matches('-'));
    let owners = method::objective::OBJECTIVES.iter();
    let owners: Vec<&str> = owners
        .filter(|row| row.options.iter().any(|choice| choice.key == flag))
        .map(|row| row.name)
        .collect();
    if let (true, &[first, ..]) = (has("set"), owners.as_slice()) {
        let value = given.filter(|value| value.parse::<f64>().is_ok()).unwrap_or_else(|| "1".into());
        let objective = said("--objective").map(|name| names::plain(&name));
        return Some(match objective.filter(|name| !owners.contains(&name.as_str())) {
            Some(other) => format!(
                "{flag} is an option of {}, and the objective is {other}: leave it out, or `--objective {first} --set {flag}={value}`",
                listed(&owners)
            ),
            None => format!("it is an option of {}, given as `--set {flag}={value}`", listed(&owners)),
        });
    }
    if TYPES.contains(&flag.as_str()) {
        let way = if has("dtype") {
            "--precision is how a GPU computes, which a processor does in f32; the type in which answers are stored is --dtype"
        } else {
            "--precision is how a GPU computes: bf16, f16, tf32 or f32; a processor computes in f32"
        };
        return Some(way.into());
    }
    WAYS.iter().find(|(foreign, _)| foreign.contains(&flag.as_str())).map(|(_, way)| (*way).into())
}

/// `a`, `a and b`, `a, b and c`.
fn listed(names: &[&str]) -> String {
    match names {
        [rest @ .., last] if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => names.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_flag_that_the_command_has_is_the_one_meant() {
        let label = |flag: &str| ["teacher", "arch"].contains(&flag);
        let distill = |flag: &str| ["student", "lr", "set"].contains(&flag);
        let instead_of = |flag: &str, has: &dyn Fn(&str) -> bool| instead_of(flag, has, &|_| None);
        assert_eq!(instead_of("--model", &label).unwrap(), "it is called --arch here");
        assert_eq!(instead_of("--model", &distill).unwrap(), "it is called --student here");
        assert_eq!(instead_of("--learning_rate", &distill).unwrap(), "it is called --lr here");
        assert_eq!(instead_of("--learning_rate", &label), None);
        assert!(instead_of("--beta", &distill).unwrap().contains("given as `--set beta=1`"));
        let said = |flag: &str| match flag {
            "--beta" => Some("6".to_owned()),
            _ => Some("sat".to_owned()),
        };
        assert_eq!(
            super::instead_of("--beta", &distill, &said).unwrap(),
            "beta is an option of fair-rslad, fair-ard, snord, trades and mart, and the objective is sat: leave it out, or `--objective fair-rslad --set beta=6`"
        );
        let has = |command: &str| ["train", "eval"].contains(&command);
        assert_eq!(super::command("Test", &has), Some("it is called `eval` here"));
        assert_eq!(super::command("verify", &has), None);
        assert_eq!(instead_of("--gpu", &label).unwrap(), GPU);
        assert_eq!(instead_of("--nonsense", &distill), None);
    }
}
