//! Changed scripts that may pass, the likeliest first.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::code::Language;

use super::checks::{check_lines, keeps_checks};
use super::tokens::{Kind, Token, tokens};
use super::trouble::Trouble;
use super::{javascript, operators, python};

/// The most proposals.
const MOST: usize = 400;
/// The longest script that is changed, in bytes; above, there are no proposals.
const LONGEST: usize = 64 << 10;

/// How near a change is to what the error says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rank {
    /// The error itself points to it, such as a name that is nearly another one.
    Named,
    /// It is in a line on the way to the failure.
    Near,
    /// It is elsewhere.
    Far,
}

/// A changed script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The whole script.
    pub code: String,
    /// What was changed, in words.
    pub what: String,
    /// How near it is.
    pub rank: Rank,
}

/// Returns changed scripts, the likeliest first and none twice; at most 400, and none for a script above 64 KiB.
pub fn proposals(language: Language, source: &str, trouble: &Trouble) -> Vec<Proposal> {
    if source.len() > LONGEST {
        return Vec::new();
    }
    let mut bench = Bench::new(language, source, trouble);
    match language {
        Language::Python => python::propose(&mut bench),
        Language::JavaScript => javascript::propose(&mut bench),
        _ => {}
    }
    operators::propose(&mut bench);
    let mut found = bench.found;
    // Within a rank they stay in the order in which they were thought of.
    found.sort_by_key(|it| it.rank);
    let mut seen = BTreeSet::new();
    found.retain(|it| seen.insert(it.code.clone()));
    found.retain(|it| keeps_checks(language, source, &it.code, trouble));
    found.truncate(MOST);
    found
}

/// A script under repair.
pub(super) struct Bench<'a> {
    pub(super) source: &'a str,
    pub(super) trouble: &'a Trouble,
    pub(super) tokens: Vec<Token<'a>>,
    checks: Vec<usize>,
    found: Vec<Proposal>,
}

impl<'a> Bench<'a> {
    fn new(language: Language, source: &'a str, trouble: &'a Trouble) -> Self {
        let (tokens, checks) = (tokens(language, source), check_lines(language, source));
        Self { source, trouble, tokens, checks, found: Vec::new() }
    }

    /// Proposes the script with these bytes of it replaced.
    pub(super) fn swap(
        &mut self,
        rank: Rank,
        bytes: std::ops::Range<usize>,
        with: &str,
        what: String,
    ) {
        // Ten times what is kept bounds the work; most that is left out is a check or a double.
        if self.found.len() >= 10 * MOST {
            return;
        }
        let (Some(head), Some(tail)) =
            (self.source.get(..bytes.start), self.source.get(bytes.end..))
        else {
            return;
        };
        self.found.push(Proposal { code: format!("{head}{with}{tail}"), what, rank });
    }

    /// Returns the tokens of a line.
    pub(super) fn of_line(&self, line: usize) -> Vec<Token<'a>> {
        self.tokens.iter().filter(|it| it.line == line).copied().collect()
    }

    /// Returns where a line begins, and its text without its end.
    pub(super) fn line(&self, line: usize) -> Option<(usize, &'a str)> {
        let text = self.source.lines().nth(line.checked_sub(1)?)?;
        // A line of `lines` is a piece of the source.
        Some((text.as_ptr() as usize - self.source.as_ptr() as usize, text))
    }

    /// Returns whether a line checks, and is left as it is.
    pub(super) fn is_check(&self, line: usize) -> bool {
        self.checks.contains(&line)
    }

    /// Returns the lines that have tokens: those of the trace first, then the others from the fault upwards and
    /// from there downwards, each with its rank.
    pub(super) fn lines(&self) -> Vec<(usize, Rank)> {
        let mut others: Vec<_> = self.tokens.iter().map(|it| it.line).collect();
        others.dedup();
        let fault = self.trouble.lines.first().copied().unwrap_or(usize::MAX);
        others.sort_by_key(|it| (*it > fault, it.abs_diff(fault)));
        let mut lines: Vec<(usize, Rank)> =
            self.trouble.lines.iter().map(|it| (*it, Rank::Near)).collect();
        lines.extend(others.into_iter().map(|it| (it, Rank::Far)));
        let mut seen = BTreeSet::new();
        lines.retain(|it| seen.insert(it.0));
        lines
    }

    /// Returns every word of the script, once each.
    pub(super) fn words(&self) -> BTreeSet<&'a str> {
        self.tokens.iter().filter(|it| it.kind == Kind::Word).map(|it| it.text).collect()
    }

    /// Proposes other words for every place on a line where one stands.
    pub(super) fn rename(&mut self, line: usize, name: &str, to: &[&str]) {
        let places: Vec<_> = self.of_line(line).into_iter().filter(|it| it.is(name)).collect();
        for place in places {
            for to in to {
                let what = format!("line {line}: `{name}` is now `{to}`");
                self.swap(Rank::Named, place.at..place.end(), to, what);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(language: Language, source: &str, stderr: &str, mended: &str) {
        let trouble = Trouble::of(language, stderr, None);
        let found = proposals(language, source, &trouble);
        let at = found.iter().position(|it| it.code == mended);
        let all = || found.iter().map(|it| it.what.clone()).collect::<Vec<_>>();
        assert!(at.is_some(), "{trouble:?}: {:#?}", all());
    }

    fn python(source: &str, line: usize, error: &str, mended: &str) {
        let stderr = format!("  File \"main.py\", line {line}\n{error}\n");
        check(Language::Python, source, &stderr, mended);
    }

    fn javascript(source: &str, line: usize, error: &str, mended: &str) {
        check(
            Language::JavaScript,
            source,
            &format!("Uncaught {error}\n  at <input>:{line}:1\n"),
            mended,
        );
    }

    #[test]
    fn names_in_python() {
        python(
            "total = 1\nprint(totl)\n",
            2,
            "NameError: name 'totl' is not defined",
            "total = 1\nprint(total)\n",
        );
        python("math.pi\n", 1, "NameError: name 'math' is not defined", "import math\nmath.pi\n");
        python(
            "sqrt(4)\n",
            1,
            "NameError: name 'sqrt' is not defined",
            "from math import sqrt\nsqrt(4)\n",
        );
        python(
            "[].push(1)\n",
            1,
            "AttributeError: 'list' object has no attribute 'push'",
            "[].append(1)\n",
        );
        let unbound = "UnboundLocalError: cannot access local variable 'n' where it is not associated with a value";
        python(
            "n = 0\ndef f():\n    n += 1\n",
            3,
            unbound,
            "n = 0\ndef f():\n    global n\n    n += 1\n",
        );
        python("import jsn\n", 1, "ModuleNotFoundError: No module named 'jsn'", "import json\n");
    }

    #[test]
    fn syntax_in_python() {
        python(
            "if True\n    print(1)\n",
            1,
            "SyntaxError: expected ':'",
            "if True:\n    print(1)\n",
        );
        python("print((1)\n", 1, "SyntaxError: '(' was never closed", "print((1))\n");
        python("a = 'x\n", 1, "SyntaxError: unterminated string literal", "a = 'x'\n");
        python("if a = 1:\n    b\n", 1, "SyntaxError: invalid syntax", "if a == 1:\n    b\n");
        python(
            "if a:\nb()\n",
            2,
            "IndentationError: expected an indented block",
            "if a:\n    b()\n",
        );
    }

    #[test]
    fn types_and_bounds_in_python() {
        python(
            "'a' + 1\n",
            1,
            "TypeError: can only concatenate str (not \"int\") to str",
            "'a' + str(1)\n",
        );
        python("n + 1\n", 1, "TypeError: can only concatenate str", "int(n) + 1\n");
        python(
            "def f(x):\n    x + 1\nassert f(1) == 2\n",
            3,
            "AssertionError",
            "def f(x):\n    return x + 1\nassert f(1) == 2\n",
        );
        python("a[len(a)]\n", 1, "IndexError: list index out of range", "a[len(a) - 1]\n");
        python("range(1, n)\n", 1, "AssertionError", "range(1, n + 1)\n");
        python("d[k]\n", 1, "KeyError: 'x'", "d.get(k, 0)\n");
        python("a / b\n", 1, "ZeroDivisionError: division by zero", "a / (b or 1)\n");
    }

    #[test]
    fn javascript_is_mended_too() {
        javascript(
            "let total = 1;\ntotl;\n",
            2,
            "ReferenceError: totl is not defined",
            "let total = 1;\ntotal;\n",
        );
        javascript("'a'.toUppercase()\n", 1, "TypeError: not a function", "'a'.toUpperCase()\n");
        javascript(
            "const x = 1;\nx = 2;\n",
            2,
            "TypeError: 'x' is read-only",
            "let x = 1;\nx = 2;\n",
        );
        javascript(
            "for (let i = 0; i <= a.length; i++) {}\n",
            1,
            "TypeError: x",
            "for (let i = 0; i < a.length; i++) {}\n",
        );
        javascript("f(1;\n", 1, "SyntaxError: expected ')'", "f(1);\n");
        javascript(
            "function f(x) {\n  x + 1;\n}\n",
            2,
            "Error: x",
            "function f(x) {\n  return x + 1;\n}\n",
        );
    }

    proptest! {
        #[test]
        fn whatever_the_script_is_there_is_an_end(source in "[ -~\n]{0,120}", error in "[ -~]{0,40}") {
            for language in Language::all() {
                let stderr = format!("  File \"main.py\", line 2\nmain.js:1\n{error}\nNameError: name 'a' is not\n");
                let trouble = Trouble::of(language, &stderr, None);
                let found = proposals(language, &source, &trouble);
                prop_assert!(found.len() <= MOST && found.iter().all(|it| it.code != source));
            }
        }
    }
}
