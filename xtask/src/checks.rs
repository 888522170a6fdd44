//! The house rules that a program can check, one file each.

mod arrows;
mod docs;
mod fuzzed;
mod homes;
mod licences;
mod links;
mod lints;
mod manifests;
mod named_paths;
mod names;
mod row_names;
mod sizes;
mod statics;
mod tests_kept;
mod todos;
mod workplace;

use std::fmt;

use crate::tree::Tree;

/// One rule of the house.
#[derive(Debug)]
pub(crate) struct Check {
    /// What it is called in the output.
    pub(crate) name: &'static str,
    /// Returns what breaks the rule.
    pub(crate) run: fn(&Tree) -> Vec<Finding>,
}

/// Every check, in the order in which they are printed.
pub(crate) const CHECKS: &[Check] = &[
    Check { name: "arrows", run: arrows::find },
    Check { name: "sizes", run: sizes::find },
    Check { name: "docs", run: docs::find },
    Check { name: "names", run: names::find },
    Check { name: "manifests", run: manifests::find },
    Check { name: "lints", run: lints::find },
    Check { name: "homes", run: homes::find },
    Check { name: "licences", run: licences::find },
    Check { name: "statics", run: statics::find },
    Check { name: "todos", run: todos::find },
    Check { name: "tests", run: tests_kept::find },
    Check { name: "rows", run: row_names::find },
    Check { name: "fuzzed", run: fuzzed::find },
    Check { name: "paths", run: named_paths::find },
    Check { name: "links", run: links::find },
    Check { name: "workplace", run: workplace::find },
];

/// One place that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    path: String,
    line: Option<usize>,
    what: String,
}

impl Finding {
    /// Makes a finding about a whole file or folder.
    pub(crate) fn at(path: &str, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: None, what: what.into() }
    }

    /// Makes a finding about one line, counted from 1.
    pub(crate) fn on(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: Some(line), what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.path, self.what),
            None => write!(f, "{}: {}", self.path, self.what),
        }
    }
}

/// Returns `ok`, or how many places break the rule.
pub(crate) fn verdict(found: &[Finding]) -> String {
    match found.len() {
        0 => "ok".to_owned(),
        1 => "1 finding".to_owned(),
        many => format!("{many} findings"),
    }
}

/// Runs a check over a fixture and compares what it found, as text.
#[cfg(test)]
#[track_caller]
pub(crate) fn expect(find: fn(&Tree) -> Vec<Finding>, files: &[(&str, &str)], expected: &[&str]) {
    let (_dir, tree) = crate::tree::fixture::tree(files);
    let found: Vec<String> = find(&tree).iter().map(Finding::to_string).collect();
    assert_eq!(found, expected);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails with everything that the named check finds in the workspace.
    #[track_caller]
    fn workspace_keeps(names: &[&str]) {
        let tree = Tree::read(&crate::workspace_root()).expect("a readable workspace");
        let chosen = CHECKS.iter().filter(|it| names.contains(&it.name));
        let found: Vec<String> =
            chosen.flat_map(|it| (it.run)(&tree)).map(|it| it.to_string()).collect();
        assert!(found.is_empty(), "\n{}\n", found.join("\n"));
    }

    #[test]
    fn arrows_point_down() {
        workspace_keeps(&["arrows"]);
    }

    #[test]
    fn workspace_is_tidy() {
        let rest: Vec<&str> =
            CHECKS.iter().map(|it| it.name).filter(|it| *it != "arrows").collect();
        workspace_keeps(&rest);
    }
}
