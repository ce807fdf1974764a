//! What a setting may be: how each type is read from a flag, a variable or the file, and shown again.
//!
//! The text that [`Setting::text`] gives is text that [`Setting::set`] takes.

use std::net::{IpAddr, Ipv4Addr};
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;

use exec_plan::{GraphName, Version};

use super::list::SEPARATOR;
use crate::admit::MaxInflight;
use crate::queue::QueueCapacity;

/// One setting of any type, as the key table sees it.
pub trait Setting {
    /// What a value is called in a synopsis, `SIZE` for example.
    fn noun(&self) -> &'static str;

    /// What a value looks like, in words.
    fn expects(&self) -> &'static str;

    /// Takes a value, or says what is wrong with it and leaves the setting as it was.
    ///
    /// # Errors
    /// What is wrong, as a sentence without its end.
    fn set(&mut self, given: Given<'_>) -> Result<(), String>;

    /// The value as text.
    fn text(&self) -> String;

    /// The value as it stands in the file.
    fn toml(&self) -> toml::Value;

    /// The value of a limit, in seconds or bytes if it has a unit; `None` if it is no limit, or off.
    fn limit(&self) -> Option<f64>;
}

/// A value as a source gives it.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    /// The value in the file's spelling, without quotes.
    pub text: &'a str,
    /// How it stood there.
    pub form: Form,
}

/// How a value stood in its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Text of a flag or a variable, whose type only the setting knows.
    Untyped,
    /// A TOML string.
    String,
    /// A TOML integer.
    Integer,
    /// A TOML boolean.
    Boolean,
    /// A TOML array of strings, joined with commas.
    Array,
    /// Something else of TOML, which no setting is: its name with its article.
    Unfit(&'static str),
}

/// A type a setting may have.
pub(super) trait Scalar: Sized {
    /// See [`Setting::noun`].
    const NOUN: &'static str;
    /// See [`Setting::expects`].
    const EXPECTS: &'static str;
    /// The TOML forms it may take.
    const FORMS: &'static [Form] = &[Form::String];

    fn parse(text: &str) -> Result<Self, String>;

    fn text(&self) -> String;

    /// See [`Setting::limit`].
    fn limit(&self) -> Option<f64> {
        None
    }
}

impl<T: Scalar> Setting for T {
    fn noun(&self) -> &'static str {
        T::NOUN
    }

    fn expects(&self) -> &'static str {
        T::EXPECTS
    }

    fn set(&mut self, given: Given<'_>) -> Result<(), String> {
        if given.form != Form::Untyped && !T::FORMS.contains(&given.form) {
            return Err(format!("expected {}, not {}", T::EXPECTS, given.form.name()));
        }
        *self = T::parse(given.text)?;
        Ok(())
    }

    fn text(&self) -> String {
        Scalar::text(self)
    }

    fn limit(&self) -> Option<f64> {
        Scalar::limit(self)
    }

    fn toml(&self) -> toml::Value {
        let text = Scalar::text(self);
        if T::FORMS.contains(&Form::Integer)
            && let Ok(integer) = text.parse()
        {
            return toml::Value::Integer(integer);
        }
        if T::FORMS.contains(&Form::Boolean)
            && let Ok(boolean) = text.parse()
        {
            return toml::Value::Boolean(boolean);
        }
        if T::FORMS.contains(&Form::Array) {
            let items = text.split(SEPARATOR).filter(|item| !item.is_empty());
            return toml::Value::Array(items.map(|item| toml::Value::String(item.to_owned())).collect());
        }
        toml::Value::String(text)
    }
}

/// How many threads do a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threads {
    /// One per processor this process may use.
    Auto,
    /// This many.
    Count(NonZeroUsize),
}

// === impl Form ===

impl Form {
    fn name(self) -> &'static str {
        match self {
            Self::Untyped => "text",
            Self::String => "a string",
            Self::Integer => "an integer",
            Self::Boolean => "a boolean",
            Self::Array => "an array",
            Self::Unfit(name) => name,
        }
    }
}

// === impl limits ===

impl Scalar for MaxInflight {
    const NOUN: &'static str = NonZeroUsize::NOUN;
    const EXPECTS: &'static str = NonZeroUsize::EXPECTS;
    const FORMS: &'static [Form] = NonZeroUsize::FORMS;

    fn parse(text: &str) -> Result<Self, String> {
        Scalar::parse(text).map(Self)
    }

    fn text(&self) -> String {
        Scalar::text(&self.0)
    }

    fn limit(&self) -> Option<f64> {
        Scalar::limit(&self.0)
    }
}

impl Scalar for QueueCapacity {
    const NOUN: &'static str = usize::NOUN;
    const EXPECTS: &'static str = usize::EXPECTS;
    const FORMS: &'static [Form] = usize::FORMS;

    fn parse(text: &str) -> Result<Self, String> {
        Scalar::parse(text).map(Self)
    }

    fn text(&self) -> String {
        Scalar::text(&self.0)
    }

    fn limit(&self) -> Option<f64> {
        Scalar::limit(&self.0)
    }
}

// === impl numbers ===

/// A type that `FromStr` and `Display` read and show.
macro_rules! plain {
    ($($Type:ty: $noun:literal, $expects:literal, $forms:expr $(, $limit:expr)?;)+) => { $(
        impl Scalar for $Type {
            const NOUN: &'static str = $noun;
            const EXPECTS: &'static str = $expects;
            const FORMS: &'static [Form] = &$forms;

            fn parse(text: &str) -> Result<Self, String> {
                text.parse().map_err(|_| format!("{text:?} is not {}", $expects))
            }

            fn text(&self) -> String {
                self.to_string()
            }

            $(
                fn limit(&self) -> Option<f64> {
                    Some($limit(*self))
                }
            )?
        }
    )+ };
}

plain! {
    bool: "BOOL", "`true` or `false`", [Form::Boolean];
    u16: "PORT", "a port number, 0 to 65535", [Form::Integer];
    u32: "N", "a whole number", [Form::Integer], f64::from;
    usize: "N", "a whole number", [Form::Integer], |count: usize| count as f64;
    NonZeroU32: "N", "a whole number above 0", [Form::Integer], |count: NonZeroU32| f64::from(count.get());
    NonZeroUsize: "N", "a whole number above 0", [Form::Integer], |count: NonZeroUsize| count.get() as f64;
    GraphName: "GRAPH", "the name of a graph", [Form::String];
    Version: "VERSION", "a version: MAJOR.MINOR.PATCH or an integer", [Form::String, Form::Integer];
}

impl Scalar for Threads {
    const NOUN: &'static str = "N";
    const EXPECTS: &'static str = "`auto` or a whole number above 0";
    const FORMS: &'static [Form] = &[Form::String, Form::Integer];

    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            _ => text.parse().map(Self::Count).map_err(|_| format!("{text:?} is not {}", Self::EXPECTS)),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Auto => "auto".to_owned(),
            Self::Count(count) => count.to_string(),
        }
    }
}

impl Threads {
    /// How many that is on this machine.
    pub fn count(self) -> NonZeroUsize {
        match self {
            Self::Auto => std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            Self::Count(count) => count,
        }
    }
}

// === impl text ===

impl Scalar for String {
    const NOUN: &'static str = "TEXT";
    const EXPECTS: &'static str = "text";

    fn parse(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }

    fn text(&self) -> String {
        self.clone()
    }
}

impl Scalar for PathBuf {
    const NOUN: &'static str = "PATH";
    const EXPECTS: &'static str = "a path";

    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() { Err("a path cannot be empty".to_owned()) } else { Ok(Self::from(text)) }
    }

    fn text(&self) -> String {
        self.display().to_string()
    }
}

impl Scalar for IpAddr {
    const NOUN: &'static str = "ADDRESS";
    const EXPECTS: &'static str = "an IP address or `localhost`";

    fn parse(text: &str) -> Result<Self, String> {
        if text == "localhost" {
            return Ok(Self::V4(Ipv4Addr::LOCALHOST));
        }
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        bare.parse().map_err(|_| format!("{text:?} is not {}", Self::EXPECTS))
    }

    fn text(&self) -> String {
        self.to_string()
    }
}

/// The word for a setting that is absent.
const NONE: &str = "none";

impl<T: Scalar> Scalar for Option<T> {
    const NOUN: &'static str = T::NOUN;
    const EXPECTS: &'static str = T::EXPECTS;
    const FORMS: &'static [Form] = T::FORMS;

    fn parse(text: &str) -> Result<Self, String> {
        if text == NONE { Ok(None) } else { T::parse(text).map(Some) }
    }

    fn text(&self) -> String {
        self.as_ref().map_or_else(|| NONE.to_owned(), Scalar::text)
    }

    fn limit(&self) -> Option<f64> {
        self.as_ref().and_then(Scalar::limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_may_not_quote_a_number() {
        let mut port: u16 = 0;
        let quoted = Given { text: "80", form: Form::String };
        assert_eq!(port.set(quoted), Err("expected a port number, 0 to 65535, not a string".to_owned()));
        port.set(Given { text: "80", form: Form::Integer }).unwrap();
        assert_eq!(port.toml(), toml::Value::Integer(80));
    }

    #[test]
    fn localhost_and_brackets_are_addresses() {
        assert_eq!(<IpAddr as Scalar>::parse("localhost"), Ok(IpAddr::from([127, 0, 0, 1])));
        assert_eq!(<IpAddr as Scalar>::parse("[::1]").unwrap().to_string(), "::1");
        assert!(<IpAddr as Scalar>::parse("example.org").is_err());
    }
}
