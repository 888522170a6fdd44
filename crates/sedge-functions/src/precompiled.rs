//! The one `unsafe` of this crate: machine code from disk becomes callable.

use wasmtime::Engine;
use wasmtime::component::Component;

use crate::cache::Authentic;

/// Loads a component that this node compiled before.
///
/// # Errors
///
/// When the code was made by another engine version or with other settings.
pub(crate) fn load(engine: &Engine, code: &Authentic<'_>) -> wasmtime::Result<Component> {
    // SAFETY: `deserialize` runs whatever machine code the bytes hold, so they must be the unchanged
    // output of `Component::serialize`. An `Authentic` is made in one place, after the bytes in
    // memory (not the file, which could change later) were checked against a MAC under this node's
    // own key; only `Cache::store` makes such MACs, and only over what `serialize` gave it. The
    // engine checks its own version and settings in the bytes.
    #[expect(unsafe_code, reason = "precompiled code has no safe loader; see the argument above")]
    let component = unsafe { Component::deserialize(engine, code.bytes()) };
    component
}
