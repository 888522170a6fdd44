//! Every fuzz target has kept inputs and stands in the list, and nothing is kept for targets that are gone.

use std::collections::BTreeSet;

use super::Finding;
use crate::tree::Tree;

/// Where each target is told from its decoder.
const LIST: &str = "fuzz/README.md";
/// Where the targets of all rooms come together.
const HARNESS: &str = "fuzz/src/main.rs";
/// Where inputs are kept, by target.
const KEPT: [&str; 2] = ["fuzz/corpus/", "fuzz/regressions/"];
/// The most kept inputs, over all targets.
const MOST: usize = 2000;

/// Finds targets without inputs or without a line in the list, rooms that the harness leaves out, and inputs of nobody.
pub(super) fn find(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut targets = BTreeSet::new();
    let rooms = tree.ending("/src/fuzz.rs").filter(|(path, _)| path.starts_with("crates/"));
    for (path, text) in rooms {
        let room = path.split('/').nth(1).unwrap_or_default().replace('-', "_");
        let harness = tree.text(HARNESS).unwrap_or_default();
        if !harness.contains(&format!("{room}::fuzz::TARGETS")) {
            found.push(Finding::at(path, format!("{HARNESS} leaves its targets out")));
        }
        for name in names(text) {
            if !tree.has(&format!("{}{name}", KEPT[0])) {
                found.push(Finding::at(
                    path,
                    format!("`{name}` has no inputs in {}{name}", KEPT[0]),
                ));
            }
            if !tree.text(LIST).unwrap_or_default().contains(&format!("`{name}`")) {
                found.push(Finding::at(path, format!("{LIST} does not name `{name}`")));
            }
            targets.insert(name);
        }
    }
    let kept = |path: &&str| KEPT.iter().any(|it| path.starts_with(it));
    for path in tree.paths().filter(kept) {
        let mut parts = path.split('/').skip(2);
        let target = parts.next().unwrap_or_default();
        if parts.next().is_none() && !targets.contains(target) && target != ".gitkeep" {
            found.push(Finding::at(path, "there is no such target"));
        }
    }
    let many = tree.paths().filter(kept).count();
    if many > MOST {
        found.push(Finding::at("fuzz/corpus", format!("{many} inputs, at most {MOST}")));
    }
    found
}

/// Returns the names in the list of a room's targets.
fn names(text: &str) -> impl Iterator<Item = &str> {
    let list = text.split_once("pub const TARGETS").map_or("", |it| it.1);
    let list = list.split_once("];").map_or(list, |it| it.0);
    list.split("(\"").skip(1).filter_map(|it| it.split_once('"')).map(|it| it.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::expect;

    const ROOM: &str = "pub const TARGETS: &[(&str, fn(&[u8]) -> bool)] =\n    &[(\"a_one\", one), (\"a_two\", two)];\n";

    #[test]
    fn what_is_complete() {
        let files = [
            ("crates/sedge-a/src/fuzz.rs", ROOM),
            ("fuzz/src/main.rs", "&[sedge_a::fuzz::TARGETS]"),
            ("fuzz/README.md", "| x | `a_one` |\n| y | `a_two` |"),
            ("fuzz/corpus/a_one/sound.read", ""),
            ("fuzz/corpus/a_two/sound.read", ""),
        ];
        expect(find, &files, &[]);
    }

    #[test]
    fn what_was_forgotten() {
        let files = [
            ("crates/sedge-a/src/fuzz.rs", ROOM),
            ("fuzz/README.md", "| x | `a_one` |"),
            ("fuzz/corpus/a_one/sound.read", ""),
            ("fuzz/regressions/gone/long", ""),
        ];
        let expected = [
            "crates/sedge-a/src/fuzz.rs: fuzz/src/main.rs leaves its targets out",
            "crates/sedge-a/src/fuzz.rs: `a_two` has no inputs in fuzz/corpus/a_two",
            "crates/sedge-a/src/fuzz.rs: fuzz/README.md does not name `a_two`",
            "fuzz/regressions/gone: there is no such target",
        ];
        expect(find, &files, &expected);
    }
}
