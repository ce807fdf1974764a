//! Text and numbers as JSON writes them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Where the first byte stands that a JSON string cannot have as it is; the length if there is none.
#[inline]
pub(crate) fn find_special(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = ONES << 7;
    let mut at = 0;
    while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*chunk);
        // A byte's high bit is set where the byte is the one looked for; bytes after the first hit may
        // be wrong, the first is right.
        let below_space = word.wrapping_sub(ONES * 0x20) & !word;
        let quote = word ^ (ONES * b'"' as u64);
        let backslash = word ^ (ONES * b'\\' as u64);
        let hits =
            (below_space | quote.wrapping_sub(ONES) & !quote | backslash.wrapping_sub(ONES) & !backslash)
                & HIGHS;
        if hits != 0 {
            return at + (hits.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let is_special = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
    bytes[at..].iter().position(is_special).map_or(bytes.len(), |found| at + found)
}

/// Appends a JSON string.
#[inline]
pub(crate) fn quote(out: &mut Vec<u8>, text: &str) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    let mut rest = text.as_bytes();
    loop {
        let plain = find_special(rest);
        out.extend_from_slice(&rest[..plain]);
        let Some(special) = rest.get(plain) else { break };
        escape(out, *special);
        rest = &rest[plain + 1..];
    }
    out.push(b'"');
}

#[cold]
fn escape(out: &mut Vec<u8>, byte: u8) {
    let short = match byte {
        b'"' | b'\\' => byte,
        0x08 => b'b',
        0x0c => b'f',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        _ => {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&digits);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// Appends bytes as a JSON string in base64.
pub(crate) fn put_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    // The slice has the length that padded base64 needs, so there is nothing to fail.
    let written = STANDARD.encode_slice(bytes, &mut out[start..]).unwrap_or(0);
    out.truncate(start + written);
    out.push(b'"');
}

/// Appends an integer.
#[inline]
pub(crate) fn put_u64(out: &mut Vec<u8>, value: u64) {
    match u8::try_from(value) {
        Ok(digit @ ..=9) => out.push(b'0' + digit),
        _ => out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes()),
    }
}

/// Appends an integer.
#[inline]
pub(crate) fn put_i64(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    put_u64(out, value.unsigned_abs());
}

/// Appends a double: the shortest text that reads as it, or the name of what is no number.
pub(crate) fn put_f64(out: &mut Vec<u8>, value: f64) {
    /// Every whole number up to here is exact, and short enough to be written out.
    const WHOLE: f64 = 1e15;
    if value.abs() < WHOLE && is_whole(value) {
        put_whole(out, value);
    } else if value.is_finite() {
        // Writing a number to memory does not fail.
        _ = serde_json::to_writer(out, &value);
    } else {
        put_not_finite(out, value);
    }
}

/// Appends a float: the shortest text that reads as it, or the name of what is no number.
pub(crate) fn put_f32(out: &mut Vec<u8>, value: f32) {
    /// Every whole number up to here is exact.
    const WHOLE: f32 = 16_777_216.0;
    if value.abs() < WHOLE && is_whole(f64::from(value)) {
        put_whole(out, f64::from(value));
    } else if value.is_finite() {
        // Writing a number to memory does not fail.
        _ = serde_json::to_writer(out, &value);
    } else {
        put_not_finite(out, f64::from(value));
    }
}

/// Whether a number below 10^15 has no fraction.
#[expect(clippy::cast_possible_truncation, reason = "a fraction is what is looked for")]
fn is_whole(value: f64) -> bool {
    (value as i64) as f64 == value
}

#[expect(clippy::cast_possible_truncation, reason = "whole, and below 10^15")]
fn put_whole(out: &mut Vec<u8>, value: f64) {
    if value.is_sign_negative() {
        out.push(b'-');
    }
    put_u64(out, value.abs() as u64);
}

fn put_not_finite(out: &mut Vec<u8>, value: f64) {
    let name: &[u8] = if value.is_nan() {
        b"\"NaN\""
    } else if value > 0.0 {
        b"\"Infinity\""
    } else {
        b"\"-Infinity\""
    };
    out.extend_from_slice(name);
}
