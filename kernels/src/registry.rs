//! Every built-in kernel, one line each.

use exec_plan::{KernelFactory, KernelRegistry};

use crate::Services;
use crate::upstream::Upstreams;
use crate::{
    cel, r#const, delay, fail, gather, graph_call, http_call, identity, join, json_get, json_merge, json_set,
    json_to_proto, log, method_route, proto_get, proto_to_json, rpc_server_input, rpc_server_output,
    rpc_unary_call, rpc_unary_call_batch, scatter, switch, wasm_invoke,
};

/// A registry of the built-in kernels, to which an embedder may add its own. The nodes of all graphs that
/// are compiled with it share their connections to upstreams. It knows no services.
pub fn builtin() -> KernelRegistry {
    builtin_with(&Services::new())
}

/// [`builtin`], whose nodes find the guests and schemas of deployed packages in `services`.
pub fn builtin_with(services: &Services) -> KernelRegistry {
    let upstreams = Upstreams::new();
    let mut registry = KernelRegistry::new();
    add(&mut registry, cel::Cel);
    add(&mut registry, r#const::Const);
    add(&mut registry, delay::Delay);
    add(&mut registry, fail::Fail);
    add(&mut registry, gather::Gather);
    add(&mut registry, graph_call::GraphCall);
    add(&mut registry, http_call::HttpCall::new(upstreams.clone()));
    add(&mut registry, identity::Identity);
    add(&mut registry, join::Join);
    add(&mut registry, json_get::JsonGet);
    add(&mut registry, json_merge::JsonMerge);
    add(&mut registry, json_set::JsonSet);
    add(&mut registry, json_to_proto::JsonToProto::new(services.clone()));
    add(&mut registry, log::Log);
    add(&mut registry, method_route::MethodRoute);
    add(&mut registry, proto_get::ProtoGet::new(services.clone()));
    add(&mut registry, proto_to_json::ProtoToJson::new(services.clone()));
    add(&mut registry, rpc_server_input::RpcServerInput);
    add(&mut registry, rpc_server_output::RpcServerOutput);
    add(&mut registry, rpc_unary_call::RpcUnaryCall::new(upstreams.clone()));
    add(&mut registry, rpc_unary_call_batch::RpcUnaryCallBatch::new(upstreams));
    add(&mut registry, scatter::Scatter);
    add(&mut registry, switch::Switch);
    add(&mut registry, wasm_invoke::WasmInvoke::new(services.clone()));
    registry
}

fn add(registry: &mut KernelRegistry, kernel: impl KernelFactory) {
    let added = registry.register(kernel);
    debug_assert!(added.is_ok(), "two built-in kernels have one name: {added:?}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_kernels_have_one_name() {
        let registry = builtin();
        let names = registry.names();
        assert!(names.is_sorted_by(|a, b| a < b));
        for name in ["rpc_server_input", "rpc_server_output", "const", "cel"] {
            assert!(registry.get(name).is_some(), "{name}");
        }
    }
}
