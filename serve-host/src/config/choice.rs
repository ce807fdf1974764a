//! Settings that are one of a few words.

use super::scalar::Scalar;

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
    /// Who speaks HTTP/2.
    pub enum Transport {
        /// The state machine of `http2-core`.
        Native = "native",
        /// hyper, with tonic's service interface.
        Tonic = "tonic",
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
