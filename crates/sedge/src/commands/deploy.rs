//! `sedge deploy`.

mod app;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use sedge_base::{ByteSize, ErrorKind};
use sedge_capability::Budgets;
use sedge_functions::{Added, Outbound, Place};
use sedge_node::{DeployOptions, Deployed, Need};

use crate::api::{Api, segment};
use crate::failed::Failed;
use crate::settings::Settings;
use crate::span;
use crate::ui::{BAD, DIM, GOOD, Ui, spoken};

/// Put a Wasm component, or an application of several, on this node, on another one or on all
#[derive(Debug, clap::Args)]
pub(crate) struct Deploy {
    /// The file of the component, or of a core module, of which one is made; or an application's manifest, `spin.toml`
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The name that it is called by; an application has one of its own
    #[arg(long, value_name = "NAME")]
    id: Option<String>,
    /// `here` (what is meant when it is left out), `all`, `auto` for the node with the least to do,
    /// or a node's name or id
    #[arg(long, value_name = "WHERE")]
    to: Option<String>,
    /// What a node must have to get it: a label, such as gpu or region=eu, or the name of something
    /// that it offers; may be said several times
    #[arg(long, value_name = "LABEL[=VALUE]")]
    needs: Vec<Need>,
    /// Put it on so many nodes, those with the least to do
    #[arg(long, value_name = "N")]
    replicas: Option<NonZeroU32>,
    /// Environment that every component sees; may be said several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    env: Vec<(String, String)>,
    /// Arguments that the component sees; may be said several times
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    arg: Vec<String>,
    /// A variable of the application; may be said several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    variable: Vec<(String, String)>,
    /// Where the component may send requests and open connections, such as `https://api.example.com` or
    /// `tcp://10.0.0.7:5432`; may be said several times
    #[arg(long, value_name = "PLACE")]
    allow_host: Vec<Place>,
    /// A place and a header that the host adds there, with secrets of the node in braces, such as
    /// `https://api.example.com authorization=Bearer {API_TOKEN}`; may be said several times
    #[arg(long, value_name = "HEADER")]
    add_header: Vec<Added>,
    /// The most Wasm instructions of one task
    #[arg(long, value_name = "N")]
    fuel: Option<u64>,
    /// The most memory of one task, such as 64MiB
    #[arg(long, value_name = "SIZE")]
    memory: Option<ByteSize>,
    /// The most time of one task, such as 500ms
    #[arg(long, value_name = "TIME", value_parser = span::parse)]
    time: Option<Duration>,
    /// A broken-off task may be given to another node
    #[arg(long)]
    idempotent: bool,
}

impl Deploy {
    /// Deploys.
    pub(crate) fn run(self, settings: &Settings, ui: &Ui) -> Result<(), Failed> {
        let api = Api::of_home(&settings.home()?)?;
        if self.file.extension().is_some_and(|it| it == "toml") {
            let done = app::deploy(&self, &api)?;
            ui.result(&done, || done.words());
            return told(done.parts.iter().flat_map(|it| &it.on));
        }
        let Some(name) = &self.id else {
            return Err(Failed::new(ErrorKind::Invalid, "a component needs a name: --id NAME"));
        };
        if !self.variable.is_empty() {
            let message = "`--variable` is for an application's manifest";
            return Err(Failed::new(ErrorKind::Invalid, message));
        }
        let wasm = std::fs::read(&self.file)
            .map_err(|err| Failed::io(&format!("cannot read {}", self.file.display()), &err))?;
        let deployed: Vec<Deployed> = api.put(&self.path(name), &self.options(), &wasm)?;
        ui.result(&deployed, || words(name, &deployed));
        told(deployed.iter())
    }

    /// Returns the way to a function of this name.
    fn path(&self, name: &str) -> String {
        let to = self.to.as_ref().map_or_else(String::new, |it| format!("?to={}", segment(it)));
        format!("functions/{}{to}", segment(name))
    }

    /// Returns what every component of this deployment gets.
    fn options(&self) -> DeployOptions {
        DeployOptions {
            limits: Budgets {
                fuel: self.fuel,
                memory: self.memory,
                time_ms: self.time.map(|it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX)),
                ..Budgets::default()
            },
            env: self.env.iter().cloned().collect::<BTreeMap<_, _>>(),
            args: self.arg.clone(),
            idempotent: self.idempotent,
            share: None,
            outbound: Outbound {
                places: self.allow_host.clone(),
                headers: self.add_header.clone(),
            },
            needs: self.needs.clone(),
            replicas: self.replicas,
        }
    }
}

/// Says how many nodes do not have it, if any.
fn told<'a>(deployed: impl Iterator<Item = &'a Deployed>) -> Result<(), Failed> {
    let deployed: Vec<&Deployed> = deployed.collect();
    let all = deployed.len();
    let failed: Vec<_> = deployed.iter().filter_map(|it| it.failure.as_ref()).collect();
    match failed.first() {
        None => Ok(()),
        Some(first) => {
            let message = format!("{} of {all} nodes do not have it: {first}", failed.len());
            Err(Failed::new(first.kind, message))
        }
    }
}

fn words(name: &str, deployed: &[Deployed]) -> String {
    let mut text = String::new();
    for it in deployed {
        let took = spoken(Duration::from_millis(it.took_ms));
        if it.skipped {
            text.push_str(&format!(
                "{DIM}skipped{DIM:#}  {}: {}\n",
                it.node_name,
                it.reason.as_deref().unwrap_or("does not fit")
            ));
            continue;
        }
        match (&it.failure, &it.content) {
            (Some(failure), _) => {
                text.push_str(&format!("{BAD}failed{BAD:#}  {}: {failure}\n", it.node_name));
            }
            (None, content) => {
                let content = content.map_or_else(String::new, |it| it.short());
                text.push_str(&format!(
                    "{GOOD}ok{GOOD:#}  {name} on {} in {took}  {content}\n",
                    it.node_name
                ));
            }
        }
    }
    text
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE".to_owned()),
    }
}
