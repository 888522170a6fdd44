//! Where code runs, and why: what it imports, how long it is, and what is to be had here.
//!
//! The classes are the seed's (001-10, 001-11); that a tier is weaker is always said.

use crate::code::language::Language;
use crate::code::tier::Tier;

/// What code seems to be about, by what it imports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Nothing but what its language brings.
    General,
    /// It talks to other machines.
    Network,
    /// It computes with libraries that a bare interpreter does not have.
    DataScience,
}

/// How much there is of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Complexity {
    /// At most 1,000 characters.
    Simple,
    /// More.
    Medium,
    /// More than 5,000 characters, or data science.
    Complex,
}

/// Libraries that make code data science.
const DATA_SCIENCE: &[&str] =
    &["pandas", "numpy", "scipy", "sklearn", "tensorflow", "torch", "matplotlib"];
/// Libraries that make code network code.
const NETWORK: &[&str] =
    &["requests", "urllib", "http", "https", "node:http", "node:https", "net", "socket"];

/// What the Wasm snapshot of Python cannot have: other processes, threads, native libraries.
const NOT_IN_WASM: &[&str] = &[
    "asyncio",
    "concurrent",
    "ctypes",
    "multiprocessing",
    "pathlib",
    "platform",
    "pty",
    "select",
    "selectors",
    "shutil",
    "signal",
    "sqlite3",
    "subprocess",
    "tempfile",
    "threading",
    "venv",
    "zipfile",
];

/// Returns whether Python code asks for files, processes or threads.
fn needs_a_system(language: Language, code: &str) -> bool {
    let files =
        ["open(", "os.listdir", "os.walk", "os.mkdir", "os.makedirs", "os.system", "os.popen"];
    language == Language::Python
        && (imports(language, code).iter().any(|it| NOT_IN_WASM.contains(&it.as_str()))
            || files.iter().any(|it| code.contains(it)))
}

impl Class {
    /// Returns the class of code.
    pub fn of(language: Language, code: &str) -> Self {
        let imported = imports(language, code);
        let any = |names: &[&str]| imported.iter().any(|it| names.contains(&it.as_str()));
        if any(DATA_SCIENCE) {
            Self::DataScience
        } else if any(NETWORK) {
            Self::Network
        } else {
            Self::General
        }
    }

    /// Returns its name, such as `data-science`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::General => "general",
            Self::Network => "network",
            Self::DataScience => "data-science",
        }
    }
}

impl Complexity {
    /// Returns the complexity of code.
    pub fn of(class: Class, code: &str) -> Self {
        match code.chars().count() {
            _ if class == Class::DataScience => Self::Complex,
            0..=1000 => Self::Simple,
            1001..=5000 => Self::Medium,
            _ => Self::Complex,
        }
    }

    /// Returns its name, such as `simple`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Simple => "simple",
            Self::Medium => "medium",
            Self::Complex => "complex",
        }
    }
}

/// Returns the first parts of what Python or JavaScript code imports, as far as lines tell.
fn imports(language: Language, code: &str) -> Vec<String> {
    let first = |it: &str| {
        let end = it.find(|it: char| !(it.is_alphanumeric() || "_:".contains(it)));
        it[..end.unwrap_or(it.len())].to_owned()
    };
    let mut found = Vec::new();
    for line in code.lines().map(str::trim_start) {
        match language {
            Language::Python => {
                if let Some(rest) = line.strip_prefix("import ") {
                    found.extend(rest.split(',').map(|it| first(it.trim_start())));
                } else if let Some(rest) = line.strip_prefix("from ") {
                    found.push(first(rest.trim_start()));
                }
            }
            Language::JavaScript if line.contains("require(") || line.starts_with("import ") => {
                found.extend(line.split(['"', '\'', '`']).skip(1).step_by(2).map(first));
            }
            _ => {}
        }
    }
    found
}

/// Which tiers are tried for code, in this order, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) tiers: Vec<Tier>,
    pub(crate) reason: String,
}

/// Returns where code shall run when its caller leaves it to this node.
pub(crate) fn wanted(language: Language, code: &str, in_session: bool) -> Wanted {
    let class = Class::of(language, code);
    let complexity = Complexity::of(class, code);
    let about = format!("{} {} code", complexity.name(), class.name());
    let (tiers, why): (&[Tier], _) = match (language, class) {
        _ if in_session => (&[Tier::Native], "a session has files, which Wasm has not"),
        (Language::Python, Class::General) if needs_a_system(language, code) => {
            (&[Tier::Native], "it asks for files, processes or threads, which Wasm has not")
        }
        (Language::Python | Language::JavaScript, Class::General) => {
            (&[Tier::Wasm, Tier::Native], "a fresh Wasm instance is enough")
        }
        (Language::Python | Language::JavaScript, Class::DataScience) => {
            (&[Tier::Cloud, Tier::Native], "its libraries are not in the Wasm snapshot")
        }
        (Language::Python | Language::JavaScript, Class::Network) => {
            (&[Tier::Cloud, Tier::Native], "no sandbox here has a network")
        }
        _ => (&[Tier::Native], "compiled and shell languages need this machine's toolchain"),
    };
    Wanted { tiers: tiers.to_vec(), reason: format!("{about}: {why}") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn vectors_001_10_and_001_11() {
        let class = |code| Class::of(Language::Python, code);
        assert_eq!(class("import pandas").name(), "data-science");
        assert_eq!(class("import requests").name(), "network");
        assert_eq!(class("import os, numpy as np"), Class::DataScience);
        assert_eq!(class("from urllib.request import urlopen"), Class::Network);
        assert_eq!(class("print('import pandas')"), Class::General);
        assert_eq!(Class::of(Language::JavaScript, "const http = require('http')"), Class::Network);
        for (length, name) in [(1000, "simple"), (1001, "medium"), (5001, "complex")] {
            assert_eq!(Complexity::of(Class::General, &"x".repeat(length)).name(), name);
        }
    }

    #[test]
    fn what_wasm_has_not_runs_natively() {
        let tiers = |code| wanted(Language::Python, code, false).tiers;
        for code in ["import subprocess", "from pathlib import Path", "open('a', 'w')"] {
            assert_eq!(tiers(code), [Tier::Native], "{code}");
        }
        assert_eq!(tiers("print(1 + 1)")[0], Tier::Wasm);
    }

    proptest! {
        #[test]
        fn any_code_has_a_class(code: String) {
            for language in Language::all() {
                prop_assert!(!wanted(language, &code, false).tiers.is_empty());
            }
        }
    }
}
