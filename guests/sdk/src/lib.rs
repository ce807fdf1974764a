//! Write an OKRA service in Rust: the guest's side of the ABI.
//!
//! A service is one function from a method and its input to an output, and [`export!`] makes a guest of it:
//!
//! ```ignore
//! fn handle(method: &str, input: &[u8]) -> Result<Vec<u8>, String> { … }
//! okra_guest::export!(handle);
//! ```
//!
//! What the bytes are is for `okra.json` to say: JSON unless its `abi` says `"payload": "protobuf"`. With
//! `"envelope": true` they are an [`envelope::Request`] and an [`envelope::Response`], which carry the
//! metadata, the deadline and the status as well; [`export_unary!`] makes a guest of a function between
//! those. [`call`] calls another service of the same host.
//!
//! A guest runs one call at a time; the host runs several instances of it side by side.

pub mod call;
pub mod envelope;
pub mod memory;

use crate::memory::Block;

/// Makes a guest of a function `fn(&str, &[u8]) -> Result<Vec<u8>, String>`.
#[macro_export]
macro_rules! export {
    ($handle:path) => {
        #[unsafe(no_mangle)]
        extern "C" fn handle_request(method: u32, method_len: u32, input: u32, input_len: u32) -> u64 {
            $crate::serve($handle, (method, method_len), (input, input_len))
        }
    };
}

/// Makes a guest of a function `fn(envelope::Request) -> envelope::Response`.
#[macro_export]
macro_rules! export_unary {
    ($handle:path) => {
        fn handle_envelope(_method: &str, input: &[u8]) -> Result<Vec<u8>, String> {
            $crate::envelope::answer($handle, input)
        }
        $crate::export!(handle_envelope);
    };
}

/// Runs one call, and packs its result as the ABI says: the address in the upper half, the length in the
/// lower one, and the highest bit set if it is an error.
#[doc(hidden)]
pub fn serve(
    handle: fn(&str, &[u8]) -> Result<Vec<u8>, String>,
    method: (u32, u32),
    input: (u32, u32),
) -> u64 {
    // The host wrote both into blocks that it asked this guest for, and frees them after the call.
    let (method, input) = unsafe { (memory::view(method), memory::view(input)) };
    let outcome = match std::str::from_utf8(method) {
        Ok(method) => handle(method, input),
        Err(_) => Err("the method is not UTF-8".to_owned()),
    };
    match outcome {
        Ok(output) => Block::of(&output).packed(),
        Err(message) => Block::of(error_json(&message).as_bytes()).packed() | ERROR,
    }
}

/// `{"error":"…"}`, as the original guests say it.
fn error_json(message: &str) -> String {
    let mut json = String::from("{\"error\":\"");
    for character in message.chars() {
        match character {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            control if (control as u32) < 0x20 => json.push_str(&format!("\\u{:04x}", control as u32)),
            other => json.push(other),
        }
    }
    json.push_str("\"}");
    json
}

/// Marks a packed result as an error.
const ERROR: u64 = 1 << 63;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_json_whatever_its_text() {
        assert_eq!(error_json("no \"such\" \\ cart\n"), r#"{"error":"no \"such\" \\ cart\u000a"}"#);
    }
}
