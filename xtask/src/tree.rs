//! The workspace as the checks see it: every path, and the text of every small text file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Files longer than this are listed but not read.
const LONGEST_TEXT: u64 = 2 << 20;
/// Hidden folders that belong to the project; all others are skipped.
const OWN_HIDDEN: [&str; 3] = [".ci", ".cargo", ".github"];

/// A folder and what is in it, apart from build output, caches and history.
#[derive(Debug)]
pub(crate) struct Tree {
    root: PathBuf,
    paths: BTreeSet<String>,
    texts: BTreeMap<String, String>,
}

/// The tree could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}", path.display())]
pub(crate) struct TreeError {
    path: PathBuf,
    source: std::io::Error,
}

impl Tree {
    /// Reads the folder `root`.
    pub(crate) fn read(root: &Path) -> Result<Self, TreeError> {
        let mut tree =
            Self { root: root.to_path_buf(), paths: BTreeSet::new(), texts: BTreeMap::new() };
        tree.enter(root, "")?;
        Ok(tree)
    }

    fn enter(&mut self, dir: &Path, prefix: &str) -> Result<(), TreeError> {
        let trouble = |source| TreeError { path: dir.to_path_buf(), source };
        for entry in fs::read_dir(dir).map_err(trouble)? {
            let entry = entry.map_err(trouble)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let kind = entry.file_type().map_err(trouble)?;
            let path = format!("{prefix}{name}");
            if kind.is_dir() {
                if !skipped(&entry.path(), &name) {
                    self.paths.insert(path.clone());
                    self.enter(&entry.path(), &format!("{path}/"))?;
                }
            } else if kind.is_file() {
                self.take(&entry.path(), path);
            }
        }
        Ok(())
    }

    /// Lists one file; a file that vanishes meanwhile or holds no UTF-8 is listed without a text.
    fn take(&mut self, file: &Path, path: String) {
        let small = fs::metadata(file).is_ok_and(|it| it.len() <= LONGEST_TEXT);
        if let Some(text) = small.then(|| fs::read_to_string(file).ok()).flatten() {
            self.texts.insert(path.clone(), text);
        }
        self.paths.insert(path);
    }

    /// Returns the folder that was read.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Returns whether a file or folder of that relative path exists.
    pub(crate) fn has(&self, path: &str) -> bool {
        path.is_empty() || self.paths.contains(path.trim_end_matches('/'))
    }

    /// Returns every relative path, folders too, in order.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.paths.iter().map(String::as_str)
    }

    /// Returns the text of a file.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.texts.get(path).map(String::as_str)
    }

    /// Returns path and text of every text file, in order.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// Returns the text files whose name ends so.
    pub(crate) fn ending<'a>(
        &'a self,
        end: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a str)> + 'a {
        self.texts().filter(move |(path, _)| path.ends_with(end))
    }
}

fn skipped(dir: &Path, name: &str) -> bool {
    let hidden = name.starts_with('.') && !OWN_HIDDEN.contains(&name);
    let built = name == "target" || name == "node_modules" || name == "__pycache__";
    hidden || built || dir.join("CACHEDIR.TAG").is_file()
}

/// A small tree on disk for tests.
#[cfg(test)]
pub(crate) mod fixture {
    use super::Tree;
    use std::fs;
    use tempfile::TempDir;

    /// Writes the files into a fresh folder and reads it as a tree.
    #[track_caller]
    pub(crate) fn tree(files: &[(&str, &str)]) -> (TempDir, Tree) {
        let dir = tempfile::tempdir().expect("a folder for the fixture");
        for (path, text) in files {
            let file = dir.path().join(path);
            fs::create_dir_all(file.parent().expect("a parent")).expect("a folder");
            fs::write(file, text).expect("a file");
        }
        let tree = Tree::read(dir.path()).expect("a readable fixture");
        (dir, tree)
    }
}

#[cfg(test)]
mod tests {
    use super::fixture::tree;

    #[test]
    fn build_output_and_history_are_skipped() {
        let (_dir, tree) = tree(&[
            (".git/config", "x"),
            (".ci/run", "x"),
            ("elsewhere/CACHEDIR.TAG", "x"),
            ("elsewhere/a.rs", "x"),
            ("src/a.rs", "x"),
            ("target/b.rs", "x"),
        ]);
        let paths: Vec<&str> = tree.paths().collect();
        assert_eq!(paths, [".ci", ".ci/run", "src", "src/a.rs"]);
    }
}
