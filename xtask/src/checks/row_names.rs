//! Acceptance checks carry the number of a row that exists.

use super::Finding;
use crate::rows;
use crate::tree::Tree;

/// Finds acceptance checks of unknown rows and a list of rows that cannot be read.
pub(super) fn find(tree: &Tree) -> Vec<Finding> {
    if !tree.has(rows::LIST) {
        return Vec::new();
    }
    let listed = match rows::listed(tree) {
        Ok(it) => it,
        Err(err) => return vec![Finding::at(rows::LIST, err.to_string())],
    };
    let unknown = rows::checks(tree).into_iter().filter(|it| !listed.contains_key(&it.row));
    unknown
        .map(|it| Finding::on(&it.path, it.line, format!("`{}`: no row {}", it.name, it.row)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::expect;

    #[test]
    fn an_unknown_row() {
        let files = [
            (rows::LIST, "| 1 | Identity |\n"),
            ("crates/a/src/a.rs", "fn row_001_identity() {}\nfn row_002_other() {}\n"),
        ];
        expect(find, &files, &["crates/a/src/a.rs:2: `row_002_other`: no row 2"]);
    }
}
