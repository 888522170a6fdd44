//! `sedge graph`.

use std::ops::ControlFlow;

use sedge_base::{ErrorKind, NodeId};
use sedge_node::{GraphPut, GraphValue, LinkSeen, NodeView, Seen, SpaceView};
use sedge_server::{SpaceAsk, ShareAsk, WatchLine};
use serde_json::Value;

use crate::api::{Api, decode, segment};
use crate::failed::Failed;
use crate::settings::Settings;
use crate::ui::{BOLD, DIM, Table, Ui};

/// How many of a tensor's numbers people are shown.
const SHOWN: usize = 8;

/// Share values that every machine reads and writes, also while they are apart
#[derive(Debug, clap::Args)]
pub(crate) struct Graph {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Put a value under a key; the newest one stands on every machine
    Put {
        /// The node of the graph, such as `kitchen/lamp`
        #[arg(value_name = "SOUL")]
        soul: String,
        /// The key of that node, such as `colour`
        #[arg(value_name = "KEY")]
        key: String,
        /// JSON: null (deletes), true, false, a number, a text, {"#": "SOUL"}, or an array of numbers,
        /// which is a tensor. What is no JSON is a text
        #[arg(value_name = "VALUE", allow_hyphen_values = true)]
        value: String,
        /// The space, by name or id
        #[arg(long, value_name = "SPACE")]
        space: Option<String>,
    },
    /// Show the values of a node of the graph
    Get {
        /// The node of the graph
        #[arg(value_name = "SOUL")]
        soul: String,
        /// One of its keys
        #[arg(value_name = "KEY")]
        key: Option<String>,
        /// The space, by name or id
        #[arg(long, value_name = "SPACE")]
        space: Option<String>,
    },
    /// Show the values of a node of the graph, and each change as it comes
    Watch {
        /// The node of the graph
        #[arg(value_name = "SOUL")]
        soul: String,
        /// One of its keys
        #[arg(value_name = "KEY")]
        key: Option<String>,
        /// The space, by name or id
        #[arg(long, value_name = "SPACE")]
        space: Option<String>,
        /// End after so many values
        #[arg(long, value_name = "COUNT")]
        count: Option<u64>,
    },
    /// List the spaces
    Spaces,
    /// Found a space that only this machine and the named ones can read
    Found {
        /// Its name: a-z, 0-9 and -
        #[arg(value_name = "NAME")]
        name: String,
        /// Another machine that reads it; may be given several times
        #[arg(long = "with", value_name = "NODE")]
        with: Vec<String>,
    },
    /// Let one more machine read a space that this one founded
    Share {
        /// The space, by name or id
        #[arg(value_name = "SPACE")]
        space: String,
        /// The machine
        #[arg(value_name = "NODE")]
        node: String,
    },
    /// Take a machine out of a space: the others get a new key for what is written from now on
    Withhold {
        /// The space, by name or id
        #[arg(value_name = "SPACE")]
        space: String,
        /// The machine
        #[arg(value_name = "NODE")]
        node: String,
    },
    /// Show how good the links are, and how what is sent over them is made smaller
    Links,
}

impl Graph {
    /// Does what its verb says.
    pub(crate) fn run(self, settings: &Settings, ui: &Ui) -> Result<(), Failed> {
        let api = Api::of_home(&settings.home()?)?;
        match self.verb {
            Verb::Put { soul, key, value, space } => {
                let value = serde_json::from_str(&value).unwrap_or(Value::String(value));
                let seen: Seen = api.post("graph", &GraphPut { space, soul, key, value })?;
                ui.result(&seen, || words(&seen));
            }
            Verb::Get { soul, key, space } => {
                let seen: Vec<Seen> = api.get(&query("graph", &soul, key.as_deref(), space))?;
                if seen.is_empty() {
                    let what = key.map_or_else(|| soul.clone(), |key| format!("{soul} {key}"));
                    return Err(Failed::new(ErrorKind::NotFound, format!("nothing under {what}")));
                }
                ui.result(&seen, || seen.iter().map(|it| words(it) + "\n").collect());
            }
            Verb::Watch { soul, key, space, count } => {
                let path = query("graph/watch", &soul, key.as_deref(), space);
                watch(&api, &path, count, *ui)?;
            }
            Verb::Spaces => {
                let spaces: Vec<SpaceView> = api.get("graph/spaces")?;
                ui.result(&spaces, || table(&api, &spaces));
            }
            Verb::Found { name, with } => {
                let ask = SpaceAsk { name, readers: with };
                told(*ui, &api, &api.post("graph/spaces", &ask)?);
            }
            Verb::Share { space, node } => {
                let ask = ShareAsk { space, node, withhold: false };
                told(*ui, &api, &api.post("graph/readers", &ask)?);
            }
            Verb::Withhold { space, node } => {
                let ask = ShareAsk { space, node, withhold: true };
                told(*ui, &api, &api.post("graph/readers", &ask)?);
            }
            Verb::Links => {
                let links: Vec<LinkSeen> = api.get("graph/links")?;
                ui.result(&links, || link_table(&links));
            }
        }
        Ok(())
    }
}

fn query(path: &str, soul: &str, key: Option<&str>, space: Option<String>) -> String {
    let mut path = format!("{path}?soul={}", segment(soul));
    for (name, value) in [("key", key), ("space", space.as_deref())] {
        if let Some(value) = value {
            path.push_str(&format!("&{name}={}", segment(value)));
        }
    }
    path
}

fn watch(api: &Api, path: &str, count: Option<u64>, ui: Ui) -> Result<(), Failed> {
    let mut left = count;
    if left == Some(0) {
        return Ok(());
    }
    api.lines(path, |line| {
        match decode(line.as_bytes())? {
            WatchLine::Seen(seen) => ui.result(&seen, || words(&seen)),
            WatchLine::Error(record) => return Err((*record).into()),
        }
        left = left.map(|it| it - 1);
        Ok(if left == Some(0) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })
}

fn told(ui: Ui, api: &Api, space: &SpaceView) {
    ui.result(space, || table(api, std::slice::from_ref(space)));
}

/// Writes a value for people.
fn words(seen: &Seen) -> String {
    let value = match (&seen.value, &seen.tensor) {
        (GraphValue::Sealed(_), _) => format!("{DIM}sealed{DIM:#}"),
        (GraphValue::Tensor(named), None) => format!("a tensor of {} numbers, not here yet", named.count()),
        (GraphValue::Tensor(_), Some(tensor)) => {
            let shown: Vec<_> = tensor.numbers.iter().take(SHOWN).map(f32::to_string).collect();
            let more = if tensor.numbers.len() > SHOWN { ", …" } else { "" };
            format!("[{}{more}]  {DIM}{}{DIM:#}", shown.join(", "), tensor.form.name())
        }
        (value, _) => value.text(),
    };
    let Seen { soul, key, at, author, .. } = seen;
    format!("{soul} {BOLD}{key}{BOLD:#}  {value}  {DIM}{at} {}{DIM:#}", author.short())
}

fn table(api: &Api, spaces: &[SpaceView]) -> String {
    // The list is as good with ids where the names cannot be had.
    let nodes: Vec<NodeView> = api.get("nodes").unwrap_or_default();
    let name = |id: &NodeId| {
        nodes.iter().find(|it| it.id == *id).map_or_else(|| id.short(), |it| it.name.clone())
    };
    let mut table = Table::new(["space", "key", "readers", "values"]);
    for space in spaces {
        let readers: Vec<_> = space.readers.iter().map(name).collect();
        table.row([
            space.name.clone(),
            space.key.map_or_else(|| "-".to_owned(), |it| it.to_string()),
            if space.key.is_none() { "everybody".to_owned() } else { readers.join(", ") },
            space.entries.to_string(),
        ]);
    }
    table.text()
}

fn link_table(links: &[LinkSeen]) -> String {
    let mut table = Table::new(["node", "link", "sent as", "Mbit/s", "ms"]);
    for LinkSeen { name, link, .. } in links {
        let number = |it: Option<f64>, by: f64| {
            it.map_or_else(|| "-".to_owned(), |it| format!("{:.1}", it / by))
        };
        table.row([
            name.clone(),
            format!("{:?}", link.condition).to_lowercase(),
            format!("{:?}", link.level).to_lowercase(),
            number(link.bits_per_second, 1e6),
            number(link.latency_ms, 1.0),
        ]);
    }
    table.text()
}
