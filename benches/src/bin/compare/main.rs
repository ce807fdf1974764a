//! Measures okra beside the servers its users would otherwise choose, in one run and interleaved.
//!
//! ```text
//! cargo run --release -p benches --bin compare
//! cargo run --release -p benches --bin compare -- --goals --write --date 2026-01-31
//! ```
//!
//! Every round drives every server once at every shape, in an order that rotates, with the same bytes
//! from the same client (`h2load`). Those that speak gRPC are one comparison; the other is of JSON over HTTP/1.1,
//! the one way to call both `wasmtime serve` and okra. The figure to trust is the server's CPU time per request, taken
//! from `/proc/PID/task/*/schedstat`, and of it the ratio within a round: absolute figures and latency
//! move with whatever else the machine does. `h2load` cannot see a gRPC error, so each server answers
//! a real call before, each run must bring back every byte it is owed, and okra's own counters must
//! agree after.
//!
//! With `--goals` the goals that need another kind of load are measured, too, and all of them are held
//! against what was to be reached. A figure that cannot be taken on this machine is said to be missing;
//! nothing is estimated.

mod counter;
mod gate;
mod goals;
mod load;
mod machine;
mod measure;
mod peers;
mod probes;
mod results;
mod spread;
mod table;

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use serde_json::json;

use crate::goals::Table;
use crate::load::Shape;
use crate::machine::Machine;
use crate::measure::Plan;
use crate::peers::Peer;

/// Measures okra beside other servers.
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

    /// The servers to compare; the first of those that speak gRPC, and of those that speak JSON over HTTP/1.1, is
    /// what the others are divided by.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "tonic,tonic-raw,tonic-raw-single,grpc-go,grpc-cpp,bare-tonic,bare-native,okra-tonic,okra-native,pooled-tonic,pooled-native,wasm-warm,wasm-fresh,wasmtime-fresh,wasmtime-warm,json-fresh,json-warm"
    )]
    servers: Vec<Peer>,

    /// The share of the usual number of requests to send, in percent.
    #[arg(long, default_value_t = 100)]
    effort: u32,

    /// Measure with server and client on a core each, free on all cores, or both.
    #[arg(long, value_enum, default_value_t = Pinning::Both)]
    pinning: Pinning,

    /// Also measures what no comparison of servers shows, and holds everything against the goals.
    #[arg(long)]
    goals: bool,

    /// Only these goals, as in `G8,G13`; the servers are compared only for those of G1 to G7 and for `serve`.
    #[arg(long, value_delimiter = ',', requires = "goals")]
    only: Vec<String>,

    /// Writes `benches/RESULTS.md`.
    #[arg(long, requires_all = ["goals", "date"])]
    write: bool,

    /// The date that `benches/RESULTS.md` is to bear.
    #[arg(long)]
    date: Option<String>,

    /// Takes `okra` as it lies beside this program, and builds none.
    #[arg(long)]
    built: bool,

    /// Builds the `wasmtime` command as well, unless it lies there: that takes ten minutes and 1 GB.
    #[arg(long)]
    build_wasmtime: bool,

    /// Where the samples and the summary go as JSON.
    #[arg(long, default_value = "target/compare.json")]
    json: PathBuf,

    /// Only says whether a call has become dearer than it may be, with the programs as they are built.
    #[arg(long, conflicts_with_all = ["goals", "servers", "shapes", "sizes"])]
    gate: bool,

    /// Runs as one of the peers on a port instead of measuring.
    #[arg(long, hide = true, requires = "port")]
    peer: Option<Peer>,

    /// The port of that peer.
    #[arg(long, hide = true)]
    port: Option<u16>,

    /// Runs a plan of so many nodes so many times, for the counting of allocations, as in `3x1000`.
    #[arg(long, hide = true)]
    execute: Option<Shape>,
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
    if let Some(Shape { connections: nodes, streams: runs }) = options.execute {
        return probes::executor::execute(nodes as usize, runs);
    }
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(async { if options.gate { gate::run(options.rounds).await } else { run(&options).await } })
}

async fn run(options: &Options) -> anyhow::Result<()> {
    let machine = Machine::read();
    let wanted = |goal: &str| options.only.is_empty() || options.only.iter().any(|only| only == goal);
    if !options.built {
        measure::build_okra()?;
    }
    let mut findings = Vec::new();
    let mut report = None;
    if goals::wire::GOALS.into_iter().any(wanted) {
        let servers = measure::build_foreign(options.servers.clone(), options.build_wasmtime);
        let compared = measure::compare(&options.plan(servers), &machine).await?;
        write!(std::io::stdout(), "{compared}")?;
        if options.goals {
            findings.extend(goals::wire::findings(&compared));
        }
        report = Some(compared);
    }
    if options.goals {
        findings.extend(probes::run(&wanted, options.rounds).await?);
        write!(std::io::stdout(), "\n{}", Table(&findings))?;
    }
    if let Some(folder) = options.json.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let document = json!({
        "machine": machine,
        "compared": report.as_ref().map(|report| report.to_json()),
        "goals": findings,
    });
    std::fs::write(&options.json, serde_json::to_vec_pretty(&document)?)
        .with_context(|| options.json.display().to_string())?;
    say(&format!("samples and summary: {}", options.json.display()));
    if let (true, Some(date)) = (options.write, &options.date) {
        results::write(date, &machine, &findings, report.as_ref())?;
    }
    Ok(())
}

// === impl Options ===

impl Options {
    fn plan(&self, servers: Vec<Peer>) -> Plan {
        Plan {
            rounds: self.rounds,
            shapes: self.shapes.clone(),
            sizes: self.sizes.clone(),
            servers,
            effort: self.effort,
            pinnings: match self.pinning {
                Pinning::Both => vec![true, false],
                Pinning::Pinned => vec![true],
                Pinning::Unpinned => vec![false],
            },
        }
    }
}

/// Says how far things are, beside the results.
#[expect(clippy::print_stderr, reason = "progress belongs on stderr, the table on stdout")]
pub(crate) fn say(text: &str) {
    eprintln!("compare: {text}");
}
