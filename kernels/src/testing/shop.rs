//! A deployed service for tests: `shop.Orders.v1`, whose guest answers with what it was sent.

use std::sync::OnceLock;

use kernels_wasm::{Abi, Engine, EngineOptions, Limits, LoadOptions};
use proto_json::Schema;
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};

use crate::{Service, Services};

/// The digest of the package of `shop.Orders.v1`.
pub(crate) const DIGEST: &str = "5d";

const ID: &str = "shop.Orders.v1";
const PROTO: &str = r#"
syntax = "proto3";
package service;
import "google/protobuf/timestamp.proto";
message Order { string customer_id = 1; repeated int32 counts = 2; double total = 3; }
message PutResponse { bool ok = 1; Order order = 2; uint64 big = 3; optional int32 code = 4; Level level = 5;
                      google.protobuf.Timestamp at = 6; }
message CountResponse { int32 response = 1; }
enum Level { LOW = 0; HIGH = 1; }
service Orders { rpc Put(Order) returns (PutResponse); rpc Count(Order) returns (CountResponse); }
"#;
const GUEST: &str = include_str!("../../../guests/echo/echo.wat");

struct Text;

impl FileResolver for Text {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match name {
            "shop.proto" => File::from_source(name, PROTO),
            _ => Err(protox::Error::file_not_found(name)),
        }
    }
}

/// A directory with that service.
pub(crate) fn services() -> Services {
    static LOADED: OnceLock<Service> = OnceLock::new();
    let services = Services::new();
    // On a thread of its own: the caller may be in a runtime already.
    services.insert(LOADED.get_or_init(|| std::thread::spawn(load).join().unwrap()).clone());
    services
}

fn load() -> Service {
    let mut resolver = ChainFileResolver::new();
    resolver.add(Text);
    resolver.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).open_file("shop.proto").unwrap();
    let schema = Schema::parse(compiler.encode_file_descriptor_set()).unwrap();

    let options = EngineOptions { overrun_slots: 1, max_instances: 4, cache: None, compiler: None };
    let guest = LoadOptions { name: ID.into(), abi: Abi::default(), limits: Limits::default() };
    let loading =
        async move { Engine::new(options).unwrap().load(wat::parse_str(GUEST).unwrap(), guest).await };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let guest = runtime.block_on(loading).unwrap();
    let route = "shop.Orders".into();
    Service { id: ID.into(), route, digest: DIGEST.into(), schema, guest, calls: [].into() }
}
