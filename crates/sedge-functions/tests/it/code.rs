//! Code in Wasm, as a capability; native sandboxes need the program and are tested there.

use std::sync::Arc;

use sedge_base::{Clock, NodeId};
use sedge_capability::Handle;
use sedge_capability::conformance::{self, Sample};
use sedge_functions::code::{CodeConfig, CodeSection, Parts, Sandboxes};
use sedge_sandbox::Launcher;
use tempfile::TempDir;

use crate::Bench;

/// Returns what a machine without any toolchain offers, by name.
fn offered(name: &str) -> Option<(TempDir, Handle)> {
    let Bench { runtime, scope, folder } = Bench::new();
    let parts = Parts {
        runtime: Arc::new(runtime),
        launcher: Launcher::of_this_program(&["is-not-started"]),
        path: "/nowhere".into(),
        snapshots: folder.path().join("snapshots"),
        cloud_key: None,
        node: NodeId::from_bytes([7; 32]),
        sessions: folder.path().join("sessions"),
    };
    let config = CodeConfig::try_from(CodeSection::default()).unwrap();
    let sandboxes = Sandboxes::new(parts, config, Clock::machine(), scope);
    let mut all: Vec<Handle> = Vec::new();
    all.extend(sandboxes.capabilities().into_iter().map(|it| it as Handle));
    all.extend(sandboxes.sessions().map(|it| it as Handle));
    let found = all.into_iter().find(|it| it.descriptor().name.as_str() == name)?;
    Some((folder, found))
}

#[tokio::test]
async fn code_and_sessions_keep_the_contract() {
    let (_folder, javascript) = offered("code:javascript").unwrap();
    let good = br#"{"code":"console.log(1 + 1)"}"#.as_slice().into();
    let bad = Some(br#"{"code":1}"#.as_slice().into());
    conformance::check(javascript, Sample { good, bad }).await.unwrap();

    let (_folder, sessions) = offered("code:session").unwrap();
    let good = br#"{"op":"open"}"#.as_slice().into();
    let bad = Some(br#"{"op":"format"}"#.as_slice().into());
    conformance::check(sessions, Sample { good, bad }).await.unwrap();

    assert!(offered("code:bash").is_none(), "nothing on the path can run it");
}
