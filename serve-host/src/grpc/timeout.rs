//! `grpc-timeout`: one to eight digits and a unit.
//!
//! A malformed value is refused with INVALID_ARGUMENT, as connect-go does: ignoring it would leave the
//! call without a deadline, and INTERNAL, which grpc-go answers, would blame the server for the client's
//! header. Zero is well-formed and has already passed.

use std::time::Duration;

/// The value is not a timeout.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("grpc-timeout must be 1 to {MAX_DIGITS} digits and one of H, M, S, m, u, n, not {value:?}")]
pub(crate) struct MalformedTimeout {
    /// The value, cut if it is long.
    pub(crate) value: String,
}

/// Reads the value of a `grpc-timeout` header.
///
/// # Errors
/// [`MalformedTimeout`] for anything the gRPC specification does not allow.
pub(crate) fn parse(value: &[u8]) -> Result<Duration, MalformedTimeout> {
    let malformed =
        || MalformedTimeout { value: String::from_utf8_lossy(&value[..value.len().min(SHOWN)]).into_owned() };
    let (unit, digits) = value.split_last().ok_or_else(malformed)?;
    if digits.is_empty() || digits.len() > MAX_DIGITS || !digits.iter().all(u8::is_ascii_digit) {
        return Err(malformed());
    }
    let amount = digits.iter().fold(0_u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    Ok(match unit {
        b'H' => Duration::from_secs(amount * 3600),
        b'M' => Duration::from_secs(amount * 60),
        b'S' => Duration::from_secs(amount),
        b'm' => Duration::from_millis(amount),
        b'u' => Duration::from_micros(amount),
        b'n' => Duration::from_nanos(amount),
        _ => return Err(malformed()),
    })
}

/// The most digits the specification allows.
const MAX_DIGITS: usize = 8;

/// How many bytes of a malformed value are shown.
const SHOWN: usize = 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_unit_is_known() {
        for (text, expected) in [
            ("1H", Duration::from_secs(3600)),
            ("2M", Duration::from_secs(120)),
            ("3S", Duration::from_secs(3)),
            ("4m", Duration::from_millis(4)),
            ("5u", Duration::from_micros(5)),
            ("6n", Duration::from_nanos(6)),
            ("0n", Duration::ZERO),
            ("00000001S", Duration::from_secs(1)),
            ("99999999H", Duration::from_secs(99_999_999 * 3600)),
        ] {
            assert_eq!(parse(text.as_bytes()), Ok(expected), "{text}");
        }
    }

    #[test]
    fn anything_else_is_malformed() {
        for text in
            ["", "S", "1", "1s", "1h", "123456789S", "-1S", "+1S", "1.5S", " 1S", "1S ", "1 S", "1SS", "¹S"]
        {
            assert!(parse(text.as_bytes()).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_timeout_survives_being_written(amount in 0_u64..=99_999_999, unit in "[HMSmun]") {
            let parsed = parse(format!("{amount}{unit}").as_bytes()).unwrap();
            let one = parse(format!("1{unit}").as_bytes()).unwrap();
            prop_assert_eq!(parsed.as_nanos(), one.as_nanos() * u128::from(amount));
        }

        #[test]
        fn random_bytes_never_panic(value in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = parse(&value);
        }
    }
}
