//! G12: JSON ↔ protobuf as the gateway does it, over the same by prost-reflect.
//!
//! The message has six fields, as many a request. Batches of both take turns; the two agree on every byte
//! before anything is timed. That the mapping is complete is shown by the tests of `proto-json`.

use std::hint::black_box;
use std::time::Instant;

use anyhow::Context as _;
use benches::transcode::{JSON, Pair, Step};

use crate::goals::{Bound, Finding};
use crate::spread::Spread;

/// The ratio of each direction, and our own nanoseconds for the record.
pub(crate) fn findings(rounds: usize) -> anyhow::Result<Vec<Finding>> {
    let mut pair = Pair::new()?;
    let mut findings = Vec::new();
    for (direction, ours, theirs) in [
        ("JSON → protobuf", Pair::read as Step, Pair::read_dynamic as Step),
        ("protobuf → JSON", Pair::write, Pair::write_dynamic),
    ] {
        let (mut ratios, mut own) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let mut batches = [Vec::new(), Vec::new()];
            for _ in 0..BATCHES {
                batches[0].push(batch(&mut pair, ours)?);
                batches[1].push(batch(&mut pair, theirs)?);
            }
            let [ours, theirs] = batches.map(Spread::of);
            let (ours, theirs) = (ours.context("no batches")?.median, theirs.context("no batches")?.median);
            own.push(ours);
            ratios.push(ours / theirs);
        }
        let what = format!("{direction} ÷ prost-reflect, {} B of JSON", JSON.len());
        findings.push(Finding::new("G12", what, Spread::of(ratios), "", Bound::AtMost(0.2)));
        findings.push(Finding::new("G12", direction, Spread::of(own), " ns", Bound::Record));
    }
    Ok(findings)
}

/// Nanoseconds of one step.
fn batch(pair: &mut Pair, step: Step) -> anyhow::Result<f64> {
    let begun = Instant::now();
    for _ in 0..BATCH {
        step(pair)?;
        black_box(&*pair);
    }
    Ok(begun.elapsed().as_nanos() as f64 / BATCH as f64)
}

const BATCH: usize = 200;
const BATCHES: usize = 200;
