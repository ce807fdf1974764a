//! The command ABI: one JSON document on standard input, one on standard output.
//!
//! `{"method": "m", "input": …}` goes in, `{"result": …}` or `{"error": "text"}` comes out. Each call has
//! an instance of its own.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::okra::from_text;
use crate::fault::GuestFault;

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    error: Option<String>,
}

/// What a command writes at most beside its result, in bytes: the braces and the key.
pub(crate) const FRAME_BYTES: usize = 64;

/// The standard input of a call.
pub(crate) fn input(method: &str, input: &[u8]) -> Result<Bytes, GuestFault> {
    let method = serde_json::to_string(method).map_err(|_| GuestFault::InputRefused)?;
    let input = if input.is_empty() { b"{}" } else { input };
    Ok([b"{\"method\":", method.as_bytes(), b",\"input\":", input, b"}"].concat().into())
}

/// The result that standard output holds.
///
/// # Errors
/// The command's own error, or that it wrote none of the two.
pub(crate) fn result(output: &[u8]) -> Result<Bytes, GuestFault> {
    const NEITHER: GuestFault = GuestFault::Malformed("neither a result nor an error");
    let answer: Answer<'_> = serde_json::from_slice(output).map_err(|_| NEITHER)?;
    match (answer.result, answer.error) {
        (_, Some(error)) => Err(from_text(error)),
        (Some(result), None) => Ok(Bytes::copy_from_slice(result.get().as_bytes())),
        (None, None) => Err(NEITHER),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_reads_and_writes_one_document() {
        let given = input("say \"hi\"", br#"{"a":1}"#).unwrap();
        assert_eq!(given, br#"{"method":"say \"hi\"","input":{"a":1}}"#[..]);
        assert_eq!(input("m", b"").unwrap(), br#"{"method":"m","input":{}}"#[..]);
        assert_eq!(result(b" {\"result\": {\"b\": 2} }\n").unwrap(), br#"{"b": 2}"#[..]);
        assert_eq!(result(br#"{"error":"no"}"#), Err(GuestFault::Guest("no".into())));
        for wrong in ["", "{}", "[1]", "{\"result\":1}{}", "hello"] {
            assert!(matches!(result(wrong.as_bytes()), Err(GuestFault::Malformed(_))), "{wrong}");
        }
    }
}
