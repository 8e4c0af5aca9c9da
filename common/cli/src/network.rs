//! A network that arrives in a file of somebody else: the flags that say of it what the file may not say.

use std::path::Path;

use clap::Args;
use zoo::{Foreign, Inputs, LoadError};

use crate::note;

/// What is said of a network's file. Files that `distill` wrote say all of it themselves.
#[derive(Clone, Debug, Default, Args)]
pub struct NetworkArgs {
    /// The network's architecture; needed where its file does not show it
    #[arg(long, value_name = "NAME")]
    pub arch: Option<String>,
    /// The part of a checkpoint to take, such as `ema` or `state_dict.module`
    #[arg(long, value_name = "KEY")]
    pub weights_key: Option<String>,
    /// Mean of each channel that the network's images have taken away
    #[arg(long, value_name = "A,B,C", requires = "std", conflicts_with = "normalize")]
    pub mean: Option<String>,
    /// What each channel is then divided by
    #[arg(long, value_name = "A,B,C", requires = "mean", conflicts_with = "normalize")]
    pub std: Option<String>,
    /// The same by name: cifar10, imagenet .. or none; --help lists them
    #[arg(long, value_name = "NAME")]
    pub normalize: Option<String>,
}

impl NetworkArgs {
    /// The flags as the loader takes them.
    pub fn foreign(&self) -> Result<Foreign, LoadError> {
        let text = |text: &Option<String>| text.clone();
        foreign(text(&self.arch), text(&self.weights_key), [&self.mean, &self.std, &self.normalize])
    }

    /// The first of these flags that was given.
    pub fn given(&self) -> Option<&'static str> {
        let flags = [
            ("--arch", &self.arch),
            ("--weights-key", &self.weights_key),
            ("--mean", &self.mean),
            ("--std", &self.std),
            ("--normalize", &self.normalize),
        ];
        flags.into_iter().find(|(_, value)| value.is_some()).map(|(flag, _)| flag)
    }
}

/// What is said of a network's file, from the texts of flags or settings: `inputs` are mean, std and a name.
pub fn foreign(
    architecture: Option<String>,
    weights_key: Option<String>,
    inputs: [&Option<String>; 3],
) -> Result<Foreign, LoadError> {
    let [mean, std, name] = inputs.map(Option::as_deref);
    Ok(Foreign { architecture, weights_key, inputs: Inputs::parse(mean, std, name)? })
}

/// Says what was found in a network's file.
pub fn say_notes(path: &Path, notes: &[String]) {
    for found in notes {
        note(format_args!("{}: {found}", path.display()));
    }
}
