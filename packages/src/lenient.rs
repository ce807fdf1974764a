//! JSON read as the original's tools read it: keys in any case, unknown ones passed over, `null` for
//! "not there", the last of equal keys counts. Wrong types are errors.

use serde::de::DeserializeOwned;

/// Why a document cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} at line {line} column {column}")]
pub struct JsonFault {
    /// What is wrong, as a fragment.
    pub message: String,
    /// The line, from 1; 0 if there is none.
    pub line: usize,
    /// The column in bytes, from 1; 0 if there is none.
    pub column: usize,
}

/// Declares a struct that is read in this way. A key of the document is the text beside its field.
///
/// With `strict`, an unknown key is an error: for what only our own tools write.
macro_rules! lenient {
    (@unknown strict $map:ident $key:ident) => {
        return Err(serde::de::Error::custom(format_args!("unknown key `{}`", $key)))
    };
    (@unknown tolerant $map:ident $key:ident) => {{
        let _: serde::de::IgnoredAny = $map.next_value()?;
    }};
    ($mode:ident $name:ident { $($key:literal => $field:ident),+ $(,)? }) => {
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Reader;
                impl<'de> serde::de::Visitor<'de> for Reader {
                    type Value = $name;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("an object")
                    }

                    fn visit_unit<E: serde::de::Error>(self) -> Result<$name, E> {
                        Ok($name::default())
                    }

                    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<$name, A::Error> {
                        let mut value = $name::default();
                        while let Some(key) = map.next_key::<String>()? {
                            $(if key.eq_ignore_ascii_case($key) {
                                $crate::lenient::set(&mut value.$field, map.next_value()?);
                                continue;
                            })+
                            $crate::lenient::lenient!(@unknown $mode map key);
                        }
                        Ok(value)
                    }
                }
                deserializer.deserialize_any(Reader)
            }
        }
    };
}
pub(crate) use lenient;

/// `null` leaves a field as it is.
pub(crate) fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

/// Reads a whole document.
pub(crate) fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T, JsonFault> {
    serde_json::from_slice(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let mut message = error.to_string();
        // The place has fields of its own.
        if let Some(end) = message.rfind(" at line ") {
            message.truncate(end);
        }
        JsonFault { message, line, column }
    })
}
