//! Tests are one binary per crate, and none is switched off.

use super::Finding;
use crate::tree::Tree;

/// Finds ignored tests and integration tests outside `tests/it/`.
pub(super) fn find(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for (path, text) in tree.ending(".rs").filter(|(path, _)| !path.starts_with("functions/")) {
        let parts: Vec<&str> = path.split('/').collect();
        if let ["crates", _, "tests", file] = parts[..] {
            found.push(Finding::at(path, format!("move `{file}` into `tests/it/`")));
        }
        for (at, line) in text.lines().enumerate() {
            let attribute = line.trim_start();
            if attribute.starts_with("#[ignore") || attribute.starts_with("#[cfg(any())") {
                found.push(Finding::on(path, at + 1, "a test that does not run is no test"));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::expect;

    #[test]
    fn a_test_that_sleeps_in() {
        let files = [
            ("crates/a/src/a.rs", "#[test]\n    #[ignore = \"slow\"]\nfn a() {}\n"),
            ("crates/a/tests/b.rs", "\n"),
            ("crates/a/tests/it/main.rs", "\n"),
        ];
        let expected = [
            "crates/a/src/a.rs:2: a test that does not run is no test",
            "crates/a/tests/b.rs: move `b.rs` into `tests/it/`",
        ];
        expect(find, &files, &expected);
    }
}
