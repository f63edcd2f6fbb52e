//! Identifiers as lower-case hexadecimal of an exact length.
//!
//! Below the forms of headers and the lines that they are written in. Reading says `None` of anything else: upper case, signs,
//! other lengths.

/// `text` as a number; it must have exactly `digits` digits, 32 at most.
pub fn number(text: &[u8], digits: usize) -> Option<u128> {
    if text.len() != digits {
        return None;
    }
    // Of half the width there is a register for it. Digits are random: a branch for each would be guessed wrong.
    let (high, low) = text.split_at(digits.saturating_sub(16));
    let half = |text: &[u8]| {
        let read = |(sum, odd), byte: &u8| {
            let digit = VALUES[usize::from(*byte)];
            (sum << 4 | u64::from(digit & 15), odd | digit)
        };
        let (sum, odd): (u64, u8) = text.iter().fold((0, 0), read);
        (odd < 16).then_some(sum)
    };
    Some(u128::from(half(high)?) << 64 | u128::from(half(low)?))
}

/// What each byte stands for; no digit: more than 15.
const VALUES: [u8; 256] = {
    let mut values = [u8::MAX; 256];
    let mut digit = 0;
    while digit < DIGITS.len() {
        values[DIGITS[digit] as usize] = digit as u8;
        digit += 1;
    }
    values
};

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// `number` in 16 digits.
pub fn digits(number: u64) -> [u8; 16] {
    let mut text = [0; 16];
    for (byte, digits) in number.to_be_bytes().into_iter().zip(text.as_chunks_mut::<2>().0) {
        *digits = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
    }
    text
}

/// `number` in 32 digits.
pub fn wide_digits(number: u128) -> [u8; 32] {
    let mut text = [0; 32];
    text[..16].copy_from_slice(&digits((number >> 64) as u64));
    text[16..].copy_from_slice(&digits(number as u64));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_and_is_what_everybody_writes(wide: u128, narrow: u64) {
            let text = wide_digits(wide);
            prop_assert_eq!(String::from_utf8(text.to_vec()).unwrap(), format!("{wide:032x}"));
            prop_assert_eq!(number(&text, 32), Some(wide));
            prop_assert_eq!(String::from_utf8(digits(narrow).to_vec()).unwrap(), format!("{narrow:016x}"));
            prop_assert_eq!(number(&digits(narrow), 16), Some(narrow.into()));
        }
    }

    #[test]
    fn anything_else_is_no_number() {
        assert_eq!(number(b"0f", 2), Some(15));
        for (text, digits) in [(&b"0F"[..], 2), (b"+f", 2), (b"f", 2), (b"0ff", 2), (b"0g", 2), (b"", 2)] {
            assert_eq!(number(text, digits), None);
        }
        let odd = "0".repeat(31) + "x";
        assert_eq!(number(odd.as_bytes(), 32), None);
    }
}
