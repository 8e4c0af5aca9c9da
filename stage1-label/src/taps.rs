//! Feature maps that are kept beside the logits: which modules of the teacher give them, and how much they weigh.

use clap::Args;
use engine::{Network, NodeId};
use labels::{Dtype, FeatureMap, Features, Form};
use method::taps;

use crate::verb::inspect::bytes;
use crate::{Error, Result};

/// The most bytes of feature maps, over both forms where both are written, that `label run` writes unasked: 16 GiB. One
/// view of each of 50,000 images at the last block of WRN-34-10 is half of it, in f16 and both forms.
pub const MOST_UNASKED: u64 = 16 << 30;

/// Which feature maps are kept.
#[derive(Debug, Clone, Default, Args)]
pub struct TapArgs {
    /// Modules of the teacher whose feature maps are kept beside the logits, as in layer3,layer2
    #[arg(long, value_name = "A,B")]
    pub taps: Option<String>,
    /// Stored type of the feature maps: f16 or f32, no wider than the logits' [default: f16]
    #[arg(long, value_name = "TYPE", requires = "taps")]
    pub tap_dtype: Option<Dtype>,
}

/// Where a teacher gives feature maps, and what they are.
#[derive(Debug, Clone)]
pub struct Tapped {
    /// The nodes, in the order in which they were named.
    pub nodes: Vec<NodeId>,
    /// What a label set says of them.
    pub features: Features,
}

impl TapArgs {
    /// The maps of this teacher that were asked for; none where none were.
    pub fn find(&self, teacher: &Network) -> Result<Option<Tapped>> {
        let Some(list) = &self.taps else { return Ok(None) };
        let names = taps::names(list).map_err(|error| refused(&error))?;
        if let Some(twice) = names.iter().enumerate().find(|(place, name)| names[..*place].contains(name)) {
            return Err(Error::Usage {
                what: format!("taps: module `{}` is named twice", twice.1),
                hint: "name each module once".into(),
            });
        }
        if self.tap_dtype == Some(Dtype::U8) {
            return Err(Error::Usage {
                what: "--tap-dtype u8: feature maps are stored as f16 or f32".into(),
                hint: "codes of eight bits are for logits: --dtype u8".into(),
            });
        }
        Tapped::at(teacher, &names, self.tap_dtype.unwrap_or(Dtype::F16)).map(Some)
    }
}

impl TapArgs {
    /// Refuses maps in a wider type than that of logits that are floats: their column would not be aligned behind these.
    pub fn refuse_wider(&self, logits: Dtype) -> Result<()> {
        match self.tap_dtype {
            Some(maps) if logits != Dtype::U8 && maps.size() > logits.size() => Err(Error::Usage {
                what: format!(
                    "--tap-dtype {maps}: feature maps are stored no finer than logits, and these are {logits}"
                ),
                hint: format!("add --dtype {maps}, or leave out --tap-dtype"),
            }),
            _ => Ok(()),
        }
    }
}

impl Tapped {
    /// The maps that a label set holds, of the teacher that gave them.
    pub fn of(features: &Features, teacher: &Network) -> Result<Self> {
        let names: Vec<&str> = features.maps.iter().map(|map| map.module.as_str()).collect();
        let tapped = Self::at(teacher, &names, features.dtype)?;
        if tapped.features == *features {
            return Ok(tapped);
        }
        Err(Error::Usage {
            what: format!(
                "feature maps are {features} in the label set, {} of this teacher",
                tapped.features
            ),
            hint: "pass the teacher that answered, with its --arch".into(),
        })
    }

    /// The maps of these modules, stored in this type.
    pub fn at(teacher: &Network, names: &[&str], dtype: Dtype) -> Result<Self> {
        let nodes = taps::find(teacher, names.iter().copied()).map_err(|error| refused(&error))?;
        let shapes = taps::shapes(teacher, &nodes);
        let map = |(name, shape): (&&str, [usize; 3])| FeatureMap {
            module: (*name).into(),
            shape: shape.map(|side| side as u32),
        };
        let maps = names.iter().zip(shapes).map(map).collect();
        Ok(Self { nodes, features: Features { dtype, maps } })
    }
}

fn refused(error: &taps::TapError) -> Error {
    let text = error.to_string();
    let (what, hint) = text.split_once("\nhint: ").unwrap_or((&text, "see `label run --help`"));
    Error::Usage { what: format!("taps: {what}"), hint: hint.into() }
}

/// Bytes of the feature maps of so many rows, in each form that is written. Parquet is compressed; how far, the maps decide.
pub fn weight(features: &Features, rows: u64, form: Form) -> u64 {
    let forms = u64::from(form.has_safetensors()) + u64::from(form.has_parquet());
    rows.saturating_mul(features.row_bytes() as u64).saturating_mul(forms)
}

/// Refuses feature maps that fill a disk, unless somebody said that they may.
pub fn refuse_heavy(features: &Features, rows: u64, form: Form, may: bool) -> Result<()> {
    let weight = weight(features, rows, form);
    if may || weight <= MOST_UNASKED {
        return Ok(());
    }
    let forms = if form == Form::Both { ", in two forms" } else { "" };
    let safetensors = if form == Form::Both { "--format safetensors, " } else { "" };
    Err(Error::Usage {
        what: format!(
            "feature maps of {features} in {}: {} a row of {rows} rows{forms} are {}, wanted at most {} unasked",
            features.dtype,
            bytes(features.row_bytes() as u64),
            bytes(weight),
            bytes(MOST_UNASKED),
        ),
        hint: format!(
            "take fewer views (--views random:1@0), {safetensors}a later module or --limit N, or add --yes; `label estimate --taps` weighs them"
        ),
    })
}

#[cfg(test)]
mod tests {
    use zoo::Task;

    use super::*;

    fn network(name: &str) -> Network {
        zoo::build(name, Task { input: [3, 32, 32], classes: 10 }).unwrap().1
    }

    fn asked(taps: &str) -> TapArgs {
        TapArgs { taps: Some(taps.into()), tap_dtype: None }
    }

    /// WRN-34-10's last block gives 640 maps of 8x8 (arXiv:1605.07146, table 1): 81,920 bytes in half precision.
    #[test]
    fn the_limit_is_between_one_view_and_a_few_of_wrn_34_10() {
        let Tapped { features, nodes } = asked("block3").find(&network("wrn-34-10")).unwrap().unwrap();
        assert_eq!((nodes.len(), features.row_bytes(), features.dtype), (1, 81_920, Dtype::F16));
        assert_eq!(weight(&features, 50_000, Form::Both), 8_192_000_000);
        assert_eq!(weight(&features, 8_100_000, Form::Parquet), 663_552_000_000);
        let refuse =
            |rows, form, may| refuse_heavy(&features, rows, form, may).map_err(|error| error.to_string());
        refuse(50_000, Form::Both, false).unwrap();
        refuse(200_000, Form::Safetensors, false).unwrap();
        refuse(8_100_000, Form::Both, true).unwrap();
        let text = refuse(200_000, Form::Both, false).unwrap_err();
        assert!(
            text.starts_with("feature maps of block3 640x8x8 in f16: 81.9 kB a row of 200000 rows"),
            "{text}"
        );
        assert!(text.contains("32.8 GB, wanted at most 17.2 GB") && text.contains("--yes"), "{text}");
        assert!(!refuse(300_000, Form::Safetensors, false).unwrap_err().contains("--format"));
    }

    #[test]
    fn modules_that_give_no_map_and_names_said_twice_are_refused() {
        let refused = |taps: &str| asked(taps).find(&network("resnet8")).unwrap_err().to_string();
        let text = refused("layer9");
        assert!(
            text.starts_with("taps: resnet8 has no module `layer9`") && text.contains("\nhint: "),
            "{text}"
        );
        assert!(refused("linear").contains("10 features and no map"));
        assert!(refused("layer3, layer3").contains("`layer3` is named twice\nhint: name each module once"));
        assert!(TapArgs::default().find(&network("resnet8")).unwrap().is_none());
        let both = asked("layer3, layer2").find(&network("resnet8")).unwrap().unwrap();
        assert_eq!(both.features.to_string(), "layer3 64x8x8, layer2 32x16x16");
    }
}
