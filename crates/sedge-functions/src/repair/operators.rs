//! Small changes that make sense in every language: bounds, signs, conditions, the order of arguments.

use super::proposal::{Bench, Rank};
use super::tokens::{Kind, Token};

/// Signs and words, and what may have been meant.
const SWAPS: &[(&str, &[&str])] = &[
    ("<", &["<=", ">"]),
    ("<=", &["<", ">="]),
    (">", &[">=", "<"]),
    (">=", &[">", "<="]),
    ("==", &["!="]),
    ("!=", &["=="]),
    ("===", &["!==", "=="]),
    ("!==", &["==="]),
    ("+", &["-", "*"]),
    ("-", &["+"]),
    ("*", &["+", "**", "/"]),
    ("**", &["*"]),
    ("/", &["//", "*", "%"]),
    ("//", &["/", "%"]),
    ("%", &["//", "/"]),
    ("+=", &["-=", "*=", "="]),
    ("-=", &["+="]),
    ("*=", &["+="]),
    ("++", &["--"]),
    ("--", &["++"]),
    ("&&", &["||"]),
    ("||", &["&&"]),
    ("and", &["or"]),
    ("or", &["and"]),
    ("is", &["=="]),
    ("True", &["False"]),
    ("False", &["True"]),
    ("true", &["false"]),
    ("false", &["true"]),
    ("min", &["max"]),
    ("max", &["min"]),
    ("append", &["extend"]),
    ("extend", &["append"]),
    ("break", &["continue"]),
    ("lower", &["upper"]),
    ("upper", &["lower"]),
];

/// Proposes them, line by line.
pub(super) fn propose(bench: &mut Bench<'_>) {
    for (line, rank) in bench.lines() {
        if bench.is_check(line) {
            continue;
        }
        let tokens = bench.of_line(line);
        for (at, token) in tokens.iter().enumerate() {
            bounds(bench, rank, &tokens, at);
            swapped(bench, rank, token);
            if token.is("(") {
                arguments(bench, rank, &tokens, at);
            }
        }
        condition(bench, rank, &tokens);
    }
}

fn swapped(bench: &mut Bench<'_>, rank: Rank, token: &Token<'_>) {
    if token.kind == Kind::Text {
        return;
    }
    let Some((_, meant)) = SWAPS.iter().find(|it| it.0 == token.text) else { return };
    for to in *meant {
        let what = format!("line {}: `{}` is now `{to}`", token.line, token.text);
        bench.swap(rank, token.at..token.end(), to, what);
    }
}

/// Moves a number, an index or the end of a range by one.
fn bounds(bench: &mut Bench<'_>, rank: Rank, tokens: &[Token<'_>], at: usize) {
    let token = tokens[at];
    if token.kind == Kind::Number
        && let Ok(number) = token.text.parse::<i64>()
    {
        for to in [number.checked_add(1), number.checked_sub(1)].into_iter().flatten() {
            let what = format!("line {}: {number} is now {to}", token.line);
            bench.swap(rank, token.at..token.end(), &to.to_string(), what);
        }
    }
    let before = |back: usize| at.checked_sub(back).map(|it| tokens[it]);
    // What is before a closing bracket of an index, or of a range: one less, one more.
    let opened = closes(tokens, at);
    let Some(opened) = opened else { return };
    let of = opened.checked_sub(1).map(|it| tokens[it]);
    let index =
        token.is("]") && of.is_some_and(|it| it.kind == Kind::Word || it.is(")") || it.is("]"));
    let range = token.is(")")
        && of.is_some_and(|it| it.is("range") || it.is("slice") || it.is("substring"));
    if (index || range)
        && let Some(last) = before(1).filter(|it| !it.is(":") && it.at > tokens[opened].at)
    {
        for more in [" + 1", " - 1"] {
            let what =
                format!("line {}: `{}{more}` in place of `{}`", token.line, last.text, last.text);
            bench.swap(rank, last.end()..last.end(), more, what);
        }
        // `len(a) + 1` and `n - 1` lose what they are moved by.
        if let (Some(sign), true) = (before(2), last.is("1"))
            && (sign.is("+") || sign.is("-"))
            && let Some(kept) = before(3)
        {
            let what = format!("line {}: without `{} 1`", token.line, sign.text);
            bench.swap(rank, kept.end()..last.end(), "", what);
        }
    }
}

/// Returns where the bracket opens that a token closes.
fn closes(tokens: &[Token<'_>], at: usize) -> Option<usize> {
    if !tokens[at].is(")") && !tokens[at].is("]") {
        return None;
    }
    let mut depth = 0_i32;
    for (index, it) in tokens.iter().enumerate().take(at + 1).rev() {
        if it.is(")") || it.is("]") || it.is("}") {
            depth += 1;
        } else if it.is("(") || it.is("[") || it.is("{") {
            depth -= 1;
            if depth == 0 {
                return Some(index);
            }
        }
    }
    None
}

/// Swaps the two arguments of a call.
fn arguments(bench: &mut Bench<'_>, rank: Rank, tokens: &[Token<'_>], at: usize) {
    let [first, comma, second, end] = match tokens.get(at + 1..at + 5) {
        Some([a, b, c, d]) => [*a, *b, *c, *d],
        _ => return,
    };
    if comma.is(",") && end.is(")") && first.kind != Kind::Sign && second.kind != Kind::Sign {
        let what = format!(
            "line {}: `{}` and `{}` have changed places",
            first.line, first.text, second.text
        );
        bench.swap(rank, first.at..second.end(), &format!("{}, {}", second.text, first.text), what);
    }
}

/// Negates the condition of a line of Python.
fn condition(bench: &mut Bench<'_>, rank: Rank, tokens: &[Token<'_>]) {
    let (Some(first), Some(last)) = (tokens.first(), tokens.last()) else { return };
    if !matches!(first.text, "if" | "elif" | "while") || !last.is(":") || tokens.len() < 3 {
        return;
    }
    let (from, to) = (tokens[1].at, tokens[tokens.len() - 2].end());
    let Some(whole) = bench.source.get(from..to) else { return };
    let negated = match whole.strip_prefix("not ") {
        Some(rest) => rest.to_owned(),
        None => format!("not ({whole})"),
    };
    bench.swap(
        rank,
        from..to,
        &negated,
        format!("line {}: the condition is turned round", first.line),
    );
}
