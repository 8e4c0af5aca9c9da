//! Who answered: the teacher's record in the manifest.

use serde::{Deserialize, Serialize};

use crate::row::digest::Hex;

/// Everything about the teacher that decides, or explains, its logits. Numbers are text, so that the manifest holds no floats.
///
/// Begin with [`Teacher::named`] and say what else is known:
///
/// ```
/// let mut teacher = labels::Teacher::named("wrn-34-10");
/// teacher.origin = "https://example.org/wrn.pt".into();
/// teacher.precision = "f32".into();
/// ```
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Teacher {
    /// Architecture, like `wrn-34-10`, or the name given to a foreign teacher.
    pub architecture: String,
    /// BLAKE3 of the weight file's bytes; none where logits were imported.
    pub weights_blake3: Option<Hex>,
    /// Where the weights come from: an address or a sentence; may be empty.
    pub origin: String,
    /// The keys and names that lead to the network in the weight file, like `state_dict.module`; none where it is the
    /// whole file, or nobody said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights_key: Option<String>,
    /// `unknown` where answers were imported and nobody said what the teacher's pixels were normalised with; none where
    /// `mean` and `std` say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normalisation: Option<String>,
    /// Mean subtracted from each channel inside the teacher, as written; empty for none.
    pub mean: Vec<String>,
    /// What each channel is then divided by, as written; empty for none.
    pub std: Vec<String>,
    /// Precision of the forward pass, like `f32`.
    pub precision: String,
    /// Engine and build that ran it, like `reference 0.1.0`.
    pub engine: String,
    /// Kind of device, like `cpu`; never a host's name.
    pub device: String,
}

impl Teacher {
    /// A teacher of this architecture, or name, of which nothing else is recorded.
    pub fn named(architecture: impl Into<String>) -> Teacher {
        let unknown = || String::from("not recorded");
        Teacher {
            architecture: architecture.into(),
            weights_blake3: None,
            weights_key: None,
            normalisation: None,
            origin: String::new(),
            mean: Vec::new(),
            std: Vec::new(),
            precision: unknown(),
            engine: unknown(),
            device: unknown(),
        }
    }
}
