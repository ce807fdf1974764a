//! `primed`: calls that the guest answers once, at deploy, so that every instance begins after them. Off,
//! unless a package says so.

use serde::Deserialize;
use serde::de::Error as _;
use serde_json::value::RawValue;

use crate::lenient::lenient;

/// How a guest is primed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Primed {
    /// The calls it answers, in order. With none it is only started.
    pub calls: Vec<PrimedCall>,
}

/// A call that primes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrimedCall {
    /// The method's name in the schema.
    pub method: String,
    /// The request, as a client would send it.
    pub payload: JsonText,
}

/// A document as it stands in the text it came with; an empty object if there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonText(String);

/// The most calls that prime a guest.
pub(crate) const MAX_CALLS: usize = 32;
/// The longest request of one, in bytes.
pub(crate) const MAX_PAYLOAD_BYTES: usize = 64 << 10;

lenient!(strict Keys { "calls" => calls });
lenient!(strict PrimedCall { "method" => method, "payload" => payload });

#[derive(Debug, Default)]
struct Keys {
    calls: Vec<PrimedCall>,
}

// === impl Primed ===

impl<'de> Deserialize<'de> for Primed {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Keys { calls } = Keys::deserialize(deserializer)?;
        if calls.len() > MAX_CALLS {
            return Err(D::Error::custom(format_args!("`primed.calls` has at most {MAX_CALLS} calls")));
        }
        Ok(Self { calls })
    }
}

// === impl JsonText ===

impl JsonText {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for JsonText {
    fn default() -> Self {
        Self("{}".to_owned())
    }
}

impl<'de> Deserialize<'de> for JsonText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text: String = Box::<RawValue>::deserialize(deserializer)?.get().into();
        if text.len() > MAX_PAYLOAD_BYTES {
            return Err(D::Error::custom(format_args!(
                "a `payload` of `primed.calls` has at most {MAX_PAYLOAD_BYTES} bytes"
            )));
        }
        Ok(Self(text))
    }
}
