//! Arrows between rooms point to lower layers only.

use std::collections::BTreeMap;

use super::Finding;
use crate::manifest::{self, Part};
use crate::tree::Tree;

/// Finds dependencies of a room on its own layer or a higher one, tests aside.
pub(super) fn find(tree: &Tree) -> Vec<Finding> {
    let members = manifest::members(tree);
    let layers: BTreeMap<&str, i64> =
        members.iter().filter_map(|it| Some((it.name.as_str(), it.layer()?))).collect();
    let mut found = Vec::new();
    for member in &members {
        let Some(from) = layers.get(member.name.as_str()) else { continue };
        for (part, name, _) in member.dependencies() {
            let Some(to) = layers.get(name) else { continue };
            if part == Part::Product && to >= from {
                let what =
                    format!("{} (layer {from}) must not use {name} (layer {to})", member.name);
                found.push(Finding::at(&member.path, what));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::expect;

    fn room(name: &str, layer: u8, rest: &str) -> String {
        format!("[package]\nname = \"{name}\"\n[package.metadata.sedge]\nlayer = {layer}\n{rest}")
    }

    #[test]
    fn upward_and_sideways() {
        let low = room("a", 1, "[dependencies]\nb.workspace = true\n[dev-dependencies]\nd = {}\n");
        let high = room("b", 2, "[dependencies]\nc = {}\n[target.'cfg(unix)'.dependencies]\na={}");
        let other = room("c", 2, "");
        let files = [
            ("crates/a/Cargo.toml", low.as_str()),
            ("crates/b/Cargo.toml", &high),
            ("crates/c/Cargo.toml", &other),
            ("crates/d/Cargo.toml", &room("d", 6, "")),
        ];
        let expected = [
            "crates/a/Cargo.toml: a (layer 1) must not use b (layer 2)",
            "crates/b/Cargo.toml: b (layer 2) must not use c (layer 2)",
        ];
        expect(find, &files, &expected);
    }
}
