//! What source files import that no plugin may have, as far as their text tells.
//!
//! The sandbox holds whatever the text hides; this is for the author to know before the first call.

use crate::folder::EntryKind;

/// What a Python plugin does not import.
const PYTHON: &[&str] = &[
    "asyncio",
    "concurrent",
    "ctypes",
    "ftplib",
    "http",
    "importlib",
    "mmap",
    "multiprocessing",
    "os",
    "pathlib",
    "pty",
    "requests",
    "shutil",
    "signal",
    "smtplib",
    "socket",
    "socketserver",
    "sqlite3",
    "ssl",
    "subprocess",
    "tempfile",
    "threading",
    "urllib",
];
/// What a JavaScript plugin does not import.
const JAVASCRIPT: &[&str] = &[
    "child_process",
    "cluster",
    "dgram",
    "dns",
    "http",
    "http2",
    "https",
    "inspector",
    "module",
    "net",
    "os",
    "tls",
    "vm",
    "worker_threads",
];

/// Returns the risky modules that a source file imports, each once; none for a component.
pub(crate) fn risks(kind: EntryKind, source: &str) -> Vec<&'static str> {
    let (risky, imports): (_, fn(&str, &str) -> bool) = match kind {
        EntryKind::Component => return Vec::new(),
        EntryKind::Python => (PYTHON, python_imports),
        EntryKind::JavaScript => (JAVASCRIPT, javascript_imports),
    };
    let mut found: Vec<_> = risky.iter().copied().filter(|it| imports(source, it)).collect();
    let hidden = kind == EntryKind::Python && source.contains("__import__");
    found.extend(hidden.then_some("__import__"));
    found
}

fn python_imports(source: &str, module: &str) -> bool {
    let first = |it: &str| it.trim_start().split(['.', ' ', '\t', '\\']).next() == Some(module);
    source.split(['\n', ';', ':']).map(str::trim).any(|it| {
        let from = it.strip_prefix("from ").is_some_and(first);
        from || it.strip_prefix("import ").is_some_and(|it| it.split(',').any(first))
    })
}

fn javascript_imports(source: &str, module: &str) -> bool {
    source.lines().filter(|it| it.contains("require") || it.contains("import")).any(|line| {
        let names = line.split(['"', '\'', '`']).skip(1).step_by(2);
        names.map(|it| it.strip_prefix("node:").unwrap_or(it)).any(|it| it == module)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kind: EntryKind, source: &str, expected: &[&str]) {
        assert_eq!(risks(kind, source), expected, "{source}");
    }

    #[test]
    fn python() {
        check(EntryKind::Python, "import json, sys\nprint('import os')", &[]);
        check(EntryKind::Python, "import json, os.path as p", &["os"]);
        check(
            EntryKind::Python,
            "if True: import socket; from subprocess import run",
            &["socket", "subprocess"],
        );
        check(EntryKind::Python, "__import__('o' + 's')", &["__import__"]);
    }

    #[test]
    fn javascript() {
        check(EntryKind::JavaScript, "const fs = require('fs'); const os = 1", &[]);
        check(EntryKind::JavaScript, "require('node:net'); import x from \"vm\"", &["net", "vm"]);
        check(EntryKind::Component, "import os", &[]);
    }
}
