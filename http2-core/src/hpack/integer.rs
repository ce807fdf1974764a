//! Integers with an N-bit prefix (RFC 7541 §5.1), read with a bound.

use super::HpackError;

/// Bytes that may follow the prefix: enough for every length and index that a bounded block can hold.
const MAX_CONTINUATION: u32 = 4;

/// Reads an integer whose first byte has `bits` bits of it, and advances `rest` past it.
pub(super) fn take(rest: &mut &[u8], bits: u8) -> Result<usize, HpackError> {
    let (&first, mut tail) = rest.split_first().ok_or(HpackError::Truncated)?;
    let mask = usize::from(u8::MAX >> (8 - bits));
    let mut value = usize::from(first) & mask;
    if value == mask {
        let mut shift = 0;
        loop {
            let (&byte, after) = tail.split_first().ok_or(HpackError::Truncated)?;
            tail = after;
            value += usize::from(byte & 0x7f) << (7 * shift);
            if byte & 0x80 == 0 {
                break;
            }
            shift += 1;
            if shift == MAX_CONTINUATION {
                return Err(HpackError::IntegerTooLarge);
            }
        }
    }
    *rest = tail;
    Ok(value)
}

/// Appends `value` with the upper `8 - bits` bits of the first byte set to those of `pattern`.
pub(super) fn put(out: &mut Vec<u8>, pattern: u8, bits: u8, value: usize) {
    let max = u8::MAX >> (8 - bits);
    match u8::try_from(value) {
        Ok(small) if small < max => out.push(pattern | small),
        _ => {
            out.push(pattern | max);
            let mut rest = value - usize::from(max);
            while rest >= 0x80 {
                let [.., low] = rest.to_be_bytes();
                out.push(low | 0x80);
                rest >>= 7;
            }
            let [.., low] = rest.to_be_bytes();
            out.push(low);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_rfc_hold() {
        for (value, bits, bytes) in [(10, 5, &[10][..]), (1337, 5, &[31, 154, 10]), (42, 8, &[42])] {
            let mut out = Vec::new();
            put(&mut out, 0, bits, value);
            assert_eq!(out, bytes);
            assert_eq!(take(&mut &out[..], bits), Ok(value));
        }
    }

    #[test]
    fn every_boundary_survives_a_round_trip() {
        for bits in 1..=8 {
            for value in (0..300).chain([16_383, 16_384, 65_535, 2_097_151, 200_000_000]) {
                let mut out = Vec::new();
                put(&mut out, 0, bits, value);
                let mut rest = &out[..];
                assert_eq!(take(&mut rest, bits), Ok(value), "{bits} {value}");
                assert!(rest.is_empty());
            }
        }
    }

    #[test]
    fn too_long_and_cut_off_integers_are_refused() {
        assert_eq!(take(&mut &[0x1f, 0x80, 0x80, 0x80, 0x80, 0][..], 5), Err(HpackError::IntegerTooLarge));
        assert_eq!(take(&mut &[0x1f, 0xff, 0xff, 0xff, 0xff][..], 5), Err(HpackError::IntegerTooLarge));
        assert_eq!(take(&mut &[0x1f, 0x80][..], 5), Err(HpackError::Truncated));
        assert_eq!(take(&mut &[][..], 5), Err(HpackError::Truncated));
    }
}
