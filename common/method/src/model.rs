//! The zoo: each architecture one file that returns a [`Network`](engine::Network) and carries its row, and one entry in
//! [`ZOO`].

mod architecture;
mod file;
mod init;
mod mobilenet_v2;
mod preact_resnet;
mod resnet;
mod resnet4b;
mod small_cnn;
mod state;
mod tiny_cnn;
mod wide_resnet;
mod zoo;

pub use architecture::{Architecture, Task};
pub use file::{LoadError, Loaded, load, load_from, save};
pub use init::{Init, initialise};
pub use state::{NamedTensor, fill, named, tensors};
pub use zoo::{ModelError, ZOO, build};
