//! Points in time and spans of time, as protobuf's JSON writes them.
//!
//! A timestamp is RFC 3339 with `Z` and 0, 3, 6 or 9 digits of a second; any offset is understood. A
//! duration is seconds with an `s` behind. Years are 1 to 9999, durations up to 10,000 years.

/// Seconds and nanoseconds, the fields of both messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Time {
    pub(crate) seconds: i64,
    pub(crate) nanos: i32,
}

/// 0001-01-01T00:00:00Z.
const FIRST_SECOND: i64 = -62_135_596_800;
/// 9999-12-31T23:59:59Z.
const LAST_SECOND: i64 = 253_402_300_799;
/// 10,000 years of 365.25 days.
const LONGEST_SECONDS: i64 = 315_576_000_000;
const NANOS: i32 = 1_000_000_000;
const DAY: i64 = 86_400;

/// Appends a timestamp with its quotes.
///
/// # Errors
/// It is out of range.
pub(crate) fn put_timestamp(out: &mut Vec<u8>, time: Time) -> Result<(), &'static str> {
    if !(FIRST_SECOND..=LAST_SECOND).contains(&time.seconds) {
        return Err("seconds out of range");
    }
    if !(0..NANOS).contains(&time.nanos) {
        return Err("nanos out of range");
    }
    let (year, month, day) = date(time.seconds.div_euclid(DAY));
    let second = time.seconds.rem_euclid(DAY);
    out.push(b'"');
    put_digits(out, year, 4);
    for (sign, part) in
        [(b'-', month), (b'-', day), (b'T', second / 3600), (b':', second / 60 % 60), (b':', second % 60)]
    {
        out.push(sign);
        put_digits(out, part, 2);
    }
    put_fraction(out, time.nanos);
    out.extend_from_slice(b"Z\"");
    Ok(())
}

/// Appends a duration with its quotes.
///
/// # Errors
/// It is out of range, or its parts differ in sign.
pub(crate) fn put_duration(out: &mut Vec<u8>, time: Time) -> Result<(), &'static str> {
    if !(-LONGEST_SECONDS..=LONGEST_SECONDS).contains(&time.seconds) {
        return Err("seconds out of range");
    }
    if !(-NANOS + 1..NANOS).contains(&time.nanos) {
        return Err("nanos out of range");
    }
    if time.seconds > 0 && time.nanos < 0 || time.seconds < 0 && time.nanos > 0 {
        return Err("seconds and nanos differ in sign");
    }
    out.push(b'"');
    if time.seconds < 0 || time.nanos < 0 {
        out.push(b'-');
    }
    crate::text::put_u64(out, time.seconds.unsigned_abs());
    put_fraction(out, time.nanos.abs());
    out.extend_from_slice(b"s\"");
    Ok(())
}

/// The timestamp of an RFC 3339 text, if it is one and in range.
pub(crate) fn timestamp(text: &str) -> Option<Time> {
    let text = text.as_bytes();
    let (head, rest) = (text.get(..19)?, text.get(19..)?);
    let [b'-', b'-', b'T', b':', b':'] = [head[4], head[7], head[10], head[13], head[16]] else {
        return None;
    };
    let number = |from: usize, to: usize| digits(&head[from..to]);
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if year < 1 || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = days(year, month, day).filter(|days| date(*days) == (year, month, day))?;
    let (nanos, zone) = fraction(rest)?;
    let offset = match zone {
        b"Z" => 0,
        [sign @ (b'+' | b'-'), zone @ ..] => {
            let [a, b, b':', c, d] = zone else { return None };
            let (hours, minutes) = (digits(&[*a, *b])?, digits(&[*c, *d])?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let offset = hours * 3600 + minutes * 60;
            if *sign == b'+' { offset } else { -offset }
        }
        _ => return None,
    };
    let seconds = days * DAY + hour * 3600 + minute * 60 + second - offset;
    (FIRST_SECOND..=LAST_SECOND).contains(&seconds).then_some(Time { seconds, nanos })
}

/// The duration of a text such as `-1.5s`, if it is one and in range.
pub(crate) fn duration(text: &str) -> Option<Time> {
    let text = text.strip_suffix('s')?.as_bytes();
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    let whole = text.iter().position(|byte| *byte == b'.').unwrap_or(text.len());
    let seconds = digits(&text[..whole])?;
    let (nanos, rest) = fraction(&text[whole..])?;
    if !rest.is_empty() || seconds > LONGEST_SECONDS {
        return None;
    }
    Some(if negative { Time { seconds: -seconds, nanos: -nanos } } else { Time { seconds, nanos } })
}

/// A number of 1 to 12 digits.
fn digits(text: &[u8]) -> Option<i64> {
    let ok = (1..=12).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    ok.then(|| text.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0')))
}

/// The nanoseconds of a fraction of 1 to 9 digits at the start of a text, and what follows it.
fn fraction(text: &[u8]) -> Option<(i32, &[u8])> {
    let [b'.', rest @ ..] = text else { return Some((0, text)) };
    let length = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
    if !(1..=9).contains(&length) {
        return None;
    }
    let mut nanos = 0;
    for place in 0..9 {
        let digit = rest.get(place).filter(|_| place < length).map_or(0, |digit| digit - b'0');
        nanos = nanos * 10 + i32::from(digit);
    }
    Some((nanos, &rest[length..]))
}

/// Appends a fraction of a second in as many digits as it needs, in threes.
fn put_fraction(out: &mut Vec<u8>, nanos: i32) {
    let (value, width) = match nanos {
        0 => return,
        nanos if nanos % 1_000_000 == 0 => (nanos / 1_000_000, 3),
        nanos if nanos % 1000 == 0 => (nanos / 1000, 6),
        nanos => (nanos, 9),
    };
    out.push(b'.');
    put_digits(out, i64::from(value), width);
}

fn put_digits(out: &mut Vec<u8>, value: i64, width: u32) {
    for place in (0..width).rev() {
        let digit = value / 10_i64.pow(place) % 10;
        out.push(b'0' + u8::try_from(digit).unwrap_or(0));
    }
}

/// Days since 1970-01-01 of a date in the Gregorian calendar, if there is such a month.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=12).contains(&month) || day < 1 {
        return None;
    }
    // Years begin in March here, so that the leap day is the last of its year.
    let year = if month <= 2 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // 719,468 days lie between 0000-03-01 and 1970-01-01.
    Some(year * 365 + leap_days + day_of_year - 719_468)
}

/// The date of a day since 1970-01-01.
fn date(days: i64) -> (i64, i64, i64) {
    const DAYS_OF_400_YEARS: i64 = 146_097;
    let from_march_0000 = days + 719_468;
    let era = from_march_0000.div_euclid(DAYS_OF_400_YEARS);
    let day_of_era = from_march_0000.rem_euclid(DAYS_OF_400_YEARS);
    // Takes out the leap days before the day, so that what is left divides by 365.
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / (DAYS_OF_400_YEARS - 1)) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_the_calendar_comes_back() {
        let mut previous = (0, 12, 31);
        for day in FIRST_SECOND / DAY..=LAST_SECOND / DAY {
            let (year, month, of_month) = date(day);
            assert_eq!(days(year, month, of_month), Some(day));
            assert!((year, month, of_month) > previous, "{day}");
            previous = (year, month, of_month);
        }
        assert_eq!(previous, (9999, 12, 31));
        assert_eq!(date(0), (1970, 1, 1));
    }

    #[test]
    fn timestamps_are_read_strictly() {
        let read = |text: &str| timestamp(text).map(|time| (time.seconds, time.nanos));
        assert_eq!(read("1970-01-01T00:00:00Z"), Some((0, 0)));
        assert_eq!(read("1970-01-01T01:00:00.5+01:00"), Some((0, 500_000_000)));
        assert_eq!(read("1969-12-31T23:59:59.999999999Z"), Some((-1, 999_999_999)));
        assert_eq!(read("2024-02-29T12:00:00-00:30"), Some((1_709_209_800, 0)));
        for wrong in [
            "2023-02-29T00:00:00Z",
            "2023-13-01T00:00:00Z",
            "0000-01-01T00:00:00Z",
            "0001-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59-00:01",
            "2023-01-01T24:00:00Z",
            "2023-01-01T00:00:60Z",
            "2023-01-01T00:00:00",
            "2023-01-01t00:00:00Z",
            "2023-01-01T00:00:00.Z",
            "2023-01-01T00:00:00.1234567890Z",
            "2023-01-01T00:00:00+1:00",
            " 2023-01-01T00:00:00Z",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn durations_are_read_strictly() {
        let read = |text: &str| duration(text).map(|time| (time.seconds, time.nanos));
        assert_eq!(read("1s"), Some((1, 0)));
        assert_eq!(read("-1.5s"), Some((-1, -500_000_000)));
        assert_eq!(read("-0.000000001s"), Some((0, -1)));
        assert_eq!(read("315576000000.999999999s"), Some((LONGEST_SECONDS, 999_999_999)));
        for wrong in ["1", "s", ".5s", "1.s", "+1s", "1.0000000001s", "315576000001s", "1e3s", "--1s", ""] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
