//! What an interpreter or compiler says of a failure, taken apart.

use serde::Serialize;

use crate::code::Language;

/// The most lines of a trace that are kept.
const MOST_LINES: usize = 20;
/// The longest message that is kept, in characters.
const LONGEST: usize = 500;

/// Why a script failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trouble {
    /// The error's class, such as `NameError`; `Error` when nothing tells it.
    pub kind: String,
    /// What the error says.
    pub message: String,
    /// The file that the script was run as.
    pub file: &'static str,
    /// Lines of the script on the way to the failure, from 1, the innermost first.
    pub lines: Vec<usize>,
}

impl Trouble {
    /// Reads what a script wrote to its standard error; `otherwise` is what is known beside that.
    pub fn of(language: Language, stderr: &str, otherwise: Option<&str>) -> Self {
        let file = language.facts().file;
        let mut lines = match language {
            Language::Python => python_lines(stderr),
            _ => placed_lines(stderr, file),
        };
        lines.dedup();
        lines.truncate(MOST_LINES);
        let mut told = stderr.lines().filter_map(classed);
        // Python ends with the error; the others begin with it.
        let found = match language {
            Language::Python => told.next_back(),
            _ => told.next(),
        };
        let (kind, message) = found.unwrap_or_else(|| {
            let last = stderr.lines().rev().find(|it| !it.trim().is_empty());
            ("Error".to_owned(), last.or(otherwise).unwrap_or_default().trim().to_owned())
        });
        Self { kind, message: message.chars().take(LONGEST).collect(), file, lines }
    }

    /// Returns whether the script could not even be read.
    pub fn is_syntax(&self) -> bool {
        matches!(self.kind.as_str(), "SyntaxError" | "IndentationError" | "TabError")
    }

    /// Returns what stands between the first two quotes of the message, such as a name.
    pub(super) fn quoted(&self) -> Option<&str> {
        let mut parts = self.message.split('\'');
        parts.nth(1)
    }
}

/// Reads a line such as `NameError: name 'x' is not defined`.
fn classed(line: &str) -> Option<(String, String)> {
    let line = line.trim();
    let line = line.strip_prefix("Uncaught ").unwrap_or(line);
    let (class, message) = line.split_once(':').unwrap_or((line, ""));
    let (class, message) = (class.trim(), message.trim());
    let plain = |it: char| it.is_ascii_alphanumeric() || it == '_' || it == '.';
    let ends = ["Error", "Exception", "Interrupt", "Iteration", "Exit", "Warning"];
    let good = !class.is_empty()
        && class.chars().all(plain)
        && (class == "error" || ends.iter().any(|it| class.ends_with(it)));
    good.then(|| (class.rsplit('.').next().unwrap_or(class).to_owned(), message.to_owned()))
}

/// Reads `File "main.py", line 3` of a trace, last line first, without what lies in the library.
fn python_lines(stderr: &str) -> Vec<usize> {
    let of_line = |line: &str| {
        let (name, rest) = line.trim().strip_prefix("File \"")?.split_once("\", line ")?;
        let digits = rest.split(|it: char| !it.is_ascii_digit()).next()?;
        name.ends_with("main.py").then(|| digits.parse().ok())?
    };
    let mut lines: Vec<_> = stderr.lines().filter_map(of_line).collect();
    lines.reverse();
    lines
}

/// Reads `main.c:3` and `<input>:3`, wherever they stand.
fn placed_lines(stderr: &str, file: &str) -> Vec<usize> {
    let mut lines = Vec::new();
    for line in stderr.lines() {
        for place in [file, "<input>"] {
            let Some((_, rest)) = line.split_once(place) else { continue };
            let number = rest.strip_prefix(':').unwrap_or_default();
            let digits = number.split(|it: char| !it.is_ascii_digit()).next().unwrap_or_default();
            lines.extend(digits.parse::<usize>().ok());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(language: Language, stderr: &str, kind: &str, message: &str, lines: &[usize]) {
        let got = Trouble::of(language, stderr, None);
        assert_eq!(
            (got.kind.as_str(), got.message.as_str(), &got.lines[..]),
            (kind, message, lines)
        );
    }

    #[test]
    fn a_trace_of_python() {
        let stderr = "Traceback (most recent call last):\n  File \"/code/main.py\", line 3, in <module>\n    \
             print(f(1))\n  File \"/usr/lib/python3/x.py\", line 9, in g\n  File \"/code/main.py\", line 2, in f\n\
             NameError: name 'y' is not defined\n";
        check(Language::Python, stderr, "NameError", "name 'y' is not defined", &[2, 3]);
        check(Language::Python, "AssertionError\n", "AssertionError", "", &[]);
    }

    #[test]
    fn traces_of_javascript() {
        let wasm = "Uncaught ReferenceError: y is not defined\n    at f (<input>:1:28)\n    at <eval> (<input>:2:1)\n";
        check(Language::JavaScript, wasm, "ReferenceError", "y is not defined", &[1, 2]);
        let node = "file:///code/main.js:4\nlet a;\n\nTypeError: a.b is not a function\n    at file:///code/main.js:4:18\n";
        check(Language::JavaScript, node, "TypeError", "a.b is not a function", &[4]);
    }

    #[test]
    fn a_failure_without_a_class() {
        let got = Trouble::of(Language::Bash, "main.sh: line 2: nope: command not found\n", None);
        assert_eq!((got.kind.as_str(), got.lines.len()), ("Error", 0));
        assert_eq!(Trouble::of(Language::Python, "", Some("it was ended")).message, "it was ended");
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_read_in_peace(stderr in "\\PC{0,200}") {
            for language in Language::all() {
                let got = Trouble::of(language, &stderr, None);
                prop_assert!(got.lines.len() <= MOST_LINES && got.message.chars().count() <= LONGEST);
            }
        }
    }
}
