//! The project speaks of itself alone: no machine it was written on, no way it was worked on.

use super::Finding;
use crate::tree::Tree;

/// Texts that belong to a workplace, in pieces so that this file does not find itself.
const WORDS: &[&[&str]] = &[
    &["/wo", "rk/"],
    &["/ro", "ot/"],
    &["/ho", "me/"],
    &["/Us", "ers/"],
    &["/tmp/t", "-"],
    &["/tmp/br", "ief"],
    &["pypi", ".org"],
    &["pythonhosted", ".org"],
    &["index.crates", ".io"],
    &["static.crates", ".io"],
    &["registry.npmjs", ".org"],
    &["this sess", "ion of work"],
    &["previous sess", "ion"],
    &["next sess", "ion"],
    &["working sess", "ion"],
    &["sub", "agent"],
    &["the br", "ief"],
    &["the lead eng", "ineer"],
    &["another eng", "ineer"],
    &["iss", "ue 2"],
];
/// Generated files that name registries by their nature.
const GENERATED: [&str; 1] = ["Cargo.lock"];

/// Finds words about the workplace in any text file.
pub(super) fn find(tree: &Tree) -> Vec<Finding> {
    let words: Vec<String> = WORDS.iter().map(|it| it.concat()).collect();
    let mut found = Vec::new();
    for (path, text) in tree.texts().filter(|(path, _)| !GENERATED.contains(path)) {
        for (at, line) in text.lines().enumerate() {
            if let Some(word) = words.iter().find(|it| names(line, it)) {
                found.push(Finding::on(path, at + 1, format!("`{word}` is about the workplace")));
            }
        }
    }
    found
}

/// Returns whether a line has the word, a path only where it begins.
fn names(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let inside =
            line[..at].ends_with(|it: char| it.is_alphanumeric() || "_.-}~*>".contains(it));
        let goes_on = line[at + word.len()..].starts_with(|it: char| it.is_ascii_digit());
        !(word.starts_with('/') && inside || word.ends_with('2') && goes_on)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::expect;

    #[test]
    fn every_word_is_found() {
        for word in WORDS {
            let word = word.concat();
            let text = format!("fine\nsee {word}x\n");
            let expected = format!("a.md:2: `{word}` is about the workplace");
            expect(find, &[("a.md", &text), ("Cargo.lock", &text)], &[&expected]);
        }
    }

    #[test]
    fn a_folder_of_that_name_elsewhere() {
        let text = format!("crates{}a and issue {}\n", WORDS[0].concat(), 21);
        expect(find, &[("a.md", &text)], &[]);
    }
}
