//! The command line: what may be asked, and how the answer leaves.
//!
//! Every command gives one result: text for people, or with `--json` one document on standard output.
//! Everything else goes to standard error. A failure says its cause and the next step, and leaves with
//! one of the codes of [`exit`]. Nothing here serves calls: `main.rs` does, with the library.

mod admin_client;
mod call;
pub(crate) mod compile_guest;
mod completions;
mod config_show;
mod deploy;
pub(crate) mod exit;
pub(crate) mod graph;
mod grpc;
mod message;
pub(crate) mod output;
mod package;
mod reflection;
mod services;
pub(crate) mod settings;
mod stats;
mod undeploy;

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
    #[command(flatten)]
    Tool(Tool),
}

/// The commands that do one thing and end.
#[derive(Debug, Subcommand)]
pub(crate) enum Tool {
    /// Check, explain, publish and list graphs.
    #[command(subcommand)]
    Graph(graph::GraphCommand),
    /// Check, inspect and make packages, without a host.
    #[command(subcommand)]
    Package(package::PackageCommand),
    /// Deploy a package: a file from here, or a URL that the host fetches.
    Deploy(deploy::DeployArgs),
    /// Undeploy a service.
    Undeploy(undeploy::UndeployArgs),
    /// List the deployed services of a host.
    Services(services::ServicesArgs),
    /// Call a method of a gRPC server.
    Call(call::CallArgs),
    /// Show the figures of a running host.
    Stats(stats::StatsArgs),
    /// Look at the configuration.
    #[command(subcommand)]
    Config(config_show::ConfigCommand),
    /// Print a completion script for a shell.
    Completions(completions::CompletionsArgs),
    /// Compile a guest, for the host that started this.
    #[command(hide = true)]
    CompileGuest(compile_guest::CompileGuestArgs),
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

/// Says what is wrong with the command line, or what was asked of it, and leaves.
pub(crate) fn explain_usage(error: &clap::Error) -> ! {
    // A command line that cannot be read may still have said that it wants JSON.
    if error.use_stderr() && std::env::args_os().any(|argument| argument == "--json") {
        let message = error.to_string();
        let failure = Failure::new(Exit::Usage, message.trim().trim_start_matches("error: "));
        Output::new(true, ColorWhen::Never).failure(&failure);
        std::process::exit(i32::from(failure.exit.code()));
    }
    error.exit()
}

/// Runs a command that does one thing.
pub(crate) fn run(tool: Tool, global: &Global) -> Result<Exit, Failure> {
    let output = global.output();
    match tool {
        Tool::Graph(command) => graph::run(command, global, &output),
        Tool::Package(command) => package::run(&command, &output),
        Tool::Deploy(args) => deploy::run(&args, global, &output),
        Tool::Undeploy(args) => undeploy::run(&args, global, &output),
        Tool::Services(args) => services::run(&args, global, &output),
        Tool::Call(args) => call::run(&args, &output),
        Tool::Stats(args) => stats::run(&args, global, &output),
        Tool::Config(command) => config_show::run(&command, global, &output),
        Tool::Completions(args) => completions::run(&args, &output),
        Tool::CompileGuest(args) => compile_guest::run(&args),
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
