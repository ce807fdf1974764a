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
    /// What the package may call, by id or route; `*` is everything.
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
