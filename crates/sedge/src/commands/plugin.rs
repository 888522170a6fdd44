//! `sedge plugin`.

use std::io::{BufRead, IsTerminal};
use std::time::Duration;

use sedge_base::ErrorKind;
use sedge_node::{Agreement, Emitted, PluginList, PluginState, PluginView};
use serde_json::Value;

use crate::api::{Api, segment};
use crate::failed::Failed;
use crate::settings::Settings;
use crate::ui::{BAD, BOLD, DIM, GOOD, Table, Ui, spoken};

/// Add programs to this node that are called when something happens: find, enable, disable, call them
///
/// A plugin is a component (`.wasm`), a Python or a JavaScript file in a folder of its own below
/// `plugins` in the node's home, with a manifest beside it: `plugin.json`, `plugin.yaml`, a section
/// `[tool.sedge.plugin]` of `pyproject.toml`, or a line `# plugin: {…}` in the source file. It has a
/// name, a version and an entry point, the hooks that it is called for, and the rights that it asks for.
///
/// It runs in Wasm, with `{"hook", "data", "config", "env"}` as input, and answers JSON; it has no
/// files and no network. A changed file is taken up within seconds; the old version is called until
/// the new one is valid. The node calls node.started, task.finished, member.joined and member.lost.
#[derive(Debug, clap::Args)]
pub(crate) struct Plugin {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List the plugins of this node
    List,
    /// Show a plugin: what it asks for, what is wrong with it, the versions that were seen
    Show {
        /// Its name
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Let a plugin be called, with the rights that it asks for; also after a restart
    Enable {
        /// Its name
        #[arg(value_name = "NAME")]
        name: String,
        /// Agree to its rights without being asked
        #[arg(long)]
        yes: bool,
    },
    /// Call a plugin no more
    Disable {
        /// Its name
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Call the plugins that registered for a hook
    Emit {
        /// The hook, such as task.finished
        #[arg(value_name = "HOOK")]
        hook: String,
        /// What they are told, as JSON
        #[arg(long, value_name = "JSON", default_value = "{}", value_parser = json)]
        data: Value,
    },
    /// Look into the folders now
    Reload,
}

fn json(text: &str) -> Result<Value, serde_json::Error> {
    serde_json::from_str(text)
}

impl Plugin {
    /// Does what its verb says.
    pub(crate) fn run(self, settings: &Settings, ui: &Ui) -> Result<(), Failed> {
        let api = Api::of_home(&settings.home()?)?;
        let path = |name: &str, verb: &str| format!("plugins/{}{verb}", segment(name));
        match self.verb {
            Verb::List => {
                let list: PluginList = api.get("plugins")?;
                ui.result(&list, || table(&list));
            }
            Verb::Reload => {
                let list: PluginList = api.act("plugins", None)?;
                ui.result(&list, || table(&list));
            }
            Verb::Show { name } => {
                let view: PluginView = api.get(&path(&name, ""))?;
                ui.result(&view, || page(&view));
            }
            Verb::Enable { name, yes } => {
                let view: PluginView = api.get(&path(&name, ""))?;
                let agreement = agree(&view, yes, *ui)?;
                let view: PluginView = api.post(&path(&name, "/enable"), &agreement)?;
                ui.result(&view, || stands(&view));
            }
            Verb::Disable { name } => {
                let view: PluginView = api.act(&path(&name, "/disable"), None)?;
                ui.result(&view, || stands(&view));
            }
            Verb::Emit { hook, data } => {
                let emitted: Emitted = api.post(&format!("hooks/{}", segment(&hook)), &data)?;
                ui.result(&emitted, || calls(&emitted));
            }
        }
        Ok(())
    }
}

/// Lets a person agree to what a plugin asks for, unless that was done before.
fn agree(view: &PluginView, yes: bool, ui: Ui) -> Result<Agreement, Failed> {
    let rights = view.rights.iter().map(|it| it.right.clone()).collect();
    let content = view.content.ok_or_else(|| {
        if view.state == PluginState::Loading {
            let text = format!("`{}` was just found and is being looked at", view.name);
            return Failed::new(ErrorKind::Unavailable, text).hint("try again in a moment");
        }
        Failed::new(ErrorKind::NotFound, format!("the files of `{}` are gone", view.name))
            .hint("`sedge plugin list` names the folders")
    })?;
    let agreement = Agreement { content, rights };
    // What is refused is for the node to say.
    if view.agreed || !view.valid {
        return Ok(agreement);
    }
    let asks = asks(view);
    if yes {
        ui.note(asks);
        return Ok(agreement);
    }
    if ui.is_json() || !std::io::stdin().is_terminal() {
        let text = format!("{asks}; nobody has agreed to that");
        return Err(Failed::new(ErrorKind::Denied, text)
            .hint(format!("`sedge plugin enable {} --yes` agrees", view.name)));
    }
    ui.note(format_args!("{asks}\nEnable it? [y/N]"));
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(|err| Failed::io("cannot read the answer", &err))?;
    match line.trim() {
        "y" | "Y" | "yes" => Ok(agreement),
        _ => Err(Failed::new(ErrorKind::Denied, "not enabled")),
    }
}

/// Returns what a plugin asks for, in words.
fn asks(view: &PluginView) -> String {
    let version = view.version.as_deref().unwrap_or_default();
    let rights: Vec<_> = view.rights.iter().map(|it| it.words.as_str()).collect();
    let rights = match rights.as_slice() {
        [] => "nothing beyond its input and its answer".to_owned(),
        rights => format!("the right to {}", rights.join(", and to ")),
    };
    let hooks: Vec<_> = view.hooks.iter().map(String::as_str).collect();
    format!("`{}` {version} asks for {rights}; it is called for {}", view.name, hooks.join(", "))
}

fn stands(view: &PluginView) -> String {
    let version = view.active.as_deref().unwrap_or_default();
    format!("{BOLD}{}{BOLD:#} {version} is {}", view.name, view.state)
}

/// Returns what an owner should know at once.
fn remark(view: &PluginView) -> String {
    let newer = view.version.as_ref().filter(|it| view.active.as_ref().is_some_and(|on| on != *it));
    if let Some(issue) = view.issues.iter().find(|it| it.fatal).or(view.issues.first()) {
        return issue.message.clone();
    }
    match (newer, &view.error) {
        (Some(newer), _) if !view.agreed => format!("{newer} asks for more: `sedge plugin enable`"),
        (_, Some(error)) => format!("failed {} times: {error}", view.failures),
        _ => String::new(),
    }
}

fn table(list: &PluginList) -> String {
    let mut text = String::new();
    if !list.enabled {
        return format!("{DIM}plugins are switched off: `enabled` in `[plugins]`{DIM:#}\n");
    }
    if list.plugins.is_empty() {
        text.push_str(&format!("{DIM}no plugin in {}{DIM:#}\n", list.folders.join(", ")));
    } else {
        let mut table = Table::new(["name", "version", "state", "score", "hooks", "remark"]);
        for view in &list.plugins {
            let hooks: Vec<_> = view.hooks.iter().map(String::as_str).collect();
            table.row([
                view.name.clone(),
                view.active.clone().or_else(|| view.version.clone()).unwrap_or_default(),
                view.state.to_string(),
                view.score.to_string(),
                hooks.join(","),
                remark(view),
            ]);
        }
        text.push_str(&table.text());
    }
    if list.dropped > 0 {
        text.push_str(&format!("{BAD}{} times no plugin was told: too much waited{BAD:#}\n", list.dropped));
    }
    for problem in &list.problems {
        text.push_str(&format!("{BAD}{problem}{BAD:#}\n"));
    }
    text
}

fn page(view: &PluginView) -> String {
    let mut text = format!("{}\n", stands(view));
    if !view.description.is_empty() {
        text.push_str(&format!("{}\n", view.description));
    }
    if let Some(file) = &view.file {
        text.push_str(&format!("{DIM}{file}{DIM:#}\n"));
    }
    if view.valid {
        text.push_str(&format!("{}\n", asks(view)));
        if view.state == PluginState::Active && !view.agreed {
            text.push_str("that is more than was agreed to: `sedge plugin enable` agrees\n");
        }
    }
    for issue in &view.issues {
        let style = if issue.fatal { BAD } else { DIM };
        text.push_str(&format!("{style}{}{style:#}\n", issue.message));
    }
    if let Some(error) = &view.error {
        text.push_str(&format!("failed {} times in a row: {error}\n", view.failures));
    }
    let mut table = Table::new(["version", "seen", "score", "", "content"]);
    for version in &view.versions {
        let word = match (version.active, version.valid) {
            (true, _) => "active",
            (false, true) => "",
            (false, false) => "refused",
        };
        table.row([
            version.version.clone(),
            version.seen.to_string(),
            version.score.to_string(),
            word.to_owned(),
            version.content.short(),
        ]);
    }
    text.push_str(&table.text());
    text
}

fn calls(emitted: &Emitted) -> String {
    if emitted.calls.is_empty() {
        return format!("{DIM}no active plugin registered for {}{DIM:#}\n", emitted.hook);
    }
    let lines = emitted.calls.iter().map(|it| {
        let took = spoken(Duration::from_micros(it.took_us));
        let answer = match (&it.answer, &it.failure) {
            (Some(answer), _) => format!("{GOOD}{answer}{GOOD:#}"),
            (None, Some(failure)) => format!("{BAD}{failure}{BAD:#}"),
            (None, None) => String::new(),
        };
        format!("{BOLD}{}{BOLD:#} {} {DIM}{took}{DIM:#} {answer}\n", it.plugin, it.version)
    });
    lines.collect()
}
