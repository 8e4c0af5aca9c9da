//! The table of settings.
//!
//! A row has the field that it sets, so that neither can be without the other: to add a setting, add a field to
//! [`Config`] and a row here. Flag, file, `--set`, help, check and record follow.

use names::{Row, Table};
use zoo::known;

use super::fields::Config;
use super::value::Value;

/// A setting of a run.
#[derive(Debug)]
pub struct Setting {
    /// Its name: in files, for `--set`, and of its flag.
    pub key: &'static str,
    /// What stands after the flag, as help shows it.
    pub value: &'static str,
    /// Its default as text; none where it is optional or must be given.
    pub default: Option<&'static str>,
    /// The least that a whole number may be.
    pub least: u32,
    /// What a number must be below.
    pub below: Option<f64>,
    /// How a name is written in the record, where people write it in several ways; none of a name that is unknown.
    pub spelling: fn(&str) -> Option<String>,
    /// Whether it only says where something lies, or runs: what is read is compared by its content, and what ran which
    /// steps is recorded with them.
    pub is_place: bool,
    /// What it means, in a line.
    pub help: &'static str,
    field: fn(&mut Config) -> &mut dyn Value,
}

impl Row for Setting {
    const WHAT: &'static str = "setting";

    fn name(&self) -> &'static str {
        self.key
    }

    fn summary(&self) -> &'static str {
        self.help
    }

    const ALIASES: &'static [(&'static str, &'static str)] = &[
        ("learning-rate", "lr"),
        ("batch-size", "batch"),
        ("epsilon", "eps"),
        ("num-steps", "steps"),
        ("wd", "weight-decay"),
        ("dataset", "data"),
        ("model", "student"),
        ("loss", "objective"),
        ("device", "engine"),
        // Its former name, which older folders have in their records.
        ("average", "ema"),
        ("awp-gamma", "awp"),
    ];

    const SIGNPOSTS: &'static [(&'static str, &'static str)] = &[
        (
            "optimizer",
            "students are trained by SGD: lr, momentum, nesterov and weight-decay are its settings",
        ),
        ("threads", "it changes no result, so it is a flag alone: --threads N"),
        ("out", "a run's folder is given by its flag alone: --out RUN"),
        ("preset", "it is a flag alone: --preset NAME"),
    ];
}

impl Setting {
    /// The field that it sets.
    pub(super) fn field<'a>(&self, config: &'a mut Config) -> &'a mut dyn Value {
        (self.field)(config)
    }

    /// Whether its flag takes no value.
    pub fn is_switch(&self) -> bool {
        (self.field)(&mut Config::default()).is_switch()
    }
}

/// A setting that is optional or must be given, by the type of its field.
const fn given(
    key: &'static str,
    value: &'static str,
    help: &'static str,
    field: fn(&mut Config) -> &mut dyn Value,
) -> Setting {
    Setting {
        key,
        value,
        default: None,
        least: 0,
        below: None,
        spelling: as_given,
        is_place: false,
        help,
        field,
    }
}

/// The same, of something that lies or runs somewhere.
const fn place(
    key: &'static str,
    value: &'static str,
    help: &'static str,
    field: fn(&mut Config) -> &mut dyn Value,
) -> Setting {
    Setting { is_place: true, ..given(key, value, help, field) }
}

impl Setting {
    const fn usually(self, default: &'static str) -> Self {
        Self { default: Some(default), ..self }
    }

    const fn at_least(self, least: u32) -> Self {
        Self { least, ..self }
    }

    const fn below(self, below: f64) -> Self {
        Self { below: Some(below), ..self }
    }

    const fn spelled(self, spelling: fn(&str) -> Option<String>) -> Self {
        Self { spelling, ..self }
    }
}

fn as_given(_: &str) -> Option<String> {
    None
}

fn objective(name: &str) -> Option<String> {
    method::objective::find(name).ok().map(|row| row.name.into())
}

/// Every setting, in the order of `config.toml` and of help.
pub static SETTINGS: &Table<Setting> = &[
    &place("data", "DATASET", "Data set: `sample`, or like `cifar10:FOLDER`; the names are below", |c| {
        &mut c.data
    }),
    &place("size", "N", "Bring every image to N x N pixels, as `@N` behind the data set's place does", |c| {
        &mut c.size
    })
    .at_least(1),
    &given("student", "NAME", "Architecture of the student", |c| &mut c.student).spelled(known),
    &given("objective", "NAME", "What the student learns", |c| &mut c.objective).spelled(objective),
    &place("labels", "DIR", "Label set to learn from: its folder, or a URL to fetch it from", |c| {
        &mut c.labels
    }),
    &place("labels-hash", "HASH", "The content hash that its rows must have", |c| &mut c.labels_hash),
    &place(
        "teacher",
        "WEIGHTS",
        "Weights of a teacher to ask online: in place of a label set, or beside its own",
        |c| &mut c.teacher,
    ),
    &given("arch", "NAME", "Architecture of the teacher, where its file does not say", |c| &mut c.arch)
        .spelled(known),
    &given("weights-key", "KEY", "Part of the teacher's checkpoint to take, such as `ema`", |c| {
        &mut c.weights_key
    }),
    &given("mean", "A,B,C", "Mean of each channel that the teacher's images have taken away", |c| {
        &mut c.mean
    }),
    &given("std", "A,B,C", "What each channel is then divided by", |c| &mut c.std),
    &given("normalize", "NAME", "The same by name: cifar10, imagenet .. or none", |c| &mut c.normalize),
    &place("second-labels", "DIR", "Label set of a second teacher, for an objective that has two", |c| {
        &mut c.second_labels
    }),
    &place("second-teacher", "WEIGHTS", "Weights of a second teacher to ask online", |c| {
        &mut c.second_teacher
    }),
    &given("second-arch", "NAME", "Architecture of the second teacher", |c| &mut c.second_arch)
        .spelled(known),
    &given("second-weights-key", "KEY", "Part of the second teacher's checkpoint to take", |c| {
        &mut c.second_weights_key
    }),
    &given("second-mean", "A,B,C", "As mean, of the second teacher", |c| &mut c.second_mean),
    &given("second-std", "A,B,C", "As std, of the second teacher", |c| &mut c.second_std),
    &given("second-normalize", "NAME", "As normalize, of the second teacher", |c| &mut c.second_normalize),
    &given("label-temperature", "X", "What the teacher's logits on clean images are divided by", |c| {
        &mut c.label_temperature
    })
    .usually("1"),
    &given(
        "label-swap",
        "BOOL",
        "Where the teacher is wrong, its logits of the label and of its own class change places (DGAD)",
        |c| &mut c.label_swap,
    )
    .usually("false"),
    &place("soften", "FILE", "List of images, by their indices, whose labels are to be softer", |c| {
        &mut c.soften
    }),
    &given("soften-temperature", "X", "What the teacher's logits on those images are divided by", |c| {
        &mut c.soften_temperature
    }),
    &given(
        "taps",
        "A,B",
        "Modules of the student whose feature maps dpk compares [default: its last two stages]",
        |c| &mut c.taps,
    ),
    &given(
        "teacher-taps",
        "A,B",
        "Those of the teacher, one for each [default: as taps, or its last two stages]",
        |c| &mut c.teacher_taps,
    ),
    &place("init", "FILE", "Weights to start from", |c| &mut c.init),
    &given(
        "as-published",
        "BOOL",
        "Do what the objective's authors' code does against their own words",
        |c| &mut c.as_published,
    )
    .usually("false"),
    &given("augment", "NAME", "Augmentation of a run without a label set, such as crop4+flip", |c| {
        &mut c.augment
    }),
    &given("limit", "N", "Only the first N images of the training split", |c| &mut c.limit).at_least(1),
    &given(
        "holdout",
        "N",
        "Images held out to select the best epoch [default: 1000 of at least 5000, else 0]",
        |c| &mut c.holdout,
    ),
    &given(
        "labelled",
        "SHARE",
        "Share of the images with a label, as many of each class; snord learns from the others too",
        |c| &mut c.labelled,
    ),
    &given("label-seed", "S", "Keys which images those are", |c| &mut c.label_seed).usually("0"),
    &given(
        "paper-selection",
        "BOOL",
        "Select the best epoch on the test split, as the paper did; the summary says so",
        |c| &mut c.paper_selection,
    )
    .usually("false"),
    &given("epochs", "N", "Passes over the training images", |c| &mut c.epochs).usually("300").at_least(1),
    &given("batch", "N", "Images per step", |c| &mut c.batch).usually("128").at_least(1),
    &given(
        "parts",
        "N",
        "Parts that a batch is cut into, each with its own statistics [default: 8 under mpirun, else none]",
        |c| &mut c.parts,
    )
    .at_least(1),
    &given("seed", "S", "Keys everything random: initial values, order, views, starts", |c| &mut c.seed)
        .usually("0"),
    &given("eps", "FRACTION", "Radius of the attack", |c| &mut c.eps).usually("8/255"),
    &given("step-size", "FRACTION", "Change of a pixel per attack step [default: eps / 4]", |c| {
        &mut c.step_size
    }),
    &given("steps", "N", "Attack steps", |c| &mut c.steps).usually("10").at_least(1),
    &given("lr", "X", "Base learning rate", |c| &mut c.lr).usually("0.1"),
    &given("momentum", "X", "Share of the old velocity that is kept", |c| &mut c.momentum)
        .usually("0.9")
        .below(1.0),
    &given("weight-decay", "X", "Pull of all parameters towards zero", |c| &mut c.weight_decay)
        .usually("0.0002")
        .below(1.0),
    &given("nesterov", "BOOL", "Nesterov's step: SGD looks ahead along its new velocity", |c| {
        &mut c.nesterov
    })
    .usually("false"),
    &given("schedule", "NAME", "How the learning rate falls: multistep, cosine or onecycle", |c| {
        &mut c.schedule
    })
    .usually("multistep"),
    &given(
        "milestones",
        "EPOCHS",
        "Epochs after which it falls tenfold, as 74,89,99 [default: 215,260,285 of 300, scaled]",
        |c| &mut c.milestones,
    ),
    &given(
        "ema",
        "X",
        "Judge and publish a moving average of the weights that keeps this share at each step",
        |c| &mut c.ema,
    ),
    &given(
        "swa",
        "from:X",
        "Judge and publish the mean of the weights after each epoch from this share of the run on",
        |c| &mut c.swa,
    ),
    &given(
        "awp",
        "X",
        "Before each step move every layer's weights against it by this share of their norm",
        |c| &mut c.awp,
    )
    .below(1.0),
    &given("awp-warmup", "N", "Epochs of the run that do without it", |c| &mut c.awp_warmup),
    &place("engine", "NAME", "What runs the networks; a run may go on on another", |c| &mut c.engine)
        .usually("cpu"),
    &place("precision", "NAME", "How a GPU attacks and trains: bf16, f16, tf32 or f32", |c| &mut c.precision),
    &given("exact-conv", "BOOL", "No fast convolution that rounds more than a plain sum", |c| {
        &mut c.exact_conv
    })
    .usually("false"),
    &place(
        "recompute",
        "BOOL",
        "Form normalised maps again on the way back rather than keep them: less memory, same bits",
        |c| &mut c.recompute,
    )
    .usually("true"),
];
