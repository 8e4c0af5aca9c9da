//! Signs of somebody's text that act on what is around them in place of being seen.

/// Whether a sign acts: a control character, which may move a terminal's cursor or change its colours; a separator of lines
/// or paragraphs; one of those that turn the direction in which text is read, and so show one name as another.
///
/// Source: Unicode's PropList.txt, `Bidi_Control`, and general categories Cc, Zl and Zp.
pub fn acts(sign: char) -> bool {
    sign.is_control()
        || matches!(
            sign,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

/// The text with `instead` in the place of every sign that acts.
pub fn seen(text: &str, instead: char) -> String {
    text.chars().map(|sign| if acts(sign) { instead } else { sign }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Python 3.11's `unicodedata` (Unicode 14): all of category Cc, Zl, Zp, and all whose `bidirectional` is LRE, RLE, LRO,
    /// RLO, PDF, LRI, RLI, FSI or PDI; and the three marks U+061C, U+200E and U+200F, which PropList.txt has beside them.
    #[test]
    fn what_acts_is_what_unicode_says_and_nothing_else() {
        let ranges =
            [(0, 0x1f), (0x7f, 0x9f), (0x61c, 0x61c), (0x200e, 0x200f), (0x2028, 0x202e), (0x2066, 0x2069)];
        let wanted = |sign: u32| ranges.iter().any(|&(first, last)| (first..=last).contains(&sign));
        for sign in '\0'..=char::MAX {
            assert_eq!(acts(sign), wanted(sign as u32), "U+{:04X}", sign as u32);
        }
        assert_eq!(seen("layer\u{202e}3\x1b[2Jé\u{200d}", '?'), "layer?3?[2Jé\u{200d}");
    }
}
