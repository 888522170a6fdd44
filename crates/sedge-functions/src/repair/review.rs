//! What a careful reader says of a script before anything is run; findings, not failures.

use serde::Serialize;

use crate::code::Language;

use super::tokens::{Kind, Token, tokens};

/// The most findings.
const MOST: usize = 50;

/// Something to look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The line, from 1.
    pub line: usize,
    /// What is there, in words.
    pub what: &'static str,
}

/// Reads a script; at most 50 findings, in the order of its lines.
pub fn review(language: Language, source: &str) -> Vec<Finding> {
    let tokens = tokens(language, source);
    let mut found = Vec::new();
    for at in 0..tokens.len() {
        let what = match language {
            Language::Python => python(&tokens, at),
            Language::JavaScript => javascript(&tokens, at),
            _ => None,
        };
        let what = what.or_else(|| secret(&tokens, at));
        found.extend(what.map(|what| Finding { line: tokens[at].line, what }));
    }
    found.dedup();
    found.truncate(MOST);
    found
}

/// Returns whether the tokens from here on are these.
fn are(tokens: &[Token<'_>], at: usize, texts: &[&str]) -> bool {
    tokens.get(at..at + texts.len()).is_some_and(|it| it.iter().zip(texts).all(|(a, b)| a.is(b)))
}

fn python(tokens: &[Token<'_>], at: usize) -> Option<&'static str> {
    let is = |texts: &[&str]| are(tokens, at, texts);
    let of_own = at == 0 || !tokens[at - 1].is(".");
    if is(&["except", ":"]) {
        Some("a bare `except` hides every error, interrupts too")
    } else if is(&["==", "None"]) || is(&["!=", "None"]) {
        Some("compare with None by `is` and `is not`")
    } else if of_own && (is(&["eval", "("]) || is(&["exec", "("])) {
        Some("it runs text as code")
    } else if is(&["=", "[", "]"]) || is(&["=", "{", "}"]) {
        let line = tokens[at].line;
        let first = tokens.iter().find(|it| it.line == line);
        first
            .is_some_and(|it| it.is("def"))
            .then_some("a default that is changed stays changed for every call")
    } else if is(&["import", "*"]) {
        Some("`import *` hides where names come from")
    } else {
        None
    }
}

fn javascript(tokens: &[Token<'_>], at: usize) -> Option<&'static str> {
    let is = |texts: &[&str]| are(tokens, at, texts);
    if is(&["=="]) || is(&["!="]) {
        Some("`===` compares without changing types")
    } else if is(&["var"]) {
        Some("`let` and `const` hold only in their block")
    } else if is(&["eval", "("]) {
        Some("it runs text as code")
    } else {
        None
    }
}

fn secret(tokens: &[Token<'_>], at: usize) -> Option<&'static str> {
    let [name, sign, value] = tokens.get(at..at + 3)? else { return None };
    let lower = name.text.to_lowercase();
    let secret =
        ["password", "secret", "api_key", "apikey", "token"].iter().any(|it| lower.ends_with(it));
    let given = value.kind == Kind::Text && value.text.len() > 6;
    (secret && name.kind == Kind::Word && (sign.is("=") || sign.is(":")) && given)
        .then_some("a secret stands in the source")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_reader_would_say() {
        let source = "def f(a=[]):\n    try:\n        eval(a)\n    except:\n        pass\n    return a == None\npassword = 'hunter22'\n";
        let lines: Vec<_> = review(Language::Python, source).iter().map(|it| it.line).collect();
        assert_eq!(lines, [1, 3, 4, 6, 7]);
        let lines =
            review(Language::JavaScript, "var a = 1;\nif (a == 2) b();\nif (a === 2) c();\n");
        assert_eq!(lines.iter().map(|it| it.line).collect::<Vec<_>>(), [1, 2]);
        assert!(review(Language::Python, "x = 1\nassert x == 1\n").is_empty());
    }
}
