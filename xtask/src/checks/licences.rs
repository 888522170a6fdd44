//! Every dependency may be used under a licence on the list.

use super::Finding;
use crate::cargo;
use crate::tree::Tree;

/// Licences that ask for no more than their text being kept.
const ALLOWED: [&str; 13] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Zlib",
];

/// Finds packages, among those that this machine's build needs, whose licence is not on the list.
///
/// A tree without a lock file has no packages to look at.
pub(super) fn find(tree: &Tree) -> Vec<Finding> {
    if !tree.has("Cargo.lock") {
        return Vec::new();
    }
    match cargo::foreign_packages(tree.root()) {
        Ok(packages) => packages.iter().filter_map(judge).collect(),
        Err(err) => {
            let cause = std::error::Error::source(&err).map(|it| format!(": {it}"));
            vec![Finding::at("Cargo.lock", format!("{err}{}", cause.unwrap_or_default()))]
        }
    }
}

fn judge(package: &cargo::Package) -> Option<Finding> {
    let what = match package.license.as_deref() {
        None => format!("{} names no licence", package.name),
        Some(it) if allows(it) => return None,
        Some(it) => format!("{} is under {it}, which is not on the list", package.name),
    };
    Some(Finding::at("Cargo.lock", what))
}

/// Returns whether an SPDX expression can be met by listed licences alone.
fn allows(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = tokens.as_slice();
    either(&mut rest) && rest.is_empty()
}

fn either(rest: &mut &[&str]) -> bool {
    let mut met = both(rest);
    while rest.first() == Some(&"OR") {
        *rest = &rest[1..];
        met |= both(rest);
    }
    met
}

fn both(rest: &mut &[&str]) -> bool {
    let mut met = one(rest);
    while rest.first() == Some(&"AND") {
        *rest = &rest[1..];
        met &= one(rest);
    }
    met
}

fn one(rest: &mut &[&str]) -> bool {
    let Some((first, after)) = rest.split_first() else { return false };
    *rest = after;
    if *first == "(" {
        let met = either(rest);
        let closed = rest.first() == Some(&")");
        *rest = rest.get(1..).unwrap_or_default();
        return met && closed;
    }
    if let ["WITH", exception, after @ ..] = *rest {
        *rest = after;
        return ALLOWED.contains(&format!("{first} WITH {exception}").as_str());
    }
    ALLOWED.contains(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(expression: &str, allowed: bool) {
        assert_eq!(allows(expression), allowed, "{expression}");
    }

    #[test]
    fn choices_and_sums() {
        check("MIT", true);
        check("GPL-3.0-only OR MIT", true);
        check("GPL-3.0-only AND MIT", false);
        check("(GPL-3.0-only OR MIT) AND Unicode-3.0", true);
        check("Apache-2.0/MIT", true);
        check("Apache-2.0 WITH LLVM-exception", true);
        check("GPL-2.0-only WITH Classpath-exception-2.0", false);
    }

    #[test]
    fn broken_expressions() {
        for text in ["", "(MIT", "MIT MIT", "OR", "AND MIT"] {
            check(text, false);
        }
    }

    #[test]
    fn a_package_without_and_one_with_a_strange_licence() {
        let package = |it: Option<&str>| cargo::Package {
            name: "a 1.0.0".to_owned(),
            license: it.map(str::to_owned),
        };
        let said = |it| judge(&package(it)).map(|it| it.to_string());
        assert_eq!(said(None).as_deref(), Some("Cargo.lock: a 1.0.0 names no licence"));
        let strange = "Cargo.lock: a 1.0.0 is under AGPL-3.0-only, which is not on the list";
        assert_eq!(said(Some("AGPL-3.0-only")).as_deref(), Some(strange));
        assert_eq!(said(Some("MIT")), None);
    }
}
