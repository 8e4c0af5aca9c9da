//! Opens everything that a run reads, finds what it left before, and refuses what does not fit together.

use std::path::Path;

use cli::warn;
use data::{Dataset, DatasetSpec, Split as DataSplit};
use engine::params::Precision;
use engine::{Network, Params, Work};
use method::average::Average;
use method::awp::Awp;
use method::checkpoint::{Found, Store, Unusable};
use method::eval::Exam;
use method::init::initialise;
use method::objective::{Heads, Objective};
use method::optim::Sgd;
use method::swa::Swa;
use method::taps::MapShapes;
use zoo::Task;

use super::{Run, Selection, State, Surroundings, longer, shared};
use crate::config::Config;
use crate::course::{self, Course};
use crate::error::RunError;
use crate::folder::RunFolder;
use crate::select;
use crate::source::{self, Supply};
use crate::step::Moving;

/// Images that a live teacher is asked about together before the work.
const LOOKED_AT_TOGETHER: usize = 128;

/// All that a run reads besides its own folder.
pub(super) struct Opened<'a> {
    config: &'a Config,
    around: &'a Surroundings<'a>,
    dataset: Dataset,
    selection: Selection,
    course: Course,
    network: Network,
    objective: Box<dyn Objective>,
    supply: Supply,
    /// The student at the beginning.
    params: Params,
    /// What it learns from, by content.
    inputs: Vec<String>,
}

/// Opens what the run reads. `fetched` is the configuration with folders in the place of URLs.
pub(super) fn open<'a>(
    config: &'a Config,
    fetched: &Config,
    around: &'a Surroundings<'a>,
) -> Result<Opened<'a>, RunError> {
    // Reading images and hashing a label set takes minutes; this is found at once.
    let objective = config.objective()?;
    if let Some(known) = RunFolder::peek(around.out)? {
        refuse_other_run(config, around, &known, objective.as_ref(), None)?;
    }
    refuse_no_average(config, objective.as_ref())?;
    shared::refuse_whole(config, objective.as_ref(), around.collective)?;
    let spec: DatasetSpec = config.data.parse()?;
    let mut dataset = cli::images(&spec, DataSplit::Train)?;
    if let Some(limit) = config.limit {
        dataset = cli::limited(dataset, &spec, limit);
    }
    let task = source::task(&dataset);
    let (architecture, network) = zoo::build(&config.student, task)?;
    let supply = Supply::open(config, fetched, objective.as_ref(), &spec, &dataset, &network)?;
    let asked = [(&supply.teacher, &supply.needs.teacher), (&supply.second, &supply.needs.second)];
    let teachers = asked.iter().filter_map(|(teacher, asked)| {
        let work = if asked.climbed { Work::Attack } else { Work::Forward };
        teacher.victim(around.engine).map(|teacher| (teacher.network, work))
    });
    let networks: Vec<_> = [(&network, Work::Training)].into_iter().chain(teachers).collect();
    cli::refuse_too_large(around.engine, &networks, config.batch)?;
    if let (true, Some(labels)) = (!supply.needs.teacher.wants_clean(), &config.labels) {
        let name = &config.objective;
        warn(format_args!(
            "objective {name} does not ask a teacher: of {labels} it takes the choice of views, and no answer"
        ));
    }
    look_at_teachers(&supply, around, &dataset)?;
    let split = select::split(&dataset, config)?;
    let course = course_of(config, objective.as_ref(), &dataset, split.train)?;
    let selection = if config.paper_selection {
        let test = cli::images(&spec, DataSplit::Test)?;
        refuse_other_test(task, source::task(&test))?;
        Selection { places: (0..test.len()).collect(), test: Some(test) }
    } else {
        Selection { places: split.held_out, test: None }
    };
    let mut inputs = inputs(&dataset, &selection, &supply);
    if zoo::onnx::is_drawn(&network) {
        // The configuration names a file, and files change.
        inputs.push(format!("student {}", network.architecture()));
    }
    let params = match &config.init {
        None => initialise(&network, architecture.init, config.seed, Precision::F32),
        Some(path) => {
            let loaded = zoo::load(Path::new(path), Some(config.student.as_str()), task, Precision::F32)?;
            cli::say_notes(Path::new(path), &loaded.notes);
            if loaded.network.normalisation() != network.normalisation() {
                return Err(RunError::Refused(format!(
                    "{path}: its network normalises its images, and the student {} does not\nhint: begin with weights of a network that sees pixels as they are",
                    config.student
                )));
            }
            inputs.push(format!("init {}", loaded.blake3));
            loaded.params
        }
    };
    Ok(Opened { config, around, dataset, selection, course, network, objective, supply, params, inputs })
}

impl<'a> Opened<'a> {
    /// The run's folder, locked by rank 0, where it holds this run or none.
    pub fn folder(&self) -> Result<RunFolder, RunError> {
        let Self { config, around, dataset, objective, .. } = self;
        let is_first = around.collective.rank() == 0;
        let (folder, known) =
            if is_first { RunFolder::open(around.out) } else { RunFolder::beside(around.out) }?;
        if let Some(known) = known {
            refuse_other_run(config, around, &known, objective.as_ref(), Some(dataset.len()))?;
        }
        Ok(folder)
    }

    /// The run, what moves in it, where it stands, and where that is kept.
    pub fn begin(self, folder: RunFolder) -> Result<(Run<'a>, Moving, State, Store), RunError> {
        let Self {
            config,
            around,
            dataset,
            selection,
            course,
            network,
            objective,
            supply,
            mut params,
            inputs,
        } = self;
        let mut store = Store::at(&folder.checkpoints());
        let shapes = supply.map_shapes(&network);
        let wanted = objective.heads(&shapes).map_err(|error| RunError::Refused(error.to_string()))?;
        if let Some(slow) = slow_maps(&shapes).filter(|_| !wanted.is_empty()) {
            warn(slow);
        }
        let heads = Heads::fresh(&wanted, config.seed, Precision::F32);
        let found = store.latest::<State>(&network, Precision::F32, &heads)?;
        refuse_lost(around, &folder, &found)?;
        let mut state = State::fresh(inputs, objective.memory(dataset.classes()));
        let mut sgd = Sgd::new(&params, config.momentum, config.weight_decay).nesterov(config.nesterov);
        let (mut kept, mut heads) = (None, heads);
        if let Some(restored) = found.restored {
            refuse_other_inputs(around, &restored.state, &state)?;
            if restored.state.best.is_some() && !folder.best().exists() {
                return Err(RunError::Refused(format!(
                    "{}: best.safetensors is gone, and no checkpoint holds it\nhint: bring it back, or train again with another --out",
                    around.out.display()
                )));
            }
            *sgd.velocity_mut() = restored.velocity;
            (params, state, kept) = (restored.params, restored.state, restored.average);
            heads = restored.heads;
        }
        if around.collective.rank() == 0 {
            store.go_on();
        }
        for (path, why) in &found.unusable {
            if let Unusable::Damaged(why) = why {
                warn(format_args!("passed over {}: {why}", path.display()));
            }
        }
        let moving = Moving { heads, ..Moving::new(params, sgd, state.objective.clone()) };
        let moving = accompanied(moving, config, &state, kept);
        let run = Run { config, around, dataset, selection, course, network, objective, supply, folder };
        Ok((run, moving, state, store))
    }
}

/// Warns of a live teacher that knows the images hardly better than chance.
fn look_at_teachers(supply: &Supply, around: &Surroundings, dataset: &Dataset) -> Result<(), RunError> {
    for teacher in
        [&supply.teacher, &supply.second].into_iter().filter_map(|teacher| teacher.victim(around.engine))
    {
        let images = cli::Unchanged(dataset);
        let (labels, name) = (dataset.labels(), &dataset.record().name);
        let doubt = cli::first_look(labels, dataset.classes(), name, LOOKED_AT_TOGETHER, |places| {
            let logits = teacher.logits(&images.images(places)?.into())?;
            Ok::<_, RunError>(Some(logits.flatten_all()?.to_vec1()?))
        })?;
        if let Some(doubt) = doubt {
            warn(doubt);
        }
    }
    Ok(())
}

/// The images of each step: all of them, or few with a label.
fn course_of(
    config: &Config,
    objective: &dyn Objective,
    dataset: &Dataset,
    train: Vec<usize>,
) -> Result<Course, RunError> {
    Ok(match config.labelled {
        None => Course::of(train, config.batch),
        Some(share) => {
            let labelled = course::with_labels(dataset, &train, share.0, config.label_seed)?;
            Course::with_few(&train, labelled, objective.unlabelled_each(), config.batch)
        }
    })
}

/// With what the run does to the student besides training it: averages, the way they were where a checkpoint `kept` one,
/// and perturbation.
fn accompanied(moving: Moving, config: &Config, state: &State, kept: Option<Params>) -> Moving {
    let average = config.ema.map(|share| match &kept {
        Some(values) if state.step > 0 => Average::resumed(share.0, values.clone()),
        _ => Average::new(share.0, &moving.params),
    });
    let swa = config.swa.map(|tail| Swa::from_share(tail.0, config.epochs).resumed(state.epoch, kept));
    let awp = config.awp.map(|gamma| Awp { gamma, warmup: config.awp_warmup.unwrap_or(0) });
    Moving { average, swa, awp, ..moving }
}

/// Places of a map up to which a head costs less than the networks beside it: its attention goes over every pair of them.
const PLACES: usize = 256;

/// What is to be said of a teacher's maps that make a step slow.
fn slow_maps(shapes: &MapShapes) -> Option<String> {
    let places = |map: &[usize; 3]| map[1] * map[2];
    let [_, height, width] = *shapes.teacher.iter().max_by_key(|map| places(map))?;
    let pairs = (height * width).pow(2) / PLACES.pow(2);
    (height * width > PLACES).then(|| {
        format!(
            "the head attends over {} places of a map of {height}x{width}: {pairs} times the pairs of one of {PLACES}, in every step\nhint: name a later layer in --taps, whose map is smaller",
            cli::with_commas((height * width) as u64)
        )
    })
}

/// Without one the student would be its own teacher, and the run another method.
fn refuse_no_average(config: &Config, objective: &dyn Objective) -> Result<(), RunError> {
    if objective.needs().average.is_empty() || config.ema.is_some() {
        return Ok(());
    }
    Err(RunError::Refused(format!(
        "objective {} learns from a moving average of the student, and none is kept\nhint: add --ema 0.999, or less for a run of few steps",
        config.objective
    )))
}

/// What the run learns from, by content.
fn inputs(dataset: &Dataset, selection: &Selection, supply: &Supply) -> Vec<String> {
    let mut inputs = vec![format!("images {}", dataset.record().hash())];
    if let Some(test) = &selection.test {
        inputs.push(format!("test {}", test.record().hash()));
    }
    inputs.push(format!("views {} of {}", supply.plan.views, supply.plan.augment));
    inputs.extend(supply.identity());
    inputs
}

/// The student is judged on the test split after its first epochs: found before them.
fn refuse_other_test(train: Task, test: Task) -> Result<(), RunError> {
    if train == test {
        return Ok(());
    }
    Err(RunError::Refused(format!(
        "--paper-selection: the test split has {test}, the training split {train}\nhint: bring both splits of one data set, or select on held-out images"
    )))
}

/// `images` of the training split, where it was read: the images held out are a number or the usual number of these,
/// and before they are known either may be the other.
fn refuse_other_run(
    config: &Config,
    around: &Surroundings,
    known: &Config,
    objective: &dyn Objective,
    images: Option<usize>,
) -> Result<(), RunError> {
    let out = around.out.display();
    if !around.resume {
        return Err(RunError::Refused(format!(
            "{out}: holds a run already\nhint: choose another --out, or --resume auto to go on"
        )));
    }
    let is_said = known.holdout.is_some() && config.holdout.is_some();
    let held_out = |config: &Config| Config {
        holdout: match images {
            Some(images) => Some(select::held_out(config, images)),
            None => config.holdout.filter(|_| is_said),
        },
        ..config.clone()
    };
    let (known, config) = (held_out(known), held_out(config));
    let differences = known.differences(&config);
    if differences.is_empty() {
        return Ok(());
    }
    if longer::is_asked(&known, &config) {
        let refused = |why| {
            let [known, asked] = [known.epochs, config.epochs];
            Err(RunError::Refused(format!(
                "{out}: holds a run of {known} epochs, which cannot become one of {asked}: {why}"
            )))
        };
        return longer::obstacle(&known, &config, objective).map_or(Ok(()), refused);
    }
    Err(RunError::Refused(format!(
        "{out}: holds a run with other settings (there, now):\n  {}\nhint: choose another --out, or repeat the run's own settings",
        few(&differences)
    )))
}

/// Unusable is not absent: where a run has been, it is not begun again over what it left.
fn refuse_lost(around: &Surroundings, folder: &RunFolder, found: &Found<State>) -> Result<(), RunError> {
    let out = around.out.display();
    for (path, why) in &found.unusable {
        if let Unusable::OtherVersion(why) = why {
            return Err(RunError::Refused(format!(
                "{}: {why}\nhint: go on with the version of distill that wrote it ({out}/env.json names it), or choose another --out",
                path.display()
            )));
        }
    }
    if found.restored.is_some() {
        return Ok(());
    }
    let what = match (found.unusable.as_slice(), folder.trace()) {
        ([], None) => return Ok(()),
        ([], Some(trace)) => format!("no checkpoint, yet {} shows that there was one", trace.display()),
        ([(path, why), rest @ ..], _) => {
            let (Unusable::Damaged(why) | Unusable::OtherVersion(why)) = why;
            let others = if rest.is_empty() { String::new() } else { format!(", nor {} more", rest.len()) };
            format!("no usable checkpoint: not {} ({why}){others}", path.display())
        }
    };
    Err(RunError::Refused(format!(
        "{out}: holds a run with {what}\nhint: bring {out}/checkpoints back; to train from the beginning, choose another --out or remove this one"
    )))
}

/// The first of many differences, and the names of the others.
fn few(differences: &[String]) -> String {
    const SHOWN: usize = 3;
    let (shown, rest) = differences.split_at(differences.len().min(SHOWN));
    let shown = shown.join("\n  ");
    if rest.is_empty() {
        return shown;
    }
    let names: Vec<&str> = rest.iter().filter_map(|line| line.split(':').next()).collect();
    format!("{shown}\n  and {}", names.join(", "))
}

fn refuse_other_inputs(around: &Surroundings, restored: &State, fresh: &State) -> Result<(), RunError> {
    let out = around.out.display();
    if restored.inputs != fresh.inputs {
        return Err(RunError::Refused(format!(
            "{out}: the run learned from other inputs: it had [{}], now they are [{}]\nhint: bring them back, or choose another --out",
            restored.inputs.join(", "),
            fresh.inputs.join(", ")
        )));
    }
    if !restored.objective.is_like(&fresh.objective) {
        return Err(RunError::Refused(format!(
            "{out}: what its checkpoint remembers is not what this objective remembers\nhint: another version wrote it; go on with that one, or choose another --out"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_that_make_a_step_slow_are_said_before_it_begins() {
        let of =
            |teacher: &[[usize; 3]]| slow_maps(&MapShapes { student: Vec::new(), teacher: teacher.to_vec() });
        assert_eq!((of(&[]), of(&[[64, 8, 8], [32, 16, 16]])), (None, None));
        let said = of(&[[64, 8, 8], [16, 32, 32], [32, 16, 16]]).unwrap();
        assert!(said.starts_with("the head attends over 1,024 places of a map of 32x32: 16 times"), "{said}");
        assert!(said.contains("\nhint: "), "{said}");
    }
}
