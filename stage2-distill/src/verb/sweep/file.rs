//! The file of a sweep: settings that all runs have, blocks of runs, lists that are crossed, and how to judge.

use std::path::Path;

use cli::MachineArgs;
use toml::de::{DeTable, DeValue};

use crate::config::{Config, Layers, SETTINGS, as_written, line, pointed_at};
use crate::error::RunError;
use crate::verb::eval::EvalArgs;

/// What judges where the file does not say: the two figures that every table of the field has.
const USUAL_ATTACKS: &str = "clean,pgd20";

/// What a sweep's file says.
pub struct SweepFile {
    /// The runs, in the order of their blocks; within one, lists vary from the last to the first, the seed fastest.
    pub runs: Vec<Planned>,
    /// How each student is judged.
    pub exam: EvalArgs,
    /// The folder, in that of a run, of what judging it so left: named by how.
    pub judged: String,
}

/// One run of a sweep.
pub struct Planned {
    /// Its folder's name: what the file says of it alone.
    pub name: String,
    /// The same without the seed: runs that are averaged.
    pub group: String,
    /// Its settings.
    pub config: Config,
}

impl Planned {
    /// Whether two configurations are the same run of the same files: places are compared as they are written.
    pub fn reads_the_same(known: &Config, now: &Config) -> bool {
        let runs_on = ["engine", "precision", "recompute"];
        let mut places =
            SETTINGS.iter().filter(|setting| setting.is_place && !runs_on.contains(&setting.key));
        known.differences(now).is_empty() && places.all(|place| known.value(place) == now.value(place))
    }
}

/// What a file says of one setting, or of one option of the objective: a value, or several to be crossed.
#[derive(Clone)]
struct Choice {
    /// The file and the line.
    origin: String,
    key: String,
    is_option: bool,
    values: Vec<String>,
}

/// A group of choices: those of all runs, or of one `[[run]]`.
#[derive(Default)]
struct Block {
    name: Option<String>,
    choices: Vec<Choice>,
}

impl SweepFile {
    /// Reads a file. Everything that can be told to be wrong without images or networks is refused here.
    pub fn read(path: &Path, machine: MachineArgs) -> Result<Self, RunError> {
        let text = std::fs::read_to_string(path).map_err(cli::Error::io("read", path))?;
        let shown = path.display().to_string();
        let table = DeTable::parse(&text).map_err(|error| {
            let what = pointed_at(&text, &error);
            RunError::Refused(format!(
                "{shown}: not TOML, {what}\nhint: `distill sweep --help` has an example"
            ))
        })?;
        let (mut common, mut blocks, mut words, mut preset) =
            (Block::default(), Vec::new(), Vec::new(), None);
        let origin = |at: usize| format!("{shown} line {}", line(&text, at));
        for (key, value) in in_order(table.get_ref()) {
            let at = origin(key.1);
            match (key.0, value) {
                ("run", DeValue::Array(parts)) => {
                    for part in parts {
                        let DeValue::Table(table) = part.get_ref() else { return Err(wanted_blocks(&at)) };
                        blocks.push(Block::read(table, &origin)?);
                    }
                }
                ("run", _) => return Err(wanted_blocks(&at)),
                ("eval", DeValue::Table(table)) => words = exam_words(table, &at)?,
                ("preset", DeValue::String(name)) => preset = Some(name.to_string()),
                (_, value) => common.take(key.0, value, &at, &origin)?,
            }
        }
        if blocks.is_empty() {
            blocks.push(Block::default());
        }
        if !words.iter().any(|(key, _)| key == "attack") {
            words.insert(0, ("attack".into(), USUAL_ATTACKS.into()));
        }
        let runs = runs(&common, &blocks, preset.as_deref(), machine, &shown)?;
        refuse_names(&runs, &shown)?;
        let exam = EvalArgs::of_words(words.iter().map(|(key, value)| format!("--{key}={value}")))
            .map_err(|why| RunError::Refused(format!("{shown} [eval]: {why}")))?;
        Ok(Self { runs, exam, judged: judged(&words) })
    }
}

fn wanted_blocks(at: &str) -> RunError {
    RunError::Refused(format!(
        "{at}: `run` is no list of tables\nhint: begin each group of runs with [[run]]"
    ))
}

/// The keys of a table in the order of the file, each with its place, and their values.
fn in_order<'a>(table: &'a DeTable<'_>) -> Vec<((&'a str, usize), &'a DeValue<'a>)> {
    let mut entries: Vec<_> =
        table.iter().map(|(key, value)| ((&**key.get_ref(), key.span().start), value.get_ref())).collect();
    entries.sort_by_key(|((_, at), _)| *at);
    entries
}

impl Block {
    fn read(table: &DeTable, origin: &dyn Fn(usize) -> String) -> Result<Self, RunError> {
        let mut block = Self::default();
        for ((key, at), value) in in_order(table) {
            match (key, value) {
                ("name", DeValue::String(name)) => block.name = Some(file_name(name)),
                _ => block.take(key, value, &origin(at), origin)?,
            }
        }
        Ok(block)
    }

    fn take(
        &mut self,
        key: &str,
        value: &DeValue,
        at: &str,
        origin: &dyn Fn(usize) -> String,
    ) -> Result<(), RunError> {
        match value {
            DeValue::Table(options) if key == "options" => {
                for ((key, at), value) in in_order(options) {
                    self.choices.push(Choice::read(key, value, format!("{} [options]", origin(at)), true)?);
                }
            }
            value => self.choices.push(Choice::read(key, value, at.into(), false)?),
        }
        Ok(())
    }
}

impl Choice {
    fn read(key: &str, value: &DeValue, origin: String, is_option: bool) -> Result<Self, RunError> {
        let is_number = |part: &DeValue| matches!(part, DeValue::Integer(_) | DeValue::Float(_));
        let values = match value {
            DeValue::Array(parts) if parts.is_empty() => {
                return Err(RunError::Refused(format!(
                    "{origin}: {key} is an empty list, which leaves no run\nhint: leave {key} out, or give it a value"
                )));
            }
            // Milestones are one value of several numbers; seeds are several values.
            DeValue::Array(parts)
                if parts.iter().all(|part| is_number(part.get_ref()))
                    && Layers::defaults().put(&origin, key, &as_written(value)).is_ok() =>
            {
                vec![as_written(value)]
            }
            DeValue::Array(parts) => parts.iter().map(|part| as_written(part.get_ref())).collect(),
            value => vec![as_written(value)],
        };
        // Of several spellings of a name the one in the table, so that a block lays its value over the common one.
        let known = names::find(SETTINGS, key).map(|setting| setting.key.to_owned());
        Ok(Self { origin, key: known.unwrap_or_else(|_| names::plain(key)), is_option, values })
    }

    /// Its part of a run's name.
    fn part(&self, value: &str) -> String {
        let is_place = names::find(SETTINGS, &self.key).is_ok_and(|setting| setting.is_place);
        let last = Path::new(value).file_name().filter(|_| is_place);
        let value = last.map_or_else(|| value.into(), |name| name.to_string_lossy().into_owned());
        match self.key.as_str() {
            "objective" | "student" => file_name(&value),
            key if value.starts_with(|c: char| c.is_ascii_digit()) => file_name(&format!("{key}{value}")),
            key => file_name(&format!("{key}-{value}")),
        }
    }

    /// Where its part stands in a name: what people look for first, first.
    fn rank(&self) -> usize {
        ["objective", "student"].iter().position(|key| *key == self.key).unwrap_or(if self.is_seed() {
            9
        } else {
            2
        })
    }

    fn is_seed(&self) -> bool {
        self.key == "seed"
    }
}

/// A text as a folder's name.
fn file_name(text: &str) -> String {
    let plain = |c: char| if c.is_alphanumeric() || "-_.+".contains(c) { c } else { '_' };
    let name: String = text.chars().map(plain).collect();
    name.trim_start_matches('.').into()
}

/// The runs of all blocks.
fn runs(
    common: &Block,
    blocks: &[Block],
    preset: Option<&str>,
    machine: MachineArgs,
    shown: &str,
) -> Result<Vec<Planned>, RunError> {
    let mut runs = Vec::new();
    for block in blocks {
        let is_over = |choice: &Choice| block.choices.iter().any(|own| own.key == choice.key);
        let mut choices: Vec<(&Choice, bool)> =
            common.choices.iter().filter(|choice| !is_over(choice)).map(|choice| (choice, false)).collect();
        choices.extend(block.choices.iter().map(|choice| (choice, block.name.is_none())));
        choices.sort_by_key(|(choice, _)| choice.is_seed());
        let count: usize = choices.iter().map(|(choice, _)| choice.values.len()).product();
        for number in 0..count {
            let mut rest = number;
            let mut chosen: Vec<(&Choice, &str, bool)> = Vec::new();
            for (choice, own) in choices.iter().rev() {
                let several = choice.values.len();
                chosen.push((choice, &choice.values[rest % several], *own || several > 1));
                rest /= several;
            }
            chosen.reverse();
            runs.push(planned(block.name.as_deref(), &chosen, preset, machine, shown)?);
        }
    }
    Ok(runs)
}

fn planned(
    name: Option<&str>,
    chosen: &[(&Choice, &str, bool)],
    preset: Option<&str>,
    machine: MachineArgs,
    shown: &str,
) -> Result<Planned, RunError> {
    let mut layers = Layers::defaults();
    if let Some(preset) = preset {
        layers.preset(preset)?;
    }
    for (choice, value, _) in chosen {
        if choice.is_option {
            layers.put_option(&choice.origin, &choice.key, value)?;
        } else {
            layers.put(&choice.origin, &choice.key, value)?;
        }
    }
    machine_over(&mut layers, machine)?;
    let mut told: Vec<_> = chosen.iter().filter(|(_, _, is_told)| *is_told).collect();
    told.sort_by_key(|(choice, _, _)| choice.rank());
    let named = |with_seed: bool| {
        let parts = told.iter().filter(|(choice, _, _)| with_seed || !choice.is_seed());
        let parts = parts.map(|(choice, value, _)| choice.part(value));
        name.map(str::to_owned).into_iter().chain(parts).collect::<Vec<_>>().join("-")
    };
    let (name, group) = (named(true), named(false));
    let config =
        layers.resolve().map_err(|error| RunError::Refused(format!("{shown}, run {name}: {error}")))?;
    let or_objective = |text: String| if text.is_empty() { config.objective.clone() } else { text };
    Ok(Planned { name: or_objective(name), group: or_objective(group), config })
}

/// What the command line says of the machine, over what the file says.
fn machine_over(layers: &mut Layers, machine: MachineArgs) -> Result<(), RunError> {
    if let Some(engine) = machine.engine {
        layers.put("--device", "engine", &engine.to_string())?;
    }
    if let Some(precision) = machine.precision {
        layers.put("--precision", "precision", precision.name())?;
    }
    Ok(())
}

/// Bytes that a folder's name may have on every file system that people use.
const LONGEST_NAME: usize = 255;

fn refuse_names(runs: &[Planned], shown: &str) -> Result<(), RunError> {
    if let Some(run) = runs.iter().find(|run| run.name.len() > LONGEST_NAME) {
        let start: String = run.name.chars().take(40).collect();
        return Err(RunError::Refused(format!(
            "{shown}: the run {start}.. would have a name of {} bytes, wanted at most {LONGEST_NAME}\nhint: give its [[run]] a `name`: then lists alone are added to it",
            run.name.len()
        )));
    }
    let twice = (1..runs.len()).find(|&at| runs[..at].iter().any(|other| other.name == runs[at].name));
    let Some(at) = twice else { return Ok(()) };
    Err(RunError::Refused(format!(
        "{shown}: two of its {} runs are named {}\nhint: drop one where they are the same, or give their [[run]] a `name`",
        runs.len(),
        runs[at].name
    )))
}

/// `[eval]` as flags of `distill eval` with their values.
fn exam_words(table: &DeTable, at: &str) -> Result<Vec<(String, String)>, RunError> {
    // Where it goes, and of whom, is the sweep's.
    const OWN: [&str; 7] = ["run", "student", "json", "state", "merge", "part", "save-adversarial"];
    let mut words = Vec::new();
    for ((key, _), value) in in_order(table) {
        let key = names::plain(key);
        if OWN.contains(&key.as_str()) {
            return Err(RunError::Refused(format!(
                "{at} [eval]: {key} is not for a sweep to choose\nhint: it judges each run's best student into the run's folder"
            )));
        }
        words.push((key, as_written(value)));
    }
    Ok(words)
}

/// The name of the folder in which a run is judged so.
fn judged(words: &[(String, String)]) -> String {
    let parts = words.iter().map(|(key, value)| match key.as_str() {
        "attack" => file_name(&value.replace("clean,", "").replace(',', "-")),
        key => file_name(&format!("{key}{value}")),
    });
    std::iter::once("eval".to_owned()).chain(parts).collect::<Vec<_>>().join("-")
}
