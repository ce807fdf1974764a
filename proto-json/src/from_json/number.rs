//! Integers out of the text of JSON numbers, without rounding: `1.0` and `1e2` are integers, `1.5` is none.

/// The whole number that a JSON number's text stands for, if it is one of at most 20 digits.
pub(super) fn integer(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    // The plain case: nothing but digits, and few enough of them for u64.
    let short = digits.len() <= 19 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let magnitude = match short {
        true => digits.bytes().fold(0_u64, |value, digit| value * 10 + u64::from(digit - b'0')).into(),
        false => scaled(digits)?,
    };
    Some(if negative { -magnitude } else { magnitude })
}

fn scaled(text: &str) -> Option<i128> {
    /// More than an integer of 64 bits has.
    const MOST_DIGITS: i64 = 20;
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.strip_prefix('+').unwrap_or(exponent)),
        None => (text, "0"),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = || whole.bytes().chain(fraction.bytes());
    if digits().all(|digit| digit == b'0') {
        return Some(0);
    }
    let exponent: i64 = exponent.parse().ok()?;
    // The point moves to the right by the exponent; digits beyond it must be zeros.
    let point = i64::try_from(whole.len()).ok()?.checked_add(exponent)?;
    let mut value = 0_i128;
    let mut used = 0_i64;
    for (place, digit) in (0_i64..).zip(digits()) {
        if place >= point {
            if digit != b'0' {
                return None;
            }
            continue;
        }
        value = value * 10 + i128::from(digit - b'0');
        if value != 0 {
            used += 1;
        }
        if used > MOST_DIGITS {
            return None;
        }
    }
    let given = i64::try_from(whole.len() + fraction.len()).ok()?;
    for _ in given..point.min(given.saturating_add(MOST_DIGITS + 1)) {
        used += 1;
        if used > MOST_DIGITS {
            return None;
        }
        value *= 10;
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::integer;

    #[test]
    fn whole_numbers_are_exact_however_they_are_written() {
        for (text, expected) in [
            ("0", Some(0)),
            ("-0", Some(0)),
            ("0e999999999999999999999", Some(0)),
            ("0.000", Some(0)),
            ("1.0", Some(1)),
            ("1e2", Some(100)),
            ("1.5", None),
            ("1.5e1", Some(15)),
            ("150e-1", Some(15)),
            ("155e-1", None),
            ("18446744073709551615", Some(i128::from(u64::MAX))),
            ("1844674407370955161.5e1", Some(i128::from(u64::MAX))),
            ("-9223372036854775808", Some(i128::from(i64::MIN))),
            ("9007199254740993.0", Some(9_007_199_254_740_993)),
            ("100000000000000000000", None),
            ("1e20", None),
            ("1e19", Some(10_i128.pow(19))),
            ("1e-1", None),
            ("1e999999999", None),
            ("1e-999999999", None),
            ("1e99999999999999999999", None),
        ] {
            assert_eq!(integer(text), expected, "{text}");
        }
    }
}
