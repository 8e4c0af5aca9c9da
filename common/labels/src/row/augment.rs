//! Views: the finite set of augmented forms of an image, and the names of those sets.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;

/// An augmentation that is a finite set of views: zero-pad, crop back to the image's size, then mirror.
///
/// Names: `none`, `flip`, `cropP`, `cropP+flip`, with P the padding in pixels; `crop4+flip` is CIFAR's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Augment {
    /// Zero padding on every side, in pixels; 0 for no crop.
    pub pad: u16,
    /// Whether each crop also appears mirrored left to right.
    pub flip: bool,
}

/// One view of an image: where its crop starts in the padded image, and whether it is mirrored afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct View {
    /// Row of the crop's top left corner in the padded image, in `0..=2*pad`; `pad` is the centre.
    pub crop_y: u16,
    /// Column of the crop's top left corner in the padded image, in `0..=2*pad`; `pad` is the centre.
    pub crop_x: u16,
    /// Whether the crop is mirrored left to right.
    pub flip: bool,
}

impl Augment {
    /// The image as it is, and nothing else.
    pub const NONE: Augment = Augment { pad: 0, flip: false };

    /// Number of views: `(2*pad+1)^2`, twice that with mirroring.
    pub fn views(self) -> u32 {
        let (side, mirrors) = (self.side(), if self.flip { 2 } else { 1 });
        // Fields are public: paddings whose ids do not fit must not wrap round to a plausible number.
        side.saturating_mul(side).saturating_mul(mirrors)
    }

    /// The view of an id, or `None` at or beyond [`Augment::views`].
    pub fn view(self, id: u16) -> Option<View> {
        if u32::from(id) >= self.views() {
            return None;
        }
        let side = self.side();
        let (crop, flip) = if self.flip { (u32::from(id) / 2, id % 2 == 1) } else { (u32::from(id), false) };
        Some(View { crop_y: (crop / side) as u16, crop_x: (crop % side) as u16, flip })
    }

    /// The id of a view: `(dy * (2*pad+1) + dx) * 2 + flip`, without mirroring `dy * (2*pad+1) + dx`.
    ///
    /// `None` for a view that this augmentation does not have.
    pub fn id(self, view: View) -> Option<u16> {
        let (y, x, side) = (u32::from(view.crop_y), u32::from(view.crop_x), self.side());
        if y >= side || x >= side || (view.flip && !self.flip) {
            return None;
        }
        let crop = y * side + x;
        Some(if self.flip { (crop * 2 + u32::from(view.flip)) as u16 } else { crop as u16 })
    }

    /// The id of the untouched image: the centre crop, not mirrored.
    pub fn centre(self) -> u16 {
        let view = View { crop_y: self.pad, crop_x: self.pad, flip: false };
        self.id(view).expect("every augmentation has its centre")
    }

    fn side(self) -> u32 {
        2 * u32::from(self.pad) + 1
    }

    /// Whether every view's id fits in 16 bits: padding up to 90 with mirroring, 127 without.
    pub(crate) fn ids_fit(self) -> bool {
        self.views() <= 1 << 16
    }
}

impl fmt::Display for Augment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.pad, self.flip) {
            (0, false) => f.write_str("none"),
            (0, true) => f.write_str("flip"),
            (pad, false) => write!(f, "crop{pad}"),
            (pad, true) => write!(f, "crop{pad}+flip"),
        }
    }
}

impl FromStr for Augment {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let unknown = || Error::UnknownAugment { name: name.into() };
        let parsed = match name {
            "none" => Augment::NONE,
            "flip" => Augment { pad: 0, flip: true },
            _ => {
                let rest = name.strip_prefix("crop").ok_or_else(unknown)?;
                let (digits, flip) = match rest.strip_suffix("+flip") {
                    Some(digits) => (digits, true),
                    None => (rest, false),
                };
                let pad: u16 = digits.parse().map_err(|_| unknown())?;
                Augment { pad, flip }
            }
        };
        // One set, one name: `crop04`, `crop+4` and `crop0` are not names.
        if !parsed.ids_fit() || parsed.to_string() != name {
            return Err(unknown());
        }
        Ok(parsed)
    }
}

crate::row::dtype::serde_as_name!(Augment);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_named_sets_have_the_documented_sizes() {
        let sizes = [("none", 1), ("flip", 2), ("crop2", 25), ("crop4", 81), ("crop4+flip", 162)];
        for (name, views) in sizes {
            let augment: Augment = name.parse().unwrap();
            assert_eq!(augment.views(), views, "{name}");
            assert_eq!(augment.to_string(), name);
        }
        let largest: Augment = "crop90+flip".parse().unwrap();
        assert_eq!(largest.views(), 181 * 181 * 2);
        assert!("crop127".parse::<Augment>().is_ok());
        assert!(!Augment { pad: u16::MAX, flip: true }.ids_fit());
    }

    #[test]
    fn ids_enumerate_rows_then_columns_then_mirror() {
        // Nested loops in the documented order count the ids independently of the formula.
        for name in ["none", "flip", "crop1", "crop2", "crop4+flip"] {
            let augment: Augment = name.parse().unwrap();
            let mut id = 0u16;
            for crop_y in 0..=2 * augment.pad {
                for crop_x in 0..=2 * augment.pad {
                    for flip in [false, true].into_iter().take(if augment.flip { 2 } else { 1 }) {
                        let view = View { crop_y, crop_x, flip };
                        assert_eq!(augment.view(id), Some(view), "{name} {id}");
                        assert_eq!(augment.id(view), Some(id), "{name} {id}");
                        id += 1;
                    }
                }
            }
            assert_eq!(u32::from(id), augment.views());
            assert_eq!(augment.view(id), None);
        }
        assert_eq!("crop4+flip".parse::<Augment>().unwrap().centre(), 80);
        assert_eq!("crop2".parse::<Augment>().unwrap().centre(), 12);
    }

    #[test]
    fn views_outside_the_set_have_no_id() {
        let crop2: Augment = "crop2".parse().unwrap();
        let outside = [(5, 0, false), (0, 5, false), (0, 0, true)];
        for (crop_y, crop_x, flip) in outside {
            assert_eq!(crop2.id(View { crop_y, crop_x, flip }), None);
        }
    }

    #[test]
    fn other_spellings_are_refused() {
        for name in [
            "",
            "crop",
            "crop0",
            "crop04",
            "crop+4",
            "crop4+",
            "crop4 +flip",
            "Crop4",
            "crop91+flip",
            "crop128",
            "crop99999",
        ] {
            assert!(name.parse::<Augment>().is_err(), "{name}");
        }
    }
}
