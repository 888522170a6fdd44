//! The lines by which a script checks itself; a repair leaves them as they are.

use crate::code::Language;

use super::tokens::tokens;
use super::trouble::Trouble;

/// Words that make a line a check.
const CHECKS: [&str; 9] = [
    "assert",
    "raise",
    "throw",
    "exit",
    "strictEqual",
    "deepEqual",
    "deepStrictEqual",
    "unittest",
    "panic",
];

/// Returns the lines, from 1, that check: those that say so, and a condition right above one that does.
pub(super) fn check_lines(language: Language, source: &str) -> Vec<usize> {
    let found = tokens(language, source);
    let says = |it: &str| CHECKS.contains(&it) || it.starts_with("assert");
    let mut lines: Vec<_> = found.iter().filter(|it| says(it.text)).map(|it| it.line).collect();
    lines.dedup();
    let begins = |line: usize| found.iter().find(|it| it.line == line).map(|it| it.text);
    let above: Vec<_> = lines
        .iter()
        .filter(|it| {
            **it > 1 && begins(**it - 1).is_some_and(|it| matches!(it, "if" | "elif" | "else"))
        })
        .map(|it| it - 1)
        .collect();
    lines.extend(above);
    lines.sort_unstable();
    lines.dedup();
    lines
}

/// Returns whether a changed script still has every check of the first one, as it was and as often; where the trouble
/// is that a check's own line cannot be read or names what is nowhere, that line may be another.
pub fn keeps_checks(language: Language, before: &str, after: &str, trouble: &Trouble) -> bool {
    let free =
        trouble.is_syntax() || matches!(trouble.kind.as_str(), "NameError" | "ReferenceError");
    let fault = trouble.lines.first().copied().filter(|_| free);
    let words = |source: &str, free: Option<usize>| -> Vec<String> {
        let lines: Vec<_> = source.lines().collect();
        let checks = check_lines(language, source).into_iter().filter(|it| Some(*it) != free);
        let mut words: Vec<_> = checks
            .filter_map(|it| lines.get(it - 1))
            .map(|it| it.split_whitespace().collect::<String>())
            .collect();
        words.sort();
        words
    };
    let kept = words(after, None);
    // Each check of before is found among those of after, none twice.
    let mut rest = kept.iter();
    words(before, fault).iter().all(|it| rest.any(|other| other == it))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trouble(kind: &str, line: usize) -> Trouble {
        Trouble {
            kind: kind.to_owned(),
            message: String::new(),
            file: "main.py",
            lines: vec![line],
        }
    }

    #[test]
    fn a_script_that_checks_less_is_told() {
        let before =
            "def f():\n    return 1\nassert f() == 2\nif f() != 2:\n    raise ValueError\n";
        let keeps = |after: &str| {
            keeps_checks(Language::Python, before, after, &trouble("AssertionError", 3))
        };
        assert!(keeps(&before.replace("return 1", "return 2")));
        assert!(!keeps(&before.replace("assert f() == 2", "assert f() != 2")));
        assert!(!keeps(&before.replace("assert f() == 2\n", "")));
        assert!(!keeps(&before.replace("if f() != 2", "if f() == 9")));
        assert!(!keeps(""));
    }

    #[test]
    fn a_misspelt_check_may_be_mended() {
        let before = "x = 1\nassert y == 1\n";
        let after = "x = 1\nassert x == 1\n";
        assert!(keeps_checks(Language::Python, before, after, &trouble("NameError", 2)));
        assert!(!keeps_checks(Language::Python, before, after, &trouble("AssertionError", 2)));
    }
}
