//! What the zoo knows of an architecture, and what a network is built for.

use std::fmt;

use engine::Network;
use engine::graph::GraphError;

use super::tensors::Tensors;

/// What a network is built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    /// Channels, height and width of an image.
    pub input: [usize; 3],
    /// Number of classes.
    pub classes: usize,
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [c, h, w] = self.input;
        write!(f, "{c}x{h}x{w} images and {} classes", self.classes)
    }
}

/// How parameters start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Init {
    /// PyTorch's defaults: weights and biases U(-b, b) with b = 1 / sqrt(fan-in).
    PyTorch,
    /// Wide ResNets as TRADES trains them: convolutions N(0, 2 / (k * k * out)), the classifier's bias 0.
    WideResNet,
}

/// An architecture that the command line knows.
#[derive(Debug)]
pub struct Architecture {
    /// Its name; `D` and `W` stand for numbers.
    pub name: &'static str,
    /// One name that it answers to: its own, or with numbers for the letters.
    pub example: &'static str,
    /// What it is, in a line.
    pub summary: &'static str,
    /// Builds it for a task where `name` is one of its names.
    pub build: fn(name: &str, task: Task) -> Option<Result<Network, GraphError>>,
    /// How its parameters start.
    pub init: Init,
    /// Prefixes of tensors in published files that the network does not use.
    pub unused: &'static [&'static str],
    /// The names, with numbers filled in, under which a file with these tensors may be this architecture. A name too
    /// many costs nothing, its network is laid against the tensors. None for what only `--arch` can mean.
    pub names: fn(name: &'static str, tensors: &Tensors<'_>) -> Vec<String>,
}

impl Architecture {
    /// A row of an architecture that starts as PyTorch's modules do and uses every tensor of its files.
    pub(super) const fn new(
        name: &'static str,
        summary: &'static str,
        build: fn(&str, Task) -> Option<Result<Network, GraphError>>,
    ) -> Self {
        Self {
            name,
            example: name,
            summary,
            build,
            init: Init::PyTorch,
            unused: &[],
            names: |name, _| vec![name.into()],
        }
    }
}

impl names::Row for Architecture {
    const WHAT: &'static str = "architecture";

    fn name(&self) -> &'static str {
        self.name
    }

    fn summary(&self) -> &'static str {
        self.summary
    }

    fn example(&self) -> &'static str {
        self.example
    }

    const SIGNPOSTS: &'static [(&'static str, &'static str)] = Self::ELSEWHERE;
}

/// The width factor W of `BASE-xW`, or 1 for `BASE` itself; none for another name.
pub(super) fn scaled_name(name: &str, base: &str) -> Option<f64> {
    let suffix = name.strip_prefix(base)?;
    if suffix.is_empty() {
        return Some(1.0);
    }
    suffix.strip_prefix("-x")?.parse().ok().filter(|factor: &f64| *factor > 0.0 && *factor <= 16.0)
}

/// `BASE-xW`, or `BASE` itself where the width factor W is 1: the name that [`scaled_name`] reads.
pub(super) fn name_of_scale(base: &str, factor: f64) -> String {
    // As text: exactly 1 is written so, and nothing else.
    match factor.to_string().as_str() {
        "1" => base.into(),
        text => format!("{base}-x{text}"),
    }
}
