//! What a plugin says of itself, in one of four forms.

use std::collections::BTreeSet;
use std::time::Duration;

use sedge_base::{ByteSize, ContentId};
use sedge_capability::Budgets;
use semver::Version;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::issue::Issue;
use crate::right::Right;

/// The largest manifest, in bytes.
pub(crate) const MOST_MANIFEST: usize = 64 << 10;
/// The most names that a list of a manifest has.
const MOST_NAMES: usize = 32;
/// The most unknown fields that are told one by one.
const MOST_TOLD: usize = 16;
/// How deep a manifest may be nested.
const DEEPEST: usize = 32;
/// The longest that one call may take.
const MOST_TIME: Duration = Duration::from_secs(60);
/// What holds when a manifest says nothing: fuel, memory and time of one call.
const USUAL: Budgets = Budgets {
    fuel: Some(10_000_000_000),
    memory: Some(ByteSize::from_mib(128)),
    time_ms: Some(5000),
    output: Some(ByteSize::from_mib(1)),
    tokens: None,
};

/// How a manifest is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// `plugin.json`.
    Json,
    /// `plugin.yaml` or `plugin.yml`.
    Yaml,
    /// `[tool.sedge.plugin]` or `[tool.codomyrmex.plugin]` of a `pyproject.toml`.
    Pyproject,
    /// A line `# plugin: {…}` or `// plugin: {…}` in a source file.
    Comment,
}

/// What a plugin says of itself, as checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// What the owner calls it: 1 to 64 letters, digits, dots, hyphens or underscores.
    pub name: String,
    /// Its version.
    pub version: Version,
    /// The file that is run, below the plugin's folder.
    pub entry_point: String,
    /// One sentence for people; may be empty.
    pub description: String,
    /// The hooks that it is called for.
    pub hooks: BTreeSet<String>,
    /// Who is called first: the highest; 0 is usual.
    pub priority: i32,
    /// What it asks for.
    pub rights: BTreeSet<Right>,
    /// The most that one call may use; every field but `tokens` is set.
    pub limits: Budgets,
    /// What it is handed with every call.
    pub config: Value,
    /// What its entry point must be.
    pub sha256: Option<ContentId>,
}

/// What came of reading a manifest.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reading {
    /// The name, when that much could be read.
    pub name: Option<String>,
    /// The manifest; `None` when an issue is fatal.
    pub manifest: Option<Manifest>,
    /// What is wrong with it.
    pub issues: Vec<Issue>,
}

impl Reading {
    /// Reads a manifest; `own_file` is the entry point of one that says none.
    pub fn of(format: Format, text: &str, own_file: Option<&str>) -> Self {
        match fields(format, text) {
            Ok(fields) => Fields { left: fields, issues: Vec::new() }.read(own_file),
            Err(reason) => {
                let reason = shown(&reason, 400);
                Self { issues: vec![Issue::Unreadable { reason }], ..Self::default() }
            }
        }
    }
}

/// Returns whether a `pyproject.toml` has something to say about a plugin.
pub(crate) fn has_section(text: &str) -> bool {
    text.lines().any(|it| {
        let it = it.trim_start();
        it.starts_with("[tool.sedge.plugin") || it.starts_with("[tool.codomyrmex.plugin")
    })
}

/// Returns the manifest of a source file's comment line, looked for in its first 8 KiB.
pub(crate) fn comment(source: &str) -> Option<&str> {
    let beginning = &source[..source.floor_char_boundary(8 << 10)];
    beginning.lines().find_map(|line| {
        let line = line.trim_start();
        let rest = line.strip_prefix('#').or_else(|| line.strip_prefix("//"))?;
        Some(rest.trim_start().strip_prefix("plugin:")?.trim()).filter(|it| it.starts_with('{'))
    })
}

fn fields(format: Format, text: &str) -> Result<Map<String, Value>, String> {
    if text.len() > MOST_MANIFEST {
        return Err(format!("it has more than {MOST_MANIFEST} bytes"));
    }
    let value: Value = match format {
        Format::Json | Format::Comment => {
            serde_json::from_str(text).map_err(|it| it.to_string())?
        }
        Format::Yaml => yaml(text)?,
        Format::Pyproject => {
            let table: toml::Table =
                toml::from_str(text).map_err(|it| it.to_string().trim_end().to_owned())?;
            let section = ["sedge", "codomyrmex"].into_iter().find_map(|it| {
                table.get("tool")?.as_table()?.get(it)?.as_table()?.get("plugin").cloned()
            });
            let section = section.ok_or("it has no section `[tool.sedge.plugin]`")?;
            serde_json::to_value(section).map_err(|it| it.to_string())?
        }
    };
    if depth(&value) > DEEPEST {
        return Err(format!("it is nested more than {DEEPEST} levels deep"));
    }
    match value {
        Value::Object(fields) => Ok(fields),
        _ => Err("it is no object".to_owned()),
    }
}

/// Reads one YAML document without aliases, merged keys and tags of applications.
fn yaml(text: &str) -> Result<Value, String> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: DEEPEST,
            max_documents: 1,
            max_nodes: 10_000,
            max_events: 40_000,
            max_aliases: 0,
            max_anchors: 0,
            max_merge_keys: 0,
        },
        strict_booleans: true,
        reject_unsupported_tags: true,
    };
    let read = serde_saphyr::from_str_with_options(text, options);
    // The first line says it; the others draw it.
    read.map_err(|it| {
        let text = it.to_string();
        let first = text.lines().next().unwrap_or_default();
        first.strip_prefix("error: ").unwrap_or(first).to_owned()
    })
}

fn depth(value: &Value) -> usize {
    let below = match value {
        Value::Array(list) => list.iter().map(depth).max(),
        Value::Object(map) => map.values().map(depth).max(),
        _ => return 0,
    };
    1 + below.unwrap_or(0)
}

/// The fields that were not read yet, and what was wrong with those that were.
struct Fields {
    left: Map<String, Value>,
    issues: Vec<Issue>,
}

impl Fields {
    fn read(mut self, own_file: Option<&str>) -> Reading {
        let named = "1 to 64 letters, digits, dots, hyphens or underscores";
        let name = self.need("name", named, |it| text(it).filter(|it| is_name(it)));
        let version =
            self.need("version", "a version such as 1.2.3", |it| Version::parse(&text(it)?).ok());
        if let Some(own) = own_file {
            self.left.entry("entry_point").or_insert_with(|| own.into());
        }
        let entry_point = self.need("entry_point", "the path of a file", |it| {
            text(it).filter(|it| !it.is_empty() && it.len() <= 256 && is_shown(it))
        });
        let description =
            self.may("description", "a text of at most 1000 visible characters", |it| {
                text(it).filter(|it| it.chars().count() <= 1000 && is_shown(it))
            });
        let hooks = self.may("hooks", "a list of at most 32 hooks such as task.finished", |it| {
            names(it)?.into_iter().map(|it| is_name(&it).then_some(it)).collect()
        });
        let hooks: BTreeSet<String> = hooks.unwrap_or_default();
        if hooks.is_empty() {
            self.issues.push(Issue::NoHooks);
        }
        let priority = self.may("priority", "a whole number from -1000 to 1000", |it| {
            i32::try_from(it.as_i64()?).ok().filter(|it| (-1000..=1000).contains(it))
        });
        let rights = self.rights();
        let limits = self.limits(entry_point.as_deref().unwrap_or_default());
        let config = self.left.remove("config").unwrap_or_else(|| Value::Object(Map::new()));
        let sha256 = self.may("sha256", "64 hexadecimal digits", |it| text(it)?.parse().ok());
        let unknown = self.left.keys().take(MOST_TOLD);
        let unknown: Vec<_> =
            unknown.map(|it| Issue::UnknownField { field: shown(it, 64) }).collect();
        self.issues.extend(unknown);
        let sound = !self.issues.iter().any(Issue::is_fatal);
        let manifest = match (name.clone(), version, entry_point) {
            (Some(name), Some(version), Some(entry_point)) if sound => Some(Manifest {
                name,
                version,
                entry_point,
                description: description.unwrap_or_default(),
                hooks,
                priority: priority.unwrap_or(0),
                rights,
                limits,
                config,
                sha256,
            }),
            _ => None,
        };
        Reading { name, manifest, issues: self.issues }
    }

    fn need<T>(
        &mut self,
        field: &'static str,
        must_be: &'static str,
        read: impl FnOnce(Value) -> Option<T>,
    ) -> Option<T> {
        if !self.left.contains_key(field) {
            self.issues.push(Issue::Missing { field });
        }
        self.may(field, must_be, read)
    }

    fn may<T>(
        &mut self,
        field: &'static str,
        must_be: &'static str,
        read: impl FnOnce(Value) -> Option<T>,
    ) -> Option<T> {
        let got = read(self.left.remove(field)?);
        if got.is_none() {
            self.issues.push(Issue::BadField { field, must_be });
        }
        got
    }

    fn rights(&mut self) -> BTreeSet<Right> {
        let listed = self.may("rights", "a list of at most 32 rights", names).unwrap_or_default();
        let mut rights = BTreeSet::new();
        for right in listed {
            match right.parse() {
                Ok(right) => drop(rights.insert(right)),
                Err(error) => self.issues.push(Issue::Right(error)),
            }
        }
        rights
    }

    fn limits(&mut self, entry_point: &str) -> Budgets {
        let map = |it| if let Value::Object(it) = it { Some(it) } else { None };
        let must_be = "a map of fuel, memory and time";
        let Some(left) = self.may("limits", must_be, map) else { return USUAL };
        let mut inner = Self { left, issues: Vec::new() };
        let fuel =
            inner.may("fuel", "a number of at least 1", |it| it.as_u64().filter(|it| *it > 0));
        let memory = inner.may("memory", "a size such as 64MiB", |it| text(it)?.parse().ok());
        let time = inner.may("time", "a time such as 2s, at most 60s", |it| {
            let time = humantime::parse_duration(&text(it)?).ok()?;
            (time > Duration::ZERO && time <= MOST_TIME).then_some(time)
        });
        if fuel.is_some() && !entry_point.ends_with(".wasm") {
            inner.issues.push(Issue::FuelOfSource);
        }
        let unknown = inner.left.keys().take(MOST_TOLD).map(|it| format!("limits.{it}"));
        let unknown = unknown.map(|it| Issue::UnknownField { field: shown(&it, 64) });
        self.issues.extend(unknown);
        self.issues.extend(inner.issues);
        let time_ms = time.map(|it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX).max(1));
        Budgets {
            fuel: fuel.or(USUAL.fuel),
            memory: memory.or(USUAL.memory),
            time_ms: time_ms.or(USUAL.time_ms),
            ..USUAL
        }
    }
}

/// Returns whether a text moves no terminal.
fn is_shown(text: &str) -> bool {
    !text.contains(char::is_control)
}

/// Returns the beginning of a text that a stranger wrote, without what moves a terminal.
pub(crate) fn shown(text: &str, most: usize) -> String {
    text.chars().filter(|it| !it.is_control()).take(most).collect()
}

/// Returns whether a plugin or a hook may be called that.
pub(crate) fn is_name(text: &str) -> bool {
    let allowed = |it: u8| it.is_ascii_alphanumeric() || b"._-".contains(&it);
    let first = text.bytes().next().is_some_and(|it| it.is_ascii_alphanumeric());
    first && text.len() <= 64 && text.bytes().all(allowed)
}

fn text(value: Value) -> Option<String> {
    if let Value::String(text) = value { Some(text) } else { None }
}

fn names(value: Value) -> Option<Vec<String>> {
    let Value::Array(list) = value else { return None };
    if list.len() > MOST_NAMES {
        return None;
    }
    list.into_iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(format: Format, text: &str, expected: Expect) {
        let Reading { manifest, issues, .. } = Reading::of(format, text, None);
        let mut told: Vec<String> = issues.iter().map(ToString::to_string).collect();
        if let Some(it) = manifest {
            let rights: Vec<_> = it.rights.iter().map(ToString::to_string).collect();
            told.push(format!("{} {} {} {rights:?}", it.name, it.version, it.entry_point));
        }
        expected.assert_eq(&told.join("\n"));
    }

    #[test]
    fn four_forms_of_one_manifest() {
        let json = r#"{"name":"a","version":"1.0.0","entry_point":"a.wasm","hooks":["x"],"rights":["clock"]}"#;
        let yaml = "name: a\nversion: 1.0.0\nentry_point: a.wasm\nhooks: [x]\nrights:\n- clock\n";
        let toml = "[project]\nname = 'other'\n[tool.codomyrmex.plugin]\nname = 'a'\nversion = '1.0.0'\n\
                    entry_point = 'a.wasm'\nhooks = ['x']\nrights = ['clock']\n";
        let first = Reading::of(Format::Json, json, None);
        assert!(first.manifest.is_some(), "{first:?}");
        assert_eq!(Reading::of(Format::Yaml, yaml, None), first);
        assert_eq!(Reading::of(Format::Pyproject, toml, None), first);
        let source = format!("#!/bin/python\n# plugin: {json}\nprint(1)");
        assert_eq!(Reading::of(Format::Comment, comment(&source).unwrap(), None), first);
        assert_eq!(comment("// plugin: {\"a\": 1} \n"), Some("{\"a\": 1}"));
        assert_eq!(comment("x = '# plugin: {}'"), None);
    }

    #[test]
    fn what_is_missing_wrong_or_unknown_is_told() {
        check(
            Format::Json,
            r#"{"version":"one","hooks":["a b"],"rights":["http:x.org","clock"],"colour":1}"#,
            expect![[r#"
                `name` is missing
                `version` must be a version such as 1.2.3
                `entry_point` is missing
                `hooks` must be a list of at most 32 hooks such as task.finished
                it registers for no hook, so nothing calls it
                the right `http:x.org` cannot be granted here, only `clock`, `random` and `env:NAME` can
                `colour` is no field of a manifest"#]],
        );
    }

    #[test]
    fn issues_that_are_not_fatal_leave_a_manifest() {
        check(
            Format::Yaml,
            "name: a\nversion: 1.0.0\nentry_point: a.py\nlimits: {fuel: 5, time: 1s, cores: 2}\nhooks: [x]",
            expect![[r#"
                `limits.cores` is no field of a manifest
                `limits.fuel` counts for components, and not for a source file
                a 1.0.0 a.py []"#]],
        );
    }

    #[test]
    fn bombs_of_aliases_and_depth_are_refused() {
        let bomb = "a: &a [1]\nb: [*a, *a]\n";
        let deep = format!("{}{}", "[".repeat(60), "]".repeat(60));
        for text in [bomb, deep.as_str(), "--- {a: 1}\n--- {b: 2}\n", "a: 1\na: 2\n"] {
            let reading = Reading::of(Format::Yaml, text, None);
            assert_eq!(reading.issues.len(), 1, "{text}: {reading:?}");
            assert_eq!(reading.issues[0].code(), "unreadable", "{text}");
        }
    }

    proptest! {
        #[test]
        fn garbage_is_told_in_peace(text in "\\PC{0,200}", lines in "([a-z_]{1,9}: ?[-&*!\\[{\"'a-z0-9., ]{0,20}\n){0,8}") {
            for format in [Format::Json, Format::Yaml, Format::Pyproject, Format::Comment] {
                for text in [&text, &lines] {
                    let reading = Reading::of(format, text, Some("own.py"));
                    prop_assert!(reading.manifest.is_none() || reading.name.is_some());
                }
            }
        }
    }
}
