//! One name for one network: what people and other programs write, as the zoo writes it.
//!
//! A student's file, a manifest and config.toml hold the zoo's spelling alone, so that the same network has the same
//! name and the same bytes.

use names::plain;

use super::architecture::Architecture;
use super::onnx::file_of;

/// Names of the field for rows whose own name is another.
const ALIASES: &[(&str, &str)] = &[
    ("resnet-18", "resnet18"),
    ("resnet-20", "resnet20"),
    ("resnet-34", "resnet34"),
    ("resnet-50", "resnet50"),
    ("resnet-8", "resnet8"),
    ("resnet-34", "resnet34"),
    ("resnet-50", "resnet50"),
    ("rn18", "resnet18"),
    ("preactresnet18", "preact-resnet18"),
    ("preactresnet-18", "preact-resnet18"),
    ("preact-resnet-18", "preact-resnet18"),
    ("preresnet18", "preact-resnet18"),
    ("prn18", "preact-resnet18"),
    ("mobilenetv2", "mobilenet-v2"),
    ("mobilenet", "mobilenet-v2"),
    ("tinycnn", "tiny-cnn"),
    ("smallcnn", "small-cnn"),
    ("resnet-4b", "resnet4b"),
];

/// What wide ResNets are called elsewhere, before depth and width.
const WIDE: &[&str] = &["wrn-", "wrn", "wideresnet-", "wideresnet", "wide-resnet-", "wide-resnet"];

/// The zoo's spelling of an architecture's name: small letters, `-` for `_`, the field's other names, numbers written
/// one way (`wrn-28-10` for `WRN28x10`, `tiny-cnn` for `tiny-cnn-x1.0`). Names that it does not understand stay.
pub(super) fn spelled(name: &str) -> String {
    // A path means what it says.
    if file_of(name).is_some() {
        return name.into();
    }
    let plain = plain(name);
    let known =
        |name: &str| ALIASES.iter().find(|(alias, _)| *alias == name).map(|(_, own)| (*own).to_owned());
    if let Some(own) = known(&plain).or_else(|| wide(&plain)) {
        return own;
    }
    if let Some((base, factor)) = plain.rsplit_once("-x")
        && let Ok(factor) = factor.parse::<f64>()
        && factor > 0.0
        && factor.is_finite()
    {
        let base = known(base).unwrap_or_else(|| base.into());
        return if (factor - 1.0).abs() < f64::EPSILON { base } else { format!("{base}-x{factor}") };
    }
    plain
}

/// `wrn-D-W` of any spelling of it.
fn wide(plain: &str) -> Option<String> {
    let rest = WIDE.iter().find_map(|prefix| plain.strip_prefix(prefix))?;
    let (depth, width) = rest.split_once(['-', 'x'])?;
    let (depth, width): (u32, u32) = (depth.parse().ok()?, width.parse().ok()?);
    Some(format!("wrn-{depth}-{width}"))
}

impl Architecture {
    /// What to say of architectures that are not in the zoo.
    pub(super) const ELSEWHERE: &'static [(&'static str, &'static str)] = &[
        ("wrn", WIDE_NUMBERS),
        ("wideresnet", WIDE_NUMBERS),
        ("wide-resnet", WIDE_NUMBERS),
        ("resnet", "say which: `resnet18`, `resnet34`, `resnet20` or `resnet8`"),
        ("vgg*", PYTORCH),
        ("vit*", PYTORCH),
        ("xcit*", PYTORCH),
        ("swin*", PYTORCH),
        ("convnext*", PYTORCH),
        ("densenet*", PYTORCH),
        ("efficientnet*", PYTORCH),
    ];
}

const WIDE_NUMBERS: &str = "say depth and width, as in `wrn-34-10`";

/// The way for networks that the zoo does not know.
const PYTORCH: &str = "nothing of its kind is here: a student may be `resnet18` or `mobilenet-v2` (--help lists all), and a \
teacher answers through PyTorch: `label plan`, tools/label_with_pytorch.py, `label import`";

#[cfg(test)]
mod tests {
    use super::super::architecture::Task;
    use super::super::table::{ZOO, build};
    use super::*;

    #[test]
    fn one_network_has_one_name_however_it_is_written() {
        for (given, own) in [
            ("WRN-28-10", "wrn-28-10"),
            ("WideResNet-34-10", "wrn-34-10"),
            ("wrn34x10", "wrn-34-10"),
            ("wrn_034_010", "wrn-34-10"),
            ("ResNet18", "resnet18"),
            ("PreActResNet18", "preact-resnet18"),
            ("MobileNetV2", "mobilenet-v2"),
            ("tiny-cnn-x1", "tiny-cnn"),
            ("tiny_cnn_x1.0", "tiny-cnn"),
            ("tiny-cnn-x04", "tiny-cnn-x4"),
            ("mobilenetv2-x0.50", "mobilenet-v2-x0.5"),
        ] {
            assert_eq!(spelled(given), own);
            let task = Task { input: [3, 32, 32], classes: 10 };
            assert_eq!(build(given, task).unwrap().1.architecture(), own, "{given}");
        }
        for row in ZOO {
            assert_eq!(spelled(row.example), row.example, "the zoo's own names are spelled as they are");
        }
    }
}
