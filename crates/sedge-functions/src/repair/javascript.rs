//! What JavaScript's errors point to.

use super::names::{JAVASCRIPT, JAVASCRIPT_ATTRIBUTES, attributes, near};
use super::proposal::{Bench, Rank};
use super::tokens::Kind;

/// Proposes what the error names.
pub(super) fn propose(bench: &mut Bench<'_>) {
    let lines = bench.trouble.lines.clone();
    match bench.trouble.kind.as_str() {
        "ReferenceError" => name(bench, &lines),
        "SyntaxError" => {
            for line in lines.first().into_iter().flat_map(|it| [*it, it.saturating_sub(1)]) {
                syntax(bench, line);
            }
        }
        "TypeError" => constant(bench),
        _ => {}
    }
    attribute(bench);
    returns(bench);
}

fn name(bench: &mut Bench<'_>, lines: &[usize]) {
    // Engines write `x is not defined` and `'x' is not defined`.
    let first = bench.trouble.message.split_whitespace().next().unwrap_or_default();
    let name = first.trim_matches(['\'', '"']).to_owned();
    let known: Vec<_> = bench.words().into_iter().chain(JAVASCRIPT).collect();
    let meant = near(&name, known);
    for line in lines {
        bench.rename(*line, &name, &meant);
    }
}

/// Lets what is changed be no constant.
fn constant(bench: &mut Bench<'_>) {
    let places: Vec<_> = bench.tokens.iter().filter(|it| it.is("const")).copied().collect();
    for place in places {
        let what = format!("line {}: `const` is now `let`", place.line);
        let message = &bench.trouble.message;
        let rank = if message.contains("read-only") || message.contains("constant") {
            Rank::Named
        } else {
            Rank::Far
        };
        bench.swap(rank, place.at..place.end(), "let", what);
    }
}

/// Takes for a misspelt attribute what is nearly one; reading it gives `undefined`, and no error there.
fn attribute(bench: &mut Bench<'_>) {
    let all = bench.tokens.clone();
    let words = bench.words();
    for pair in all.windows(2) {
        let [dot, it] = pair else { continue };
        if !(dot.is(".") || dot.is("?."))
            || it.kind != Kind::Word
            || JAVASCRIPT_ATTRIBUTES.contains(&it.text)
        {
            continue;
        }
        let own = words.iter().copied().filter(|word| *word != it.text);
        let known: Vec<_> = JAVASCRIPT_ATTRIBUTES.into_iter().chain(own).collect();
        let meant = attributes(it.text, &known);
        let near_fault = bench.trouble.lines.contains(&it.line);
        let rank = if near_fault { Rank::Named } else { Rank::Near };
        for to in meant {
            let what = format!("line {}: `{}` is now `{to}`", it.line, it.text);
            bench.swap(rank, it.at..it.end(), to, what);
        }
        if near_fault && dot.is(".") {
            let what = format!("line {}: nothing where there is no `{}`", it.line, it.text);
            bench.swap(Rank::Near, dot.at..dot.end(), "?.", what);
        }
    }
}

fn syntax(bench: &mut Bench<'_>, line: usize) {
    let tokens = bench.of_line(line);
    let Some(last) = tokens.last().copied() else { return };
    let body = if last.is(";") || last.is("{") { last.at } else { last.end() };
    for added in [")", "]", "}", "'", "\"", "))", " {", ") {", "')", "\")"] {
        for place in [body, last.end()] {
            let what = format!("line {line}: `{}` is added", added.trim());
            bench.swap(Rank::Named, place..place, added, what);
        }
    }
    let end = bench.source.len();
    for added in ["}", "})", ")"] {
        bench.swap(Rank::Named, end..end, &format!("\n{added}\n"), format!("`{added}` at the end"));
    }
    for token in &tokens {
        if token.is("=") {
            bench.swap(
                Rank::Named,
                token.at..token.end(),
                "===",
                format!("line {line}: `=` is now `===`"),
            );
        }
        if token.kind == Kind::Sign {
            let what = format!("line {line}: without `{}`", token.text);
            bench.swap(Rank::Named, token.at..token.end(), "", what);
        }
    }
    for (word, meant) in [
        ("fucntion", "function"),
        ("funtion", "function"),
        ("retrun", "return"),
        ("def", "function"),
        ("elif", "else if"),
    ] {
        bench.rename(line, word, &[meant]);
    }
}

/// Lets a function return what its last line makes.
fn returns(bench: &mut Bench<'_>) {
    let all: Vec<_> = bench.source.lines().collect();
    let closes = |it: &str| it.trim_start().starts_with('}');
    for (index, text) in all.iter().enumerate() {
        let line = index + 1;
        let ends = all.get(line).is_some_and(|it| closes(it));
        let code = text.trim_start();
        let plain = !code.is_empty()
            && !closes(text)
            && !["return", "if", "for", "while", "const", "let", "var", "//"]
                .iter()
                .any(|it| code.starts_with(it));
        if ends
            && plain
            && !bench.is_check(line)
            && let Some((at, _)) = bench.line(line)
        {
            let begin = at + text.len() - code.len();
            let what = format!("line {line}: what it makes is returned");
            bench.swap(Rank::Near, begin..begin, "return ", what);
        }
    }
}
