//! Durations and sizes: they carry their unit in the text, never in the head of the reader.

use std::fmt;
use std::time::Duration;

use super::scalar::Scalar;

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// Units of time, the largest first, in milliseconds.
const TIME_UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// The longest duration, a year: what adds one to the clock need not think of overflow.
const MAX_DURATION_MS: u64 = 365 * 86_400_000;

/// Units of size, the largest first, in bytes.
const SIZE_UNITS: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1_000),
    ("B", 1),
];

impl Scalar for Duration {
    const NOUN: &'static str = "DURATION";
    const EXPECTS: &'static str = "a duration with its unit: `250ms`, `10s`, `5m`, `1h30m`";

    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not {}", Self::EXPECTS);
        if text == "0" {
            return Ok(Self::ZERO);
        }
        let mut rest = text;
        let mut total: u64 = 0;
        let mut smaller_than = u64::MAX;
        while !rest.is_empty() {
            let (count, unit, after) = next_quantity(rest).ok_or_else(wrong)?;
            let (_, millis) = TIME_UNITS.into_iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
            // Each unit once and in falling order: `1m30s`, not `30s1m` or `1m1m`.
            if millis >= smaller_than {
                return Err(wrong());
            }
            smaller_than = millis;
            let part = count.checked_mul(millis).ok_or_else(wrong)?;
            total = total.checked_add(part).ok_or_else(wrong)?;
            rest = after;
        }
        match smaller_than {
            u64::MAX => Err(wrong()),
            _ if total > MAX_DURATION_MS => Err(format!("{text:?} is longer than 365d")),
            _ => Ok(Self::from_millis(total)),
        }
    }

    fn limit(&self) -> Option<f64> {
        Some(self.as_secs_f64())
    }

    fn text(&self) -> String {
        let mut left = u64::try_from(self.as_millis()).unwrap_or(u64::MAX);
        if left == 0 {
            return "0s".to_owned();
        }
        let mut text = String::new();
        for (name, millis) in TIME_UNITS {
            if left >= millis {
                text.push_str(&format!("{}{name}", left / millis));
                left %= millis;
            }
        }
        text
    }
}

/// Reads a duration as every setting writes it, `1m30s` for example.
///
/// # Errors
/// What is wrong with the text.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    Scalar::parse(text)
}

impl ByteSize {
    /// So many KiB.
    pub const fn kib(count: u64) -> Self {
        Self(count << 10)
    }

    /// So many MiB.
    pub const fn mib(count: u64) -> Self {
        Self(count << 20)
    }

    /// As a length in memory; `usize::MAX` if it is larger than that.
    pub fn len(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    /// Whether it is no byte at all.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// As the 32 bits that HTTP/2 has for it; `u32::MAX` if it is larger than that.
    pub fn as_u32(self) -> u32 {
        u32::try_from(self.0).unwrap_or(u32::MAX)
    }
}

impl Scalar for ByteSize {
    const NOUN: &'static str = "SIZE";
    const EXPECTS: &'static str = "a size with its unit: `512B`, `64KiB`, `4MiB`";

    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not {}", Self::EXPECTS);
        if text == "0" {
            return Ok(Self(0));
        }
        let (count, unit, rest) = next_quantity(text).ok_or_else(wrong)?;
        let (_, bytes) = SIZE_UNITS.into_iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        if !rest.is_empty() {
            return Err(wrong());
        }
        count.checked_mul(bytes).map(Self).ok_or_else(wrong)
    }

    fn text(&self) -> String {
        self.to_string()
    }

    fn limit(&self) -> Option<f64> {
        Some(self.0 as f64)
    }
}

impl fmt::Display for ByteSize {
    /// In the largest unit that divides it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, bytes) = SIZE_UNITS
            .into_iter()
            .find(|(_, bytes)| self.0 != 0 && self.0.is_multiple_of(*bytes))
            .unwrap_or(("B", 1));
        write!(f, "{}{name}", self.0 / bytes)
    }
}

/// Splits `90s…` into 90, `s` and the rest; a space may stand between number and unit.
fn next_quantity(text: &str) -> Option<(u64, &str, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at(digits);
    let rest = rest.trim_start();
    let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
    let (unit, rest) = rest.split_at(letters);
    Some((number.parse().ok()?, unit, rest.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn duration(text: &str) -> Option<Duration> {
        Scalar::parse(text).ok()
    }

    fn size(text: &str) -> Option<ByteSize> {
        Scalar::parse(text).ok()
    }

    #[test]
    fn durations_carry_their_unit() {
        assert_eq!(duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(duration("1h30m"), Some(Duration::from_secs(5400)));
        assert_eq!(duration("2 m 5 s"), Some(Duration::from_secs(125)));
        assert_eq!(duration("0"), Some(Duration::ZERO));
        for wrong in ["", "10", "s", "10x", "-1s", "1.5s", "30s1m", "1s1s", "99999999999999999999s", "366d"] {
            assert_eq!(duration(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn sizes_carry_their_unit() {
        assert_eq!(size("4MiB"), Some(ByteSize::mib(4)));
        assert_eq!(size("1 GB"), Some(ByteSize(1_000_000_000)));
        assert_eq!(size("512B"), Some(ByteSize(512)));
        assert_eq!(size("0"), Some(ByteSize(0)));
        for wrong in ["", "10", "MiB", "4Mib", "4MiB1B", "-1B", "99999999999999999999B", "99999999999GiB"] {
            assert_eq!(size(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn what_is_shown_can_be_read_again() {
        for millis in [0, 1, 999, 1000, 90_000, 3_600_000, 86_400_000, 90_061_001] {
            let original = Duration::from_millis(millis);
            assert_eq!(duration(&Scalar::text(&original)), Some(original));
        }
        for bytes in [0, 1, 1000, 1024, 1536, 4 << 20, 1 << 30, 1_000_000_000, u64::MAX] {
            assert_eq!(size(&ByteSize(bytes).to_string()), Some(ByteSize(bytes)));
        }
        assert_eq!(ByteSize::mib(4).to_string(), "4MiB");
        assert_eq!(Scalar::text(&Duration::from_secs(5400)), "1h30m");
    }
}
