//! What identifies a graph: its name, its version and the hash of its content.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The name of a graph: `[A-Za-z_][A-Za-z0-9_.-]*`, at most 128 bytes, safe as a file name.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GraphName(Arc<str>);

/// The text is not a graph name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a graph name: a letter or '_', then letters, digits, '_', '-' or '.', 128 bytes at most"
)]
pub struct InvalidGraphName(pub String);

/// The version of a graph, ordered by SemVer precedence. An integer `n` in a document is `n.0.0`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version(semver::Version);

/// The text is neither a SemVer version nor an integer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a version: expected an integer or MAJOR.MINOR.PATCH")]
pub struct InvalidVersion(pub String);

/// The SHA-256 of a document's content; formatting does not change it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ContentHash([u8; 32]);

// === impl GraphName ===

impl GraphName {
    /// The longest name, in bytes.
    pub const MAX_LEN: usize = 128;

    /// The name, shared.
    pub fn shared(&self) -> &Arc<str> {
        &self.0
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for GraphName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for GraphName {
    type Err = InvalidGraphName;

    fn from_str(text: &str) -> Result<Self, InvalidGraphName> {
        let mut bytes = text.bytes();
        let starts = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
        let goes_on = bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
        if starts && goes_on && text.len() <= Self::MAX_LEN {
            Ok(Self(text.into()))
        } else {
            Err(InvalidGraphName(text.chars().take(Self::MAX_LEN).collect()))
        }
    }
}

impl fmt::Display for GraphName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for GraphName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl Version ===

impl Version {
    /// The version of a document that gives none.
    pub const ZERO: Self = Self(semver::Version::new(0, 0, 0));

    /// The version an integer stands for.
    pub const fn from_integer(major: u64) -> Self {
        Self(semver::Version::new(major, 0, 0))
    }
}

impl Version {
    /// The version that a call asks for: also with a `v` before it, and with fewer than three numbers, so
    /// that `v1`, `1` and `1.0` are `1.0.0`.
    ///
    /// # Errors
    /// It is none of that.
    pub fn asked(text: &str) -> Result<Self, InvalidVersion> {
        let bare = text.strip_prefix('v').unwrap_or(text);
        let numbers = bare.find(['-', '+']).map_or(bare, |end| &bare[..end]);
        let padding = match numbers.matches('.').count() {
            0 => ".0.0",
            1 => ".0",
            _ => "",
        };
        let whole = format!("{numbers}{padding}{}", &bare[numbers.len()..]);
        semver::Version::parse(&whole).map(Self).map_err(|_| InvalidVersion(text.to_owned()))
    }
}

impl FromStr for Version {
    type Err = InvalidVersion;

    fn from_str(text: &str) -> Result<Self, InvalidVersion> {
        if let Ok(major) = text.parse() {
            return Ok(Self::from_integer(major));
        }
        semver::Version::parse(text).map(Self).map_err(|_| InvalidVersion(text.to_owned()))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// === impl ContentHash ===

impl ContentHash {
    /// A hash from its bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first twelve hex digits, as they stand in labels.
    pub fn short(&self) -> String {
        self.to_string()[..12].to_owned()
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Digit by digit through the formatter would be most of what it costs to save a store's state.
        let mut text = [0; 64];
        for (digits, byte) in text.chunks_exact_mut(2).zip(self.0) {
            digits[0] = DIGITS[usize::from(byte >> 4)];
            digits[1] = DIGITS[usize::from(byte & 15)];
        }
        f.write_str(str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for ContentHash {
    type Err = InvalidHash;

    fn from_str(text: &str) -> Result<Self, InvalidHash> {
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return Err(InvalidHash);
        }
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).map_err(|_| InvalidHash)?;
        }
        Ok(Self(bytes))
    }
}

/// The text is not 64 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected 64 hex digits")]
pub struct InvalidHash;

/// The hex digits.
const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Serializes as the text that `Display` gives and `FromStr` reads.
macro_rules! serialize_as_text {
    ($($kind:ty),+) => {$(
        impl serde::Serialize for $kind {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $kind {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )+};
}

serialize_as_text!(GraphName, Version, ContentHash);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_follow_semver_precedence() {
        let ordered = ["0.0.0", "1.0.0-alpha", "1.0.0", "1.2.0", "1.10.0", "2"];
        let versions: Vec<Version> = ordered.iter().map(|text| text.parse().unwrap()).collect();
        assert!(versions.is_sorted());
        assert_eq!("3".parse::<Version>().unwrap().to_string(), "3.0.0");
        assert!("v1".parse::<Version>().is_err());
    }

    #[test]
    fn a_call_may_ask_for_a_version_in_short() {
        for (asked, version) in [
            ("v1", "1.0.0"),
            ("1", "1.0.0"),
            ("v1.2", "1.2.0"),
            ("1.2.3", "1.2.3"),
            ("v2-beta.1", "2.0.0-beta.1"),
        ] {
            assert_eq!(Version::asked(asked).map(|v| v.to_string()), Ok(version.to_owned()), "{asked}");
        }
        for bad in ["", "v", "vv1", "1.2.3.4", "one", "01", "1..2", " 1"] {
            assert_eq!(Version::asked(bad), Err(InvalidVersion(bad.to_owned())));
        }
    }

    #[test]
    fn a_name_is_safe_as_a_file_name() {
        for good in ["a", "_x", "shop.Orders", "method-routing"] {
            assert!(good.parse::<GraphName>().is_ok(), "{good}");
        }
        for bad in ["", ".hidden", "../up", "a/b", "-x", "a b", "é", &"a".repeat(129)] {
            assert!(bad.parse::<GraphName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_hash_survives_a_round_trip() {
        let hash = ContentHash::from_bytes(std::array::from_fn(|i| u8::try_from(i).unwrap()));
        assert_eq!(hash.to_string().parse::<ContentHash>(), Ok(hash));
        assert!("zz".parse::<ContentHash>().is_err());
    }
}
