//! How a GPU stores maps and multiplies: a stated choice, recorded with what was computed.

use std::fmt;
use std::str::FromStr;

/// What maps and packed weights are stored as, and what products are made of. Sums are f32 always, and so are the
/// parameters, their gradients, and the statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Storage {
    /// f32, each product as three of TF32, or of halves where those are faster: what f32 sums give, to a few units in the last
    /// place. Label sets.
    F32,
    /// f32, rounded to TF32's 10 bits behind the first as it enters a product: what PyTorch's convolutions do unless told
    /// otherwise.
    Tf32,
    /// bf16 (8 bits of precision, f32's range): training and attacks.
    Bf16,
    /// f16 (11 bits, a range of 6e-8 to 65504): training and attacks on chips before Ampere, which have no bf16.
    F16,
}

impl Storage {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::F32, Self::Tf32, Self::Bf16, Self::F16];

    /// `f32`, `tf32`, `bf16` or `f16`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Tf32 => "tf32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        }
    }

    /// Bytes of a stored value.
    pub(crate) const fn bytes(self) -> usize {
        match self {
            Self::F32 | Self::Tf32 => 4,
            Self::Bf16 | Self::F16 => 2,
        }
    }

    /// Whether maps are f32.
    pub(super) const fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::Tf32)
    }

    /// What gradients are multiplied by on their way through a network, where the largest at its outputs is this: a power
    /// of two. f16 rounds to zero what is below 6e-8, where gradients of a mean over a batch lie, and what is above 65504
    /// to infinity, where gradients of quotients lie.
    pub(super) fn gradient_scale(self, largest: f32) -> f32 {
        if self == Self::F16 && largest > 0.0 && largest.is_finite() {
            2.0f32.powi(4 - largest.log2().ceil().clamp(-60.0, 60.0) as i32)
        } else {
            1.0
        }
    }

    /// The oldest compute capability whose tensor cores can.
    pub(super) const fn capability(self) -> (i32, i32) {
        match self {
            Self::F32 | Self::Tf32 | Self::Bf16 => (8, 0),
            Self::F16 => (7, 5),
        }
    }

    /// The kernels that compute capability 9.0 alone has (`sm_90a`).
    pub(super) const fn warpgroup_ptx(self) -> Option<&'static str> {
        match self {
            Self::F32 => Some(include_str!("ptx/f32-sm90a.ptx")),
            Self::Tf32 => Some(include_str!("ptx/tf32-sm90a.ptx")),
            Self::Bf16 | Self::F16 => None,
        }
    }

    /// The kernels.
    pub(super) const fn ptx(self) -> &'static str {
        match self {
            Self::F32 => include_str!("ptx/f32.ptx"),
            Self::Tf32 => include_str!("ptx/tf32.ptx"),
            Self::Bf16 => include_str!("ptx/bf16.ptx"),
            Self::F16 => include_str!("ptx/f16.ptx"),
        }
    }
}

impl fmt::Display for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Storage {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|storage| storage.name() == text)
            .ok_or_else(|| format!("unknown precision `{text}`\nhint: known: f32, tf32, bf16, f16"))
    }
}
