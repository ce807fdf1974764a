//! The goals that are judged by driving whole servers with `h2load`: G1 to G7, and okra beside `wasmtime serve`.

use super::{Bound, Finding};
use crate::load::Shape;
use crate::peers::Peer;
use crate::table::{Figure, Key, Report};

/// One line of the table: a figure of one server, or its ratio to another's within a round.
struct Line {
    goal: &'static str,
    peer: Peer,
    over: Option<Peer>,
    figure: Figure,
    size: usize,
    shape: Shape,
    bound: Bound,
}

/// What the report says of each goal, pinned and unpinned.
pub(crate) fn findings(report: &Report) -> Vec<Finding> {
    let mut findings = Vec::new();
    for line in lines() {
        for pinned in [true, false] {
            let key = Key { wire: line.peer.wire(), pinned, size: line.size, shape: line.shape };
            if report.measured(key) {
                findings.push(line.judge(report, key));
            }
        }
    }
    findings
}

// === impl Line ===

impl Line {
    fn judge(&self, report: &Report, key: Key) -> Finding {
        let Line { goal, peer, over, figure, bound, .. } = *self;
        let where_ = if key.pinned { "pinned" } else { "unpinned" };
        let versus = over.map_or(String::new(), |over| format!(" ÷ {}", over.name()));
        let what =
            format!("{}{versus}: {}, {} B, {}, {where_}", peer.name(), figure.name(), key.size, key.shape);
        let measured = match over {
            Some(over) => report.ratio(key, peer, over, figure),
            None => report.figure(key, peer, figure),
        };
        let unit = match (over, figure) {
            (None, Figure::Cpu | Figure::P50 | Figure::P99) => " µs",
            (Some(_), _) | (None, Figure::Rate | Figure::Syscalls) => "",
        };
        Finding::new(goal, what, measured, unit, bound)
    }
}

/// The table of goals, as far as it is about whole servers.
fn lines() -> Vec<Line> {
    use Bound::{AtMost, Record};
    use Figure::{Cpu, P50, Syscalls};
    use Peer::{
        BareNative, BareTonic, GrpcCpp, GrpcGo, JsonFresh, JsonWarm, OkraNative, OkraTonic, PooledNative,
        PooledTonic, Tonic, WasmtimeFresh, WasmtimeWarm,
    };

    let line = |goal, peer, over: Option<Peer>, figure, size, shape, bound| Line {
        goal,
        peer,
        over,
        figure,
        size,
        shape,
        bound,
    };
    vec![
        line("G1", OkraNative, Some(BareNative), Cpu, 64, CROWD, AtMost(1.15)),
        line("G1", OkraTonic, Some(BareTonic), Cpu, 64, CROWD, AtMost(1.15)),
        line("G2", OkraNative, Some(Tonic), Cpu, 64, CROWD, AtMost(0.10)),
        line("G2", OkraNative, Some(Tonic), Cpu, 4096, CROWD, AtMost(0.13)),
        line("G2", OkraNative, Some(Tonic), Cpu, 64, MANY, AtMost(0.20)),
        line("G2", OkraNative, Some(Tonic), Cpu, 64, LONELY, AtMost(0.60)),
        line("G2", OkraTonic, Some(Tonic), Cpu, 64, CROWD, AtMost(0.60)),
        line("G3", OkraNative, Some(GrpcCpp), Cpu, 64, CROWD, AtMost(0.09)),
        line("G3", OkraNative, Some(GrpcCpp), Cpu, 4096, CROWD, AtMost(0.18)),
        line("G3", OkraNative, Some(GrpcGo), Cpu, 64, CROWD, AtMost(0.09)),
        line("G3", OkraNative, Some(GrpcGo), Cpu, 4096, CROWD, AtMost(0.12)),
        line("G4", OkraNative, None, Cpu, 64, CROWD, Record),
        line("G4", OkraNative, None, Cpu, 4096, CROWD, Record),
        line("G5", OkraNative, None, Syscalls, 64, CROWD, AtMost(0.11)),
        line("G6", PooledNative, Some(Tonic), Cpu, 64, CROWD, AtMost(0.25)),
        line("G6", PooledNative, Some(OkraNative), P50, 64, ALONE, AtMost(1.6)),
        line("G6", PooledTonic, Some(Tonic), Cpu, 64, CROWD, Record),
        line("G7", OkraNative, Some(Tonic), P50, 64, ALONE, AtMost(0.90)),
        line("G7", OkraNative, Some(Tonic), Cpu, 64, ALONE, AtMost(0.75)),
        line("serve", JsonFresh, Some(WasmtimeFresh), Cpu, 64, LONELY, Record),
        line("serve", JsonFresh, Some(WasmtimeFresh), Cpu, 4096, LONELY, Record),
        line("serve", JsonWarm, Some(WasmtimeWarm), Cpu, 64, LONELY, Record),
        line("serve", JsonWarm, Some(WasmtimeWarm), Cpu, 4096, LONELY, Record),
    ]
}

const CROWD: Shape = Shape { connections: 8, streams: 32 };
const MANY: Shape = Shape { connections: 64, streams: 4 };
const LONELY: Shape = Shape { connections: 64, streams: 1 };
const ALONE: Shape = Shape { connections: 1, streams: 1 };

/// The goals judged here.
pub(crate) const GOALS: [&str; 8] = ["G1", "G2", "G3", "G4", "G5", "G6", "G7", "serve"];
