//! Measures `okra serve graphs/echo.json` beside plain tonic servers, in one run and interleaved.
//!
//! ```text
//! cargo run --release -p benches --bin compare
//! ```
//!
//! Every round drives every server once at every shape, in an order that rotates, with the same bytes
//! from the same client (`h2load`). The figure to trust is the server's CPU time per request, taken
//! from `/proc/PID/task/*/schedstat`, and of it the ratio within a round: absolute figures and latency
//! move with whatever else the machine does. `h2load` cannot see a gRPC error, so each server answers
//! a real call before, each run must bring back every byte it is owed, and okra's own counters must
//! agree after.

mod load;
mod machine;
mod peers;
mod table;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, ensure};
use clap::Parser;

use crate::load::{Load, Shape};
use crate::machine::Machine;
use crate::peers::{Peer, Server};
use crate::table::{Key, Report, Sample};

/// Measures okra beside plain tonic servers.
#[derive(Debug, Parser)]
struct Options {
    /// How often every server is driven at every shape.
    #[arg(long, default_value_t = 5)]
    rounds: usize,

    /// The shapes to drive, as connections x streams.
    #[arg(long, value_delimiter = ',', default_value = "8x32,64x4,64x1,1x1")]
    shapes: Vec<Shape>,

    /// Message sizes, in bytes.
    #[arg(long, value_delimiter = ',', default_value = "64,4096")]
    sizes: Vec<usize>,

    /// The servers to compare; the first is what the others are divided by.
    #[arg(long, value_delimiter = ',', default_value = "tonic,tonic-raw,tonic-raw-single,okra,okra-native")]
    servers: Vec<Peer>,

    /// The share of the usual number of requests to send, in percent.
    #[arg(long, default_value_t = 100)]
    effort: u32,

    /// Measure with server and client on a core each, free on all cores, or both.
    #[arg(long, value_enum, default_value_t = Pinning::Both)]
    pinning: Pinning,

    /// Where the samples and the summary go as JSON.
    #[arg(long, default_value = "target/compare.json")]
    json: PathBuf,

    /// Runs as one of the peers on a port instead of measuring.
    #[arg(long, hide = true, requires = "port")]
    peer: Option<Peer>,

    /// The port of that peer.
    #[arg(long, hide = true)]
    port: Option<u16>,
}

/// Whether server and client have a core each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Pinning {
    Both,
    Pinned,
    Unpinned,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    if let (Some(peer), Some(port)) = (options.peer, options.port) {
        return peer.serve(port);
    }
    if options.servers.iter().any(|peer| peer.is_okra()) {
        build_okra()?;
    }
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(compare(&options))
}

fn build_okra() -> anyhow::Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built =
        Command::new(cargo).args(["build", "--release", "-p", "serve-host", "--bin", "okra"]).status()?;
    ensure!(built.success(), "okra does not build");
    Ok(())
}

async fn compare(options: &Options) -> anyhow::Result<()> {
    let machine = Machine::read();
    let mut report = Report::new(machine.clone(), options.rounds, options.servers.clone());
    for pinned in [true, false] {
        let wanted = matches!(
            (options.pinning, pinned),
            (Pinning::Both, _) | (Pinning::Pinned, true) | (Pinning::Unpinned, false)
        );
        if !wanted {
            continue;
        }
        if pinned && machine.cores < 2 {
            say("pinned: left out, it needs two cores");
            continue;
        }
        measure(options, pinned, &mut report).await?;
    }
    write!(std::io::stdout(), "{report}")?;
    if let Some(folder) = options.json.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(&options.json, serde_json::to_vec_pretty(&report.to_json())?)
        .with_context(|| options.json.display().to_string())?;
    say(&format!("samples and summary: {}", options.json.display()));
    Ok(())
}

/// Drives all servers, all running at once, round after round.
async fn measure(options: &Options, pinned: bool, report: &mut Report) -> anyhow::Result<()> {
    let mut servers = Vec::new();
    for &peer in &options.servers {
        servers.push(Server::start(peer, pinned).await?);
    }
    let loads: Vec<_> = options
        .sizes
        .iter()
        .flat_map(|&size| options.shapes.iter().map(move |&shape| (size, shape)))
        .map(|(size, shape)| Load::new(size, shape, options.effort, pinned))
        .collect::<Result<_, _>>()?;
    for server in &servers {
        for &size in &options.sizes {
            server.check(size).await?;
        }
    }
    for round in 0..options.rounds {
        for load in &loads {
            let mut order: Vec<_> = (0..servers.len()).collect();
            order.rotate_left(round % servers.len());
            let mut samples = BTreeMap::new();
            for index in order {
                let server = &servers[index];
                let sample =
                    run(server, load).await.with_context(|| format!("{} at {load}", server.peer().name()))?;
                samples.insert(server.peer(), sample);
            }
            report.add(Key { pinned, size: load.size(), shape: load.shape() }, samples);
        }
        say(&format!(
            "{}, round {} of {}",
            if pinned { "pinned" } else { "unpinned" },
            round + 1,
            options.rounds
        ));
    }
    for load in &loads {
        for server in &servers {
            let calls = load.syscalls(server.id(), server.address())?;
            report.add_syscalls(Key { pinned, size: load.size(), shape: load.shape() }, server.peer(), calls);
        }
    }
    Ok(())
}

/// Drives one server once and checks that every request was answered.
async fn run(server: &Server, load: &Load) -> anyhow::Result<Sample> {
    load.warm_up(server.address())?;
    let counted = server.served().await?;
    let before = machine::cpu_time(server.id())?;
    let driven = load.drive(server.address())?;
    let cpu = machine::cpu_time(server.id())? - before;
    if let (Some(before), Some(after)) = (counted, server.served().await?) {
        ensure!(after - before == load.requests(), "okra counts {} of {}", after - before, load.requests());
    }
    Ok(Sample {
        cpu_us: cpu.as_secs_f64() * 1e6 / load.requests() as f64,
        requests_per_second: driven.requests_per_second,
        p50_us: driven.p50_us,
        p99_us: driven.p99_us,
    })
}

#[expect(clippy::print_stderr, reason = "progress belongs on stderr, the table on stdout")]
fn say(text: &str) {
    eprintln!("compare: {text}");
}
