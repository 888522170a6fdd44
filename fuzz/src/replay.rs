//! The kept inputs of a crate's fuzz targets, read once more by its ordinary tests.
//!
//! Each crate with targets includes this file. An input called `….read` has to be taken, one called `….refused` to be
//! refused; of the others it is only asked that nothing panics. `SEDGE_FUZZ_RENEW=1` writes the named inputs again.

use std::path::{Path, PathBuf};
use std::{env, fs};

/// The name of a decoder and what feeds it: it returns whether the input was taken.
type Target = (&'static str, fn(&[u8]) -> bool);

/// A named input: of which target, under which name, and the bytes.
pub(crate) type Named = (&'static str, &'static str, Vec<u8>);

/// The most bytes that one kept input may have.
const LARGEST: u64 = 64 << 10;

/// Feeds every kept input of these targets to its decoder.
#[track_caller]
pub(crate) fn all(targets: &[Target], named: &[Named]) {
    let home =
        Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the root").join("fuzz");
    if env::var_os("SEDGE_FUZZ_RENEW").is_some() {
        for (target, name, bytes) in named {
            let dir = home.join("corpus").join(target);
            fs::create_dir_all(&dir).expect("a folder");
            fs::write(dir.join(name), bytes).expect("a file");
        }
    }
    for (target, feed) in targets {
        let inputs = inputs(&home.join("corpus").join(target));
        assert!(
            !inputs.is_empty(),
            "`{target}` has no kept inputs: SEDGE_FUZZ_RENEW=1 writes the named ones"
        );
        for input in inputs.into_iter().chain(self::inputs(&home.join("regressions").join(target)))
        {
            check(*feed, &input);
        }
    }
    for (target, name, bytes) in named {
        let feed = targets.iter().find(|(it, _)| it == target).map(|(_, feed)| *feed);
        let feed = feed.unwrap_or_else(|| panic!("there is no target `{target}`"));
        assert!(
            home.join("corpus").join(target).join(name).exists(),
            "SEDGE_FUZZ_RENEW=1 writes {target}/{name}"
        );
        assert_eq!(Some(feed(bytes)), wanted(name), "{target}: {name}, as it is written today");
    }
}

#[track_caller]
fn check(feed: fn(&[u8]) -> bool, input: &Path) {
    let bytes = fs::read(input).expect("a kept input");
    assert!(bytes.len() as u64 <= LARGEST, "{} has more than {LARGEST} bytes", input.display());
    let taken = feed(&bytes);
    let name = input.file_name().and_then(|it| it.to_str()).expect("a name");
    assert!(wanted(name).is_none_or(|it| it == taken), "{}: read is {taken}", input.display());
}

fn wanted(name: &str) -> Option<bool> {
    let (_, end) = name.rsplit_once('.')?;
    match end {
        "read" => Some(true),
        "refused" => Some(false),
        _ => None,
    }
}

/// Returns the files of a folder in order; none when there is no such folder.
fn inputs(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten();
    let mut inputs: Vec<PathBuf> = entries.map(|it| it.expect("an entry").path()).collect();
    inputs.sort();
    inputs
}
