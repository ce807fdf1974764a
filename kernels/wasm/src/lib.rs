//! The engine room of wasm_invoke: loads, limits and calls WebAssembly guests.
