//! What is kept of an instance: its memory and its globals, read by the names under which the instrumented
//! module exports them.

use wasmtime::{Instance, Store, Val};
use wasmtime_wizer::{InstanceState, SnapshotVal, ValType};

use crate::state::State;

/// An instance that is kept.
pub(super) struct Kept<'a> {
    pub(super) store: &'a mut Store<State>,
    pub(super) guest: Instance,
}

// === impl Kept ===

impl InstanceState for Kept<'_> {
    async fn global_get(&mut self, name: &str, hint: ValType) -> SnapshotVal {
        let global = self.guest.get_global(&mut *self.store, name);
        match (global.map(|global| global.get(&mut *self.store)), hint) {
            (Some(Val::I32(value)), _) => SnapshotVal::I32(value),
            (Some(Val::I64(value)), _) => SnapshotVal::I64(value),
            (Some(Val::F32(bits)), _) => SnapshotVal::F32(bits),
            (Some(Val::F64(bits)), _) => SnapshotVal::F64(bits),
            (Some(Val::V128(value)), _) => SnapshotVal::V128(value.as_u128()),
            // The instrumented module exports each, and references were refused: this is never asked for. A
            // module with the wrong value would not compile.
            (_, ValType::I64) => SnapshotVal::I64(0),
            (_, ValType::F32) => SnapshotVal::F32(0),
            (_, ValType::F64) => SnapshotVal::F64(0),
            (_, ValType::V128) => SnapshotVal::V128(0),
            (_, ValType::I32 | ValType::Ref(_)) => SnapshotVal::I32(0),
        }
    }

    async fn memory_contents(&mut self, name: &str, contents: impl FnOnce(&[u8]) + Send) {
        let memory = self.guest.get_memory(&mut *self.store, name);
        contents(memory.map_or(&[][..], |memory| memory.data(&*self.store)));
    }
}
