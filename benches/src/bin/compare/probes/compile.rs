//! G14, its first half: how long a document takes to become a plan.

use std::time::Instant;

use crate::goals::{Bound, Finding};
use crate::spread::Spread;

/// 10, 1,000 and 10,000 nodes.
pub(crate) fn findings(rounds: usize) -> anyhow::Result<Vec<Finding>> {
    let (kernels, env) = (kernels::builtin(), kernels::serve_env());
    let mut findings = Vec::new();
    for (nodes, times, most) in [(10, 400, 0.02), (1_000, 10, 1.0), (10_000, 3, 15.0)] {
        let source = benches::chain(nodes);
        let mut middles = Vec::new();
        for _ in 0..rounds {
            let mut taken = Vec::new();
            for _ in 0..times {
                let begun = Instant::now();
                let plan = exec_plan::ExecPlan::compile(&source, &kernels, &env);
                taken.push(begun.elapsed().as_secs_f64() * 1e3);
                plan.map_err(|errors| anyhow::anyhow!("{errors}"))?;
            }
            middles.extend(Spread::of(taken).map(|spread| spread.median));
        }
        let what = format!("compile {nodes} nodes");
        findings.push(Finding::new("G14", what, Spread::of(middles), " ms", Bound::AtMost(most)));
    }
    Ok(findings)
}
