//! Modules are called after what they hold.

use super::Finding;
use crate::tree::Tree;

/// Names that say nothing.
const EMPTY_NAMES: [&str; 6] = ["util", "common", "helpers", "manager", "types", "core"];

/// Finds `mod.rs` files and modules with empty names.
pub(super) fn find(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for path in tree.paths() {
        let Some((folder, file)) = path.rsplit_once('/') else { continue };
        if file == "mod.rs" {
            found.push(Finding::at(path, "write `foo.rs` beside `foo/`"));
        }
        let module = file.strip_suffix(".rs");
        if let Some(name) = module.filter(|it| EMPTY_NAMES.contains(it)) {
            found.push(Finding::at(path, format!("no module is called `{name}`")));
        }
        let root = ["lib.rs", "main.rs"].contains(&file) && folder.ends_with("/src");
        let package = folder.strip_suffix("/src").unwrap_or(folder);
        let named = package.strip_prefix("crates/").filter(|it| !it.contains('/'));
        if let Some(name) = named.filter(|_| root && package != "crates/sedge")
            && !name.starts_with("sedge-")
        {
            found.push(Finding::at(package, "a room is called `sedge-<noun>`"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::expect;

    #[test]
    fn empty_names() {
        let files = [
            ("crates/sedge-a/src/b/mod.rs", ""),
            ("crates/sedge-a/src/util.rs", ""),
            ("crates/sedge-a/src/unit.rs", ""),
            ("crates/other/src/lib.rs", ""),
        ];
        let expected = [
            "crates/other: a room is called `sedge-<noun>`",
            "crates/sedge-a/src/b/mod.rs: write `foo.rs` beside `foo/`",
            "crates/sedge-a/src/util.rs: no module is called `util`",
        ];
        expect(find, &files, &expected);
    }
}
