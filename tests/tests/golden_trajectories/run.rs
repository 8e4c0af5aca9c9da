//! A trajectory in this code, step by step beside PyTorch's.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use data::{Dataset, ImageShape, Split};
use engine::params::Precision;
use engine::{Network, Params};
use labels::Augment;
use method::attack::Victim;
use method::average::Average;
use method::awp::Awp;
use method::init::initialise;
use method::objective::{self, Epoch, Heads};
use method::optim::Sgd;
use method::rng::{Purpose, Stream, below};
use method::schedule::Schedule;
use method::taps::{self, MapShapes, Taps};
use method::threat::Threat;
use method::view::{ViewPlan, epoch_order};
use rslad_tests::{Golden, json, named, reference_of, relative, summaries, values};
use serde::Deserialize;
use stage2_distill::step::{Batch, Moving, Seen, TrainStep};
use zoo::Task;

pub const AUGMENT: Augment = Augment { pad: 4, flip: true };
pub const BOUND: f64 = 1e-9;
// The second word of the counter tells the streams of this test apart.
const TEACHER: usize = 17;
const PIXELS: usize = 19;
const LABELS: usize = 23;

#[derive(Deserialize)]
pub struct File {
    pub settings: Settings,
    #[serde(default)]
    pub labels: Vec<i32>,
    #[serde(default)]
    pub pixels0: Vec<f64>,
    #[serde(default)]
    pub teacher0: Vec<f64>,
    trajectories: Vec<Trajectory>,
}

#[derive(Deserialize)]
pub struct Settings {
    pub seed: u64,
    images: usize,
    input: [usize; 3],
    pub classes: usize,
    pub views: u32,
    steps: usize,
    pub eps: f64,
    pub step_size: f64,
    pub attack_steps: usize,
    pub momentum: f64,
    pub weight_decay: f64,
    live_teacher: String,
    live_seed: u64,
    /// Of a second live teacher.
    second_seed: Option<u64>,
    /// Of the run; none of one so long that its learning rate has not begun to fall.
    epochs: Option<usize>,
    /// The epoch after which the learning rate falls.
    falls: Option<usize>,
}

#[derive(Deserialize)]
struct Trajectory {
    method: String,
    /// Where it is not the method's name.
    objective: Option<String>,
    #[serde(default)]
    options: BTreeMap<String, f64>,
    architecture: String,
    batch: usize,
    lr: f64,
    parameters: Vec<String>,
    statistics: Vec<String>,
    visits: Vec<Visit>,
    /// Classes that its images are of and show, where they do.
    kinds: Option<usize>,
    /// By how much its teacher prefers an image's label.
    #[serde(default)]
    right: f64,
    /// Share that the student's moving average keeps at each step, where the method asks it.
    average: Option<f64>,
    /// Modules whose feature maps are compared, of the student and of the teacher.
    #[serde(default)]
    taps: Vec<String>,
    #[serde(default)]
    teacher_taps: Vec<String>,
}

#[derive(Deserialize, Debug, PartialEq)]
pub struct Visit {
    pub epoch: usize,
    pub images: Vec<usize>,
    pub views: Vec<u16>,
}

impl Settings {
    fn stream(&self, epoch: usize, image: usize) -> Stream {
        Stream::new(self.seed, Purpose::Eval, epoch, image)
    }

    /// Images of drawn bytes with drawn labels. With `kinds` there are so many classes, and an image of class c has the top
    /// bit set in all of channel c.
    pub fn dataset(&self, kinds: Option<usize>) -> Dataset {
        let [channels, height, width] = self.input;
        let shape = ImageShape::new(height, width, channels);
        let label =
            |image| below(self.stream(LABELS, image).draw(), self.classes) % kinds.unwrap_or(self.classes);
        let mut pixels = vec![];
        for image in 0..self.images {
            let stream = self.stream(PIXELS, image);
            let words = (0..shape.values().div_ceil(4)).flat_map(|block| stream.draws(block));
            // The top byte of each of the four words of a block.
            let bytes = words.flat_map(|draw| [(draw >> 24) as u8, (draw >> 56) as u8]);
            let shown =
                |place: usize| if kinds.is_some() && place % channels == label(image) { 128 } else { 0 };
            pixels.extend(bytes.take(shape.values()).enumerate().map(|(place, byte)| byte | shown(place)));
        }
        let labels = (0..self.images).map(|image| label(image) as i32).collect();
        let names = (0..self.classes).map(|class| class.to_string()).collect();
        Dataset::new("drawn", Split::Train, shape, pixels, labels, names).unwrap()
    }

    /// The logits of a teacher that never was.
    pub fn teacher(&self, image: usize, view: u16) -> Vec<f64> {
        let mut logits = vec![0.0; self.classes];
        self.stream(TEACHER, 200 * image + usize::from(view)).normals(&mut logits);
        logits.iter().map(|logit| 3.0 * logit).collect()
    }

    /// The order and views of a run's steps.
    pub fn visits(&self, batch: usize) -> Vec<Visit> {
        let (plan, all) = (ViewPlan::all(AUGMENT), (0..self.images).collect::<Vec<_>>());
        let visits = (0..self.steps).flat_map(|epoch| {
            let order = epoch_order(self.seed, epoch, &all);
            let visit = |images: &[usize]| Visit {
                epoch,
                images: images.to_vec(),
                views: images.iter().map(|&image| plan.draw(self.seed, epoch, image)).collect(),
            };
            order.chunks(batch).map(visit).collect::<Vec<_>>()
        });
        visits.take(self.steps).collect()
    }

    pub fn batch(&self, dataset: &Dataset, visit: &Visit, right: f64) -> Batch {
        let count = visit.images.len();
        let view = |&view: &u16| AUGMENT.view(view).unwrap();
        let rows: Vec<_> = visit.images.iter().copied().zip(visit.views.iter().map(view)).collect();
        let mut pixels = vec![0.0f64; count * dataset.shape().values()];
        dataset.gather(AUGMENT, &rows, &mut pixels);
        let [channels, height, width] = self.input;
        let labels: Vec<u32> = visit.images.iter().map(|&image| dataset.labels()[image] as u32).collect();
        let asked = visit.images.iter().zip(&visit.views);
        let mut teacher: Vec<Vec<f64>> = asked.map(|(&image, &view)| self.teacher(image, view)).collect();
        for (logits, &label) in teacher.iter_mut().zip(&labels) {
            logits[label as usize] += right;
        }
        let clean = Seen {
            images: Tensor::from_vec(pixels, (count, channels, height, width), &Device::Cpu).unwrap().into(),
            teacher: Some(Tensor::new(teacher, &Device::Cpu).unwrap()),
            second: None,
            maps: None,
        };
        let labels = Tensor::new(labels, &Device::Cpu).unwrap();
        Batch::of(clean, labels, visit.images.clone(), self.epoch(visit.epoch))
    }

    fn epoch(&self, number: usize) -> Epoch {
        let schedule = match self.falls {
            Some(after) => Schedule::After(after.to_string().parse().unwrap()),
            None => Schedule::Multistep,
        };
        Epoch { number, of: self.epochs.unwrap_or(300), schedule }
    }

    pub fn network(&self, architecture: &str, seed: u64) -> (Network, Params) {
        let task = Task { input: self.input, classes: self.classes };
        let (known, network) = zoo::build(architecture, task).unwrap();
        let params = initialise(&network, known.init, seed, Precision::F64);
        (network, params)
    }
}

pub fn file(name: &str) -> (File, Golden) {
    (json(&format!("{name}.json")), Golden::open(&format!("{name}.safetensors")))
}

/// Where the architecture begins with settled running statistics, these.
fn settle(params: &mut Params, golden: &Golden, architecture: &str) {
    let layout = params.layout().clone();
    for entry in layout.statistics() {
        let name = format!("settled/{architecture}/{}", entry.name);
        if golden.has(&name) {
            for (place, &value) in entry.range.clone().zip(golden.values(&name)) {
                params.statistics_mut().set(place, value);
            }
        }
    }
}

/// Compares what moves after so many steps.
pub fn agrees(moving: &Moving, golden: &Golden, place: &str, steps: usize) {
    let at = |what: &str| format!("{place}/step{steps}/{what}");
    let layout = moving.params.layout();
    let parameters = named(moving.params.trainable(), layout.trainable());
    summaries(&parameters, &golden.rows(&at("parameters"))).at_most(BOUND, &at("parameters"));
    let statistics = named(moving.params.statistics(), layout.statistics());
    summaries(&statistics, &golden.rows(&at("statistics"))).at_most(BOUND, &at("statistics"));
    if steps > 0 {
        let momentum = named(moving.sgd.velocity(), layout.trainable());
        summaries(&momentum, &golden.rows(&at("momentum"))).at_most(BOUND, &at("momentum"));
    }
    let is_averaged = steps > 0 && moving.average.is_some();
    assert_eq!(golden.has(&at("average")), is_averaged, "{place}: its average is compared");
    if is_averaged {
        let followed = moving.published();
        let followed = named(followed.trainable(), followed.layout().trainable());
        summaries(&followed, &golden.rows(&at("average"))).at_most(BOUND, &at("average"));
    }
    assert_eq!(
        golden.has(&at("heads")),
        !moving.heads.is_empty(),
        "{place}: what is trained beside is compared"
    );
    if !moving.heads.is_empty() {
        let both = moving
            .heads
            .iter()
            .map(|(name, values, velocity)| ((name.to_owned(), values), (name.to_owned(), velocity)));
        let (values, motion): (Vec<_>, Vec<_>) = both.unzip();
        summaries(&values, &golden.rows(&at("heads"))).at_most(BOUND, &at("heads"));
        if steps > 0 {
            summaries(&motion, &golden.rows(&at("heads-momentum"))).at_most(BOUND, &at("heads-momentum"));
        }
    }
}

/// What an objective learns about classes: its rows in the golden file and in its memory, in one order.
const REMEMBERED: [(&str, &[&str]); 2] =
    [("temperatures", &["temperature-adversarial", "temperature-clean"]), ("weights", &["weight"])];

/// What it learns in each step, likewise.
const REMEMBERED_EACH_STEP: &str = "natural-weight";

/// Compares what an objective makes of so many epochs.
fn remembers_as_in_pytorch(moving: &Moving, golden: &Golden, place: &str, epochs: usize) {
    let there = |(what, _): &(&str, _)| golden.has(&format!("{place}/{what}"));
    if golden.has(&format!("{place}/{REMEMBERED_EACH_STEP}")) {
        return;
    }
    let found = REMEMBERED.into_iter().find(there);
    assert_eq!(found.is_some(), !moving.memory.is_empty(), "{place}: what is remembered is compared");
    let Some((what, names)) = found else { return };
    let rows = golden.rows(&format!("{place}/{what}"));
    for (name, wanted) in names.iter().zip(&rows[names.len() * (epochs - 1)..]) {
        let apart = relative(moving.memory.row(name), wanted);
        assert!(apart <= BOUND, "{place}: {name} after {epochs} epochs is off by {apart:.1e}");
    }
}

pub fn follow(method: &str, architecture: &str) {
    follow_in("trajectories", method, architecture);
}

/// Those that ask networks as they go, in a run in which what changes does so.
pub fn follow_live(method: &str) {
    follow_in("live", method, "resnet8");
}

pub fn follow_in(name: &str, method: &str, architecture: &str) {
    let (File { settings, trajectories, .. }, golden) = file(name);
    let is_this = |row: &&Trajectory| row.method == method && row.architecture == architecture;
    let row = trajectories.iter().find(is_this).unwrap();
    let dataset = settings.dataset(row.kinds);
    let visits = settings.visits(row.batch);
    assert_eq!(visits, row.visits, "the run visits the same views in the same order");

    let (network, mut params) = settings.network(architecture, settings.seed);
    settle(&mut params, &golden, architecture);
    let names: Vec<_> = network.layout().trainable().iter().map(|entry| &entry.name).collect();
    assert_eq!(names, row.parameters.iter().collect::<Vec<_>>());
    let names: Vec<_> = network.layout().statistics().iter().map(|entry| &entry.name).collect();
    assert_eq!(names, row.statistics.iter().collect::<Vec<_>>());

    let engine = reference_of(row.batch);
    let (base, beside) = method.split_once('+').unwrap_or((method, ""));
    let known = objective::find(row.objective.as_deref().unwrap_or(base)).unwrap();
    let objective = objective::compose(known, &row.options, beside == "as-published").unwrap();
    let (asked, values_asked) = settings.network(&settings.live_teacher, settings.live_seed);
    let of = |names: &[String], network| taps::find(network, names.iter().map(String::as_str)).unwrap();
    let taps = Taps { student: of(&row.taps, &network), teacher: of(&row.teacher_taps, &asked) };
    let shapes = MapShapes {
        student: taps::shapes(&network, &taps.student),
        teacher: taps::shapes(&asked, &taps.teacher),
    };
    let seed = settings.second_seed.unwrap_or(settings.live_seed);
    let (second, values_second) = settings.network(&settings.live_teacher, seed);
    let step = TrainStep {
        engine: &engine,
        network: &network,
        objective: &*objective,
        teacher: Some(Victim::new(&engine, &asked, &values_asked)),
        second: Some(Victim::new(&engine, &second, &values_second)),
        taps: Some(&taps),
        threat: Threat::linf(settings.eps),
        steps: settings.attack_steps,
        step_size: settings.step_size,
        seed: settings.seed,
    };
    let sgd = Sgd::new(&params, settings.momentum, settings.weight_decay);
    let average = row.average.map(|share| Average::new(share, &params));
    let mut moving = Moving { average, ..Moving::new(params, sgd, objective.memory(settings.classes)) };
    moving.heads = Heads::fresh(&objective.heads(&shapes).unwrap(), settings.seed, Precision::F64);
    moving.awp = (beside == "awp").then_some(Awp { gamma: 0.005, warmup: 0 });
    let place = format!("{method}/{architecture}");
    agrees(&moving, &golden, &place, 0);
    let losses = golden.values(&format!("{place}/losses"));
    let attacked = format!("{place}/adversarial");
    let attacked = golden.has(&attacked).then(|| golden.rows(&attacked));
    for (number, visit) in visits.iter().enumerate() {
        if number > 0 && visit.epoch > visits[number - 1].epoch {
            objective.close_epoch(settings.epoch(visit.epoch - 1), &mut moving.memory);
            remembers_as_in_pytorch(&moving, &golden, &place, visit.epoch);
        }
        let rate = row.lr * settings.epoch(visit.epoch).rate_factor();
        let outcome = step.run(&mut moving, settings.batch(&dataset, visit, row.right), rate).unwrap();
        assert_eq!(outcome.adversarial.is_some(), attacked.is_some(), "{place}: its attack is compared");
        if let (Some(found), Some(attacked)) = (outcome.adversarial, &attacked) {
            let adversarial = [(format!("step {}", number + 1), values(found.tensor().unwrap()))];
            summaries(&adversarial, &attacked[number..=number]).at_most(BOUND, &place);
        }
        let apart = relative(&[outcome.loss], &losses[number..=number]);
        assert!(apart <= BOUND, "{place}: the loss of step {} is off by {apart:.1e}", number + 1);
        let weights = format!("{place}/{REMEMBERED_EACH_STEP}");
        if golden.has(&weights) {
            let wanted = &golden.values(&weights)[number..=number];
            let apart = relative(moving.memory.row(REMEMBERED_EACH_STEP), wanted);
            assert!(apart <= BOUND, "{weights} of step {} is off by {apart:.1e}", number + 1);
        }
        if golden.has(&format!("{place}/step{}/parameters", number + 1)) {
            agrees(&moving, &golden, &place, number + 1);
        }
    }
    assert!(golden.has(&format!("{place}/step{}/parameters", visits.len())), "the end is compared");
}
