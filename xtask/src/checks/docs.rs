//! Every Rust file says on its first line what it is about.

use super::Finding;
use crate::tree::Tree;

/// Finds Rust files that do not open with a `//!` line.
pub(super) fn find(tree: &Tree) -> Vec<Finding> {
    let silent = tree.ending(".rs").filter(|(_, text)| !text.starts_with("//! "));
    silent.map(|(path, _)| Finding::on(path, 1, "opens with no `//!` line")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::expect;

    #[test]
    fn a_silent_file() {
        let files = [("crates/a/src/a.rs", "//! About a.\n"), ("crates/a/src/b.rs", "mod x;\n")];
        expect(find, &files, &["crates/a/src/b.rs:1: opens with no `//!` line"]);
    }
}
