//! Unfinished work has a number.

use super::Finding;
use crate::rust_text::comment;
use crate::tree::Tree;

/// Words that mark unfinished work.
const MARKS: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX")];

/// Finds marks of unfinished work without `(#number)` in comments of sources and scripts.
pub(super) fn find(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for (path, text) in tree.texts() {
        let kind = path.rsplit_once('.').map_or("", |it| it.1);
        for (at, line) in text.lines().enumerate() {
            let note = match kind {
                "rs" => comment(line),
                "sh" | "py" | "toml" => line.find('#').map(|it| &line[it..]),
                _ => None,
            };
            if let Some(mark) = note.and_then(unnumbered) {
                found.push(Finding::on(path, at + 1, format!("write `{mark}(#12)`, or drop it")));
            }
        }
    }
    found
}

fn unnumbered(note: &str) -> Option<&'static str> {
    MARKS.into_iter().find(|mark| {
        note.match_indices(mark).any(|(at, _)| {
            let alone = !note[..at].ends_with(|it: char| it.is_alphanumeric() || it == '_');
            let after = &note[at + mark.len()..];
            let number = after.strip_prefix("(#").and_then(|it| it.split_once(')'));
            let numbered = number
                .is_some_and(|(it, _)| !it.is_empty() && it.bytes().all(|it| it.is_ascii_digit()));
            let whole = !after.starts_with(|it: char| it.is_alphanumeric() || it == '_');
            alone && whole && !numbered
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::expect;

    #[test]
    fn with_and_without_a_number() {
        let mark = MARKS[0];
        let rust = format!("// {mark}(#12): later\n// {mark}: never\nlet a = \"{mark}\";\n");
        let shell = format!("# {mark}(soon)\n");
        let files = [("a.rs", rust.as_str()), ("b.sh", &shell), ("c.md", &shell)];
        let expected = [
            format!("a.rs:2: write `{mark}(#12)`, or drop it"),
            format!("b.sh:1: write `{mark}(#12)`, or drop it"),
        ];
        expect(find, &files, &expected.each_ref().map(String::as_str));
    }
}
