//! Paths that the house's documents name exist.

use super::Finding;
use crate::tree::Tree;

/// Documents whose paths are relative to the root.
const DOCUMENTS: [&str; 5] =
    ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "bench/README.md", "functions/README.md"];
/// How a path of ours begins.
const OWN: [&str; 13] = [
    ".cargo/",
    ".ci/",
    "bench/",
    "benches/",
    "crates/",
    "docs/",
    "examples/",
    "functions/",
    "scripts/",
    "src/",
    "tests/",
    "wit/",
    "xtask/",
];
/// What a file of ours at the root ends with.
const ROOT_FILES: [&str; 3] = [".md", ".sh", ".toml"];

/// Finds paths in backticks that lead nowhere, in the root documents and the crates' docs.
pub(super) fn find(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for (path, text) in tree.texts() {
        let home = path.strip_suffix("src/lib.rs").or_else(|| path.strip_suffix("src/main.rs"));
        if DOCUMENTS.contains(&path) {
            found.extend(text.lines().enumerate().flat_map(|it| dead(tree, path, it, "")));
        } else if let Some(home) = home.filter(|it| it.starts_with("crates/")) {
            let docs = text.lines().enumerate().filter(|(_, line)| line.starts_with("//!"));
            found.extend(docs.flat_map(|it| dead(tree, path, it, home)));
        }
    }
    found
}

fn dead(tree: &Tree, path: &str, line: (usize, &str), home: &str) -> Vec<Finding> {
    let quoted = line.1.split('`').skip(1).step_by(2);
    let named = quoted.filter(|it| is_path(it)).map(|it| it.trim_start_matches("./"));
    let absent = named.filter(|it| !tree.has(it) && !tree.has(&format!("{home}{it}")));
    absent.map(|it| Finding::on(path, line.0 + 1, format!("`{it}` does not exist"))).collect()
}

/// Returns whether a quoted text is meant as a path of ours and not as a pattern or a command.
fn is_path(text: &str) -> bool {
    let text = text.trim_start_matches("./");
    let plain = |it: char| it.is_ascii_alphanumeric() || "._-/".contains(it);
    let at_root = !text.contains('/') && ROOT_FILES.iter().any(|it| text.ends_with(it));
    text.chars().all(plain) && (at_root || OWN.iter().any(|it| text.starts_with(it)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::expect;

    #[test]
    fn a_path_that_moved() {
        let guide = "`crates/a/src/a.rs` `./gone.sh` `crates/<noun>` `docs/x.md`\n`.ci/run`\n";
        let files = [
            ("CONTRIBUTING.md", guide),
            (".ci/run", ""),
            ("crates/a/src/a.rs", "//! `src/nowhere.rs` in a module's doc is not looked at.\n"),
            ("crates/a/src/lib.rs", "//! See `src/a.rs` and `benches/b.rs`.\n// `src/c.rs`\n"),
        ];
        let expected = [
            "CONTRIBUTING.md:1: `docs/x.md` does not exist",
            "crates/a/src/lib.rs:1: `benches/b.rs` does not exist",
        ];
        let expected: Vec<&str> = std::iter::once("CONTRIBUTING.md:1: `gone.sh` does not exist")
            .chain(expected)
            .collect();
        expect(find, &files, &expected);
    }
}
