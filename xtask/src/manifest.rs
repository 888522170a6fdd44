//! The manifests of the workspace, as far as the checks ask.

use toml::{Table, Value};

use crate::tree::Tree;

/// One member of the workspace.
#[derive(Debug)]
pub(crate) struct Member {
    /// Where its manifest is, relative to the root.
    pub(crate) path: String,
    /// The package's name.
    pub(crate) name: String,
    /// The whole manifest.
    pub(crate) table: Table,
}

/// In which part of a manifest a dependency stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// What the product is built from, or its build script.
    Product,
    /// What tests, benches and examples use beyond that.
    Tests,
}

/// Returns the root manifest, or `None` when it is absent or no TOML.
pub(crate) fn root(tree: &Tree) -> Option<Table> {
    tree.text("Cargo.toml")?.parse().ok()
}

/// Returns the members: every manifest in `crates/*`, `fuzz` and `xtask`; one that is no TOML has an empty table.
pub(crate) fn members(tree: &Tree) -> Vec<Member> {
    let manifests = tree.ending("/Cargo.toml").filter(|(path, _)| {
        let depth = path.split('/').count();
        let outside = ["fuzz/Cargo.toml", "xtask/Cargo.toml"].contains(path);
        outside || (path.starts_with("crates/") && depth == 3)
    });
    manifests.map(|(path, text)| member(path, text)).collect()
}

fn member(path: &str, text: &str) -> Member {
    let table: Table = text.parse().unwrap_or_default();
    let name = table.get("package").and_then(|it| it.get("name")).and_then(Value::as_str);
    Member { path: path.to_owned(), name: name.unwrap_or_default().to_owned(), table }
}

impl Member {
    /// Returns the layer it says it is in.
    pub(crate) fn layer(&self) -> Option<i64> {
        let package = self.table.get("package")?;
        package.get("metadata")?.get("sedge")?.get("layer")?.as_integer()
    }

    /// Returns its dependencies: where they stand, their name and what is asked of them.
    pub(crate) fn dependencies(&self) -> Vec<(Part, &str, &Value)> {
        let targets = self.table.get("target").and_then(Value::as_table);
        let tables = targets.into_iter().flatten().filter_map(|(_, it)| it.as_table());
        let mut all = Vec::new();
        for table in std::iter::once(&self.table).chain(tables) {
            let parts = [
                ("dependencies", Part::Product),
                ("build-dependencies", Part::Product),
                ("dev-dependencies", Part::Tests),
            ];
            for (key, part) in parts {
                let listed = table.get(key).and_then(Value::as_table);
                all.extend(listed.into_iter().flatten().map(|(name, it)| (part, &**name, it)));
            }
        }
        all
    }
}
