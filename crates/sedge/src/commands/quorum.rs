//! `sedge quorum`.

use std::time::Duration;

use clap::ValueEnum;
use sedge_node::{Agreed, Claim, Key, Presence, QuorumView, Record, Text};
use sedge_server::{ClaimAsk, FoundAsk, RecordAsk, ReleaseAsk, RolesAsk};
use sedge_trust::swarm::Role;

use crate::api::{Api, segment};
use crate::failed::Failed;
use crate::settings::Settings;
use crate::span;
use crate::ui::{BOLD, DIM, Table, Ui};

/// Decide by a majority: one coordinator, claims under fences, a log that all read alike
///
/// Three machines that are always on survive the loss of one, five of two. On a side of a split
/// without a majority nothing is decided, and who is coordinator is unknown.
#[derive(Debug, clap::Args)]
pub(crate) struct Quorum {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Found the quorum: this node, which is the owner's, and those that are named
    Init {
        /// The other voters, by name, id or the beginning of an id; two make three
        #[arg(value_name = "NODE")]
        nodes: Vec<String>,
    },
    /// Let one more node vote
    Add {
        /// The node
        #[arg(value_name = "NODE")]
        node: String,
    },
    /// Let a node vote no more
    Remove {
        /// The node
        #[arg(value_name = "NODE")]
        node: String,
    },
    /// Show who is coordinator, who votes, and what each machine may be
    Status,
    /// Say what a machine is, in place of what it was; on the owner's node
    Role {
        /// The node
        #[arg(value_name = "NODE")]
        node: String,
        /// What it is from now on; only a coordinator can be elected
        #[arg(value_name = "ROLE", required = true)]
        roles: Vec<Duty>,
    },
    /// Take a claim for this node, or keep it longer; prints its fence
    ///
    /// One node at a time holds a claim. Give the fence to whatever the claim protects, and let it
    /// refuse a smaller one than it has seen: then no late message of an earlier holder does harm.
    Claim {
        /// What to claim, such as backup/nightly
        #[arg(value_name = "KEY")]
        key: Key,
        /// After how long somebody else may take it, at most a day
        #[arg(long, value_name = "TIME", value_parser = span::parse, default_value = "30s")]
        ttl: Duration,
        /// Ask this very node, which refuses unless it is the coordinator
        #[arg(long, value_name = "NODE")]
        on: Option<String>,
    },
    /// Give a claim back before it ends
    Release {
        /// What was claimed
        #[arg(value_name = "KEY")]
        key: Key,
        /// The fence of the claim
        #[arg(long, value_name = "N")]
        fence: u64,
    },
    /// Write a line into the log of the swarm
    Record {
        /// One line of at most 1,024 bytes
        #[arg(value_name = "TEXT")]
        text: Text,
    },
    /// Show the claims and the newest lines of the log, confirmed by a majority
    Log,
}

/// What a machine may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Duty {
    /// May be elected to decide
    Coordinator,
    /// Runs tasks and learns
    Worker,
    /// Explores
    Scout,
    /// Knows one field
    Specialist,
}

impl From<Duty> for Role {
    fn from(duty: Duty) -> Self {
        match duty {
            Duty::Coordinator => Self::Coordinator,
            Duty::Worker => Self::Worker,
            Duty::Scout => Self::Scout,
            Duty::Specialist => Self::Specialist,
        }
    }
}

impl Quorum {
    /// Does what its verb says.
    pub(crate) fn run(self, settings: &Settings, ui: &Ui) -> Result<(), Failed> {
        let api = Api::of_home(&settings.home()?)?;
        let voter = |node: &str| format!("quorum/voters/{}", segment(node));
        let view: QuorumView = match self.verb {
            Verb::Init { nodes } => api.post("quorum", &FoundAsk { nodes })?,
            Verb::Add { node } => api.act(&voter(&node), None)?,
            Verb::Remove { node } => api.delete(&voter(&node))?,
            Verb::Status => api.get("quorum")?,
            Verb::Role { node, roles } => {
                let roles = roles.into_iter().map(Role::from).collect();
                api.post(&format!("nodes/{}/roles", segment(&node)), &RolesAsk { roles })?
            }
            Verb::Claim { key, ttl, on } => return claim(&api, *ui, key, ttl, on),
            Verb::Release { key, fence } => return release(&api, *ui, key, fence),
            Verb::Record { text } => return record(&api, *ui, text),
            Verb::Log => return log(&api, *ui),
        };
        ui.result(&view, || words(&view));
        Ok(())
    }
}

fn claim(api: &Api, ui: Ui, key: Key, ttl: Duration, on: Option<String>) -> Result<(), Failed> {
    let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
    let claim: Claim = api.post("quorum/claims", &ClaimAsk { key, ttl_ms, on })?;
    ui.result(&claim, || {
        let Claim { key, fence, until, .. } = &claim;
        format!("{BOLD}{key}{BOLD:#} is this node's until {until}, under fence {fence}\n")
    });
    Ok(())
}

fn release(api: &Api, ui: Ui, key: Key, fence: u64) -> Result<(), Failed> {
    let ask = ReleaseAsk { key, fence };
    let was: bool = api.post("quorum/claims/release", &ask)?;
    ui.result(&serde_json::json!({ "released": was }), || match was {
        true => format!("{} is free\n", ask.key),
        false => format!("{} was not this node's under fence {fence}\n", ask.key),
    });
    Ok(())
}

fn record(api: &Api, ui: Ui, text: Text) -> Result<(), Failed> {
    let record: Record = api.post("quorum/records", &RecordAsk { text })?;
    ui.result(&record, || format!("record {} stands\n", record.number));
    Ok(())
}

fn log(api: &Api, ui: Ui) -> Result<(), Failed> {
    let agreed: Agreed = api.get("quorum/records")?;
    ui.result(&agreed, || {
        let mut claims = Table::new(["claim", "holder", "fence", "until"]);
        for Claim { key, holder, fence, until } in &agreed.claims {
            claims.row([key.to_string(), holder.short(), fence.to_string(), until.to_string()]);
        }
        let mut records = Table::new(["number", "at", "by", "record"]);
        for Record { number, text, by, at } in &agreed.records {
            records.row([number.to_string(), at.to_string(), by.short(), text.to_string()]);
        }
        format!("{}\n{}", claims.text(), records.text())
    });
    Ok(())
}

fn words(view: &QuorumView) -> String {
    let mut text = match &view.coordinator {
        Some(led) => format!(
            "{BOLD}{}{BOLD:#} is coordinator, under fence {}\n",
            led.name, led.coordinator.fence
        ),
        None => format!("{DIM}the coordinator is unknown{DIM:#}\n"),
    };
    if view.voters > 0 {
        text.push_str(&format!(
            "{} vote, {} make a majority\n",
            view.voters, view.majority
        ));
    }
    let mut table = Table::new(["name", "id", "state", "votes", "roles"]);
    for node in &view.nodes {
        let state = match node.status {
            Some(Presence::Online) => "online",
            Some(Presence::Offline) => "offline",
            Some(Presence::Connecting) => "connecting",
            None => "no member",
        };
        let roles: Vec<&str> = node.roles.iter().map(|it| it.name()).collect();
        let votes = if node.votes { "yes".to_owned() } else { "no".to_owned() };
        table.row([
            node.name.clone(),
            node.node.short(),
            state.to_owned(),
            votes,
            roles.join(", "),
        ]);
    }
    text.push_str(&table.text());
    for note in view.stopped.iter().chain(&view.warning) {
        text.push_str(&format!("{note}\n"));
    }
    text
}
