//! Each heavy third-party crate has its home, and the rest compiles without it.

use super::Finding;
use crate::manifest::{self, Part};
use crate::tree::Tree;

/// How a crate's name begins, and the rooms that may use it.
const HOMES: &[(&str, &[&str])] = &[
    ("wasmtime", &["sedge-functions"]),
    ("wit-", &["sedge-functions"]),
    ("iroh", &["sedge-net"]),
    ("bao-tree", &["sedge-net"]),
    ("rusqlite", &["sedge-store"]),
    ("openraft", &["sedge-quorum"]),
    ("axum", &["sedge-server"]),
    ("tonic", &["sedge-server"]),
    ("prost", &["sedge-server"]),
    ("rustls", &["sedge-net", "sedge-functions", "sedge-gateway"]),
    ("rcgen", &["sedge-net"]),
    ("hickory-", &["sedge-agents"]),
    ("lz4_flex", &["sedge-sync", "sedge-swarm"]),
    ("flate2", &["sedge-sync"]),
    ("rmcp", &["sedge"]),
    ("md-5", &["sedge-cluster"]),
    ("reqwest", &["sedge-gateway"]),
    ("ureq", &["sedge-agents", "sedge-functions", "sedge-gateway", "sedge"]),
    ("zip", &["sedge-gateway"]),
    ("landlock", &["sedge-sandbox"]),
    ("seccompiler", &["sedge-sandbox"]),
    ("clap", &["sedge"]),
    ("indicatif", &["sedge"]),
    ("tracing-subscriber", &["sedge"]),
    ("rten", &["sedge-lm"]),
    ("llguidance", &["sedge-lm"]),
    ("toktrie", &["sedge-lm"]),
    ("shimmytok", &["sedge-lm"]),
    ("tokenizers", &["sedge-lm"]),
    ("minijinja", &["sedge-lm"]),
    ("memmap2", &["sedge-lm"]),
    ("biscuit", &["sedge-trust"]),
    ("ed25519-dalek", &["sedge-trust"]),
    ("x25519-dalek", &["sedge-trust"]),
    ("aes-gcm", &["sedge-trust"]),
    ("coset", &["sedge-trust"]),
    ("spake2", &["sedge-trust"]),
    ("sysinfo", &["sedge-node"]),
    ("croner", &["sedge-plans"]),
    ("jiff", &["sedge-plans"]),
    ("serde-saphyr", &["sedge-plugins", "sedge-gateway"]),
    ("semver", &["sedge-plugins"]),
    ("cargo_metadata", &["xtask"]),
];

/// Finds rooms that use a heavy crate which is at home elsewhere, tests aside.
pub(super) fn find(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for member in manifest::members(tree) {
        for (part, name, _) in member.dependencies() {
            let home = HOMES.iter().find(|(start, _)| begins(name, start));
            let Some((_, rooms)) = home.filter(|_| part == Part::Product) else { continue };
            if !rooms.contains(&member.name.as_str()) {
                let what = format!("`{name}` is at home in {}", rooms.join(" and "));
                found.push(Finding::at(&member.path, what));
            }
        }
    }
    found
}

/// Returns whether `name` is `start` or a part of its family, such as `axum-extra` of `axum`.
fn begins(name: &str, start: &str) -> bool {
    let rest = name.strip_prefix(start);
    rest.is_some_and(|it| it.is_empty() || start.ends_with('-') || it.starts_with(['-', '_']))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::expect;

    #[test]
    fn a_stranger_in_the_house() {
        let used =
            "[dependencies]\nwasmtime-wasi = {}\nzipper = {}\n[dev-dependencies]\naxum = {}\n";
        let home = format!("[package]\nname = 'sedge-functions'\n{used}");
        let away = format!("[package]\nname = 'sedge-node'\n{used}");
        let files = [("crates/a/Cargo.toml", home.as_str()), ("crates/b/Cargo.toml", &away)];
        expect(
            find,
            &files,
            &["crates/b/Cargo.toml: `wasmtime-wasi` is at home in sedge-functions"],
        );
    }
}
