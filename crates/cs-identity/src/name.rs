//! Names that people give: short, printable, and not made to deceive.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::indexing_slicing))]

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::wire::{self, DecodeError};

/// Bytes of a name in UTF-8.
pub const MAX_NAME_BYTES: usize = 64;

/// Whether a text may be a name: 1 to [`MAX_NAME_BYTES`] bytes, no blank at either end or twice in a row, no control
/// character, and none of those that draw nothing or turn the direction of writing (rule ID-21).
pub fn is_name(text: &str) -> bool {
    let is_plain = |c: char| !c.is_control() && !is_invisible(c) && (c == ' ' || !c.is_whitespace());
    !text.is_empty()
        && text.len() <= MAX_NAME_BYTES
        && text.trim() == text
        && !text.contains("  ")
        && text.chars().all(is_plain)
}

/// Soft hyphen, grapheme joiner, Arabic letter mark, Hangul and Khmer fillers, Mongolian selectors, zero-width and
/// directional characters, invisible operators, variation selectors, the byte-order mark, annotations and tags.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// Takes a length and a name.
pub(crate) fn take(input: &mut &[u8]) -> Result<String, DecodeError> {
    let bytes = wire::take_bytes(input, MAX_NAME_BYTES)?;
    let text = core::str::from_utf8(bytes).map_err(|_| DecodeError::BadName)?;
    if is_name(text) { Ok(text.to_string()) } else { Err(DecodeError::BadName) }
}

pub(crate) fn put(out: &mut Vec<u8>, name: &str) {
    wire::put_bytes(out, name.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ID-21: what shows as nothing, as two lines or as another name is none.
    #[test]
    fn names_that_deceive_are_refused() {
        for good in ["a", "Böb's phone 2", "小明", "x y"] {
            assert!(is_name(good), "{good}");
        }
        let long = "x".repeat(65);
        let bad = [
            "",
            " ",
            "a ",
            " a",
            "a  b",
            "a\nb",
            "a\tb",
            "a\u{a0}b",
            "a\u{202e}b",
            "a\u{200d}b",
            "\u{feff}a",
            &long,
        ];
        for bad in bad {
            assert!(!is_name(bad), "{bad:?}");
        }
        assert!(is_name(&"x".repeat(64)));
    }
}
