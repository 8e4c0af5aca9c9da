//! Why an engine refuses or fails.

/// Why an engine refused or failed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the message beside each variant says what its fields are")]
pub enum EngineError {
    #[error("{architecture}: images are {found:?}; wanted (N, {}, {}, {})", .wanted[0], .wanted[1], .wanted[2])]
    Images { architecture: String, wanted: [usize; 3], found: Vec<usize> },
    #[error("{architecture}: images are {images}, parameters {params}; wanted one precision")]
    Precision { architecture: String, images: String, params: &'static str },
    #[error("the {engine} engine runs f32 only\nhint: the reference engine runs {precision}")]
    NotInPrecision { engine: &'static str, precision: &'static str },
    #[error("{architecture}: the parameters are another network's: {found}; wanted {wanted}")]
    Params { architecture: String, wanted: String, found: String },
    #[error("{architecture}: the gradients are {found}; wanted {wanted}")]
    Grads { architecture: String, wanted: String, found: String },
    #[error("{architecture}: no node {tap} to tap, there are {nodes}")]
    Tap { architecture: String, tap: usize, nodes: usize },
    #[error("{architecture}: an empty batch has no statistics")]
    EmptyBatch { architecture: String },
    #[error("backward got a gradient of {found:?} for an output of {wanted:?}")]
    SeedShape { wanted: Vec<usize>, found: Vec<usize> },
    #[error("backward got {found} gradients for {wanted} outputs")]
    Seeds { wanted: usize, found: usize },
    #[error("the attack's {what} is {found:?}; wanted {wanted:?}")]
    Attack { what: &'static str, wanted: Vec<usize>, found: Vec<usize> },
    #[error("row {row} of images {found:?}; wanted a row of a batch of images {wanted:?}")]
    Row { row: usize, wanted: Vec<usize>, found: Vec<usize> },
    #[error("the state of an attack's images is {found}; wanted f32")]
    NotF32 { found: String },
    #[error("images were to be gathered, and none is named")]
    NoRows,
    #[error("image {image} of an attack has label {label}; there are {classes} classes, from 0")]
    Label { image: usize, label: usize, classes: usize },
    #[error("the {what}: {found}; the parameters that they go with: {wanted}")]
    State { what: &'static str, wanted: String, found: String },
    #[error("backward wants gradients of the {0}, but forward did not keep them")]
    NotKept(&'static str),
    /// Somebody asked to stop; no engine says so by itself, but whoever wraps one may.
    #[error("interrupted\nhint: nothing of it was kept; run the same command again")]
    Interrupted,
    #[error(
        "precision {precision} is for GPUs, and the device is {engine}\nhint: leave it out (a file's too), or choose --device cuda"
    )]
    Precisions { engine: &'static str, precision: &'static str },
    #[error(
        "--isa {set} chooses among the processor's kernels, and the device is {engine}\nhint: leave --isa out, or choose --device cpu"
    )]
    NoKernels { engine: &'static str, set: &'static str },
    #[error("this processor has no {set}\nhint: leave --isa out: the best that it has is taken")]
    InstructionSet { set: &'static str },
    #[error(transparent)]
    Device(Box<crate::cuda::DeviceError>),
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
    #[error("cannot start {threads} threads: {source}")]
    Threads { threads: usize, source: rayon::ThreadPoolBuildError },
}
