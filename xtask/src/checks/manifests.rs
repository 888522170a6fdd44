//! Manifests take from the root what belongs to all: versions, edition, licence; each room has a layer.

use toml::Value;

use super::Finding;
use crate::manifest::{self, Member};
use crate::tree::Tree;

/// What every package takes from the root.
const INHERITED: [&str; 5] = ["version", "edition", "rust-version", "license", "publish"];
/// The most cargo features in the workspace.
const FEATURES: usize = 12;

/// Finds versions outside the root, missing layers, missing descriptions and too many features.
pub(super) fn find(tree: &Tree) -> Vec<Finding> {
    let members = manifest::members(tree);
    let mut found: Vec<Finding> = members.iter().flat_map(judge).collect();
    let features: usize = members.iter().map(features).sum();
    if features > FEATURES {
        found.push(Finding::at("Cargo.toml", format!("{features} features, at most {FEATURES}")));
    }
    found
}

fn judge(member: &Member) -> Vec<Finding> {
    let at = |what: String| Finding::at(&member.path, what);
    let mut found = Vec::new();
    if member.layer().is_none() && member.path != "xtask/Cargo.toml" {
        found.push(at("has no `package.metadata.sedge.layer`".to_owned()));
    }
    let package = member.table.get("package");
    for key in INHERITED {
        if !package.and_then(|it| it.get(key)).is_some_and(from_workspace) {
            found.push(at(format!("write `{key}.workspace = true`")));
        }
    }
    if package.and_then(|it| it.get("description")).is_none() {
        found.push(at("has no description".to_owned()));
    }
    for (_, name, wanted) in member.dependencies() {
        if !from_workspace(wanted) {
            found.push(at(format!("`{name}` takes its version from the root: `workspace = true`")));
        }
    }
    found
}

fn from_workspace(value: &Value) -> bool {
    value.get("workspace").and_then(Value::as_bool) == Some(true)
}

fn features(member: &Member) -> usize {
    let listed = member.table.get("features").and_then(Value::as_table);
    listed.map_or(0, |it| it.keys().filter(|key| *key != "default").count())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::expect;

    const GOOD: &str = "[package]\nname = 'sedge-a'\ndescription = 'x'\nversion.workspace = true
edition.workspace = true\nrust-version.workspace = true\nlicense.workspace = true
publish.workspace = true\n[package.metadata.sedge]\nlayer = 1\n";

    #[test]
    fn a_good_one() {
        let with =
            format!("{GOOD}[dependencies]\na.workspace = true\nb = {{ workspace = true }}\n");
        expect(find, &[("crates/sedge-a/Cargo.toml", &with)], &[]);
    }

    #[test]
    fn a_version_of_its_own() {
        let with = format!("{GOOD}[dev-dependencies]\na = '1'\n");
        let expected =
            ["crates/sedge-a/Cargo.toml: `a` takes its version from the root: `workspace = true`"];
        expect(find, &[("crates/sedge-a/Cargo.toml", &with)], &expected);
    }

    #[test]
    fn no_layer_no_edition_no_description() {
        let without = GOOD.replace("layer = 1", "").replace("edition.workspace = true\n", "");
        let without = without.replace("description = 'x'\n", "");
        let expected = [
            "crates/sedge-a/Cargo.toml: has no `package.metadata.sedge.layer`",
            "crates/sedge-a/Cargo.toml: write `edition.workspace = true`",
            "crates/sedge-a/Cargo.toml: has no description",
        ];
        expect(find, &[("crates/sedge-a/Cargo.toml", &without)], &expected);
    }

    #[test]
    fn too_many_features() {
        let list: String = (0..13).map(|it| format!("f{it} = []\n")).collect();
        let with = format!("{GOOD}[features]\ndefault = []\n{list}");
        let expected = ["Cargo.toml: 13 features, at most 12"];
        expect(find, &[("crates/sedge-a/Cargo.toml", &with)], &expected);
    }
}
