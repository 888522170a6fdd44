//! `sedge new`: a folder to begin a function in.

mod kits;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use sedge_base::ErrorKind;
use serde_json::json;

use self::kits::{KITS, Kit, Need};
use crate::failed::Failed;
use crate::settings::Settings;
use crate::ui::{BOLD, GOOD, Ui};

/// What a README says, whatever the language.
const README: &str = include_str!("../../kit/README.md");
/// The longest name, in characters.
const LONGEST: usize = 64;

/// Begin a function: a folder with its source, its world and the commands to build, deploy and call it
#[derive(Debug, clap::Args)]
pub(crate) struct New {
    /// The function's name, and the folder's: letters a to z, digits and hyphens
    #[arg(value_name = "NAME", value_parser = name)]
    name: String,
    /// The language: rust, js, python or c
    #[arg(long, value_name = "LANGUAGE", value_parser = language)]
    lang: &'static str,
    /// Answer HTTP requests (`wasi:http`) in place of calls with bytes: rust and python
    #[arg(long)]
    http: bool,
}

fn name(text: &str) -> Result<String, String> {
    let plain = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '-';
    let begins = text.starts_with(|it: char| it.is_ascii_lowercase());
    if begins && text.len() <= LONGEST && !text.ends_with('-') && text.chars().all(plain) {
        Ok(text.to_owned())
    } else {
        Err("a letter a to z, then at most 63 letters, digits and hyphens".to_owned())
    }
}

fn language(text: &str) -> Result<&'static str, String> {
    let known = KITS.iter().map(|it| it.language);
    let meant = match text {
        "javascript" => "js",
        "py" => "python",
        "rs" => "rust",
        text => text,
    };
    known.clone().find(|it| *it == meant).ok_or_else(|| {
        let mut names: Vec<_> = known.collect();
        names.dedup();
        format!("one of {}", names.join(", "))
    })
}

impl New {
    /// Writes the folder.
    pub(crate) fn run(self, _: &Settings, ui: &Ui) -> Result<(), Failed> {
        let Self { name, lang, http } = self;
        let found = KITS.iter().find(|it| it.language == lang && it.http == http);
        let kit = found.ok_or_else(|| no_http(lang))?;
        let words = Words::of(kit, &name);
        write(Path::new(&name), kit, &words)?;
        let missing: Vec<_> = kit.needs.iter().filter(|it| !it.is_there()).collect();
        let missing: Vec<_> = missing.iter().map(|it| json!({ "what": it.what, "get": it.get })).collect();
        let Words { build, made, deploy, call, .. } = &words;
        let record = json!({
            "name": name,
            "language": lang,
            "http": http,
            "files": kit.sources.iter().map(|it| it.0).chain(["README.md"]).collect::<Vec<_>>(),
            "build": build,
            "made": made,
            "deploy": deploy,
            "call": call,
            "missing": missing,
        });
        ui.result(&record, || {
            format!("{GOOD}ok{GOOD:#}  {name}/ is ready. Next:\n\n  cd {name}\n  {}\n  {deploy}\n  {call}", build.join("\n  "))
        });
        for it in kit.needs.iter().filter(|it| missing.iter().any(|lacks| lacks["what"] == it.what)) {
            ui.note(format_args!("{BOLD}{}{BOLD:#} is not on this machine: {}", it.what, it.get));
        }
        Ok(())
    }
}

fn no_http(language: &str) -> Failed {
    let able: Vec<_> = KITS.iter().filter(|it| it.http).map(|it| it.language).collect();
    let message = format!("functions in {language} answer calls with bytes, and no HTTP requests");
    Failed::new(ErrorKind::Unsupported, message).hint(format!("`--http` goes with {}", able.join(" and ")))
}

/// What stands in the files of one function.
struct Words<'a> {
    name: &'a str,
    about: &'static str,
    build: Vec<String>,
    made: String,
    deploy: String,
    call: String,
}

impl<'a> Words<'a> {
    fn of(kit: &Kit, name: &'a str) -> Self {
        let named = |text: &str| text.replace("{{name}}", name).replace("{{crate}}", &name.replace('-', "_"));
        let made = named(kit.made);
        let call = if kit.http {
            format!(
                "curl -H \"authorization: Bearer $(cat ~/.sedge/api.key)\" http://127.0.0.1:7378/fn/{name}/hello/Ada"
            )
        } else {
            format!("sedge call {name} --input Ada")
        };
        Self {
            name,
            about: kit.about,
            build: kit.build.iter().map(|it| named(it)).collect(),
            deploy: format!("sedge deploy {made} --id {name}"),
            made,
            call,
        }
    }

    fn fill(&self, text: &str) -> String {
        text.replace("{{name}}", self.name)
            .replace("{{about}}", self.about)
            .replace("{{build}}", &self.build.join("\n"))
            .replace("{{deploy}}", &self.deploy)
            .replace("{{call}}", &self.call)
    }
}

/// Writes the files; a folder that is there is left alone.
fn write(folder: &Path, kit: &Kit, words: &Words<'_>) -> Result<(), Failed> {
    if let Err(err) = fs::create_dir(folder) {
        if err.kind() == std::io::ErrorKind::AlreadyExists {
            let message = format!("{} is there already", folder.display());
            return Err(Failed::new(ErrorKind::Conflict, message).hint("choose another name, or take it away"));
        }
        return Err(Failed::io(&format!("cannot create {}", folder.display()), &err));
    }
    for (place, text) in kit.sources.iter().chain([&("README.md", README)]) {
        let path = folder.join(place);
        let above = path.parent().unwrap_or(folder);
        fs::create_dir_all(above)
            .and_then(|()| fs::write(&path, words.fill(text)))
            .map_err(|err| Failed::io(&format!("cannot write {}", path.display()), &err))?;
    }
    Ok(())
}

impl Need {
    /// Returns whether this machine has it.
    fn is_there(&self) -> bool {
        let Some((program, arguments)) = self.probe.split_first() else { return true };
        let output = Command::new(program).args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).output();
        let Ok(output) = output else { return false };
        let said = String::from_utf8_lossy(&output.stdout);
        let folder = said.split_whitespace().last().unwrap_or_default();
        output.status.success() && (!self.folder || Path::new(folder).exists())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_good_for_folders_packages_and_functions() {
        for good in ["a", "hello", "hello-2"] {
            assert_eq!(name(good).as_deref(), Ok(good));
        }
        for bad in ["", "-a", "2a", "a/b", "..", "Hello", "a_b", "a-", &"a".repeat(65)] {
            assert!(name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn no_file_of_a_kit_keeps_a_place_to_fill() {
        for kit in KITS {
            let words = Words::of(kit, "a-b");
            for (place, text) in kit.sources.iter().chain([&("README.md", README)]) {
                let filled = words.fill(text);
                assert!(!filled.contains("{{name") && !filled.contains("{{b") && !filled.is_empty(), "{place}");
            }
            assert!(!words.made.contains("{{"), "{}", words.made);
        }
    }

    #[test]
    fn languages_go_by_their_usual_names() {
        assert_eq!(language("javascript"), Ok("js"));
        assert_eq!(language("cobol"), Err("one of rust, js, python, c".to_owned()));
    }
}
