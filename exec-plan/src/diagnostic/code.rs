//! The kinds of mistakes a document can make.

use std::fmt;

use serde::{Serialize, Serializer};

macro_rules! codes {
    ($($(#[$doc:meta])+ $variant:ident = $name:literal,)+) => {
        /// The kind of a mistake. Its name is stable: tools may rely on it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum GraphErrorCode {
            $($(#[$doc])+ $variant,)+
        }

        impl GraphErrorCode {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name, `unknown-kernel` for example.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

codes! {
    /// The document, or the number of its nodes, exceeds a limit.
    TooLarge = "too-large",
    /// The document has bytes that are not UTF-8.
    InvalidUtf8 = "invalid-utf8",
    /// The document breaks the grammar of JSON.
    Syntax = "syntax",
    /// The document ends inside an object or an array.
    Unclosed = "unclosed",
    /// Something follows the document.
    TrailingText = "trailing-text",
    /// Arrays and objects nest too deep.
    TooDeep = "too-deep",
    /// A string has an unknown escape, half a surrogate pair, a raw control character or no end.
    InvalidString = "invalid-string",
    /// A number breaks the grammar of JSON or is too large.
    InvalidNumber = "invalid-number",
    /// An object has the same key twice.
    DuplicateKey = "duplicate-key",
    /// An object has a key it may not have.
    UnknownKey = "unknown-key",
    /// An object lacks a key it must have.
    MissingKey = "missing-key",
    /// A value is of the wrong JSON type.
    WrongType = "wrong-type",
    /// A value is out of its range.
    InvalidValue = "invalid-value",
    /// The graph's name cannot be one.
    InvalidName = "invalid-name",
    /// The graph has no name.
    MissingName = "missing-name",
    /// The version is neither an integer nor a SemVer version.
    InvalidVersion = "invalid-version",
    /// A node, a port, an output or a service is named by what is no identifier.
    InvalidIdentifier = "invalid-identifier",
    /// A retry names what is no status code of a failure.
    UnknownStatus = "unknown-status",
    /// A service is listed twice.
    DuplicateService = "duplicate-service",
    /// Two outputs of the graph have the same name.
    DuplicateOutput = "duplicate-output",
    /// Two nodes have the same id.
    DuplicateNode = "duplicate-node",
    /// A node lists a port twice.
    DuplicatePort = "duplicate-port",
    /// No kernel has the name a node gives.
    UnknownKernel = "unknown-kernel",
    /// The kernel refuses a node's parameters.
    InvalidParams = "invalid-params",
    /// The kernel refuses a node, or one of the ports it lists.
    InvalidNode = "invalid-node",
    /// A node has no port of this name.
    UnknownPort = "unknown-port",
    /// A node has a port of this name but does not list it.
    UnlistedPort = "unlisted-port",
    /// No node has the id a binding or an output names.
    UnknownNode = "unknown-node",
    /// A binding or an output names a port in a way that is not `node.port`.
    InvalidEndpoint = "invalid-endpoint",
    /// A binding goes to an output.
    BindingToOutput = "binding-to-output",
    /// A binding or an output comes from an input.
    BindingFromInput = "binding-from-input",
    /// Two bindings go to the same input.
    BoundTwice = "bound-twice",
    /// Nothing is bound to an input that needs a value.
    MissingInput = "missing-input",
    /// The graph binds a key that the request does not have.
    UnknownEnvKey = "unknown-env-key",
    /// A value is of a type that the port does not accept.
    TypeMismatch = "type-mismatch",
    /// A constant cannot be what it says.
    InvalidConstant = "invalid-constant",
    /// A fallback does not fit its node.
    InvalidFallback = "invalid-fallback",
    /// Nodes wait for each other.
    Cycle = "cycle",
    /// The graph neither answers the call nor gives outputs.
    NoEffect = "no-effect",
    /// The graph names services but does not answer calls.
    ServesWithoutAnswer = "serves-without-answer",
    /// Some way through the graph leaves the call unanswered.
    NeverAnswers = "never-answers",
    /// Some way through the graph answers the call more than once.
    AnswersTwice = "answers-twice",
    /// The graph's branches are too entangled to prove that it answers once.
    ProofTooLarge = "proof-too-large",
}

impl fmt::Display for GraphErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for GraphErrorCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}
