//! The services that guests answer for: what is loaded, by id and digest, and what is current.
//!
//! A deployed package is one [`Service`]. A plan made for it names id and digest, and so is bound to that
//! package for good; a graph that names the id alone follows what is current. Nothing here loads, deploys
//! or removes files. Invariant: readers see the directory before a change or after it, whole, and never
//! wait.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use exec_plan::Version;
use kernels_wasm::Guest;
use proto_json::Schema;

/// One loaded package, ready to be called.
#[derive(Clone, Debug)]
pub struct Service {
    /// `{namespace}.{Service}.{version}`.
    pub id: Arc<str>,
    /// The service's name on the wire and its graph's: `{namespace}.{Service}`.
    pub route: Arc<str>,
    /// The SHA-256 of the package, in lower-case hexadecimal.
    pub digest: Arc<str>,
    /// The service's messages and methods.
    pub schema: Schema,
    /// The code.
    pub guest: Guest,
    /// What the package may call: an id, a route, all of a namespace (`ns.*`), or everything (`*`).
    pub calls: Arc<[Arc<str>]>,
}

/// The directory of services. Cheap to clone; clones are the same directory.
#[derive(Clone, Default)]
pub struct Services(Arc<ArcSwap<Directory>>);

#[derive(Clone, Default)]
struct Directory {
    by_id: HashMap<Arc<str>, Versions>,
}

/// The packages loaded under one id.
#[derive(Clone, Default)]
struct Versions {
    /// In the order they came.
    loaded: Vec<Arc<Service>>,
    /// The digest of the current one.
    current: Option<Arc<str>>,
}

// === impl Service ===

impl Service {
    /// Whether the package may call a service.
    pub(crate) fn may_call(&self, id: &str, route: &str) -> bool {
        self.calls.iter().any(|rule| match rule.strip_suffix('*') {
            Some("") => true,
            Some(namespace) => namespace.ends_with('.') && route.starts_with(namespace),
            None => **rule == *id || **rule == *route,
        })
    }

    /// The version of its graph: that of the id, `v1` for 1.0.0 and any other text after `0.0.0-`.
    pub(crate) fn version(&self) -> Option<Version> {
        let text = self.id.strip_prefix(&*self.route)?.strip_prefix('.')?;
        let numbers = text.strip_prefix('v').unwrap_or(text);
        let padded = [numbers.to_owned(), format!("{numbers}.0"), format!("{numbers}.0.0")];
        // An integer is a version of graphs, too; here it is one only with the rest spelt out.
        let full = padded.iter().filter(|text| text.contains('.')).find_map(|text| text.parse().ok());
        full.or_else(|| format!("0.0.0-{text}").parse().ok())
    }
}

// === impl Services ===

impl Services {
    /// A directory without services.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a service; in place of one with the same id and digest, if there is one. The first of an id
    /// is current at once, any other when [`set_current`](Self::set_current) says so.
    pub fn insert(&self, service: Service) -> Arc<Service> {
        let service = Arc::new(service);
        self.change(|directory| {
            let versions = directory.by_id.entry(service.id.clone()).or_default();
            versions.loaded.retain(|loaded| loaded.digest != service.digest);
            versions.loaded.push(service.clone());
            versions.current.get_or_insert_with(|| service.digest.clone());
        });
        service
    }

    /// Removes a service; true if it was there. Who still holds it may still call it. If it was current,
    /// the id has no current service until [`set_current`](Self::set_current) names one.
    pub fn remove(&self, id: &str, digest: &str) -> bool {
        let mut removed = false;
        self.change(|directory| {
            let Some(versions) = directory.by_id.get_mut(id) else {
                removed = false;
                return;
            };
            let before = versions.loaded.len();
            versions.loaded.retain(|loaded| &*loaded.digest != digest);
            removed = versions.loaded.len() < before;
            versions.current.take_if(|current| &**current == digest);
            if versions.loaded.is_empty() {
                directory.by_id.remove(id);
            }
        });
        removed
    }

    /// Makes a loaded service current; false if it is not loaded, and then nothing changes.
    pub fn set_current(&self, id: &str, digest: &str) -> bool {
        let mut found = false;
        self.change(|directory| {
            let versions = directory.by_id.get_mut(id);
            let loaded = versions.and_then(|versions| {
                let service = versions.loaded.iter().find(|loaded| &*loaded.digest == digest)?.clone();
                Some((versions, service))
            });
            found = loaded.is_some();
            if let Some((versions, service)) = loaded {
                versions.current = Some(service.digest.clone());
            }
        });
        found
    }

    /// The service of this id and digest.
    pub fn exact(&self, id: &str, digest: &str) -> Option<Arc<Service>> {
        let directory = self.0.load();
        let versions = directory.by_id.get(id)?;
        versions.loaded.iter().find(|loaded| &*loaded.digest == digest).cloned()
    }

    /// The current service of this id.
    pub fn current(&self, id: &str) -> Option<Arc<Service>> {
        let directory = self.0.load();
        let versions = directory.by_id.get(id)?;
        let current = versions.current.as_ref()?;
        versions.loaded.iter().find(|loaded| loaded.digest == *current).cloned()
    }

    /// The current services of a route, in no order.
    pub(crate) fn of_route(&self, route: &str) -> Vec<Arc<Service>> {
        let directory = self.0.load();
        let ids =
            directory.by_id.iter().filter(|(_, v)| v.loaded.first().is_some_and(|s| &*s.route == route));
        ids.filter_map(|(id, _)| self.current(id)).collect()
    }

    /// Every loaded service, sorted by id.
    pub fn list(&self) -> Vec<Arc<Service>> {
        let directory = self.0.load();
        let mut all: Vec<_> =
            directory.by_id.values().flat_map(|versions| &versions.loaded).cloned().collect();
        all.sort_by(|a, b| a.id.cmp(&b.id));
        all
    }

    fn change(&self, mut change: impl FnMut(&mut Directory)) {
        self.0.rcu(|directory| {
            let mut directory = Directory::clone(directory);
            change(&mut directory);
            directory
        });
    }
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = self.list();
        f.debug_list().entries(list.iter().map(|service| (&service.id, &service.digest))).finish()
    }
}

#[cfg(test)]
mod tests {
    use kernels_wasm::{Abi, Engine, EngineOptions, Limits, LoadOptions};

    use super::*;

    async fn service(id: &str, route: &str, digest: &str, calls: &[&str]) -> Service {
        let wasm = wat::parse_file(concat!(env!("CARGO_MANIFEST_DIR"), "/../guests/echo/echo.wat")).unwrap();
        let engine = Engine::new(EngineOptions { max_instances: 1, ..EngineOptions::default() }).unwrap();
        let options = LoadOptions { name: id.into(), abi: Abi::default(), limits: Limits::default() };
        Service {
            id: id.into(),
            route: route.into(),
            digest: digest.into(),
            schema: Schema::parse(bytes::Bytes::new()).unwrap(),
            guest: engine.load(wasm, options).await.unwrap(),
            calls: calls.iter().map(|name| Arc::from(*name)).collect(),
        }
    }

    #[tokio::test]
    async fn what_is_current_is_said_and_not_guessed() {
        let services = Services::new();
        let one = service("a.B.v1", "a.B", "1", &[]).await;
        let two = Service { digest: "2".into(), ..one.clone() };
        services.insert(one);
        services.insert(two);
        let current =
            |services: &Services| services.current("a.B.v1").map(|service| service.digest.to_string());
        assert_eq!(current(&services).as_deref(), Some("1"));
        assert!(services.exact("a.B.v1", "2").is_some() && services.exact("a.B.v1", "3").is_none());
        assert!(!services.set_current("a.B.v1", "3") && services.set_current("a.B.v1", "2"));
        assert_eq!(current(&services).as_deref(), Some("2"));
        assert_eq!(services.of_route("a.B").len(), 1);
        assert!(services.remove("a.B.v1", "2") && !services.remove("a.B.v1", "2"));
        assert_eq!(current(&services), None);
        assert!(services.remove("a.B.v1", "1"));
        assert!(services.list().is_empty());
    }

    #[tokio::test]
    async fn a_service_knows_its_version_and_whom_it_may_call() {
        for (id, version) in [
            ("a.B.v1", "1.0.0"),
            ("a.B.2", "2.0.0"),
            ("a.B.v1.2", "1.2.0"),
            ("a.B.v1.2.3", "1.2.3"),
            ("a.B.beta", "0.0.0-beta"),
        ] {
            let service = service(id, "a.B", "1", &[]).await;
            assert_eq!(service.version().unwrap().to_string(), version);
        }
        let named = service("a.B.v1", "a.B", "1", &["x.Y.v1", "x.Z", "n.*"]).await;
        for (id, route, allowed) in [
            ("x.Y.v1", "x.Y", true),
            ("x.Y.v2", "x.Y", false),
            ("x.Z.v7", "x.Z", true),
            ("n.Any.v1", "n.Any", true),
            ("nn.Any.v1", "nn.Any", false),
        ] {
            assert_eq!(named.may_call(id, route), allowed, "{id}");
        }
        assert!(service("a.B.v1", "a.B", "1", &["*"]).await.may_call("q", "q"));
    }
}
