//! `okra completions`: scripts that complete commands and flags.

use clap::{CommandFactory, ValueEnum};
use clap_complete::{Shell, generate};
use serde_json::json;

use super::Cli;
use super::exit::{Exit, Failure};
use super::output::Output;

/// `okra completions SHELL`
#[derive(Debug, clap::Args)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    shell: CompletionShell,
}

/// The shells we know.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum CompletionShell {
    /// GNU Bash.
    Bash,
    /// Z shell.
    Zsh,
    /// fish.
    Fish,
    /// Elvish.
    Elvish,
}

pub(crate) fn run(args: &CompletionsArgs, output: &Output) -> Result<Exit, Failure> {
    let shell = match args.shell {
        CompletionShell::Bash => Shell::Bash,
        CompletionShell::Zsh => Shell::Zsh,
        CompletionShell::Fish => Shell::Fish,
        CompletionShell::Elvish => Shell::Elvish,
    };
    let mut script = Vec::new();
    generate(shell, &mut Cli::command(), "okra", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    output.result(&json!({ "shell": shell.to_string(), "script": script }), || script.clone());
    Ok(Exit::Ok)
}
