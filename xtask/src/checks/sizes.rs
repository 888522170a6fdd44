//! Files, crates and the lock file stay small; exceptions stand in `xtask/tidy.toml` and may only shrink.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Finding;
use crate::rust_text::{code_lines, code_part, is_beside_production};
use crate::tree::Tree;

/// The most lines before the tests of a file.
const FILE_LINES: usize = 800;
/// The most lines of code in a `lib.rs`.
const LIB_LINES: usize = 80;
/// The most lines of a crate, before its tests.
const CRATE_LINES: usize = 15_000;
/// The most packages in the lock file.
const PACKAGES: usize = 900;
/// Where the exceptions stand.
const EXCEPTIONS: &str = "xtask/tidy.toml";

/// `xtask/tidy.toml`, as far as it is about sizes.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Exceptions {
    /// Path and lines of files that are longer than allowed.
    long_files: BTreeMap<String, usize>,
}

/// Finds files, crates and a lock file that are too big, and exceptions that are out of date.
pub(super) fn find(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    let exceptions = match toml::from_str(tree.text(EXCEPTIONS).unwrap_or_default()) {
        Ok(it) => it,
        Err(err) => {
            found.push(Finding::at(EXCEPTIONS, err.message()));
            Exceptions::default()
        }
    };
    let mut crates: BTreeMap<&str, usize> = BTreeMap::new();
    for (path, text) in tree.ending(".rs").filter(|(path, _)| !path.starts_with("functions/")) {
        let lines = code_part(text).lines().count();
        found.extend(file(path, lines, exceptions.long_files.get(path).copied()));
        let code = code_lines(text);
        if path.ends_with("src/lib.rs") && code > LIB_LINES {
            found.push(Finding::at(path, format!("{code} lines of code, at most {LIB_LINES}")));
        }
        if let Some(folder) = path.split("/src/").next().filter(|_| !is_beside_production(path)) {
            *crates.entry(folder).or_default() += lines;
        }
    }
    for (folder, lines) in crates.into_iter().filter(|(_, lines)| *lines > CRATE_LINES) {
        found.push(Finding::at(folder, format!("{lines} lines, at most {CRATE_LINES}: split it")));
    }
    for path in exceptions.long_files.keys().filter(|it| !tree.has(it)) {
        found.push(Finding::at(EXCEPTIONS, format!("`{path}` is gone: take it off the list")));
    }
    let packages = tree.text("Cargo.lock").map_or(0, |it| it.matches("[[package]]").count());
    if packages > PACKAGES {
        found.push(Finding::at("Cargo.lock", format!("{packages} packages, at most {PACKAGES}")));
    }
    found
}

/// Judges one file by its lines before the tests and by what the list allows it.
fn file(path: &str, lines: usize, allowed: Option<usize>) -> Option<Finding> {
    let what = match allowed {
        None if lines <= FILE_LINES => return None,
        None => format!("{lines} lines before its tests, at most {FILE_LINES}"),
        Some(_) if lines <= FILE_LINES => format!("short again: take it off {EXCEPTIONS}"),
        Some(allowed) if lines > allowed => {
            format!("grew from {allowed} to {lines} lines; the list may only shrink")
        }
        Some(allowed) if lines < allowed => format!("write {lines} in {EXCEPTIONS}"),
        Some(_) => return None,
    };
    Some(Finding::at(path, what))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::expect;

    #[test]
    fn a_long_file_and_a_long_lib() {
        let long = "x\n".repeat(801);
        let tested = format!("x\n#[cfg(test)]\nmod tests {{\n{long}}}\n");
        let files = [
            ("crates/a/src/long.rs", long.as_str()),
            ("crates/a/src/tested.rs", &tested),
            ("crates/a/src/lib.rs", &"mod a;\n".repeat(81)),
        ];
        let expected = [
            "crates/a/src/lib.rs: 81 lines of code, at most 80",
            "crates/a/src/long.rs: 801 lines before its tests, at most 800",
        ];
        expect(find, &files, &expected);
    }

    #[test]
    fn the_list_only_shrinks() {
        let list = "[long_files]\n'a.rs' = 900\n'b.rs' = 900\n'c.rs' = 900\n'd.rs' = 900\n";
        let files = [
            ("a.rs", &*"x\n".repeat(901)),
            ("b.rs", &"x\n".repeat(899)),
            ("c.rs", "x\n"),
            (EXCEPTIONS, list),
        ];
        let expected = [
            "a.rs: grew from 900 to 901 lines; the list may only shrink",
            "b.rs: write 899 in xtask/tidy.toml",
            "c.rs: short again: take it off xtask/tidy.toml",
            "xtask/tidy.toml: `d.rs` is gone: take it off the list",
        ];
        expect(find, &files, &expected);
    }

    #[test]
    fn a_big_crate_and_a_big_lock_file() {
        let files: Vec<(String, String)> = (0..19)
            .map(|it| (format!("crates/a/src/f{it}.rs"), "x\n".repeat(800)))
            .chain([("Cargo.lock".to_owned(), "[[package]]\n".repeat(901))])
            .collect();
        let files: Vec<(&str, &str)> = files.iter().map(|it| (&*it.0, &*it.1)).collect();
        let expected = [
            "crates/a: 15200 lines, at most 15000: split it",
            "Cargo.lock: 901 packages, at most 900",
        ];
        expect(find, &files, &expected);
    }
}
