//! Relative links in the documents lead somewhere.

use super::Finding;
use crate::tree::Tree;

/// Finds relative links, in Markdown files, to files or headings that do not exist.
pub(super) fn find(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for (path, text) in tree.ending(".md") {
        let mut fenced = false;
        for (at, line) in text.lines().enumerate() {
            fenced ^= line.trim_start().starts_with("```");
            let links = targets(line).filter(|it| !fenced && !it.contains("://"));
            for target in links.filter(|it| !it.starts_with("mailto:")) {
                if !leads_somewhere(tree, path, target) {
                    found.push(Finding::on(path, at + 1, format!("dead link `{target}`")));
                }
            }
        }
    }
    found
}

/// Returns the targets of `[text](target)` in a line, code in backticks aside.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    let prose = line.split('`').step_by(2);
    prose.flat_map(|it| it.split("](").skip(1)).filter_map(|it| it.split([')', ' ']).next())
}

fn leads_somewhere(tree: &Tree, from: &str, target: &str) -> bool {
    let (file, heading) = target.split_once('#').unwrap_or((target, ""));
    let resolved = if file.is_empty() { Some(from.to_owned()) } else { resolve(from, file) };
    let Some(file) = resolved.filter(|it| tree.has(it)) else { return false };
    let Some(text) = tree.text(&file).filter(|_| !heading.is_empty()) else { return true };
    text.lines().filter(|it| it.starts_with('#')).any(|it| anchor(it) == heading)
}

/// Returns the path that a link means, or `None` when it leaves the tree.
fn resolve(from: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

/// Returns the anchor under which a heading is found: lower case, blanks as hyphens, no punctuation.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|it| it.is_alphanumeric() || " -_".contains(*it));
    kept.map(|it| if it == ' ' { '-' } else { it }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::expect;

    #[test]
    fn dead_and_living_links() {
        let index = "[a](b.md) [b](../README.md#what-it-is) [c](b.md#gone) `[d](e.md)`
[f](g.md) [h](https://example.org/x) [i](../../outside.md)\n```\n[j](k.md)\n```\n";
        let files =
            [("docs/a.md", index), ("docs/b.md", "# B\n"), ("README.md", "## What it is\n")];
        let expected = [
            "docs/a.md:1: dead link `b.md#gone`",
            "docs/a.md:2: dead link `g.md`",
            "docs/a.md:2: dead link `../../outside.md`",
        ];
        expect(find, &files, &expected);
    }
}
