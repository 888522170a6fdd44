//! `cargo xtask spread`: how many production files an addition of each kind touches.

use std::io::{self, Write};
use std::path::Path;
use std::process::Command;

use crate::rust_text::is_beside_production;
use crate::tree::{Tree, TreeError};

/// The most production files that one more of a kind may touch.
const MOST: usize = 3;
/// How many of the last additions of each kind are shown.
const LAST: usize = 3;

/// A kind of thing that there are many of.
#[derive(Debug)]
struct Kind {
    /// What one of it is called.
    name: &'static str,
    /// Where one of it lives: `*` stands for one name.
    place: &'static str,
    /// Members of that place that are no such thing.
    except: &'static [&'static str],
}

/// What there are many of, and where.
const KINDS: &[Kind] = &[
    Kind { name: "CLI command", place: "crates/sedge/src/commands/*.rs", except: &[] },
    Kind {
        name: "HTTP door",
        place: "crates/sedge-server/src/*.rs",
        except: &["access", "asker", "lib", "refusal", "routes", "server"],
    },
    Kind { name: "capability kind", place: "crates/sedge-gateway/src/local/*.rs", except: &[] },
    Kind {
        name: "model provider",
        place: "crates/sedge-gateway/src/providers/*.rs",
        except: &["recordings", "tests"],
    },
    Kind { name: "model source", place: "crates/sedge-gateway/src/sources/*.rs", except: &[] },
    Kind {
        name: "routing strategy",
        place: "crates/sedge-routing/src/strategies/*.rs",
        except: &[],
    },
    Kind { name: "guest function", place: "functions/*", except: &["tools", "wit"] },
    Kind { name: "tidy check", place: "xtask/src/checks/*.rs", except: &[] },
];

/// Why the spread could not be told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpreadError {
    /// Git is not there.
    #[error("cannot run git")]
    NoGit(#[source] io::Error),
    /// Git refused.
    #[error("git failed: {words}")]
    Git {
        /// What it said.
        words: String,
    },
    /// The workspace could not be read.
    #[error("cannot read the workspace")]
    Tree(#[from] TreeError),
    /// The answer could not be written.
    #[error("cannot write the answer")]
    Write(#[from] io::Error),
}

/// One commit: its short name, its first line, and what it did to which file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Change {
    id: String,
    title: String,
    parents: usize,
    files: Vec<(char, String)>,
}

/// What a commit tells about a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Told {
    /// It added this one, touching so many production files.
    One(String, usize),
    /// It added several at once or the kind itself, so it says nothing about one more.
    Several(usize),
}

/// Prints the last additions of each kind; returns whether all stayed within the limit.
pub(crate) fn print(root: &Path, out: &mut dyn Write) -> Result<bool, SpreadError> {
    let shallow = git(root, &["rev-parse", "--is-shallow-repository"])?.trim() == "true";
    let log = git(root, &["log", "--no-renames", "--name-status", "--format=%x01%h%x02%p%x02%s"])?;
    let changes = changes(&log);
    let tree = Tree::read(root)?;
    let mut kept = true;
    for kind in KINDS {
        kept &= print_kind(kind, &changes, &tree, out)?;
    }
    if shallow {
        writeln!(
            out,
            "\nThis clone is shallow: older additions are not seen. `git fetch --unshallow` brings them."
        )?;
    }
    let verdict = if kept { "every addition stayed within" } else { "some additions went beyond" };
    writeln!(out, "\n{verdict} {MOST} production files")?;
    Ok(kept)
}

fn print_kind(
    kind: &Kind,
    changes: &[Change],
    tree: &Tree,
    out: &mut dyn Write,
) -> Result<bool, SpreadError> {
    writeln!(out, "{} ({})", kind.name, kind.place)?;
    let mut kept = true;
    let mut shown = 0;
    for change in changes {
        match told(kind, change) {
            Some(Told::One(path, touched)) if shown < LAST => {
                let mark = if touched > MOST { "  TOO MANY" } else { "" };
                kept &= touched <= MOST;
                shown += 1;
                writeln!(out, "  {touched} files  {} {path}: {}{mark}", change.id, change.title)?;
            }
            Some(Told::Several(many)) => {
                writeln!(out, "  not judged: {} founded {many} at once", change.id)?;
            }
            _ => {}
        }
    }
    let today = named_in(kind, tree);
    if let Some((path, others)) = today.iter().max_by_key(|(_, others)| others.len()) {
        let touched = 1 + others.len();
        let mark = if touched > MOST { "  TOO MANY" } else { "" };
        kept &= touched <= MOST;
        let others = others.join(" + ");
        writeln!(out, "  today: {touched} files at most, {path} + {others}{mark}")?;
    } else if shown == 0 {
        writeln!(out, "  none yet")?;
    }
    Ok(kept)
}

/// Returns which production files of its own crate name each thing of the kind today.
///
/// This is what one more would have to touch, for a history that is too young to tell.
fn named_in<'a>(kind: &Kind, tree: &'a Tree) -> Vec<(&'a str, Vec<&'a str>)> {
    if !kind.place.ends_with(".rs") {
        return Vec::new();
    }
    let things = tree.paths().filter(|it| thing(kind, it).is_some_and(|whole| whole == *it));
    let seen = things.map(|path| {
        let home = path.split("/src/").next().unwrap_or(path);
        let stem = path.rsplit('/').next().unwrap_or(path).trim_end_matches(".rs");
        // A file in `why/` belongs to `why.rs`.
        let whole = |it: &str| {
            let depth = kind.place.matches('/').count();
            let mut parts = it.splitn(depth + 2, '/').take(depth + 1).collect::<Vec<_>>().join("/");
            if !parts.ends_with(".rs") {
                parts.push_str(".rs");
            }
            parts
        };
        let others = tree.ending(".rs").filter(|(other, text)| {
            let sibling = thing(kind, &whole(other)).is_some();
            let product = other.starts_with(&format!("{home}/src/")) && is_production(other);
            product && !sibling && names_module(crate::rust_text::code_part(text), stem)
        });
        (path, others.map(|(other, _)| other).collect())
    });
    seen.collect()
}

/// Returns whether a source declares the module or goes through it.
fn names_module(text: &str, module: &str) -> bool {
    let declared = format!("mod {module};");
    let through = format!("{module}::");
    text.contains(&declared)
        || text.match_indices(&through).any(|(at, _)| {
            let before = text[..at].chars().next_back();
            !before.is_some_and(|it| it.is_alphanumeric() || it == '_')
        })
}

fn git(root: &Path, args: &[&str]) -> Result<String, SpreadError> {
    let done = Command::new("git").arg("-C").arg(root).args(args).output();
    let done = done.map_err(SpreadError::NoGit)?;
    if !done.status.success() {
        let words = String::from_utf8_lossy(&done.stderr).trim().to_owned();
        return Err(SpreadError::Git { words });
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// Reads what `git log --name-status` printed, newest first.
fn changes(log: &str) -> Vec<Change> {
    let commits = log.split('\u{1}').skip(1);
    commits.filter_map(change).collect()
}

fn change(text: &str) -> Option<Change> {
    let mut lines = text.lines();
    let mut head = lines.next()?.split('\u{2}');
    let (id, parents, title) = (head.next()?, head.next()?, head.next()?);
    let files = lines.filter_map(|it| {
        let (what, path) = it.split_once('\t')?;
        Some((what.chars().next()?, path.to_owned()))
    });
    Some(Change {
        id: id.to_owned(),
        title: title.to_owned(),
        parents: parents.split_whitespace().count(),
        files: files.collect(),
    })
}

/// Returns what a commit tells about a kind; `None` when it added none of it.
fn told(kind: &Kind, change: &Change) -> Option<Told> {
    let added = change.files.iter().filter(|(what, _)| *what == 'A');
    let mut things: Vec<&str> = added.filter_map(|(_, path)| thing(kind, path)).collect();
    things.dedup();
    match things[..] {
        [] => None,
        [one] if change.parents > 0 && !founds(kind, change) => {
            let others = change.files.iter().filter(|(_, path)| {
                is_production(path)
                    && !path.starts_with(&format!("{}/", one.trim_end_matches(".rs")))
            });
            // A guest is a folder: its own files count as one.
            let touched = others.count() + usize::from(!one.ends_with(".rs"));
            Some(Told::One(one.to_owned(), touched))
        }
        ref several => Some(Told::Several(several.len())),
    }
}

/// Returns whether the commit also made the list in which the kind is registered.
fn founds(kind: &Kind, change: &Change) -> bool {
    let Some((folder, _)) = kind.place.rsplit_once('/') else { return false };
    let list = format!("{folder}.rs");
    change.files.iter().any(|(what, path)| *what == 'A' && *path == list)
}

/// Returns the thing of this kind that a path is, or is a part of.
fn thing<'a>(kind: &Kind, path: &'a str) -> Option<&'a str> {
    let (before, after) = kind.place.split_once('*')?;
    let rest = path.strip_prefix(before)?;
    let length = if after.is_empty() {
        rest.find('/')?
    } else {
        rest.strip_suffix(after).filter(|it| !it.contains('/'))?.len()
    };
    let name = &rest[..length];
    let taken = before.len() + length + after.len();
    (!kind.except.contains(&name) && name != "tests").then(|| &path[..taken])
}

/// Returns whether a change to this file changes the product, not its tests, docs or lock file.
fn is_production(path: &str) -> bool {
    let paper = [".md", ".lock", ".snap", ".sha256", ".wasm"].iter().any(|it| path.ends_with(it));
    !paper
        && !is_beside_production(path)
        && !path.starts_with("docs/")
        && !path.starts_with("bench/")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::fixture;

    const COMMAND: &Kind = &KINDS[0];
    const GUEST: Kind = Kind { name: "guest", place: "functions/*", except: &["tools"] };

    #[track_caller]
    fn check(kind: &Kind, files: &str, expected: Option<Told>) {
        let log = format!("\u{1}abc\u{2}def\u{2}cli: add it\n\n{files}");
        let changes = changes(&log);
        assert_eq!(changes.len(), 1);
        assert_eq!(told(kind, &changes[0]), expected);
    }

    #[test]
    fn one_more_command() {
        let files = "A\tcrates/sedge/src/commands/why.rs\nM\tcrates/sedge/src/commands.rs
M\tREADME.md\nA\tcrates/sedge/tests/it/why.rs\nM\tCargo.lock\n";
        let path = "crates/sedge/src/commands/why.rs".to_owned();
        check(COMMAND, files, Some(Told::One(path, 2)));
    }

    #[test]
    fn a_command_that_reaches_far() {
        let files = "A\tcrates/sedge/src/commands/why.rs\nM\ta.rs\nM\tb.rs\nM\tc.rs\n";
        let path = "crates/sedge/src/commands/why.rs".to_owned();
        check(COMMAND, files, Some(Told::One(path, 4)));
    }

    #[test]
    fn the_first_ones_and_none() {
        let two = "A\tcrates/sedge/src/commands/a.rs\nA\tcrates/sedge/src/commands/b.rs\n";
        check(COMMAND, two, Some(Told::Several(2)));
        let list = "A\tcrates/sedge/src/commands/a.rs\nA\tcrates/sedge/src/commands.rs\n";
        check(COMMAND, list, Some(Told::Several(1)));
        check(COMMAND, "M\tcrates/sedge/src/commands/a.rs\n", None);
    }

    #[test]
    fn a_folder_counts_once() {
        let files = "A\tfunctions/echo/a.c\nA\tfunctions/echo/b.h\nM\tfunctions/build.sh\n";
        check(&GUEST, files, Some(Told::One("functions/echo".to_owned(), 2)));
        check(&GUEST, "A\tfunctions/tools/a.rs\n", None);
    }

    #[test]
    fn a_commit_without_parents_is_not_judged() {
        let log = "\u{1}abc\u{2}\u{2}first\n\nA\tcrates/sedge/src/commands/a.rs\n";
        assert_eq!(told(COMMAND, &changes(log)[0]), Some(Told::Several(1)));
    }

    #[test]
    fn what_names_a_command_today() {
        let (_dir, tree) = fixture::tree(&[
            ("crates/sedge/src/commands/why.rs", "//! x\n"),
            ("crates/sedge/src/commands/up.rs", "use super::why::Args;\n"),
            ("crates/sedge/src/commands/up/quick.rs", "use super::super::why::Args;\n"),
            ("crates/sedge/src/commands.rs", "mod why;\nmod up;\n"),
            ("crates/sedge/src/main.rs", "commands::why::run();\n"),
            ("crates/sedge/src/other.rs", "somewhy::run();\n"),
        ]);
        let found = named_in(COMMAND, &tree);
        let list = "crates/sedge/src/commands.rs";
        let expected = vec![
            ("crates/sedge/src/commands/up.rs", vec![list]),
            ("crates/sedge/src/commands/why.rs", vec![list, "crates/sedge/src/main.rs"]),
        ];
        assert_eq!(found, expected);
    }
}
