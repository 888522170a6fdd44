//! What people and programs see: results on the standard output, everything else on the other one.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use serde_json::{Value, json};

use crate::failed::Failed;

/// Headings and names.
pub(crate) const BOLD: Style = Style::new().bold();
/// What matters less.
pub(crate) const DIM: Style = Style::new().dimmed();
/// What went well.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// What went wrong.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();

/// Where output goes and in which form.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ui {
    json: bool,
}

impl Ui {
    /// Makes the output: JSON for programs, or words for people.
    pub(crate) const fn new(json: bool) -> Self {
        Self { json }
    }

    /// Returns whether programs read along.
    pub(crate) const fn is_json(self) -> bool {
        self.json
    }

    /// Writes a result: as one JSON document, or as the words that `people` makes.
    pub(crate) fn result(self, record: &impl Serialize, people: impl FnOnce() -> String) {
        if self.json {
            let text = serde_json::to_string(record)
                .unwrap_or_else(|err| json!({ "unwritable": err.to_string() }).to_string());
            out(format_args!("{text}\n"));
        } else {
            out(format_args!("{}\n", people().trim_end_matches('\n')));
        }
    }

    /// Writes a piece of a result for people; programs get the whole later.
    pub(crate) fn piece(self, text: impl Display) {
        if !self.json {
            out(format_args!("{text}"));
        }
    }

    /// Writes raw bytes to the standard output.
    pub(crate) fn raw(self, bytes: &[u8]) {
        let mut stdout = std::io::stdout().lock();
        // Whoever closed the other end wants no more.
        drop(stdout.write_all(bytes).and_then(|()| stdout.flush()));
    }

    /// Writes what somebody's code or model wrote to the standard output: as it is for a file or a
    /// program, and tame on a terminal.
    pub(crate) fn strange(self, bytes: &[u8]) {
        if std::io::stdout().is_terminal() {
            self.raw(tame(&String::from_utf8_lossy(bytes)).as_bytes());
        } else {
            self.raw(bytes);
        }
    }

    /// Writes the same to the other stream.
    pub(crate) fn strange_aside(self, bytes: &[u8]) {
        let mut stderr = std::io::stderr().lock();
        let text = String::from_utf8_lossy(bytes);
        let text = if stderr.is_terminal() { tame(&text) } else { text };
        // Nobody is left to be told that this stream is closed.
        drop(stderr.write_all(text.as_bytes()));
    }

    /// Says something beside the result.
    pub(crate) fn note(self, text: impl Display) {
        drop(writeln!(anstream::stderr().lock(), "{text}"));
    }

    /// Tells why a command failed.
    pub(crate) fn failed(self, failed: &Failed) {
        let Failed { kind, code, message, hint, ways } = failed;
        if self.json {
            let ways: Vec<Value> = ways.iter().map(|it| json!(it)).collect();
            let error = json!({ "kind": kind, "code": code, "message": message, "hint": hint, "ways": ways });
            out(format_args!("{}\n", json!({ "error": error })));
        }
        // Messages repeat words of others: of a function, of another machine.
        self.note(format_args!("{BAD}error:{BAD:#} {}", tame(message)));
        for way in ways {
            self.note(format_args!("  {BOLD}{}{BOLD:#}: {}", way.way, tame(&way.reason)));
            self.note(format_args!("  {DIM}{}{DIM:#}", way.next_step));
        }
        if let Some(hint) = hint {
            self.note(format_args!("{GOOD}hint:{GOOD:#} {hint}"));
        }
    }

    /// Returns a bar for something that takes a while; invisible unless a person watches.
    pub(crate) fn bar(self, total: u64) -> ProgressBar {
        let watched = !self.json && std::io::stderr().is_terminal();
        let target =
            if watched { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(total), target);
        let style = "{msg:28} {bar:30} {bytes:>10} of {total_bytes} {bytes_per_sec:>12} {eta:>4}";
        bar.with_style(
            ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()),
        )
    }
}

fn out(text: std::fmt::Arguments<'_>) {
    let mut stdout = anstream::stdout().lock();
    // Whoever closed the other end wants no more.
    drop(stdout.write_fmt(text).and_then(|()| stdout.flush()));
}

/// Returns a text in which a terminal finds nothing to obey: control characters are spelt out, but for
/// the ends of lines and tabulators.
pub(crate) fn tame(text: &str) -> Cow<'_, str> {
    let bare = |it: char| it.is_control() && !matches!(it, '\n' | '\t');
    if !text.replace("\r\n", "\n").contains(bare) {
        return Cow::Borrowed(text);
    }
    let mut tamed = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(it) = rest.next() {
        if bare(it) && !(it == '\r' && rest.peek() == Some(&'\n')) {
            tamed.extend(it.escape_unicode());
        } else {
            tamed.push(it);
        }
    }
    Cow::Owned(tamed)
}

/// Lines of cells under headings, each column as wide as its widest cell.
#[derive(Debug)]
pub(crate) struct Table<const N: usize> {
    headings: [&'static str; N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    /// Makes a table without rows.
    pub(crate) const fn new(headings: [&'static str; N]) -> Self {
        Self { headings, rows: Vec::new() }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells);
    }

    /// Returns the table as text.
    pub(crate) fn text(&self) -> String {
        let mut widths = self.headings.map(|it| it.chars().count());
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let line = |cells: [&str; N]| {
            let padded = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
            padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        let mut text = format!("{BOLD}{}{BOLD:#}\n", line(self.headings));
        for row in &self.rows {
            text.push_str(&line(row.each_ref().map(String::as_str)));
            text.push('\n');
        }
        text
    }
}

/// Writes a duration as people say it: `12 µs`, `3.4 ms`, `1.2 s`.
pub(crate) fn spoken(time: Duration) -> String {
    let micros = time.as_micros();
    match micros {
        0..1000 => format!("{micros} µs"),
        1000..1_000_000 => format!("{:.1} ms", time.as_secs_f64() * 1e3),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_must_be() {
        let mut table = Table::new(["name", "n"]);
        table.row(["longer".to_owned(), "1".to_owned()]);
        table.row(["é".to_owned(), "22".to_owned()]);
        let text = anstream::adapter::strip_str(&table.text()).to_string();
        assert_eq!(text, "name    n\nlonger  1\né       22\n");
    }

    #[test]
    fn a_terminal_finds_nothing_to_obey() {
        for (text, expected) in [
            ("a\tb\r\nc\n", "a\tb\r\nc\n"),
            ("\u{1b}]52;c;cm0gLXJm\u{7}", "\\u{1b}]52;c;cm0gLXJm\\u{7}"),
            ("safe\rhidden", "safe\\u{d}hidden"),
            ("\u{9b}2J\r\n", "\\u{9b}2J\r\n"),
        ] {
            assert_eq!(tame(text), expected);
        }
    }

    #[test]
    fn durations_are_spoken() {
        assert_eq!(spoken(Duration::from_micros(12)), "12 µs");
        assert_eq!(spoken(Duration::from_micros(3_440)), "3.4 ms");
        assert_eq!(spoken(Duration::from_millis(1_234)), "1.2 s");
    }
}
