//! What Python's errors point to.

use super::names::{HOMES, MODULES, PYTHON, PYTHON_ATTRIBUTES, attributes, near};
use super::proposal::{Bench, Rank};
use super::tokens::{Kind, Token};

/// Words that begin a block, whose line ends with a colon.
const BLOCKS: [&str; 11] =
    ["if", "elif", "else", "for", "while", "def", "class", "try", "except", "finally", "with"];

/// Words that are no value.
const KEYWORDS: [&str; 20] = [
    "if", "elif", "else", "for", "while", "def", "class", "try", "except", "finally", "with",
    "return", "in", "is", "and", "or", "not", "import", "from", "as",
];

/// Proposes what the error names.
pub(super) fn propose(bench: &mut Bench<'_>) {
    let lines = bench.trouble.lines.clone();
    let fault = lines.first().copied();
    match bench.trouble.kind.as_str() {
        "NameError" => name(bench, &lines),
        "UnboundLocalError" => unbound(bench, &lines),
        "AttributeError" => attribute(bench, &lines),
        "ModuleNotFoundError" | "ImportError" => module(bench, &lines),
        "TypeError" => lines.iter().for_each(|it| types(bench, *it)),
        "KeyError" => lines.iter().for_each(|it| key(bench, *it)),
        "ZeroDivisionError" => lines.iter().for_each(|it| division(bench, *it)),
        _ => {}
    }
    if bench.trouble.is_syntax() {
        // The interpreter may notice it a line later.
        for line in fault.into_iter().flat_map(|it| [it, it.saturating_sub(1)]) {
            syntax(bench, line);
        }
    } else if fault.is_none() {
        // A script that cannot be read leaves no trace in every sandbox.
        for (line, _) in bench.lines() {
            syntax(bench, line);
        }
    }
    returns(bench);
}

fn name(bench: &mut Bench<'_>, lines: &[usize]) {
    let Some(name) = bench.trouble.quoted().map(str::to_owned) else { return };
    if MODULES.contains(&name.as_str()) {
        bench.swap(Rank::Named, 0..0, &format!("import {name}\n"), format!("`{name}` is imported"));
    }
    if let Some((_, home)) = HOMES.iter().find(|it| it.0 == name) {
        let text = format!("from {home} import {name}\n");
        bench.swap(Rank::Named, 0..0, &text, format!("`{name}` is imported from `{home}`"));
    }
    let known: Vec<_> = bench.words().into_iter().chain(PYTHON).collect();
    let meant = near(&name, known);
    for line in lines {
        bench.rename(*line, &name, &meant);
    }
}

fn unbound(bench: &mut Bench<'_>, lines: &[usize]) {
    let Some(name) = bench.trouble.quoted().map(str::to_owned) else { return };
    let Some(fault) = lines.first().copied() else { return };
    let above =
        (1..fault).rev().find(|it| bench.of_line(*it).first().is_some_and(|it| it.is("def")));
    if let Some((at, text)) = above.and_then(|it| bench.line(it + 1)) {
        let indent = &text[..text.len() - text.trim_start().len()];
        let added = format!("{indent}global {name}\n");
        bench.swap(
            Rank::Named,
            at..at,
            &added,
            format!("`{name}` is the one outside the function"),
        );
    }
}

fn attribute(bench: &mut Bench<'_>, lines: &[usize]) {
    let after = bench.trouble.message.split_once("attribute '").map(|it| it.1);
    let Some(wrong) = after.and_then(|it| it.split('\'').next()).map(str::to_owned) else {
        return;
    };
    let known: Vec<_> = PYTHON_ATTRIBUTES.into_iter().chain(bench.words()).collect();
    let meant = attributes(&wrong, &known);
    for line in lines {
        bench.rename(*line, &wrong, &meant);
        // `x.length` and `x.size()` are `len(x)` here.
        let tokens = bench.of_line(*line);
        for three in tokens.windows(3) {
            let [of, dot, it] = three else { continue };
            if of.kind == Kind::Word
                && dot.is(".")
                && it.is(&wrong)
                && ["length", "size", "len"].contains(&it.text)
            {
                let rest = bench.source.get(it.end()..).unwrap_or_default();
                let end = it.end() + if rest.starts_with("()") { 2 } else { 0 };
                let what = format!("line {line}: `len({})`", of.text);
                bench.swap(Rank::Named, of.at..end, &format!("len({})", of.text), what);
            }
        }
    }
}

fn module(bench: &mut Bench<'_>, lines: &[usize]) {
    let Some(wrong) = bench.trouble.quoted().map(str::to_owned) else { return };
    let meant = near(&wrong, MODULES);
    for line in lines {
        bench.rename(*line, &wrong, &meant);
    }
}

/// A word, number or text with the calls and indexes behind it: from its first byte to its last.
fn operand(tokens: &[Token<'_>], at: usize) -> Option<(usize, usize)> {
    let good = |it: &&Token<'_>| it.kind != Kind::Sign && !KEYWORDS.contains(&it.text);
    let first = tokens.get(at).filter(good)?;
    let (mut end, mut depth) = (first.end(), 0_i32);
    for it in &tokens[at + 1..] {
        if it.is("(") || it.is("[") {
            depth += 1;
        } else if it.is(")") || it.is("]") {
            depth -= 1;
        } else if depth == 0 && !it.is(".") && !(it.kind == Kind::Word && end == it.at) {
            break;
        }
        if depth < 0 {
            break;
        }
        end = it.end();
    }
    (depth <= 0).then_some((first.at, end))
}

fn types(bench: &mut Bench<'_>, line: usize) {
    let tokens = bench.of_line(line);
    let none = bench.trouble.message.contains("NoneType");
    for at in 0..tokens.len() {
        let follows_dot = at.checked_sub(1).is_some_and(|it| tokens[it].is("."));
        let Some((from, to)) = operand(&tokens, at).filter(|_| !follows_dot) else { continue };
        let Some(text) = bench.source.get(from..to).map(str::to_owned) else { continue };
        for wrap in ["str", "int", "float", "list"] {
            let what = format!("line {line}: `{text}` is made {wrap}");
            bench.swap(Rank::Near, from..to, &format!("{wrap}({text})"), what);
        }
        if none {
            for usual in ["0", "''", "[]"] {
                let what = format!("line {line}: {usual} where `{text}` is None");
                bench.swap(Rank::Near, from..to, &format!("({text} or {usual})"), what);
            }
        }
    }
}

fn key(bench: &mut Bench<'_>, line: usize) {
    let tokens = bench.of_line(line);
    for four in tokens.windows(4) {
        let [of, open, key, close] = four else { continue };
        if of.kind == Kind::Word && open.is("[") && close.is("]") {
            for usual in ["0", "''", "[]", "None"] {
                let text = format!("{}.get({}, {usual})", of.text, key.text);
                let what = format!("line {line}: {usual} where `{}` lacks the key", of.text);
                bench.swap(Rank::Named, of.at..close.end(), &text, what);
            }
        }
    }
}

fn division(bench: &mut Bench<'_>, line: usize) {
    let tokens = bench.of_line(line);
    for at in 1..tokens.len() {
        let divides = ["/", "//", "%"].iter().any(|it| tokens[at - 1].is(it));
        let Some((from, to)) = operand(&tokens, at).filter(|_| divides) else { continue };
        let Some(text) = bench.source.get(from..to).map(str::to_owned) else { continue };
        let what = format!("line {line}: divided by 1 where `{text}` is 0");
        bench.swap(Rank::Named, from..to, &format!("({text} or 1)"), what);
    }
}

fn syntax(bench: &mut Bench<'_>, line: usize) {
    let Some((at, text)) = bench.line(line) else { return };
    let tokens = bench.of_line(line);
    let (Some(first), Some(last)) = (tokens.first().copied(), tokens.last().copied()) else {
        return;
    };
    let end = last.end();
    if BLOCKS.contains(&first.text) && !last.is(":") {
        bench.swap(Rank::Named, end..end, ":", format!("line {line}: a colon at its end"));
    }
    let body = if last.is(":") { last.at } else { end };
    for closing in [")", "]", "}", "'", "\"", "))", "')", "\")"] {
        for place in [body, end] {
            let what = format!("line {line}: `{closing}` is added");
            bench.swap(Rank::Named, place..place, closing, what);
        }
    }
    for token in &tokens {
        if token.is("=") {
            bench.swap(
                Rank::Named,
                token.at..token.end(),
                "==",
                format!("line {line}: `=` is now `==`"),
            );
        }
        if token.is(")") || token.is("]") || token.is("}") {
            let what = format!("line {line}: without `{}`", token.text);
            bench.swap(Rank::Named, token.at..token.end(), "", what);
        }
    }
    for (word, meant) in [
        ("esle", "else"),
        ("elseif", "elif"),
        ("retrun", "return"),
        ("function", "def"),
        ("fucn", "def"),
    ] {
        bench.rename(line, word, &[meant]);
    }
    let indent = text.len() - text.trim_start().len();
    let deeper = format!("line {line}: indented");
    bench.swap(Rank::Named, at..at, "    ", deeper);
    for less in [4, 2, 1] {
        if indent >= less {
            bench.swap(Rank::Named, at..at + less, "", format!("line {line}: indented less"));
        }
    }
}

/// Lets a function return what its last line makes.
fn returns(bench: &mut Bench<'_>) {
    let kind = bench.trouble.kind.as_str();
    if !["AssertionError", "TypeError", "AttributeError", "ValueError"].contains(&kind) {
        return;
    }
    let all: Vec<_> = bench.source.lines().collect();
    let depth = |it: &str| it.len() - it.trim_start().len();
    for (index, text) in all.iter().enumerate() {
        if !text.trim_start().starts_with("def ") {
            continue;
        }
        let body = all[index + 1..]
            .iter()
            .take_while(|it| it.trim().is_empty() || depth(it) > depth(text));
        let last = body.enumerate().filter(|it| !it.1.trim().is_empty()).last();
        let Some((offset, last)) = last else { continue };
        let line = index + offset + 2;
        let Some((at, _)) = bench.line(line) else { continue };
        let code = last.trim_start();
        let begin = at + depth(last);
        if code.starts_with("return") || bench.is_check(line) {
            continue;
        }
        let what = format!("line {line}: what the function makes is returned");
        let assigned = code.split_once('=').filter(|it| !it.1.starts_with('='));
        if let Some((name, _)) = assigned {
            let name = name.trim_end_matches(['+', '-', '*', '/']).trim();
            let indent = &last[..depth(last)];
            let end = at + last.len();
            bench.swap(Rank::Named, end..end, &format!("\n{indent}return {name}"), what.clone());
            let first = text.len() - text.trim_start().len() + 4;
            let end_of_function = format!("\n{}return {name}", " ".repeat(first));
            bench.swap(Rank::Named, end..end, &end_of_function, what.clone());
        }
        bench.swap(Rank::Named, begin..begin, "return ", what);
    }
}
