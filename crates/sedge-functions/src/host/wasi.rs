//! `wasi:cli`, `wasi:clocks`, `wasi:io` and `wasi:random` of version 0.2, and the empty shell of `wasi:filesystem`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use sedge_store::Store;
use wasmtime::component::{Linker, ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::WasiHttpCtx;

use super::http::{Gate, Way};
use super::sockets::Sockets;
use crate::guard::{Guard, Guarded};
use crate::spin::Share;

/// Handles (streams, requests, timers) that one guest may hold at once; they live in our memory.
const MOST_HANDLES: usize = 10_000;
/// The most random bytes of one call, in bytes; they are made in our memory.
const MOST_RANDOM: u64 = 1 << 20;

/// What a function is told about where it runs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Surroundings {
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) args: Vec<String>,
    /// What it has from its application; nothing when it stands alone.
    pub(crate) belongings: Arc<Belongings>,
    /// How its requests and connections leave; `None` lets nothing out.
    pub(crate) way: Option<Arc<Way>>,
}

/// What a function has from its application, and where that is kept.
#[derive(Debug, Default)]
pub(crate) struct Belongings {
    pub(crate) share: Share,
    pub(crate) store: Option<Store>,
}

impl Belongings {
    /// Returns where things are kept, if the application has given a label out of `granted` to the function.
    pub(super) fn store(&self, granted: &BTreeSet<String>, label: &str) -> Option<&Store> {
        self.store.as_ref().filter(|_| granted.contains(label))
    }
}

/// The state of a guest that imports something.
pub(crate) struct Wasi {
    guard: Guard,
    pub(super) wasi: WasiCtx,
    pub(super) table: ResourceTable,
    pub(super) http: WasiHttpCtx,
    pub(super) gate: Gate,
    pub(super) sockets: Sockets,
    pub(super) belongings: Arc<Belongings>,
    /// How many connections to databases it has.
    pub(super) databases: usize,
    /// How many connections to servers of Redis it has.
    pub(super) servers: usize,
}

impl fmt::Debug for Wasi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wasi").field("guard", &self.guard).finish_non_exhaustive()
    }
}

impl Wasi {
    /// Makes the state of one instance.
    pub(crate) fn new(guard: Guard, surroundings: &Surroundings) -> Self {
        let mut wasi = WasiCtx::builder();
        for (key, value) in &surroundings.env {
            wasi.env(key, value);
        }
        wasi.args(&surroundings.args).max_random_size(MOST_RANDOM);
        // No folder is opened for a guest.
        let sockets = Sockets::new(surroundings.way.as_ref());
        sockets.allow(&mut wasi);
        let mut table = ResourceTable::new();
        table.set_max_capacity(MOST_HANDLES);
        let gate = Gate::new(surroundings.way.as_ref());
        let belongings = Arc::clone(&surroundings.belongings);
        Self {
            guard,
            wasi: wasi.build(),
            table,
            http: WasiHttpCtx::new(),
            gate,
            sockets,
            belongings,
            databases: 0,
            servers: 0,
        }
    }
}

impl Guarded for Wasi {
    fn guard(&mut self) -> &mut Guard {
        &mut self.guard
    }
}

impl WasiView for Wasi {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// Links everything of [`super::INTERFACES`] but HTTP.
pub(super) fn link(linker: &mut Linker<Wasi>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)
}
