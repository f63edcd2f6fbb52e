//! Identifiers as lower-case hexadecimal of an exact length.
//!
//! Below the forms of headers. `None` for anything else: upper case, signs, other lengths.

/// `text` as a number; it must have exactly `digits` digits, 32 at most.
pub(super) fn number(text: &[u8], digits: usize) -> Option<u128> {
    if text.len() != digits {
        return None;
    }
    text.iter().try_fold(0u128, |sum, byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        Some(sum << 4 | u128::from(digit))
    })
}
