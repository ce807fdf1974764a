//! Small packages, made by `okra package pack` of a schema and a guest in WebAssembly text.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use tempfile::TempDir;

use crate::server::okra;

/// A package of the service `Orders` with the methods `place` and `look`, whose guest says the same to all.
#[derive(Clone, Debug)]
pub struct Orders {
    /// The namespace, `shop` for example.
    pub namespace: &'static str,
    /// The version, `v1` for example.
    pub version: &'static str,
    /// What the guest says.
    pub says: String,
    /// How often the guest goes round a loop before it says so.
    pub rounds: u64,
}

/// A package, and where it is.
#[derive(Debug)]
pub struct Packed {
    dir: TempDir,
    path: PathBuf,
}

// === impl Orders ===

impl Orders {
    /// A package of the namespace `shop`, whose guest says this at once.
    pub fn saying(version: &'static str, says: impl Into<String>) -> Self {
        Self { namespace: "shop", version, says: says.into(), rounds: 0 }
    }

    /// The service's id.
    pub fn id(&self) -> String {
        format!("{}.Orders.{}", self.namespace, self.version)
    }

    /// Makes the package.
    ///
    /// # Errors
    /// What `okra package pack` says.
    pub fn pack(&self) -> anyhow::Result<Packed> {
        pack(&self.schema(), &wat::parse_str(self.guest())?)
    }

    fn schema(&self) -> String {
        let Self { namespace, version, .. } = self;
        format!(
            "@okra(namespace: \"{namespace}\", version: \"{version}\")\n\
             service Orders {{\n  place(input: PlaceRequest): PlaceReply\n  look(input: PlaceRequest): PlaceReply\n}}\n\
             type PlaceRequest {{ item: String! }}\ntype PlaceReply {{ said: String! }}\n"
        )
    }

    /// A guest whose requests lie on the second page, and are forgotten when they are answered.
    fn guest(&self) -> String {
        let answer = format!(r#"{{"said":"{}"}}"#, self.says);
        let (text, length, rounds) = (answer.replace('"', "\\\""), answer.len(), self.rounds);
        format!(
            r#"(module
              (memory (export "memory") 17)
              (data (i32.const 1024) "{text}")
              (global $top (mut i32) (i32.const 65536))
              (func (export "allocate") (param $size i32) (result i32)
                (local $at i32)
                (local.set $at (global.get $top))
                (global.set $top (i32.add (global.get $top) (local.get $size)))
                (local.get $at))
              (func (export "deallocate") (param i32))
              (func (export "handle_request") (param i32 i32 i32 i32) (result i64)
                (local $left i64)
                (global.set $top (i32.const 65536))
                (local.set $left (i64.const {rounds}))
                (block $done
                  (loop $again
                    (br_if $done (i64.eqz (local.get $left)))
                    (local.set $left (i64.sub (local.get $left) (i64.const 1)))
                    (br $again)))
                (i64.or (i64.shl (i64.const 1024) (i64.const 32)) (i64.const {length}))))"#
        )
    }
}

/// Makes a package of the first service of a schema.
///
/// # Errors
/// What `okra package pack` says.
pub fn pack(schema: &str, wasm: &[u8]) -> anyhow::Result<Packed> {
    let name =
        schema.split_once("service ").context("a service")?.1.split([' ', '{']).next().unwrap_or_default();
    let dir = TempDir::new()?;
    fs::create_dir(dir.path().join("build"))?;
    fs::write(dir.path().join("build/service.wasm"), wasm)?;
    fs::write(dir.path().join("service.okra.gql"), schema)?;
    let config = serde_json::json!({ "name": name, "version": "1.0.0", "language": "wat" });
    fs::write(dir.path().join("okra.json"), config.to_string())?;
    let packed = okra(&["package", "pack", &dir.path().to_string_lossy()])?;
    ensure!(packed.status.success(), "{packed:?}");
    let path = dir.path().join(format!("dist/{name}-1.0.0.okra.pkg"));
    Ok(Packed { dir, path })
}

// === impl Packed ===

impl Packed {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A directory that has it.
    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    /// Its `file://` URL.
    pub fn source(&self) -> String {
        format!("file://{}", self.path.display())
    }

    /// Its bytes.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn bytes(&self) -> anyhow::Result<Bytes> {
        Ok(fs::read(&self.path)?.into())
    }
}
