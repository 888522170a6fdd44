//! `cargo xtask rows`: which capability rows have an acceptance check.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;

use crate::tree::Tree;

/// Where the rows are listed, as `| number | name |`.
pub(crate) const LIST: &str = "docs/rows.md";
/// How the name of a check begins; three digits and an underscore follow.
const START: &str = "row_";

/// One acceptance check: a test function or a script.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct RowCheck {
    /// The row whose acceptance it checks.
    pub(crate) row: u16,
    /// What it is called.
    pub(crate) name: String,
    /// The file it is in.
    pub(crate) path: String,
    /// The line, from 1.
    pub(crate) line: usize,
}

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// Why the list of rows could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RowsError {
    /// There is no list.
    #[error("`{LIST}` is missing")]
    Missing,
    /// A number stands twice.
    #[error("`{LIST}` lists row {row} twice")]
    Twice {
        /// Which.
        row: u16,
    },
    /// The numbers have a gap.
    #[error("`{LIST}` has no row {row}")]
    Gap {
        /// Which.
        row: u16,
    },
    /// The answer could not be written.
    #[error("cannot write the answer")]
    Write(#[from] io::Error),
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    rows: usize,
    checked: usize,
    checks: &'a [RowCheck],
}

/// Returns the number and name of every row, without gaps from 1.
pub(crate) fn listed(tree: &Tree) -> Result<BTreeMap<u16, String>, RowsError> {
    let text = tree.text(LIST).ok_or(RowsError::Missing)?;
    let mut rows = BTreeMap::new();
    for line in text.lines() {
        let cells: Vec<&str> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
        let [number, name] = cells[..] else { continue };
        let Ok(row) = number.parse() else { continue };
        if rows.insert(row, name.to_owned()).is_some() {
            return Err(RowsError::Twice { row });
        }
    }
    let gap = (1_u16..).zip(rows.keys()).find(|(expected, row)| expected != *row).map(|it| it.0);
    gap.map_or(Ok(rows), |row| Err(RowsError::Gap { row }))
}

/// Returns every acceptance check, by row.
pub(crate) fn checks(tree: &Tree) -> Vec<RowCheck> {
    let mut all = Vec::new();
    for (path, text) in tree.texts().filter(|(path, _)| !path.starts_with("xtask/")) {
        let (stem, kind) = path.rsplit_once('.').unwrap_or((path, ""));
        if !["rs", "py", "sh", "mjs", "js", "ts"].contains(&kind) {
            continue;
        }
        let file = stem.rsplit('/').next().unwrap_or(stem);
        if let Some(row) = row_of(file).filter(|_| path.contains("/tests/")) {
            all.push(RowCheck { row, name: file.to_owned(), path: path.to_owned(), line: 1 });
        }
        for (at, line) in text.lines().enumerate() {
            let Some(name) = defined(line) else { continue };
            let Some(row) = row_of(name) else { continue };
            let (name, path) = (name.to_owned(), path.to_owned());
            all.push(RowCheck { row, name, path, line: at + 1 });
        }
    }
    all.sort_by(|a, b| (a.row, &a.path, a.line).cmp(&(b.row, &b.path, b.line)));
    all
}

/// Returns the name of the function that a line defines, in Rust, Python, JavaScript or shell.
fn defined(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let plain = line.trim_start_matches("pub ").trim_start_matches("async ");
    let named = ["fn ", "def ", "function "].iter().find_map(|it| plain.strip_prefix(it));
    let shell = || line.contains("() {").then_some(line);
    let name = named.or_else(shell)?;
    let name = name.strip_prefix("test_").unwrap_or(name);
    name.split(|it: char| !(it.is_ascii_alphanumeric() || it == '_')).next()
}

/// Returns the row that a check's name begins with: `row_067_…` is 67.
fn row_of(name: &str) -> Option<u16> {
    let (number, rest) = name.strip_prefix(START)?.split_once('_')?;
    let digits = number.len() == 3 && number.bytes().all(|it| it.is_ascii_digit());
    number.parse().ok().filter(|_| digits && !rest.is_empty())
}

/// Prints the rows and their checks; returns true.
pub(crate) fn print(tree: &Tree, form: Form, out: &mut dyn Write) -> Result<bool, RowsError> {
    let listed = listed(tree)?;
    let checks = checks(tree);
    let has = |row: u16| checks.iter().any(|it| it.row == row);
    let checked = listed.keys().filter(|row| has(**row)).count();
    if form == Form::Json {
        let report = Report { rows: listed.len(), checked, checks: &checks };
        serde_json::to_writer_pretty(&mut *out, &report).map_err(io::Error::from)?;
        writeln!(out)?;
        return Ok(true);
    }
    for (row, name) in &listed {
        let own: Vec<&RowCheck> = checks.iter().filter(|it| it.row == *row).collect();
        if let Some((first, more)) = own.split_first() {
            writeln!(out, "{row:>4}  {name}\n      {}:{}  {}", first.path, first.line, first.name)?;
            for it in more {
                writeln!(out, "      {}:{}  {}", it.path, it.line, it.name)?;
            }
        }
    }
    writeln!(out, "{checked} of {} rows have an acceptance check", listed.len())?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::fixture;

    #[test]
    fn checks_in_four_languages() {
        let (_dir, tree) = fixture::tree(&[
            ("crates/a/src/a.rs", "    async fn row_067_memory_limit() {\nfn row_67_no() {}\n"),
            ("crates/a/tests/it/b.py", "def test_row_135_client():\n"),
            ("crates/a/tests/row_020_two_machines.sh", "row_021_more() {\n"),
        ]);
        let found: Vec<String> =
            checks(&tree).iter().map(|it| format!("{} {} {}", it.row, it.name, it.line)).collect();
        let expected = [
            "20 row_020_two_machines 1",
            "21 row_021_more 1",
            "67 row_067_memory_limit 1",
            "135 row_135_client 1",
        ];
        assert_eq!(found, expected);
    }

    #[track_caller]
    fn check(list: &str, expected: &str) {
        let (_dir, tree) = fixture::tree(&[(LIST, list)]);
        let said = listed(&tree).map_or_else(|err| err.to_string(), |it| format!("{it:?}"));
        assert_eq!(said, expected);
    }

    #[test]
    fn lists() {
        check("# Rows\n| # | Name |\n|--|--|\n| 1 | A |\n| 2 | B |\n", r#"{1: "A", 2: "B"}"#);
        check("| 1 | A |\n| 1 | B |\n", "`docs/rows.md` lists row 1 twice");
        check("| 1 | A |\n| 3 | B |\n", "`docs/rows.md` has no row 2");
    }

    #[test]
    fn the_report_counts() {
        let (_dir, tree) =
            fixture::tree(&[(LIST, "| 1 | A |\n| 2 | B |\n"), ("t/a.rs", "fn row_002_b() {}\n")]);
        let mut out = Vec::new();
        print(&tree, Form::Table, &mut out).expect("a report");
        let expected = "   2  B\n      t/a.rs:1  row_002_b\n1 of 2 rows have an acceptance check\n";
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }
}
