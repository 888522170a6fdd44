//! The languages, one line each, and what running one takes on a machine that has its toolchain.

use std::fmt;

/// A language that code is run in; the seed's eight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Language {
    /// Python 3.
    Python,
    /// JavaScript.
    JavaScript,
    /// Java, from one source file.
    Java,
    /// C++.
    Cpp,
    /// C.
    C,
    /// Go.
    Go,
    /// Rust, without crates.
    Rust,
    /// Bash.
    Bash,
}

/// What is known of a language: names, files, and how its toolchain is found and used.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) language: Language,
    /// The seed's name, then others that mean the same.
    pub(crate) names: &'static [&'static str],
    /// The file that the code is written to.
    pub(crate) file: &'static str,
    /// Commands of which one is there when the toolchain is.
    pub(crate) commands: &'static [&'static str],
    /// A command that prints the program's full path, then perhaps the folder that it needs.
    pub(crate) find: &'static [&'static str],
    /// What an owner installs.
    pub(crate) package: &'static str,
    /// What tells that a folder beside the program is its installation and nothing else.
    pub(crate) marker: &'static str,
    /// Arguments of the step that builds; none when there is nothing to build. `{}` is the program.
    pub(crate) build: &'static [&'static str],
    /// Arguments of the step that runs. `{}` is the program.
    pub(crate) run: &'static [&'static str],
}

/// Every language.
pub(crate) const LANGUAGES: &[Facts] = &[
    Facts {
        language: Language::Python,
        names: &["python", "py", "python3"],
        file: "main.py",
        commands: &["python3"],
        find: &[
            "python3",
            "-I",
            "-c",
            "import os, sys; print(os.path.realpath(sys.executable)); print(sys.base_prefix)",
        ],
        package: "python3",
        marker: "lib",
        build: &[],
        run: &["{}", "-B", "main.py"],
    },
    Facts {
        language: Language::JavaScript,
        names: &["javascript", "js", "node"],
        file: "main.js",
        commands: &["node"],
        find: &["node", "-p", "process.execPath"],
        package: "nodejs",
        marker: "",
        build: &[],
        run: &["{}", "--max-old-space-size=128", "main.js"],
    },
    Facts {
        language: Language::Java,
        names: &["java"],
        file: "Main.java",
        commands: &["java"],
        find: &[
            "sh",
            "-c",
            "home=$(java -XshowSettings:properties -version 2>&1 | sed -n 's/^ *java.home = //p') && \
             test -x \"$home/bin/javac\" && echo \"$home/bin/java\" && echo \"$home\"",
        ],
        package: "default-jdk-headless",
        marker: "lib/modules",
        build: &[],
        run: &["{}", "-XX:+UseSerialGC", "-XX:-UsePerfData", "-Xmx96m", "Main.java"],
    },
    Facts {
        language: Language::Cpp,
        names: &["cpp", "c++"],
        file: "main.cpp",
        commands: &["g++", "c++", "clang++"],
        find: &["sh", "-c", "command -v g++ || command -v c++ || command -v clang++"],
        package: "g++",
        marker: "",
        build: &["{}", "-O1", "-o", ".program", "main.cpp"],
        run: &["/code/.program"],
    },
    Facts {
        language: Language::C,
        names: &["c"],
        file: "main.c",
        commands: &["gcc", "cc", "clang"],
        find: &["sh", "-c", "command -v gcc || command -v cc || command -v clang"],
        package: "gcc",
        marker: "",
        build: &["{}", "-O1", "-o", ".program", "main.c", "-lm"],
        run: &["/code/.program"],
    },
    Facts {
        language: Language::Go,
        names: &["go", "golang"],
        file: "main.go",
        commands: &["go"],
        find: &["sh", "-c", "root=$(go env GOROOT) && echo \"$root/bin/go\" && echo \"$root\""],
        package: "golang",
        marker: "src/runtime",
        build: &["{}", "build", "-o", ".program", "main.go"],
        run: &["/code/.program"],
    },
    Facts {
        language: Language::Rust,
        names: &["rust", "rs"],
        file: "main.rs",
        commands: &["rustc"],
        find: &[
            "sh",
            "-c",
            "root=$(rustc --print sysroot) && echo \"$root/bin/rustc\" && echo \"$root\"",
        ],
        package: "rustc and gcc",
        marker: "lib/rustlib",
        build: &["{}", "--edition=2021", "-Copt-level=1", "-o", ".program", "main.rs"],
        run: &["/code/.program"],
    },
    Facts {
        language: Language::Bash,
        names: &["bash", "sh", "shell"],
        file: "main.sh",
        commands: &["bash"],
        find: &["sh", "-c", "command -v bash"],
        package: "bash",
        marker: "",
        build: &[],
        run: &["{}", "main.sh"],
    },
];

impl Language {
    /// Returns every language.
    pub fn all() -> impl Iterator<Item = Self> {
        LANGUAGES.iter().map(|it| it.language)
    }

    /// Returns the language of that name, such as `js`, or `None` when there is none.
    pub fn of_name(name: &str) -> Option<Self> {
        LANGUAGES.iter().find(|it| it.names.contains(&name)).map(|it| it.language)
    }

    /// Returns the language of a file's ending, such as `py`, or `None` when there is none.
    pub fn of_ending(ending: &str) -> Option<Self> {
        let same = |it: &&Facts| it.file.rsplit_once('.').is_some_and(|(_, it)| it == ending);
        LANGUAGES.iter().find(same).map(|it| it.language)
    }

    /// Returns its name, such as `javascript`.
    pub fn name(self) -> &'static str {
        self.facts().names[0]
    }

    /// Returns what an owner installs to have it, such as `nodejs`.
    pub fn package(self) -> &'static str {
        self.facts().package
    }

    pub(crate) fn facts(self) -> &'static Facts {
        // The list begins with every variant in the order of the enum; a test says so.
        &LANGUAGES[self as usize]
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_language_is_found_by_its_names_and_its_ending() {
        for (index, facts) in LANGUAGES.iter().enumerate() {
            assert_eq!(facts.language as usize, index);
            for name in facts.names {
                assert_eq!(Language::of_name(name), Some(facts.language));
            }
            let ending = facts.file.rsplit_once('.').unwrap().1;
            assert_eq!(Language::of_ending(ending), Some(facts.language));
        }
        assert_eq!((Language::of_name("cobol"), Language::of_ending("txt")), (None, None));
    }
}
