//! What a setting may be: how each type is read from a flag, a variable or the file, and shown again.
//!
//! Durations and sizes carry their unit in the text, never in the head of the reader. The text that
//! [`Setting::text`] gives is text that [`Setting::set`] takes.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use exec_plan::{GraphName, Version};

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
    /// Something else of TOML, which no setting is: its name with its article.
    Unfit(&'static str),
}

/// A type a setting may have.
trait Scalar: Sized {
    /// See [`Setting::noun`].
    const NOUN: &'static str;
    /// See [`Setting::expects`].
    const EXPECTS: &'static str;
    /// The TOML forms it may take.
    const FORMS: &'static [Form] = &[Form::String];

    fn parse(text: &str) -> Result<Self, String>;

    fn text(&self) -> String;
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
        toml::Value::String(text)
    }
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// How many threads do a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threads {
    /// One per processor this process may use.
    Auto,
    /// This many.
    Count(NonZeroUsize),
}

/// Declares an enum whose variants are words.
macro_rules! choice {
    (
        $(#[doc = $about:literal])+
        pub enum $Choice:ident {
            $(#[doc = $first_help:literal])+ $First:ident = $first:literal,
            $( $(#[doc = $help:literal])+ $Variant:ident = $word:literal, )+
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $Choice {
            $(#[doc = $first_help])+ $First,
            $( $(#[doc = $help])+ $Variant, )+
        }

        impl Scalar for $Choice {
            const NOUN: &'static str = "WORD";
            const EXPECTS: &'static str = concat!("one of `", $first, "`" $(, ", `", $word, "`" )+);

            fn parse(text: &str) -> Result<Self, String> {
                match text {
                    $first => Ok(Self::$First),
                    $( $word => Ok(Self::$Variant), )+
                    _ => Err(format!("{text:?} is not {}", Self::EXPECTS)),
                }
            }

            fn text(&self) -> String {
                match self {
                    Self::$First => $first,
                    $( Self::$Variant => $word, )+
                }
                .to_owned()
            }
        }
    };
}

choice! {
    /// The HTTP/2 stack of the service port.
    pub enum TransportKind {
        /// tonic and hyper.
        Tonic = "tonic",
        /// Our own.
        Native = "native",
    }
}

choice! {
    /// When responses are compressed.
    pub enum Compression {
        /// Never.
        Never = "never",
        /// As the request was, if the client accepts that.
        Mirror = "mirror",
        /// Whenever the client accepts an encoding known here.
        Accepted = "accepted",
    }
}

choice! {
    /// The form of a log line.
    pub enum LogFormat {
        /// Pretty on a terminal, JSON elsewhere.
        Auto = "auto",
        /// One JSON object.
        Json = "json",
        /// For human eyes.
        Pretty = "pretty",
    }
}

choice! {
    /// Which calls get an access line.
    pub enum AccessLogging {
        /// None.
        Off = "off",
        /// Those that did not succeed.
        Failures = "failures",
        /// All.
        All = "all",
    }
}

// === impl Form ===

impl Form {
    fn name(self) -> &'static str {
        match self {
            Self::Untyped => "text",
            Self::String => "a string",
            Self::Integer => "an integer",
            Self::Boolean => "a boolean",
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
}

// === impl numbers ===

/// A type that `FromStr` and `Display` read and show.
macro_rules! plain {
    ($($Type:ty: $noun:literal, $expects:literal, $forms:expr;)+) => { $(
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
        }
    )+ };
}

plain! {
    bool: "BOOL", "`true` or `false`", [Form::Boolean];
    u16: "PORT", "a port number, 0 to 65535", [Form::Integer];
    u32: "N", "a whole number", [Form::Integer];
    usize: "N", "a whole number", [Form::Integer];
    NonZeroU32: "N", "a whole number above 0", [Form::Integer];
    NonZeroUsize: "N", "a whole number above 0", [Form::Integer];
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
}

// === impl units ===

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
