//! What services look like: the schemas by which JSON is translated, and methods without side effects known.
//!
//! A schema belongs to a release, the plan of one deployed version, or to a service by name, for plain
//! graphs. A release's own wins, so that a call is always translated by the schema of the plan that runs
//! it. Reading takes no lock; every change is one swap.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use proto_json::{Idempotency, Method, Schema, SchemaError};

/// The schemas of a host. Clones share one directory.
#[derive(Clone, Debug, Default)]
pub struct Schemas {
    directory: Arc<ArcSwap<Directory>>,
}

/// Why a file of descriptors was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DescriptorsError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no descriptor set.
    #[error("{} is no descriptor set with all its imports", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Why.
        source: SchemaError,
    },
    /// It describes no service.
    #[error("{} describes no service", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Another file describes the service, too.
    #[error("{} describes {service}, which another file describes already", path.display())]
    Twice {
        /// The file that came second.
        path: PathBuf,
        /// The service's full name.
        service: String,
    },
}

/// A schema, with its methods by full name.
#[derive(Debug)]
pub(crate) struct Described {
    schema: Schema,
    methods: HashMap<Box<str>, Arc<Method>, foldhash::fast::RandomState>,
}

#[derive(Clone, Debug, Default)]
struct Directory {
    releases: HashMap<Box<str>, Arc<Described>, foldhash::fast::RandomState>,
    services: HashMap<Box<str>, Arc<Described>, foldhash::fast::RandomState>,
}

// === impl Schemas ===

impl Schemas {
    /// Reads files that each hold a `google.protobuf.FileDescriptorSet`, of at most 16 MiB, for the services
    /// that plain graphs serve.
    ///
    /// # Errors
    /// The first file that cannot be taken.
    pub fn read_files(&self, paths: &[impl AsRef<Path>]) -> Result<(), DescriptorsError> {
        for path in paths.iter().map(AsRef::as_ref) {
            let of = || path.to_owned();
            let bytes = read(path).map_err(|source| DescriptorsError::Unreadable { path: of(), source })?;
            let schema =
                Schema::parse(bytes).map_err(|source| DescriptorsError::Invalid { path: of(), source })?;
            let names: Vec<String> =
                schema.services().map(|service| service.full_name().to_owned()).collect();
            if names.is_empty() {
                return Err(DescriptorsError::Empty { path: of() });
            }
            if let Some(service) = names.iter().find(|name| self.has_service(name)) {
                return Err(DescriptorsError::Twice { path: of(), service: service.clone() });
            }
            for name in names {
                self.insert_service(&name, schema.clone());
            }
        }
        Ok(())
    }

    /// Says what the release of this label, `name@version#hash`, looks like.
    pub fn insert_release(&self, label: &str, schema: Schema) {
        let described = Arc::new(Described::new(schema));
        self.change(|directory| {
            directory.releases.insert(label.into(), described.clone());
        });
    }

    /// Forgets a release. Calls that have begun keep what they found.
    pub fn remove_release(&self, label: &str) {
        self.change(|directory| {
            directory.releases.remove(label);
        });
    }

    /// Says what the service of this full name looks like, where a release does not.
    pub fn insert_service(&self, service: &str, schema: Schema) {
        let described = Arc::new(Described::new(schema));
        self.change(|directory| {
            directory.services.insert(service.into(), described.clone());
        });
    }

    /// Forgets a service.
    pub fn remove_service(&self, service: &str) {
        self.change(|directory| {
            directory.services.remove(service);
        });
    }

    /// What is known about `service` as the release of this label has it.
    pub(crate) fn find(&self, label: &str, service: &str) -> Option<Arc<Described>> {
        let directory = self.directory.load();
        let by_release = directory.releases.get(label).filter(|described| described.describes(service));
        by_release.or_else(|| directory.services.get(service)).cloned()
    }

    fn has_service(&self, service: &str) -> bool {
        self.directory.load().services.contains_key(service)
    }

    fn change(&self, edit: impl Fn(&mut Directory)) {
        self.directory.rcu(|directory| {
            let mut directory = Directory::clone(directory);
            edit(&mut directory);
            directory
        });
    }
}

// === impl Described ===

impl Described {
    fn new(schema: Schema) -> Self {
        let mut methods = HashMap::default();
        for service in schema.services() {
            for method in service.methods() {
                let name = format!("/{}/{}", service.full_name(), method.name);
                methods.insert(name.into_boxed_str(), Arc::new(method));
            }
        }
        Self { schema, methods }
    }

    /// The method of this full name, `/package.Service/Method`.
    pub(crate) fn method(&self, full_name: &str) -> Option<&Arc<Method>> {
        self.methods.get(full_name)
    }

    /// Whether calling this method changes nothing.
    pub(crate) fn is_safe(&self, full_name: &str) -> bool {
        self.method(full_name).is_some_and(|method| method.idempotency == Idempotency::NoSideEffects)
    }

    pub(crate) fn schema(&self) -> &Schema {
        &self.schema
    }

    fn describes(&self, service: &str) -> bool {
        self.schema.service(service).is_some()
    }
}

/// Reads a file to its end, but no further than any descriptor set may be long.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The longest file of descriptors, in bytes.
const MAX_FILE: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    /// The schema of a service `a.S` with one method of this name.
    fn schema(method: &str) -> Schema {
        Schema::parse(compiled(&format!(
            "syntax = \"proto3\"; package a; message M {{}} service S {{ rpc {method}(M) returns (M); \
             rpc Look(M) returns (M) {{ option idempotency_level = NO_SIDE_EFFECTS; }} }}"
        )))
        .unwrap()
    }

    fn compiled(proto: &str) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.proto");
        std::fs::write(&path, proto).unwrap();
        prost::Message::encode_to_vec(&protox::compile([path], [folder.path()]).unwrap())
    }

    #[test]
    fn a_release_is_known_before_a_service() {
        let schemas = Schemas::default();
        assert!(schemas.find("a.S@1.0.0#x", "a.S").is_none());
        schemas.insert_service("a.S", schema("Old"));
        schemas.insert_release("a.S@1.0.0#x", schema("New"));
        let found = |label| schemas.find(label, "a.S").unwrap();
        assert!(found("a.S@1.0.0#x").method("/a.S/New").is_some());
        assert!(found("a.S@2.0.0#y").method("/a.S/Old").is_some());
        assert!(schemas.find("a.S@1.0.0#x", "b.S").is_none(), "it does not describe another service");
        let held = found("a.S@1.0.0#x");
        schemas.remove_release("a.S@1.0.0#x");
        assert!(found("a.S@1.0.0#x").method("/a.S/New").is_none());
        assert!(held.method("/a.S/New").is_some(), "who has begun goes on");
        schemas.remove_service("a.S");
        assert!(schemas.find("a.S@1.0.0#x", "a.S").is_none());
    }

    #[test]
    fn only_methods_without_side_effects_are_safe() {
        let described = Described::new(schema("Do"));
        assert!(described.is_safe("/a.S/Look"));
        assert!(!described.is_safe("/a.S/Do"));
        assert!(!described.is_safe("/a.S/None"));
    }

    #[test]
    fn files_are_read_or_named_in_the_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            path
        };
        let good = file("good.pb", &compiled("syntax = \"proto3\"; package a; service S {}"));
        let schemas = Schemas::default();
        schemas.read_files(&[&good]).unwrap();
        assert!(schemas.has_service("a.S"));
        let refused = |path: PathBuf| Schemas::default().read_files(&[path]).unwrap_err();
        assert!(matches!(refused(folder.path().join("none")), DescriptorsError::Unreadable { .. }));
        assert!(matches!(refused(file("bad.pb", b"\xff\xff")), DescriptorsError::Invalid { .. }));
        assert!(matches!(refused(file("empty.pb", b"")), DescriptorsError::Empty { .. }));
        let twice = schemas.read_files(&[&good]).unwrap_err();
        assert!(matches!(&twice, DescriptorsError::Twice { service, .. } if service == "a.S"));
    }
}
