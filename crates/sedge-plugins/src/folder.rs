//! Looking for plugins: folders, manifests, entry points, all of them bounded.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use sedge_base::{ContentHasher, ContentId};

use crate::issue::Issue;
use crate::manifest::{self, Format, MOST_MANIFEST, Reading};

/// The most entries of one folder that are looked at, and how deep below it changes are noticed.
const MOST_ENTRIES: usize = 256;
const DEEPEST: usize = 4;
/// The most files whose changes are noticed, over all folders.
const MOST_STAMPS: usize = 8192;
/// The largest entry points, in bytes: of a component, and of a source file.
const MOST_COMPONENT: usize = 32 << 20;
const MOST_SOURCE: usize = 1_000_000;

/// What an entry point is, by the ending of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// `.wasm`: a component that exports `process`.
    Component,
    /// `.py`.
    Python,
    /// `.js`.
    JavaScript,
}

impl EntryKind {
    fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "wasm" => Some(Self::Component),
            "py" => Some(Self::Python),
            "js" => Some(Self::JavaScript),
            _ => None,
        }
    }
}

/// The file that is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: EntryKind,
    /// All of it; valid UTF-8 unless it is a component.
    pub bytes: Bytes,
}

/// A plugin that lies somewhere, as far as its files tell.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Its name, or that of its folder or file when it says none.
    pub name: String,
    /// The file of its manifest.
    pub file: PathBuf,
    /// How the manifest is written.
    pub format: Format,
    /// What the manifest says; its issues include those of the entry point.
    pub reading: Reading,
    /// What is run; `None` when it is not to be had.
    pub entry: Option<Entry>,
    /// The hash of manifest and entry point together: another one is another version.
    pub content: ContentId,
}

/// What lies in some folders.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Scan {
    /// The plugins, in the order of folders and names.
    pub found: Vec<Found>,
    /// What could not be looked at, in words.
    pub problems: Vec<String>,
}

/// Looks into folders; one that is not there is empty. Blocks.
pub fn scan(folders: &[PathBuf]) -> Scan {
    let mut scan = Scan::default();
    for folder in folders {
        let (entries, problem) = entries(folder);
        scan.problems.extend(problem);
        for path in entries {
            let found =
                if path.is_dir() { in_folder(&path) } else { Vec::from_iter(in_source(&path)) };
            scan.found.extend(found);
        }
    }
    scan
}

/// When files were changed last and how long they are: unequal when something may be new.
pub(crate) type Stamps = BTreeMap<PathBuf, (Option<SystemTime>, u64)>;

/// Returns what tells whether another look is worth it. Blocks.
pub(crate) fn stamps(folders: &[PathBuf]) -> Stamps {
    let mut stamps = Stamps::new();
    let mut left: Vec<_> = folders.iter().map(|it| (it.clone(), 0)).collect();
    while let Some((folder, depth)) = left.pop() {
        for path in entries(&folder).0 {
            let Ok(about) = fs::metadata(&path) else { continue };
            if stamps.len() >= MOST_STAMPS {
                return stamps;
            }
            if about.is_dir() && depth < DEEPEST {
                left.push((path.clone(), depth + 1));
            }
            stamps.insert(path, (about.modified().ok(), about.len()));
        }
    }
    stamps
}

/// Returns what lies in a folder, in the order of names, and what is wrong with it.
fn entries(folder: &Path) -> (Vec<PathBuf>, Option<String>) {
    let shown = folder.display();
    let listed = match fs::read_dir(folder) {
        Ok(listed) => listed,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return (Vec::new(), None),
        Err(error) => return (Vec::new(), Some(format!("{shown} cannot be looked at: {error}"))),
    };
    let mut paths: Vec<_> =
        listed.take(MOST_ENTRIES + 1).filter_map(|it| Some(it.ok()?.path())).collect();
    let problem = (paths.len() > MOST_ENTRIES)
        .then(|| format!("{shown} holds more than {MOST_ENTRIES} entries: the rest is left out"));
    paths.truncate(MOST_ENTRIES);
    paths.sort();
    (paths, problem)
}

/// Returns the plugin of a folder: by its manifest, or else by its source files' comments.
fn in_folder(folder: &Path) -> Vec<Found> {
    let forms = [
        ("plugin.json", Format::Json),
        ("plugin.yaml", Format::Yaml),
        ("plugin.yml", Format::Yaml),
        ("pyproject.toml", Format::Pyproject),
    ];
    for (name, format) in forms {
        let file = folder.join(name);
        if fs::symlink_metadata(&file).is_err() {
            continue;
        }
        let text = read(folder, name, MOST_MANIFEST).and_then(utf8);
        if format == Format::Pyproject && !text.as_ref().is_ok_and(|it| manifest::has_section(it)) {
            continue;
        }
        let reading = match &text {
            Ok(text) => Reading::of(format, text, None),
            Err(problem) => unreadable(problem),
        };
        return vec![found(file, format, &text.unwrap_or_default(), reading)];
    }
    entries(folder).0.iter().filter_map(|it| in_source(it)).collect()
}

/// Returns the plugin that a source file says it is.
fn in_source(path: &Path) -> Option<Found> {
    let kind = EntryKind::of(path).filter(|it| *it != EntryKind::Component)?;
    let (folder, own) = (path.parent()?, path.file_name()?.to_str()?);
    let text = read(folder, own, MOST_SOURCE).and_then(utf8).ok()?;
    let comment = manifest::comment(&text)?;
    let mut reading = Reading::of(Format::Comment, comment, Some(own));
    let other = reading.manifest.as_ref().is_some_and(|it| it.entry_point != own);
    if other {
        let must_be = "left out: a source file is its own entry point";
        reading.issues.push(Issue::BadField { field: "entry_point", must_be });
    }
    let mut found = found(path.to_owned(), Format::Comment, comment, reading);
    found.entry = found.entry.filter(|it| it.kind == kind && !other);
    Some(found)
}

fn unreadable(problem: &str) -> Reading {
    let reason = format!("the file {problem}");
    Reading { issues: vec![Issue::Unreadable { reason }], ..Reading::default() }
}

/// Adds the entry point to what a manifest says.
fn found(file: PathBuf, format: Format, text: &str, mut reading: Reading) -> Found {
    let folder = file.parent().unwrap_or(Path::new("/"));
    let mut entry = None;
    if let Some(manifest) = &reading.manifest {
        match entry_point(folder, &manifest.entry_point) {
            Ok(it) => entry = Some(it),
            Err(problem) => {
                let path = manifest.entry_point.clone();
                reading.issues.push(Issue::EntryPoint { path, problem });
            }
        }
        if let (Some(expected), Some(entry)) = (manifest.sha256, &entry) {
            let got = ContentId::of(&entry.bytes);
            if got != expected {
                reading.issues.push(Issue::OtherContent { expected, got });
            }
        }
    }
    let named = if format == Format::Comment { file.file_stem() } else { folder.file_name() };
    let named = named.and_then(|it| it.to_str()).filter(|it| manifest::is_name(it));
    let name = reading.name.clone().or_else(|| named.map(str::to_owned));
    let mut hasher = ContentHasher::new();
    hasher.update(&(text.len() as u64).to_be_bytes());
    hasher.update(text.as_bytes());
    hasher.update(entry.as_ref().map_or(&[][..], |it| &it.bytes));
    for issue in &reading.issues {
        hasher.update(issue.to_string().as_bytes());
    }
    let name = name.unwrap_or_else(|| "without-a-name".to_owned());
    Found { name, file, format, reading, entry, content: hasher.finish() }
}

fn entry_point(folder: &Path, path: &str) -> Result<Entry, &'static str> {
    let kind = EntryKind::of(Path::new(path)).ok_or("ends neither in .wasm nor in .py or .js")?;
    let most = if kind == EntryKind::Component { MOST_COMPONENT } else { MOST_SOURCE };
    let bytes = read(folder, path, most)?;
    if kind != EntryKind::Component && std::str::from_utf8(&bytes).is_err() {
        return Err("is not UTF-8");
    }
    Ok(Entry { kind, bytes: bytes.into() })
}

/// Reads a file below a folder, and no other, wherever links lead.
fn read(folder: &Path, path: &str, most: usize) -> Result<Vec<u8>, &'static str> {
    let missing = |_| "is not there";
    let root = fs::canonicalize(folder).map_err(missing)?;
    let file = fs::canonicalize(folder.join(path)).map_err(missing)?;
    if !file.starts_with(&root) {
        return Err("leads out of the plugin's folder");
    }
    let unreadable = |_| "cannot be read";
    // Who opens a pipe waits for its other end.
    if !fs::metadata(&file).map_err(unreadable)?.is_file() {
        return Err("is no file");
    }
    let mut bytes = Vec::new();
    let file = File::open(&file).map_err(unreadable)?;
    file.take(most as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > most {
        return Err("is too large");
    }
    Ok(bytes)
}

fn utf8(bytes: Vec<u8>) -> Result<String, &'static str> {
    String::from_utf8(bytes).map_err(|_| "is not UTF-8")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const MANIFEST: &str = r#"{"name":"a","version":"1.0.0","entry_point":"ENTRY","hooks":["x"]}"#;

    /// Puts a plugin into a folder of its own; returns what is found there.
    #[track_caller]
    fn check(files: &[(&str, &str)], expected: &[&str]) {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("secret.py"), "1").unwrap();
        let folder = home.path().join("plugins/one");
        fs::create_dir_all(folder.join("deeper")).unwrap();
        symlink("../../secret.py", folder.join("link.py")).unwrap();
        for (name, text) in files {
            fs::write(folder.join(name), text).unwrap();
        }
        let scan = scan(&[home.path().join("plugins"), home.path().join("nowhere")]);
        assert_eq!(scan.problems, Vec::<String>::new());
        let told = scan.found.iter().map(|it| {
            let issues: Vec<_> = it.reading.issues.iter().map(ToString::to_string).collect();
            format!("{} {:?} {}{}", it.name, it.format, it.entry.is_some(), issues.concat())
        });
        assert_eq!(told.collect::<Vec<_>>(), expected);
    }

    fn with(entry: &str) -> String {
        MANIFEST.replace("ENTRY", entry)
    }

    #[test]
    fn manifests_in_files_and_in_comments() {
        check(&[("plugin.json", &with("deeper/a.py")), ("deeper/a.py", "1")], &["a Json true"]);
        let comment = format!("# plugin: {}\nprint(1)", with("a.py"));
        check(&[("a.py", &comment), ("b.py", "print(2)")], &["a Comment true"]);
        check(&[("pyproject.toml", "[project]\nname = 'x'")], &[]);
    }

    #[test]
    fn entry_points_stay_in_their_folder() {
        for (entry, problem) in [
            ("link.py", "leads out of the plugin's folder"),
            ("../../secret.py", "leads out of the plugin's folder"),
            ("/etc/passwd", "ends neither in .wasm nor in .py or .js"),
            ("gone.wasm", "is not there"),
        ] {
            let expected = format!("a Json falsethe entry point `{entry}` {problem}");
            check(&[("plugin.json", &with(entry))], &[&expected]);
        }
    }

    #[test]
    fn what_says_no_name_has_that_of_its_folder() {
        let reason = "the manifest cannot be read: it is no object";
        check(&[("plugin.json", "[]")], &[&format!("one Json false{reason}")]);
    }

    #[test]
    fn another_hash_than_promised_is_told() {
        let wrong =
            MANIFEST.replace("ENTRY", "a.py").replace("\"x\"]", "\"x\"],\"sha256\":\"HASH\"");
        let expected = ContentId::of(b"2");
        let text = wrong.replace("HASH", &expected.to_string());
        let got = ContentId::of(b"1");
        let told = format!("a Json truethe entry point has the SHA-256 {got}, not {expected}");
        check(&[("plugin.json", &text), ("a.py", "1")], &[&told]);
    }

    #[test]
    fn stamps_tell_of_every_change() {
        let home = tempfile::tempdir().unwrap();
        let folders = [home.path().to_owned()];
        let before = stamps(&folders);
        fs::create_dir(home.path().join("one")).unwrap();
        fs::write(home.path().join("one/a.py"), "1").unwrap();
        let after = stamps(&folders);
        assert_ne!(before, after);
        assert_eq!(after, stamps(&folders));
        fs::write(home.path().join("one/a.py"), "12").unwrap();
        assert_ne!(after, stamps(&folders));
    }
}
