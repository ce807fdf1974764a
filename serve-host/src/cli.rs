//! The command line: what may be asked, and how the answer leaves.
//!
//! Every command gives one result: text for people, or with `--json` one document on standard output.
//! Everything else goes to standard error. A failure says its cause and the next step, and leaves with
//! one of the codes of [`exit`]. Nothing here serves calls: `main.rs` does, with the library.

mod admin_client;
mod call;
mod completions;
mod config_show;
pub(crate) mod exit;
mod graph;
mod grpc;
mod message;
pub(crate) mod output;
mod reflection;
pub(crate) mod settings;
mod stats;

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use serve_host::config::{ConfigErrors, Loaded, Sources};

use self::exit::{Exit, Failure};
use self::output::{ColorWhen, Output};
use self::settings::Settings;

/// Hosts RPC services that are graphs: deployed and replaced while calls are running.
#[derive(Debug, Parser)]
#[command(name = "okra", version, max_term_width = 100, after_long_help = exit::help())]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) global: Global,
}

/// What every command understands.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Global {
    /// Print one JSON document on standard output, everything else on standard error.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// When to use colour; NO_COLOR and CLICOLOR_FORCE are honoured, too.
    #[arg(long, global = true, value_enum, default_value_t = ColorWhen::Auto, value_name = "WHEN")]
    pub(crate) color: ColorWhen,
    /// The configuration file, instead of okra.toml in the working directory [env: OKRA_CONFIG].
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve graphs until a signal ends it.
    Serve(ServeArgs),
    /// Check, explain, publish and list graphs.
    #[command(subcommand)]
    Graph(graph::GraphCommand),
    /// Call a method of a gRPC server.
    Call(call::CallArgs),
    /// Show the figures of a running host.
    Stats(stats::StatsArgs),
    /// Look at the configuration.
    #[command(subcommand)]
    Config(config_show::ConfigCommand),
    /// Print a completion script for a shell.
    Completions(completions::CompletionsArgs),
}

/// `okra serve`: every key of the configuration is a flag.
#[derive(Debug, clap::Args)]
pub(crate) struct ServeArgs {
    /// Check the configuration and the graphs, say what is wrong, and exit.
    #[arg(long)]
    pub(crate) check: bool,
    #[command(flatten)]
    pub(crate) settings: Settings,
}

impl Global {
    /// Where results go.
    pub(crate) fn output(&self) -> Output {
        Output::new(self.json, self.color)
    }

    /// The configuration of this process, with these flags on top.
    pub(crate) fn load(&self, settings: &Settings) -> Result<Loaded, ConfigErrors> {
        let sources = Sources::of_process(settings.flags().to_vec(), self.config.clone())?;
        Loaded::from_sources(&sources)
    }
}

/// Runs any command but `serve`.
pub(crate) fn run(command: Command, global: &Global) -> Result<Exit, Failure> {
    let output = global.output();
    match command {
        // `main` serves by itself; the command would not come here.
        Command::Serve(_) => Ok(Exit::Ok),
        Command::Graph(command) => graph::run(command, global, &output),
        Command::Call(args) => call::run(&args, &output),
        Command::Stats(args) => stats::run(&args, global, &output),
        Command::Config(command) => config_show::run(&command, global, &output),
        Command::Completions(args) => completions::run(&args, &output),
    }
}

/// A runtime for the few requests a command makes.
fn client_runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Failure, format!("cannot start a runtime: {error}")))
}

#[cfg(test)]
mod tests;
