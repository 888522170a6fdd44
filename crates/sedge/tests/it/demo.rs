//! The demo, with the real models: fetched if they are not here yet.

use std::os::unix::fs::symlink;
use std::path::PathBuf;

use serde_json::Value;

use crate::machine::program;

/// Returns the folder of models that tests share.
#[expect(clippy::disallowed_methods, reason = "a test takes its models from the environment")]
fn models() -> PathBuf {
    let home = || PathBuf::from(std::env::var("HOME").unwrap()).join(".cache/sedge/models");
    std::env::var("SEDGE_TEST_MODELS").map_or_else(|_| home(), PathBuf::from)
}

#[test]
fn the_demo_is_checked_to_its_end() {
    let cache = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(models()).unwrap();
    symlink(models(), cache.path().join("models")).unwrap();
    let mut demo = program(&["demo", "--json", "--cache"]);
    // What a download goes through is the machine's own affair.
    demo.arg(cache.path()).envs(std::env::vars_os().filter(|(name, _)| {
        let name = name.to_string_lossy().to_ascii_lowercase();
        name == "home"
            || name.ends_with("_proxy")
            || name.starts_with("pip_")
            || name.ends_with("_ca_bundle")
    }));
    let output = demo.output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}{errors}");
    let mut steps: Vec<Value> = told.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    let end = steps.pop().unwrap();
    assert_eq!((&end["passed"], &end["steps"]), (&true.into(), &10.into()));
    assert_eq!(steps.len(), 10);
    assert!(steps.iter().all(|it| it["checked"] == true), "{told}");

    // What the README shows are these steps, in this order.
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let shown = readme.lines().filter_map(|it| it.strip_prefix("✓ "));
    let shown: Vec<&str> = shown.map(|it| it[2..].split("  ").nth(1).unwrap_or(it)).collect();
    let names: Vec<&str> = steps.iter().filter_map(|it| it["step"].as_str()).collect();
    assert_eq!(shown, names);
}
