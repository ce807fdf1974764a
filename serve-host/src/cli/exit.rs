//! How a command ends: the exit codes, and a failure with its cause and the next step.

use std::fmt::Write;
use std::process::ExitCode;

use exec_plan::Code;
use serde::Serialize;
use serve_host::config::ConfigErrors;

/// The exit codes, which scripts may rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// It worked.
    Ok = 0,
    /// It did not, for a reason none of the others names.
    Failure = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// What was given to check is not valid.
    Invalid = 3,
    /// What was named does not exist.
    NotFound = 4,
    /// Something else is there already, or changed meanwhile.
    Conflict = 5,
    /// The other side cannot be reached, has no room, or did not answer in time.
    Unavailable = 6,
    /// Calls were still running when the time to drain was over.
    DrainTimedOut = 7,
    /// A signal ended it at once.
    Interrupted = 130,
}

/// Why a command failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Failure {
    #[serde(serialize_with = "as_number")]
    pub(crate) exit: Exit,
    /// The cause.
    pub(crate) message: String,
    /// The next step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) help: Option<String>,
}

// === impl Exit ===

impl Exit {
    /// All of them, in numeric order.
    pub(crate) const ALL: [Self; 9] = [
        Self::Ok,
        Self::Failure,
        Self::Usage,
        Self::Invalid,
        Self::NotFound,
        Self::Conflict,
        Self::Unavailable,
        Self::DrainTimedOut,
        Self::Interrupted,
    ];

    pub(crate) fn code(self) -> u8 {
        self as u8
    }

    /// What it means, for `--help`.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "it worked; of serve: it drained cleanly",
            Self::Failure => "it failed for a reason not named below",
            Self::Usage => "the command line or the configuration is wrong",
            Self::Invalid => "what was given to check is not valid",
            Self::NotFound => "what was named does not exist",
            Self::Conflict => "something else is there already, or changed meanwhile",
            Self::Unavailable => "not reachable, no room, or no answer in time",
            Self::DrainTimedOut => "calls were still running when the time to drain was over",
            Self::Interrupted => "a second signal ended it at once",
        }
    }

    /// How `okra call` ends when the server answers with this status.
    pub(crate) fn of_status(code: Code) -> Self {
        match code {
            Code::Ok => Self::Ok,
            Code::InvalidArgument | Code::OutOfRange => Self::Invalid,
            Code::NotFound | Code::Unimplemented => Self::NotFound,
            Code::AlreadyExists | Code::Aborted | Code::FailedPrecondition => Self::Conflict,
            Code::DeadlineExceeded | Code::ResourceExhausted | Code::Unavailable => Self::Unavailable,
            Code::Cancelled
            | Code::Unknown
            | Code::PermissionDenied
            | Code::Internal
            | Code::DataLoss
            | Code::Unauthenticated => Self::Failure,
        }
    }

    /// How a command ends when the control plane answers with this HTTP status.
    pub(crate) fn of_http(status: u16) -> Self {
        match status {
            200..=299 => Self::Ok,
            400 | 413 | 422 => Self::Invalid,
            404 => Self::NotFound,
            409 | 412 => Self::Conflict,
            408 | 429 | 502..=504 => Self::Unavailable,
            _ => Self::Failure,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// The section of `--help`.
pub(crate) fn help() -> String {
    let mut text = String::from("Exit codes:\n");
    for exit in Exit::ALL {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {:>3}  {}", exit.code(), exit.meaning());
    }
    text
}

// === impl Failure ===

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), help: None }
    }

    #[must_use]
    pub(crate) fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl From<ConfigErrors> for Failure {
    fn from(errors: ConfigErrors) -> Self {
        let count = errors.0.len();
        let mistakes = if count == 1 { "1 mistake".to_owned() } else { format!("{count} mistakes") };
        Self::new(Exit::Usage, format!("the configuration has {mistakes}\n{errors}"))
    }
}

fn as_number<S: serde::Serializer>(exit: &Exit, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u8(exit.code())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_are_those_that_are_documented() {
        let codes: Vec<u8> = Exit::ALL.into_iter().map(Exit::code).collect();
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 7, 130]);
        for exit in Exit::ALL {
            assert!(help().contains(exit.meaning()), "{exit:?}");
        }
    }

    #[test]
    fn only_success_ends_with_zero() {
        for code in Code::ALL {
            assert_eq!(Exit::of_status(code) == Exit::Ok, code == Code::Ok, "{code}");
        }
        assert_eq!(Exit::of_http(201), Exit::Ok);
        assert_eq!(Exit::of_http(404), Exit::NotFound);
        assert_eq!(Exit::of_http(409), Exit::Conflict);
        assert_eq!(Exit::of_http(422), Exit::Invalid);
        assert_eq!(Exit::of_http(429), Exit::Unavailable);
        assert_eq!(Exit::of_http(401), Exit::Failure);
        assert_eq!(Exit::of_http(302), Exit::Failure);
    }
}
