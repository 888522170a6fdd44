//! The one list of sandboxes. A new sort is its own file and one line here.

pub(super) mod cloud;
mod native;
pub(super) mod wasm;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use sedge_base::{NodeId, Secret};
use sedge_sandbox::Launcher;

use crate::Runtime;
use crate::code::config::CloudConfig;
use crate::code::tier::Sandbox;

/// What sandboxes are made of.
#[derive(Debug)]
pub struct Parts {
    /// The Wasm engine.
    pub runtime: Arc<Runtime>,
    /// What starts this program again as a sandbox.
    pub launcher: Launcher,
    /// Where the machine's toolchains are looked for, as the `PATH` has it.
    pub path: OsString,
    /// Where snapshots of Wasm guests lie that are too large for this program's own file.
    pub snapshots: PathBuf,
    /// What a cloud knows the owner by.
    pub cloud_key: Option<Secret<String>>,
    /// The node that this is.
    pub node: NodeId,
    /// Where the folders of sessions are made.
    pub sessions: PathBuf,
}

/// Returns every sort of sandbox.
pub(crate) fn tiers(parts: Parts, cloud: &CloudConfig) -> Vec<Arc<dyn Sandbox>> {
    let Parts { runtime, launcher, path, snapshots, cloud_key, .. } = parts;
    vec![
        Arc::new(wasm::Wasm::new(runtime, snapshots)),
        Arc::new(native::Native::new(launcher, path)),
        Arc::new(cloud::Cloud::new(cloud.clone(), cloud_key)),
    ]
}
