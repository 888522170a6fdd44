//! Untrusted code under limits: Wasm components.
