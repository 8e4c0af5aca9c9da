//! The zoo: each architecture one file that returns a [`Network`](engine::Network) and carries its row, and one entry in
//! [`ZOO`].

mod architecture;
mod blueprint;
mod bottleneck_resnet;
mod deepmind;
mod detect;
mod dm_preact_resnet;
mod dm_wide_resnet;
mod file;
mod foreign;
mod huang_resnet;
mod inputs;
mod lenet5_madry;
mod loaded;
mod mma_wide_resnet;
mod mobilenet_v2;
mod normalise;
pub mod onnx;
mod padded_resnet;
mod preact_resnet;
mod ra_wide_resnet;
mod resnet;
mod resnet4b;
mod sequential;
mod small_cnn;
mod spelling;
mod stages;
mod state;
mod table;
mod tensors;
mod tiny_cnn;
mod wide_resnet;

pub use architecture::{Architecture, Init, Task};
pub use detect::detect;
pub use file::{CHECKPOINT, load, load_from, save};
pub use foreign::Foreign;
pub use loaded::{LoadError, Loaded};
pub use normalise::{Inputs, NORMALISATIONS, Normalisation, NormalisationError};
pub use onnx::OnnxError;
pub use state::{NamedTensor, fill, named, tensors};
pub use table::{ModelError, ZOO, build, known};
pub use tensors::Tensors;
