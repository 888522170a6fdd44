//! Source text as words, numbers, texts and signs; enough for every language here, broken ones too.

use crate::code::Language;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Word,
    Number,
    Text,
    Sign,
}

/// A token and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a str,
    /// Its first byte in the source.
    pub(super) at: usize,
    /// Its line, from 1.
    pub(super) line: usize,
}

impl Token<'_> {
    /// Returns the byte after its last one.
    pub(super) fn end(&self) -> usize {
        self.at + self.text.len()
    }

    /// Returns whether it is this sign or word.
    pub(super) fn is(&self, text: &str) -> bool {
        self.kind != Kind::Text && self.text == text
    }
}

/// Signs of more than one character, the longest first.
const SIGNS: [&str; 26] = [
    "===", "!==", "**=", "//=", "<<=", ">>=", "...", "==", "!=", "<=", ">=", "&&", "||", "??",
    "?.", "**", "//", "+=", "-=", "*=", "/=", "%=", "=>", "->", "++", "--",
];

/// Takes a source apart; comments and blanks are left out.
pub(super) fn tokens(language: Language, source: &str) -> Vec<Token<'_>> {
    let hash = matches!(language, Language::Python | Language::Bash);
    let mut found = Vec::new();
    let (mut at, mut line) = (0, 1);
    while let Some(first) = source[at..].chars().next() {
        let rest = &source[at..];
        let length = if first == '\n' {
            line += 1;
            at += 1;
            continue;
        } else if first.is_whitespace() {
            first.len_utf8()
        } else if (hash && first == '#') || (!hash && rest.starts_with("//")) {
            rest.find('\n').unwrap_or(rest.len())
        } else if !hash && rest.starts_with("/*") {
            let length = rest.find("*/").map_or(rest.len(), |it| it + 2);
            line += rest[..length].matches('\n').count();
            length
        } else {
            let (kind, length) = measure(rest, first, hash);
            found.push(Token { kind, text: &rest[..length], at, line });
            line += rest[..length].matches('\n').count();
            length
        };
        at += length;
    }
    found
}

fn measure(rest: &str, first: char, hash: bool) -> (Kind, usize) {
    let while_it = |good: fn(char) -> bool| rest.find(|it| !good(it)).unwrap_or(rest.len());
    let in_word = |it: char| it.is_alphanumeric() || it == '_' || it == '$';
    if first.is_ascii_digit() {
        return (Kind::Number, while_it(|it| it.is_ascii_alphanumeric() || it == '.' || it == '_'));
    }
    if in_word(first) {
        return (Kind::Word, while_it(in_word));
    }
    if matches!(first, '"' | '\'') || (!hash && first == '`') {
        return (Kind::Text, text_length(rest, first, hash));
    }
    let sign = SIGNS.iter().find(|it| rest.starts_with(**it) && (hash || **it != "//"));
    (Kind::Sign, sign.map_or(first.len_utf8(), |it| it.len()))
}

/// Returns the length of a text; one that is not closed ends with its line.
fn text_length(rest: &str, quote: char, hash: bool) -> usize {
    let triple: String = [quote; 3].iter().collect();
    if hash && rest.starts_with(&triple) {
        return rest[3..].find(&triple).map_or(rest.len(), |it| it + 6);
    }
    let mut escaped = false;
    for (at, it) in rest.char_indices().skip(1) {
        match it {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '\n' if quote != '`' => return at,
            it if it == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_signs_texts_and_lines() {
        let got = tokens(Language::Python, "a += 1 # no\nb = 'x' // 2.5\n");
        let texts: Vec<_> = got.iter().map(|it| (it.text, it.line)).collect();
        let first = [("a", 1), ("+=", 1), ("1", 1)];
        assert_eq!(
            texts,
            [&first[..], &[("b", 2), ("=", 2), ("'x'", 2), ("//", 2), ("2.5", 2)]].concat()
        );
        let got = tokens(Language::JavaScript, "/* a\n */ f`x` // no\n'open\nb");
        let texts: Vec<_> = got.iter().map(|it| (it.text, it.line)).collect();
        assert_eq!(texts, [("f", 2), ("`x`", 2), ("'open", 3), ("b", 4)]);
    }

    proptest! {
        #[test]
        fn tokens_lie_in_order_in_whatever_is_written(source in "\\PC{0,200}") {
            for language in [Language::Python, Language::JavaScript] {
                let mut last = 0;
                for it in tokens(language, &source) {
                    prop_assert!(it.at >= last && !it.text.is_empty());
                    prop_assert_eq!(&source[it.at..it.end()], it.text);
                    last = it.end();
                }
            }
        }
    }
}
