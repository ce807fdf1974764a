//! Small packages, made by `okra package pack` of a schema and a guest in WebAssembly text.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use serde_json::Value;
use tempfile::TempDir;

use crate::admin::Response;
use crate::rpc::{Call, Code};
use crate::server::{Okra, okra};

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

    /// What it is described by.
    pub fn schema(&self) -> String {
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
    pack_with(schema, wasm, &serde_json::json!({}))
}

/// The same with further keys of `okra.json`: `abi`, `calls`, `limits`.
///
/// # Errors
/// As for [`pack`].
pub fn pack_with(schema: &str, wasm: &[u8], further: &Value) -> anyhow::Result<Packed> {
    let name =
        schema.split_once("service ").context("a service")?.1.split([' ', '{']).next().unwrap_or_default();
    let dir = TempDir::new()?;
    fs::create_dir(dir.path().join("build"))?;
    fs::write(dir.path().join("build/service.wasm"), wasm)?;
    fs::write(dir.path().join("service.okra.gql"), schema)?;
    let mut config = serde_json::json!({ "name": name, "version": "1.0.0", "language": "wat" });
    for (key, value) in further.as_object().context("keys")? {
        config[key] = value.clone();
    }
    fs::write(dir.path().join("okra.json"), config.to_string())?;
    let packed = okra(&["package", "pack", &dir.path().to_string_lossy()])?;
    ensure!(packed.status.success(), "{packed:?}");
    let path = dir.path().join(format!("dist/{name}-1.0.0.okra.pkg"));
    Ok(Packed { dir, path })
}

/// What a package says of its service: its descriptor set.
///
/// # Errors
/// It cannot be unpacked.
pub fn descriptors(package: &Path) -> anyhow::Result<Vec<u8>> {
    let done = Command::new("tar").arg("-xOzf").arg(package).arg("service.pb.desc").output()?;
    ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    Ok(done.stdout)
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

/// Where packages are deployed.
pub const DEPLOY: &str = "/api/v1/packages/deploy";

/// `PlaceRequest { item: "x" }`.
pub const REQUEST: &[u8] = b"\x0a\x01x";

/// Uploads a package.
///
/// # Errors
/// If no HTTP answer comes.
pub async fn deploy(okra: &Okra, package: &Packed, replaces: bool) -> anyhow::Result<Response> {
    okra.admin().upload(&format!("{DEPLOY}?override={replaces}"), package.bytes()?).await
}

/// Uploads a package, which must go well, and gives what the host says of it.
///
/// # Errors
/// It did not go well.
pub async fn deployed(okra: &Okra, package: &Packed) -> anyhow::Result<Value> {
    deploy(okra, package, true).await?.json()
}

/// What is deployed.
///
/// # Errors
/// The list cannot be had.
pub async fn services(okra: &Okra) -> anyhow::Result<Vec<Value>> {
    let list = okra.admin().get("/api/v1/packages").await?.json()?;
    Ok(list["services"].as_array().context("a list")?.clone())
}

/// What the plain route of `shop.Orders` says, or its status; or what one of its versions says.
///
/// # Errors
/// The call cannot be made.
pub async fn said(okra: &Okra, version: Option<&'static str>) -> anyhow::Result<Result<String, Code>> {
    let mut call = Call::new("/shop.Orders/place", REQUEST);
    if let Some(version) = version {
        call = call.metadata("okra-graph-version", version);
    }
    let reply = okra.client().await?.call(call).await?;
    Ok(match reply.payload {
        Some(payload) => Ok(String::from_utf8(payload.slice(2..).to_vec())?),
        None => Err(reply.code),
    })
}

/// The status of a refusal, and its words.
///
/// # Errors
/// It is no problem document.
pub fn problem(response: &Response) -> anyhow::Result<(u16, String)> {
    let problem: Value = serde_json::from_slice(&response.body)?;
    ensure!(problem["status"] == response.status, "{problem}");
    Ok((response.status, problem["error"].as_str().context("an error")?.to_owned()))
}
