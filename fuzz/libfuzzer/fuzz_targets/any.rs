//! Every target behind one binary: `OKRA_FUZZ_TARGET` names the one to feed.

#![no_main]

use std::sync::LazyLock;

use fuzz::{TARGETS, Target};
use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let wanted = std::env::var("OKRA_FUZZ_TARGET").unwrap_or_default();
    let found = TARGETS.into_iter().find(|(name, _)| *name == wanted);
    found.expect("OKRA_FUZZ_TARGET names a target").1
});

fuzz_target!(|input: &[u8]| TARGET(input));
