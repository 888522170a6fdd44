//! What a stranger's bytes reach in this crate, for the fuzzer and for its kept inputs (`fuzz/README.md`).

use std::str;

use crate::folder::EntryKind;
use crate::{Format, Reading, source};

/// The name of a decoder and what feeds it.
type Target = (&'static str, fn(&[u8]) -> bool);

/// The decoders; what feeds one returns whether the input was taken.
pub const TARGETS: &[Target] = &[("plugins_manifest", manifest)];

/// A manifest in each of its forms, and a source file that says it is a plugin.
fn manifest(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    let mut taken = false;
    for format in [Format::Json, Format::Yaml, Format::Pyproject] {
        let Reading { name, manifest, issues } = Reading::of(format, text, None);
        assert!(issues.len() <= 80, "what is told is bounded");
        if let Some(manifest) = manifest {
            assert!(name.as_ref() == Some(&manifest.name) && manifest.entry_point.len() <= 256);
            taken = true;
        }
    }
    for kind in [EntryKind::Python, EntryKind::JavaScript] {
        assert!(source::risks(kind, text).len() <= 32, "each risk is told once");
    }
    let comment = crate::manifest::comment(text);
    let comment = comment.map(|it| Reading::of(Format::Comment, it, Some("own.py")));
    taken || comment.is_some_and(|it| it.manifest.is_some())
}

#[cfg(test)]
#[path = "../../../fuzz/src/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::replay::all;
    use super::*;

    #[test]
    fn every_kept_input_is_taken_or_refused_as_its_name_says() {
        let json = r#"{"name":"a","version":"1.0.0","entry_point":"a.wasm","hooks":["x"],"rights":["clock","env:A"],"limits":{"time":"1s","memory":"8MiB"},"config":{"a":[1]}}"#;
        let yaml =
            "name: a\nversion: 1.0.0\nentry_point: a.py\nhooks: [x, y]\nconfig:\n  a: {b: 'c'}\n";
        let toml = "[tool.sedge.plugin]\nname = 'a'\nversion = '1.0.0'\nentry_point = 'a.js'\nhooks = ['x']\n";
        let text = |it: &str| it.as_bytes().to_vec();
        let it = "plugins_manifest";
        let named = [
            (it, "json.read", text(json)),
            (it, "yaml.read", text(yaml)),
            (it, "toml.read", text(toml)),
            (it, "comment.read", text(&format!("import os\n# plugin: {json}\n"))),
            (it, "truncated.refused", text(&json[..60])),
            (it, "malformed.refused", text(&json.replace("1.0.0", "one"))),
            (it, "right.refused", text(&json.replace("clock", "http:x"))),
            (it, "huge.refused", text(&yaml.replace("a.py", &"a".repeat(60_000)))),
            (it, "deep.refused", [text(yaml), text("d: "), vec![b'['; 4000]].concat()),
            (it, "aliases.refused", text(&format!("{yaml}d: &d [1]\ne: [*d, *d]\n"))),
        ];
        all(TARGETS, &named);
    }
}
