//! The Huffman code of RFC 7541 appendix B, decoded.
//!
//! The code is canonical: within one length, codes ascend with their symbols, and each length goes on where
//! the shorter one ended. So the lengths alone are the code, and all tables are computed from them.

use super::HpackError;

/// Appends the decoded form of `coded` to `out`.
pub(super) fn decode(coded: &[u8], out: &mut Vec<u8>) -> Result<(), HpackError> {
    // `window` holds the next `held` bits at its top.
    let mut window = 0u64;
    let mut held = 0u32;
    let mut bytes = coded.iter();
    loop {
        while held <= 56 {
            let Some(&byte) = bytes.next() else { break };
            window |= u64::from(byte) << (56 - held);
            held += 8;
        }
        // Behind the last bit all is ones, as padding is: then an incomplete code decodes as a long one.
        let padded = window | u64::MAX.checked_shr(held).unwrap_or(0);
        let (symbol, len) = next_symbol(padded);
        if len > held {
            return if held < 8 && padded == u64::MAX { Ok(()) } else { Err(HpackError::BadHuffman) };
        }
        // The end-of-string symbol is no byte, and must not occur.
        out.push(u8::try_from(symbol).map_err(|_| HpackError::BadHuffman)?);
        window <<= len;
        held -= len;
    }
}

/// The symbol at the top of `window`, and the length of its code.
fn next_symbol(window: u64) -> (u16, u32) {
    let [top, b, c, d, ..] = window.to_be_bytes();
    let (symbol, len) = SHORT[usize::from(top)];
    if len != 0 {
        return (symbol, len);
    }
    let bits = u32::from_be_bytes([top, b, c, d]);
    for len in SHORT_BITS + 1..=MAX_LEN {
        let code = bits >> (32 - len);
        let Row { first, count, offset } = ROWS[len as usize];
        if let Some(nth) = code.checked_sub(first)
            && nth < count
        {
            return (SYMBOLS[offset + nth as usize], len);
        }
    }
    // Unreachable for a complete code; EOS makes it an error rather than a wrong byte.
    (EOS, MAX_LEN)
}

const EOS: u16 = 256;
const MAX_LEN: u32 = 30;
const SHORT_BITS: u32 = 8;

/// The codes of one length.
#[derive(Clone, Copy)]
struct Row {
    /// The first code.
    first: u32,
    /// How many there are.
    count: u32,
    /// Where their symbols begin in [`SYMBOLS`].
    offset: usize,
}

/// Symbol and length for every byte that begins with a whole code; length 0 for the others.
static SHORT: [(u16, u32); 256] = short_codes();
static ROWS: [Row; MAX_LEN as usize + 1] = rows();
/// All symbols in the order of their codes.
static SYMBOLS: [u16; 257] = symbols();

const fn rows() -> [Row; MAX_LEN as usize + 1] {
    let mut rows = [Row { first: 0, count: 0, offset: 0 }; MAX_LEN as usize + 1];
    let mut symbol = 0;
    while symbol < LENGTHS.len() {
        rows[LENGTHS[symbol] as usize].count += 1;
        symbol += 1;
    }
    let mut len = 1;
    while len < rows.len() {
        let shorter = rows[len - 1];
        rows[len].first = (shorter.first + shorter.count) << 1;
        rows[len].offset = shorter.offset + shorter.count as usize;
        len += 1;
    }
    rows
}

const fn symbols() -> [u16; 257] {
    let mut sorted = [0; 257];
    let mut filled = 0;
    let mut len = 1;
    while len <= MAX_LEN {
        let mut symbol = 0u16;
        while (symbol as usize) < LENGTHS.len() {
            if LENGTHS[symbol as usize] as u32 == len {
                sorted[filled] = symbol;
                filled += 1;
            }
            symbol += 1;
        }
        len += 1;
    }
    sorted
}

const fn short_codes() -> [(u16, u32); 256] {
    let rows = rows();
    let symbols = symbols();
    let mut short = [(0, 0); 256];
    let mut len = 1;
    while len <= SHORT_BITS {
        let row = rows[len as usize];
        let mut nth = 0;
        while nth < row.count {
            let spare = SHORT_BITS - len;
            let mut byte = ((row.first + nth) as usize) << spare;
            let end = byte + (1 << spare);
            while byte < end {
                short[byte] = (symbols[row.offset + nth as usize], len);
                byte += 1;
            }
            nth += 1;
        }
        len += 1;
    }
    short
}

/// The length in bits of the code of each byte, and of the end of the string.
#[rustfmt::skip]
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
     6, 10, 10, 12, 13,  6,  8, 11, 10, 10,  8, 11,  8,  6,  6,  6,
     5,  5,  5,  6,  6,  6,  6,  6,  6,  6,  7,  8, 15,  6, 12, 10,
    13,  6,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,
     7,  7,  7,  7,  7,  7,  7,  7,  8,  7,  8, 13, 19, 13, 14,  6,
    15,  5,  6,  5,  6,  5,  6,  6,  6,  5,  7,  7,  6,  6,  6,  5,
     6,  7,  6,  5,  5,  6,  7,  7,  7,  7,  7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(coded: &[u8]) -> Result<Vec<u8>, HpackError> {
        let mut out = Vec::new();
        decode(coded, &mut out).map(|()| out)
    }

    /// Encodes with the same canonical code, to try every symbol.
    fn coded(text: &[u8]) -> Vec<u8> {
        let mut bits: Vec<bool> = Vec::new();
        for &byte in text {
            let len = u32::from(LENGTHS[usize::from(byte)]);
            let row = ROWS[len as usize];
            let nth = SYMBOLS[row.offset..].iter().position(|s| *s == u16::from(byte)).unwrap();
            let code = row.first + u32::try_from(nth).unwrap();
            bits.extend((0..len).rev().map(|bit| code >> bit & 1 == 1));
        }
        bits.resize(bits.len().next_multiple_of(8), true);
        bits.chunks(8).map(|byte| byte.iter().fold(0, |acc, bit| acc << 1 | u8::from(*bit))).collect()
    }

    #[test]
    fn the_code_is_complete() {
        let total: u64 = LENGTHS.iter().map(|len| 1u64 << (MAX_LEN - u32::from(*len))).sum();
        assert_eq!(total, 1 << MAX_LEN);
    }

    #[test]
    fn the_codes_of_the_rfc_come_out() {
        // Symbol, code, length as printed in appendix B: the ends of several lengths.
        for (symbol, code, len) in [
            (b'0', 0x0, 5),
            (b't', 0x9, 5),
            (b' ', 0x14, 6),
            (b'u', 0x2d, 6),
            (b'Z', 0xfd, 8),
            (b'?', 0x3fc, 10),
            (b'{', 0x7ffe, 15),
            (b'\\', 0x7fff0, 19),
            (9, 0xff_ffea, 24),
            (22, 0x3fff_fffe, 30),
        ] {
            let row = ROWS[usize::from(LENGTHS[usize::from(symbol)])];
            assert_eq!(u32::from(LENGTHS[usize::from(symbol)]), len);
            assert_eq!(SYMBOLS[row.offset + usize::try_from(code - row.first).unwrap()], u16::from(symbol));
        }
    }

    #[test]
    fn the_strings_of_the_rfc_decode() {
        let text = [0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff];
        assert_eq!(decoded(&text).unwrap(), b"www.example.com");
        assert_eq!(decoded(&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf]).unwrap(), b"no-cache");
        assert_eq!(decoded(&[]).unwrap(), b"");
    }

    #[test]
    fn every_byte_decodes_in_every_position() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(decoded(&coded(&all)).unwrap(), all);
        for byte in all {
            for lead in 0..8 {
                let mut text = vec![b'a'; lead];
                text.push(byte);
                assert_eq!(decoded(&coded(&text)).unwrap(), text);
            }
        }
    }

    #[test]
    fn bad_padding_and_the_end_of_string_are_refused() {
        for bad in [
            &[0x07, 0xff][..],               // '0' and then eleven bits of padding
            &[0xff],                         // eight bits of padding
            &[0x1e],                         // 'a' and a zero in the padding
            &[0xff, 0xff, 0xff, 0xff],       // the end of the string, and padding
            &[0xff, 0xff, 0xff, 0xfc],       // the end of the string alone, cut to the byte
            &[0x1f, 0xff, 0xff, 0xff, 0xff], // 'a' and the end of the string
        ] {
            assert_eq!(decoded(bad), Err(HpackError::BadHuffman), "{bad:x?}");
        }
        assert_eq!(decoded(&[0x1f]).unwrap(), b"a");
    }
}
