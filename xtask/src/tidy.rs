//! `cargo xtask tidy`: every check, printed.

use std::io::{self, Write};

use crate::checks::{self, CHECKS};
use crate::tree::Tree;

/// Prints what each check found and returns whether all found nothing.
pub(crate) fn print(tree: &Tree, out: &mut dyn Write) -> io::Result<bool> {
    let mut total = 0;
    for check in CHECKS {
        let found = (check.run)(tree);
        writeln!(out, "{:<12} {}", check.name, checks::verdict(&found))?;
        for finding in &found {
            writeln!(out, "    {finding}")?;
        }
        total += found.len();
    }
    writeln!(out, "{} checks, {total} findings", CHECKS.len())?;
    Ok(total == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::fixture::tree;

    #[test]
    fn a_finding_is_printed_with_its_place_and_fails() {
        let (_dir, tree) = tree(&[("crates/a/src/util.rs", "//! x\n")]);
        let mut out = Vec::new();
        assert!(!print(&tree, &mut out).expect("a written answer"));
        let out = String::from_utf8(out).expect("text");
        assert!(out.contains("crates/a/src/util.rs: no module is called `util`"), "{out}");
    }
}
