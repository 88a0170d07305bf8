//! RFC 4648 base32 in lowercase without padding, for values of exactly 32 bytes.

use core::fmt;

const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Characters of an encoded 32-byte value: 256 bits in groups of five.
pub(crate) const LEN: usize = 52;

/// Writes the first `length` characters of the encoding.
pub(crate) fn write(f: &mut fmt::Formatter<'_>, bytes: &[u8; 32], length: usize) -> fmt::Result {
    use fmt::Write;
    encode(bytes).iter().take(length).try_for_each(|&character| f.write_char(char::from(character)))
}

fn encode(bytes: &[u8; 32]) -> [u8; LEN] {
    let mut text = [0; LEN];
    let (mut buffer, mut bits, mut input) = (0_u16, 0, bytes.iter());
    for character in &mut text {
        if bits < 5 {
            // After the last byte four zero bits pad the final character.
            buffer = buffer << 8 | u16::from(input.next().copied().unwrap_or(0));
            bits += 8;
        }
        bits -= 5;
        *character = ALPHABET[usize::from(buffer >> bits & 31)];
    }
    text
}

/// Why a text is not the one encoding of 32 bytes.
pub(crate) enum TextFault {
    Length,
    Alphabet,
    /// The four bits that pad the last character are not zero.
    Padding,
}

/// Accepts the one encoding of a value and nothing else: no capitals, no padding characters, no stray bits.
pub(crate) fn decode(text: &str) -> Result<[u8; 32], TextFault> {
    if text.len() != LEN {
        return Err(TextFault::Length);
    }
    let mut bytes = [0; 32];
    let (mut buffer, mut bits, mut output) = (0_u16, 0, bytes.iter_mut());
    for character in text.bytes() {
        let value = match character {
            b'a'..=b'z' => character - b'a',
            b'2'..=b'7' => character - b'2' + 26,
            _ => return Err(TextFault::Alphabet),
        };
        buffer = (buffer << 5 | u16::from(value)) & 0x1fff;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            if let Some(byte) = output.next() {
                *byte = (buffer >> bits & 0xff) as u8;
            }
        }
    }
    if buffer & ((1 << bits) - 1) != 0 { Err(TextFault::Padding) } else { Ok(bytes) }
}
