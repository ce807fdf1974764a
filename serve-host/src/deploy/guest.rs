//! What a package says of its guest, in the words of the engine and of the kernels.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use kernels::Service;
use kernels_wasm::{Abi, Engine, Guest, Limits, LoadError, LoadOptions, Priming, Sample};
use packages::{CallRule, GuestLimits, Package};
use proto_json::Schema;

use super::source::PackageDigest;

/// A package's guest before it is loaded.
#[derive(Debug)]
pub(crate) struct Recipe<'p> {
    package: &'p Package,
    priming: Option<Priming>,
}

// === impl Recipe ===

impl<'p> Recipe<'p> {
    /// How the guest of a package is loaded.
    pub(crate) fn of(package: &'p Package) -> Self {
        let sample = |sample: &packages::Sample| {
            let packages::Sample { method, input, .. } = sample;
            Sample { method: method.clone(), input: input.clone() }
        };
        let priming =
            package.samples().map(|samples| Priming { samples: samples.iter().map(sample).collect() });
        Self { package, priming }
    }

    /// Whether the guest is primed.
    pub(crate) fn is_primed(&self) -> bool {
        self.priming.is_some()
    }

    /// What its compiled code is kept under.
    pub(crate) fn code(&self) -> PackageDigest {
        let wasm = self.package.wasm();
        match &self.priming {
            Some(priming) => priming.digest(wasm, abi(self.package)).into(),
            None => PackageDigest::of(wasm),
        }
    }

    /// Loads it, by preference from the code that is kept under `code`, which is what [`code`](Self::code) says
    /// of this package.
    ///
    /// # Errors
    /// Those of the engine.
    pub(crate) async fn load(self, engine: &Engine, code: &PackageDigest) -> Result<Guest, LoadError> {
        if let Some(guest) = engine.load_kept(*code.as_bytes(), options(self.package)).await? {
            return Ok(guest);
        }
        let (wasm, options) = (self.package.wasm().clone(), options(self.package));
        match self.priming {
            Some(priming) => engine.load_primed(wasm, priming, options).await,
            None => engine.load(wasm, options).await,
        }
    }
}

fn options(package: &Package) -> LoadOptions {
    LoadOptions {
        name: package.service_id().into(),
        abi: abi(package),
        limits: limits(package.config().limits, Limits::default()),
    }
}

fn abi(package: &Package) -> Abi {
    let packages::Abi { payload, envelope } = package.abi();
    let payload = match payload {
        packages::Payload::Json => kernels_wasm::Payload::Json,
        packages::Payload::Protobuf => kernels_wasm::Payload::Protobuf,
    };
    Abi { payload, envelope }
}

/// The service that a loaded package is.
pub(crate) fn service(package: &Package, schema: Schema, guest: Guest) -> Service {
    let calls = package.config().calls.rules().iter().map(|rule| match rule {
        CallRule::Service(id) => Arc::from(id.as_str()),
        CallRule::Namespace(namespace) => Arc::from(format!("{namespace}.*")),
        _ => Arc::from(""),
    });
    Service {
        id: package.service_id().into(),
        route: package.route().into(),
        digest: package.digest().into(),
        schema,
        guest,
        calls: calls.collect(),
    }
}

/// What the host grants: a package may only ask for less.
fn limits(asked: GuestLimits, most: Limits) -> Limits {
    let GuestLimits { memory_bytes, table_elements, instances, timeout_ms, result_bytes, host_calls } = asked;
    let size = |asked: Option<u64>, most: usize| {
        asked.and_then(|asked| usize::try_from(asked).ok()).map_or(most, |asked| asked.min(most))
    };
    let count = |asked: Option<u64>, most: u32| {
        asked.and_then(|asked| u32::try_from(asked).ok()).map_or(most, |asked| asked.min(most))
    };
    let max_instances =
        NonZeroU32::new(count(instances, most.max_instances.get())).unwrap_or(most.max_instances);
    Limits {
        memory_bytes: size(memory_bytes, most.memory_bytes),
        table_elements: size(table_elements, most.table_elements),
        call_time: timeout_ms
            .map_or(most.call_time, |asked| Duration::from_millis(asked).min(most.call_time)),
        result_bytes: size(result_bytes, most.result_bytes),
        okra_calls: count(host_calls, most.okra_calls),
        min_instances: most.min_instances.min(max_instances.get()),
        max_instances,
        ..most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_and_the_engine_take_samples_of_as_many_bytes() {
        assert_eq!(packages::MAX_SAMPLE_BYTES, kernels_wasm::MAX_SAMPLE_BYTES);
    }

    #[test]
    fn a_package_may_ask_for_less_and_never_gets_more() {
        let most = Limits::default();
        let asked = GuestLimits {
            memory_bytes: Some(1 << 20),
            table_elements: Some(u64::MAX),
            instances: Some(2),
            timeout_ms: Some(50),
            result_bytes: Some(1 << 40),
            host_calls: Some(7),
        };
        let granted = limits(asked, most.clone());
        assert_eq!((granted.memory_bytes, granted.table_elements), (1 << 20, most.table_elements));
        assert_eq!((granted.max_instances.get(), granted.okra_calls), (2, 7));
        assert_eq!((granted.call_time, granted.result_bytes), (Duration::from_millis(50), most.result_bytes));
        assert_eq!(limits(GuestLimits::default(), most.clone()), most);
    }
}
