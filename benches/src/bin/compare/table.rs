//! What was measured, as one table for people and one document for programs.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde_json::{Value, json};

use crate::load::{Shape, Wire};
use crate::machine::Machine;
use crate::peers::Peer;
use crate::spread::Spread;

/// The whole of one run.
pub(crate) struct Report {
    machine: Machine,
    rounds: usize,
    servers: Vec<Peer>,
    cases: BTreeMap<Key, Vec<BTreeMap<Peer, Sample>>>,
    syscalls: BTreeMap<(Key, Peer), f64>,
}

/// One case that all servers are measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) wire: Wire,
    pub(crate) pinned: bool,
    pub(crate) size: usize,
    pub(crate) shape: Shape,
}

/// One server, driven once.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Sample {
    pub(crate) cpu_us: f64,
    pub(crate) requests_per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

/// A figure of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Figure {
    /// Processor time of the server for each request, in microseconds.
    Cpu,
    /// Requests per second.
    Rate,
    /// The middle latency, in microseconds.
    P50,
    /// The latency that one request of a hundred exceeds, in microseconds.
    P99,
    /// System calls of the server for each request.
    Syscalls,
}

// === impl Report ===

impl Report {
    /// A report of `servers`, the first of which on each wire is what the others there are divided by.
    pub(crate) fn new(machine: Machine, rounds: usize, servers: Vec<Peer>) -> Self {
        Self { machine, rounds, servers, cases: BTreeMap::new(), syscalls: BTreeMap::new() }
    }

    /// Adds one round of one case.
    pub(crate) fn add(&mut self, key: Key, samples: BTreeMap<Peer, Sample>) {
        self.cases.entry(key).or_default().push(samples);
    }

    /// Adds system calls per request, if they could be counted.
    pub(crate) fn add_syscalls(&mut self, key: Key, peer: Peer, calls: Option<f64>) {
        self.syscalls.extend(calls.map(|calls| ((key, peer), calls)));
    }

    /// Whether this case was driven at all.
    pub(crate) fn measured(&self, key: Key) -> bool {
        self.cases.contains_key(&key)
    }

    /// A figure of one server.
    pub(crate) fn figure(&self, key: Key, peer: Peer, figure: Figure) -> Option<Spread> {
        if figure == Figure::Syscalls {
            return self.syscalls.get(&(key, peer)).copied().map(Spread::single);
        }
        let rounds = self.cases.get(&key)?.iter();
        Spread::of(rounds.filter_map(|round| figure.of(round.get(&peer)?)).collect())
    }

    /// A figure of one server over that of another, each from the same round.
    pub(crate) fn ratio(&self, key: Key, peer: Peer, over: Peer, figure: Figure) -> Option<Spread> {
        let rounds = self.cases.get(&key)?.iter();
        let ratios =
            rounds.filter_map(|round| Some(figure.of(round.get(&peer)?)? / figure.of(round.get(&over)?)?));
        Spread::of(ratios.collect())
    }

    pub(crate) fn to_json(&self) -> Value {
        let cases = self.cases.iter().map(|(&key, rounds)| {
            let servers = self.servers(key).map(|peer| {
                let figure = |figure| self.figure(key, peer, figure);
                let ratio = |figure| self.ratio_to_base(key, peer, figure);
                json!({
                    "server": peer,
                    "cpu_us": figure(Figure::Cpu),
                    "cpu_ratio": ratio(Figure::Cpu),
                    "requests_per_second": figure(Figure::Rate),
                    "requests_per_second_ratio": ratio(Figure::Rate),
                    "p50_us": figure(Figure::P50),
                    "p50_ratio": ratio(Figure::P50),
                    "p99_us": figure(Figure::P99),
                    "p99_ratio": ratio(Figure::P99),
                    "syscalls": self.syscalls.get(&(key, peer)),
                    "samples": rounds.iter().filter_map(|round| round.get(&peer)).collect::<Vec<_>>(),
                })
            });
            let servers: Vec<_> = servers.collect();
            json!({
                "wire": key.wire,
                "pinned": key.pinned,
                "size": key.size,
                "shape": key.shape.to_string(),
                "servers": servers,
            })
        });
        json!({ "machine": self.machine, "rounds": self.rounds, "cases": cases.collect::<Vec<_>>() })
    }
}

impl Report {
    /// The servers of a case.
    fn servers(&self, key: Key) -> impl Iterator<Item = Peer> {
        self.servers.iter().copied().filter(move |peer| peer.wire() == key.wire)
    }

    /// A figure of one server over that of the first of its case.
    fn ratio_to_base(&self, key: Key, peer: Peer, figure: Figure) -> Option<Spread> {
        self.ratio(key, peer, self.servers(key).next()?, figure)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine { cores, processor, kernel, load_before } = &self.machine;
        writeln!(f, "{cores} cores, {processor}, Linux {kernel}, load before {load_before}")?;
        writeln!(f, "{} rounds; median [min-max]; ratios within a round, to the first server", self.rounds)?;
        for &key in self.cases.keys() {
            let cores = if key.pinned { "server and client on a core each" } else { "all cores free" };
            let wire = key.wire.name();
            writeln!(f, "\n{} B, {} (connections x streams), {wire}, {cores}", key.size, key.shape)?;
            writeln!(
                f,
                "{:<17}{:>22}{:>21}{:>10}{:>7}{:>9}{:>7}{:>9}{:>7}{:>10}",
                "server",
                "CPU us/request",
                "ratio",
                "req/s",
                "ratio",
                "p50 us",
                "ratio",
                "p99 us",
                "ratio",
                "syscalls"
            )?;
            for peer in self.servers(key) {
                self.line(f, key, peer)?;
            }
        }
        Ok(())
    }
}

impl Report {
    fn line(&self, f: &mut fmt::Formatter<'_>, key: Key, peer: Peer) -> fmt::Result {
        let Some(cpu) = self.figure(key, peer, Figure::Cpu) else { return Ok(()) };
        let text = |spread: Option<Spread>| spread.map_or("-".to_owned(), |spread| spread.to_string());
        let ratio = |figure| self.ratio_to_base(key, peer, figure);
        let middle = |spread: Option<Spread>| spread.map_or(f64::NAN, |spread| spread.median);
        writeln!(
            f,
            "{:<17}{:>22}{:>21}{:>10.0}{:>7.2}{:>9.0}{:>7.2}{:>9.0}{:>7.2}{:>10}",
            peer.name(),
            cpu.to_string(),
            text(ratio(Figure::Cpu)),
            middle(self.figure(key, peer, Figure::Rate)),
            middle(ratio(Figure::Rate)),
            middle(self.figure(key, peer, Figure::P50)),
            middle(ratio(Figure::P50)),
            middle(self.figure(key, peer, Figure::P99)),
            middle(ratio(Figure::P99)),
            text(self.figure(key, peer, Figure::Syscalls)),
        )
    }
}

// === impl Figure ===

impl Figure {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cpu => "CPU",
            Self::Rate => "requests per second",
            Self::P50 => "p50",
            Self::P99 => "p99",
            Self::Syscalls => "system calls",
        }
    }

    fn of(self, sample: &Sample) -> Option<f64> {
        match self {
            Self::Cpu => Some(sample.cpu_us),
            Self::Rate => Some(sample.requests_per_second),
            Self::P50 => Some(sample.p50_us),
            Self::P99 => Some(sample.p99_us),
            Self::Syscalls => None,
        }
    }
}
