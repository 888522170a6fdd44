//! The committed components belong to the committed sources.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use sedge_base::ContentId;

use crate::functions;

/// Returns every file below a folder that belongs to a guest, as `SOURCES.sha256` writes it.
fn files(folder: &Path, name: &str, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let file_name = entry.file_name().into_string().unwrap();
        let (path, name) = (entry.path(), format!("{name}/{file_name}"));
        let counts =
            [".rs", ".c", ".wit", ".wasm", ".js", ".py"].iter().any(|it| file_name.ends_with(it))
                || file_name.starts_with("Cargo.")
                || ["build.sh", "snapshots.sh", "toolchains.sh"].contains(&file_name.as_str());
        if path.is_dir() && !["target", "__pycache__"].contains(&file_name.as_str()) {
            files(&path, &name, found);
        } else if path.is_file() && counts {
            found.insert(name, ContentId::of(&fs::read(path).unwrap()).to_string());
        }
    }
}

#[test]
fn no_component_is_older_than_its_source() {
    let text = fs::read_to_string(functions().join("SOURCES.sha256")).unwrap();
    let written: BTreeMap<String, String> = text
        .lines()
        .map(|it| it.split_once("  ").unwrap())
        .map(|(digest, name)| (name.to_owned(), digest.to_owned()))
        .collect();
    let mut found = BTreeMap::new();
    files(functions(), ".", &mut found);
    let wit = "../crates/sedge-functions/wit";
    files(&functions().join(wit), wit, &mut found);
    assert!(found.len() > 10);
    assert_eq!(found, written, "run functions/build.sh or snapshots.sh, and commit what it wrote");
}

#[test]
fn committed_components_are_small() {
    let small =
        ["dial", "environ", "fixed", "hear", "probe", "shape", "stuck", "tick", "upper", "web"];
    // One of them speaks with every store that there is.
    let most = small.map(|it| (it, 100_000)).into_iter().chain([("keep", 120_000)]);
    for (guest, most) in most {
        let length = fs::metadata(functions().join(format!("{guest}.wasm"))).unwrap().len();
        assert!(length < most, "{guest}.wasm has {length} bytes");
    }
}
