//! Calls to other services of the same host. The package must name them under `calls` in its `okra.json`.

use crate::memory::{self, Block};

#[link(wasm_import_module = "okra")]
unsafe extern "C" {
    /// Takes a JSON request and returns the packed address of a JSON response, which is the guest's to free.
    #[link_name = "call_service"]
    safe fn host_call_service(request: u32, length: u32) -> u64;
}

/// Calls a service with a request
/// `{"service":"shop.Cart.v1","method":"get","payload":{…},"metadata":{…}}` and returns the response,
/// `{"success":true,"data":{…}}` or `{"success":false,"error":{"code":"…","message":"…"}}`.
pub fn call_service(request: &str) -> Vec<u8> {
    let request = Block::of(request.as_bytes()).packed();
    let (address, length) = halves(request);
    let response = halves(host_call_service(address, length));
    // SAFETY: the host has just written the response into a block of this guest, and knows it no longer.
    let bytes = unsafe { memory::view(response) }.to_vec();
    memory::deallocate(address);
    memory::deallocate(response.0);
    bytes
}

fn halves(packed: u64) -> (u32, u32) {
    ((packed >> 32) as u32, packed as u32)
}
