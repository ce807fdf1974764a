//! `okra config show`: what holds, and who said so.

use serde::Serialize;
use serve_host::config::Shown;

use super::Global;
use super::exit::{Exit, Failure};
use super::output::Output;
use super::settings::Settings;

/// `okra config …`
#[derive(Debug, clap::Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print the configuration that `okra serve` would use here, as an okra.toml that means the same.
    Show(ShowArgs),
}

/// `okra config show`
#[derive(Debug, clap::Args)]
pub(crate) struct ShowArgs {
    /// Say beside each value where it came from.
    #[arg(long)]
    origin: bool,
    #[command(flatten)]
    settings: Settings,
}

/// The document of `--json`.
#[derive(Serialize)]
struct Document {
    settings: Vec<Shown>,
    notes: Vec<String>,
}

pub(crate) fn run(command: &ConfigCommand, global: &Global, output: &Output) -> Result<Exit, Failure> {
    let ConfigCommand::Show(args) = command;
    let loaded = global.load(&args.settings)?;
    for note in loaded.notes.iter().filter(|_| !output.is_json()) {
        output.note(note);
    }
    let document = Document { settings: loaded.shown(), notes: loaded.notes.clone() };
    output.result(&document, || loaded.to_toml(args.origin));
    Ok(Exit::Ok)
}
