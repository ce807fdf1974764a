//! What was measured, as one table for people and one document for programs.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde_json::{Value, json};

use crate::load::Shape;
use crate::machine::Machine;
use crate::peers::Peer;

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

/// The middle of several figures, and how far they lie apart.
#[derive(Clone, Copy, Debug, Serialize)]
struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

// === impl Report ===

impl Report {
    /// A report of `servers`, the first of which is what the others are divided by.
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

    pub(crate) fn to_json(&self) -> Value {
        let cases = self.cases.iter().map(|(key, rounds)| {
            let servers = self.servers.iter().map(|&peer| {
                json!({
                    "server": peer,
                    "cpu_us": spread(rounds, peer, |s| s.cpu_us),
                    "cpu_ratio": self.ratio(rounds, peer, |s| s.cpu_us),
                    "requests_per_second": spread(rounds, peer, |s| s.requests_per_second),
                    "requests_per_second_ratio": self.ratio(rounds, peer, |s| s.requests_per_second),
                    "p50_us": spread(rounds, peer, |s| s.p50_us),
                    "p50_ratio": self.ratio(rounds, peer, |s| s.p50_us),
                    "p99_us": spread(rounds, peer, |s| s.p99_us),
                    "p99_ratio": self.ratio(rounds, peer, |s| s.p99_us),
                    "syscalls": self.syscalls.get(&(*key, peer)),
                    "samples": rounds.iter().filter_map(|round| round.get(&peer)).collect::<Vec<_>>(),
                })
            });
            let servers: Vec<_> = servers.collect();
            json!({ "pinned": key.pinned, "size": key.size, "shape": key.shape.to_string(), "servers": servers })
        });
        json!({ "machine": self.machine, "rounds": self.rounds, "cases": cases.collect::<Vec<_>>() })
    }
}

impl Report {
    fn base(&self) -> &'static str {
        self.servers.first().map_or("nothing", |peer| peer.name())
    }

    /// The figure of `peer` over that of the first server, each from the same round.
    fn ratio(&self, rounds: &Rounds, peer: Peer, figure: fn(&Sample) -> f64) -> Option<Spread> {
        let base = self.servers.first()?;
        let pairs = rounds.iter().filter_map(|round| Some((round.get(&peer)?, round.get(base)?)));
        Spread::of(pairs.map(|(one, base)| figure(one) / figure(base)).collect())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine { cores, processor, kernel, load_before } = &self.machine;
        writeln!(f, "{cores} cores, {processor}, Linux {kernel}, load before {load_before}")?;
        writeln!(f, "{} rounds; median [min-max]; ratios to {} within a round", self.rounds, self.base())?;
        for (key, rounds) in &self.cases {
            let cores = if key.pinned { "server and client on a core each" } else { "all cores free" };
            writeln!(f, "\n{} B, {} (connections x streams), {cores}", key.size, key.shape)?;
            writeln!(
                f,
                "{:<17}{:>20}{:>19}{:>10}{:>7}{:>9}{:>7}{:>9}{:>7}{:>10}",
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
            for &peer in &self.servers {
                let Some(cpu) = spread(rounds, peer, |s| s.cpu_us) else { continue };
                let middle =
                    |figure: fn(&Sample) -> f64| spread(rounds, peer, figure).map_or(f64::NAN, |s| s.median);
                let share = |figure: fn(&Sample) -> f64| {
                    self.ratio(rounds, peer, figure).map_or(f64::NAN, |s| s.median)
                };
                let calls =
                    self.syscalls.get(&(*key, peer)).map_or("-".to_owned(), |calls| format!("{calls:.3}"));
                writeln!(
                    f,
                    "{:<17}{:>20}{:>19}{:>10.0}{:>7.2}{:>9.0}{:>7.2}{:>9.0}{:>7.2}{calls:>10}",
                    peer.name(),
                    cpu.to_string(),
                    self.ratio(rounds, peer, |s| s.cpu_us).map_or(String::new(), |s| s.to_string()),
                    middle(|s| s.requests_per_second),
                    share(|s| s.requests_per_second),
                    middle(|s| s.p50_us),
                    share(|s| s.p50_us),
                    middle(|s| s.p99_us),
                    share(|s| s.p99_us),
                )?;
            }
        }
        Ok(())
    }
}

// === impl Spread ===

impl Spread {
    fn of(mut figures: Vec<f64>) -> Option<Self> {
        figures.sort_by(f64::total_cmp);
        let (min, max) = (*figures.first()?, *figures.last()?);
        let middle = figures.len() / 2;
        let median = if figures.len().is_multiple_of(2) {
            (figures[middle - 1] + figures[middle]) / 2.0
        } else {
            figures[middle]
        };
        Some(Self { median, min, max })
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} [{:.2}-{:.2}]", self.median, self.min, self.max)
    }
}

type Rounds = [BTreeMap<Peer, Sample>];

fn spread(rounds: &Rounds, peer: Peer, figure: fn(&Sample) -> f64) -> Option<Spread> {
    Spread::of(rounds.iter().filter_map(|round| round.get(&peer)).map(figure).collect())
}
