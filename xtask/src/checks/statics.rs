//! No global state.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Finding;
use crate::rust_text::{code_part, is_beside_production};
use crate::tree::Tree;

/// Types that make a `static` a place where state hides.
const STATEFUL: [&str; 9] = [
    "Mutex", "RwLock", "OnceLock", "LazyLock", "OnceCell", "LazyCell", "RefCell", "Cell<", "Atomic",
];
/// Where the exceptions stand.
const EXCEPTIONS: &str = "xtask/tidy.toml";

/// `xtask/tidy.toml`, as far as it is about statics.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Exceptions {
    /// `path:NAME` and the reason.
    statics: BTreeMap<String, String>,
}

/// Finds statics that hold a lock, a cell or an atomic and have no listed reason.
pub(super) fn find(tree: &Tree) -> Vec<Finding> {
    let list: Exceptions =
        toml::from_str(tree.text(EXCEPTIONS).unwrap_or_default()).unwrap_or_default();
    let mut found = Vec::new();
    let mut seen = Vec::new();
    let sources = tree
        .ending(".rs")
        .filter(|(path, _)| !is_beside_production(path) && !path.starts_with("functions/"));
    for (path, text) in sources {
        for (at, line) in code_part(text).lines().enumerate() {
            let Some(name) = stateful(line) else { continue };
            let key = format!("{path}:{name}");
            if list.statics.get(&key).is_none_or(|reason| reason.trim().is_empty()) {
                let what = format!("`{name}` is global state; pass it, or list it with a reason");
                found.push(Finding::on(path, at + 1, what));
            }
            seen.push(key);
        }
    }
    for key in list.statics.keys().filter(|it| !seen.contains(it)) {
        found.push(Finding::at(EXCEPTIONS, format!("`{key}` is gone: take it off the list")));
    }
    found
}

/// Returns the name of a static whose type or first value holds state.
fn stateful(line: &str) -> Option<&str> {
    let mut rest = line.trim_start();
    if let Some(public) = rest.strip_prefix("pub") {
        rest = public.split_once(' ')?.1.trim_start();
    }
    let (name, after) = rest.strip_prefix("static ")?.split_once(':')?;
    STATEFUL.iter().any(|it| after.contains(it)).then_some(name.trim_start_matches("mut "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::expect;

    #[test]
    fn a_hidden_lock() {
        let text = "//! x\npub(crate) static A: Mutex<u8> = Mutex::new(1);\nstatic B: u8 = 1;\n    static C: AtomicU64 = AtomicU64::new(1);\n";
        let expected = [
            "crates/a/src/a.rs:2: `A` is global state; pass it, or list it with a reason",
            "crates/a/src/a.rs:4: `C` is global state; pass it, or list it with a reason",
        ];
        expect(find, &[("crates/a/src/a.rs", text), ("crates/a/tests/it/a.rs", text)], &expected);
    }

    #[test]
    fn a_listed_one_and_a_stale_entry() {
        let list =
            "[statics]\n'crates/a/src/a.rs:A' = 'signal handlers have no other way'\n'b:B' = 'x'\n";
        let text = "static A: AtomicBool = AtomicBool::new(false);\n";
        let files = [("crates/a/src/a.rs", text), (EXCEPTIONS, list)];
        expect(find, &files, &["xtask/tidy.toml: `b:B` is gone: take it off the list"]);
    }
}
