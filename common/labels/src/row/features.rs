//! The feature maps that a label set may hold beside its logits: of which modules of the teacher, in which shapes.

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::row::dtype::{Dtype, Floats};

/// Arrow counts the values of a list in 31 bits.
const MOST_VALUES: u64 = i32::MAX as u64;
/// The longest path of modules that a manifest takes.
const LONGEST_NAME: usize = 256;

/// The feature maps of each row: of how many modules, where a row has them, and how they are stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Features {
    /// Stored type of their values, f16 or f32, no wider than that of logits that are floats. f16 has 11 significant bits: a stored value differs
    /// from the teacher's by at most 4.9e-4 of it, or 3e-8 where it is below 6.1e-5.
    pub dtype: Dtype,
    /// The maps, in the order in which a row has them.
    pub maps: Vec<FeatureMap>,
}

/// One feature map of a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureMap {
    /// The teacher's module that gives it, as `PyTorch`'s `named_modules()` names it, like `layer3`.
    pub module: String,
    /// Channels, height and width.
    pub shape: [u32; 3],
}

impl FeatureMap {
    /// Number of values.
    pub fn values(&self) -> usize {
        self.product() as usize
    }

    fn product(&self) -> u64 {
        self.shape.iter().fold(1u64, |product, &side| product.saturating_mul(side.into()))
    }
}

impl Features {
    /// F, the values of a row: those of all maps.
    pub fn values(&self) -> usize {
        self.maps.iter().map(FeatureMap::values).fold(0, usize::saturating_add)
    }

    /// Bytes of a row.
    pub fn row_bytes(&self) -> usize {
        self.values().saturating_mul(self.dtype.size())
    }

    /// Where among a row's F values a map lies. Panics where there is no map of this number.
    pub fn places(&self, map: usize) -> Range<usize> {
        let start = self.maps[..map].iter().map(FeatureMap::values).sum();
        start..start + self.maps[map].values()
    }

    /// The number of a module's map; none where the label set does not hold it.
    pub fn find(&self, module: &str) -> Option<usize> {
        self.maps.iter().position(|map| map.module == module)
    }

    /// The module that gives one of a row's F values, and the value's place in its map.
    pub(crate) fn locate(&self, value: usize) -> (String, usize) {
        let map = (0..self.maps.len()).find(|&map| self.places(map).contains(&value));
        let map = map.expect("a row has no value beyond its maps");
        (self.maps[map].module.clone(), value - self.places(map).start)
    }

    /// What is wrong with it beside logits of this type: a field, what is wanted, what is found.
    pub(crate) fn problem(&self, logits: Dtype) -> Option<[String; 3]> {
        let wrong = |field: &str, wanted: String, found: String| Some([field.into(), wanted, found]);
        if self.maps.is_empty() {
            return wrong("features.maps", "at least one, or no features".into(), "none".into());
        }
        if self.dtype == Dtype::U8 {
            return wrong("features.dtype", "f16 or f32".into(), self.dtype.to_string());
        }
        // Behind codes they may be of any type: another column of floats goes before.
        if logits != Dtype::U8 && self.dtype.size() > logits.size() {
            let wanted = format!("{logits}, as the logits' dtype, or narrower");
            return wrong("features.dtype", wanted, self.dtype.to_string());
        }
        let mut seen = HashSet::new();
        for map in &self.maps {
            let name = &map.module;
            if name.is_empty() || name.len() > LONGEST_NAME || name.chars().any(names::acts) {
                let wanted = format!("1 to {LONGEST_NAME} printable bytes");
                return wrong("module of features.maps", wanted, format!("{name:?}"));
            }
            if !seen.insert(name) {
                return wrong("module of features.maps", "each once".into(), format!("{name:?} twice"));
            }
            if map.product() == 0 {
                let wanted = "channels, height and width of at least 1".into();
                return wrong(&format!("shape of the map of {name:?}"), wanted, format!("{:?}", map.shape));
            }
        }
        let values = self.maps.iter().map(FeatureMap::product).fold(0u64, u64::saturating_add);
        if values > MOST_VALUES {
            let wanted = format!("at most {MOST_VALUES}");
            return wrong("number of values of features.maps", wanted, values.to_string());
        }
        None
    }
}

/// `layer3 256x8x8, layer2 128x16x16`.
impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, FeatureMap { module, shape: [channels, height, width] }) in self.maps.iter().enumerate()
        {
            let before = if number == 0 { "" } else { ", " };
            write!(f, "{before}{module} {channels}x{height}x{width}")?;
        }
        Ok(())
    }
}

/// The types that a label set of logits of this type has, with its features where it has some.
pub(crate) fn floats(logits: Dtype, features: Option<&Features>) -> Floats {
    Floats { logits, features: features.map_or(logits, |features| features.dtype) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features(maps: &[(&str, [u32; 3])]) -> Features {
        let map = |&(module, shape): &(&str, _)| FeatureMap { module: module.into(), shape };
        Features { dtype: Dtype::F16, maps: maps.iter().map(map).collect() }
    }

    /// WRN-34-10's last two blocks, arXiv:1605.07146, table 1: 640 maps of 8x8 and 320 of 16x16.
    #[test]
    fn a_rows_maps_lie_one_behind_the_other() {
        let wide = features(&[("block3", [640, 8, 8]), ("block2", [320, 16, 16])]);
        assert_eq!((wide.values(), wide.row_bytes()), (122_880, 245_760));
        assert_eq!([wide.places(0), wide.places(1)], [0..40_960, 40_960..122_880]);
        assert_eq!((wide.find("block2"), wide.find("block")), (Some(1), None));
        assert_eq!(wide.locate(40_959), ("block3".into(), 40_959));
        assert_eq!(wide.locate(40_960), ("block2".into(), 0));
        assert_eq!(wide.to_string(), "block3 640x8x8, block2 320x16x16");
        assert!(wide.problem(Dtype::F16).is_none() && wide.problem(Dtype::F32).is_none());
    }

    #[test]
    fn maps_that_no_shard_can_hold_are_refused() {
        let long = "x".repeat(257);
        for (maps, words) in [
            (&[][..], "features.maps"),
            (&[("a", [1, 1, 1]), ("a", [1, 1, 1])], "\"a\" twice"),
            (&[("", [1, 1, 1])], "printable"),
            (&[("a\u{1b}[2J", [1, 1, 1])], "printable"),
            // Shown as `layer3` by a terminal that reads from right to left behind the sign.
            (&[("layer\u{202e}3", [1, 1, 1])], "printable"),
            (&[(long.as_str(), [1, 1, 1])], "printable"),
            (&[("a", [3, 0, 1])], "[3, 0, 1]"),
            (&[("a", [65_536, 32_768, 1])], "2147483648"),
            (&[("a", [u32::MAX; 3]), ("b", [u32::MAX; 3])], "at most 2147483647"),
        ] {
            let problem = features(maps).problem(Dtype::F32).unwrap().join(" ");
            assert!(problem.contains(words), "{problem}");
        }
        let exact = Features { dtype: Dtype::F32, ..features(&[("a", [1, 1, 1])]) };
        assert!(exact.problem(Dtype::F32).is_none());
        assert!(exact.problem(Dtype::F16).unwrap().join(" ").contains("features.dtype f16"));
    }
}
