//! `sedge admission`.

use std::time::Duration;

use sedge_base::{NodeId, Timestamp};
use sedge_node::{AdmissionView, PairTokenMade, Settled};
use sedge_server::{BanAsk, PairTokenAsk};

use crate::api::{Api, segment};
use crate::failed::Failed;
use crate::qr;
use crate::settings::Settings;
use crate::span;
use crate::ui::{BOLD, DIM, GOOD, Table, Ui};

/// What a person writes to let others ask.
const EXAMPLE: &str = "\
In `config.toml` of that machine's home; the modes are asked in their order:

  [admission]
  modes = [\"token\", \"challenge\", \"pair-token\", \"tofu\"]  # or \"dev\", on loopback alone
  [admission.tokens]
  kitchen = \"a-secret-of-the-two-of-us\"  # for the machine of this name: `sedge join --at … --token …`
  [admission.devices.attic]
  secret = \"another-secret-of-two\"       # the same, and a login for a day";

/// Decide who may become a member without a spoken code: see who waits, approve, reject, ban
///
/// Strangers are answered only when `[admission]` in the configuration names a mode, on the machine that
/// owns the swarm.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLE)]
pub(crate) struct Admission {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List who waits, who was let in, who is banned, and the pairing tokens
    List,
    /// Let in a node that waits
    Approve {
        /// The node, as the other machine printed it, or its name if nobody else claims it
        #[arg(value_name = "NODE")]
        node: String,
    },
    /// Say no to a node that waits; it may ask again
    Reject {
        /// The node, as the list shows it, or its name if nobody else claims it
        #[arg(value_name = "NODE")]
        node: String,
    },
    /// Keep a node away for a while; a member is revoked first
    Ban {
        /// The node, by its key, the beginning of its key, or its name
        #[arg(value_name = "NODE")]
        node: String,
        /// How long
        #[arg(long = "for", value_name = "TIME", default_value = "1d", value_parser = span::parse)]
        time: Duration,
        /// Why, for whoever is banned to read
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Lift a ban
    Unban {
        /// The node, by its key, the beginning of its key, or its name
        #[arg(value_name = "NODE")]
        node: String,
    },
    /// Make a token that pairs one machine, once, within a day
    PairToken {
        /// How long it holds, a day at most
        #[arg(long, value_name = "TIME", default_value = "1d", value_parser = span::parse)]
        ttl: Duration,
        /// Draw the command for the other machine as a QR code
        #[arg(long)]
        qr: bool,
    },
}

impl Admission {
    /// Does what its verb says.
    pub(crate) fn run(self, settings: &Settings, ui: &Ui) -> Result<(), Failed> {
        let api = Api::of_home(&settings.home()?)?;
        let settle = |node: &str, verb: &str, body: &BanAsk| -> Result<(), Failed> {
            let path = format!("admission/nodes/{}/{verb}", segment(node));
            let settled: Settled = api.post(&path, body)?;
            ui.result(&settled, || said(&settled));
            Ok(())
        };
        let nothing = BanAsk::default();
        match self.verb {
            Verb::List => {
                let view: AdmissionView = api.get("admission")?;
                ui.result(&view, || list(&view));
                Ok(())
            }
            Verb::Approve { node } => settle(&node, "approve", &nothing),
            Verb::Reject { node } => settle(&node, "reject", &nothing),
            Verb::Ban { node, time, reason } => {
                settle(&node, "ban", &BanAsk { time_s: Some(time.as_secs()), reason })
            }
            Verb::Unban { node } => settle(&node, "unban", &nothing),
            Verb::PairToken { ttl, qr } => {
                let ask = PairTokenAsk { ttl_s: Some(ttl.as_secs()) };
                let made: PairTokenMade = api.post("admission/pair-tokens", &ask)?;
                let drawn = if qr { Some(qr::draw(&made.join)?) } else { None };
                ui.result(&made, || token(&made, drawn));
                Ok(())
            }
        }
    }
}

fn said(settled: &Settled) -> String {
    let Settled { status, node, name, told, until } = settled;
    let who = name.clone().unwrap_or_else(|| short(node));
    let mut text = format!("{BOLD}{who}{BOLD:#} is {GOOD}{status}{GOOD:#}");
    if let Some(until) = until {
        text.push_str(&format!(" until {until}"));
    }
    if status == "approved" && !told {
        text.push_str("; it is not connected now, and comes in when it asks again");
    }
    text.push_str(&format!("  {DIM}{node}{DIM:#}"));
    text
}

fn token(made: &PairTokenMade, drawn: Option<String>) -> String {
    let PairTokenMade { join, expires, addresses, .. } = made;
    let mut text = drawn.map_or_else(String::new, |it| format!("{it}\n"));
    text.push_str(&format!("on the other machine: {join}\n"));
    for address in addresses.iter().skip(1) {
        text.push_str(&format!("{DIM}also reached at {address}{DIM:#}\n"));
    }
    text.push_str(&format!("{DIM}good once, until {expires}; it is not shown again{DIM:#}\n"));
    text
}

/// Returns as much of a key as a person has to type.
fn short(node: &NodeId) -> String {
    node.to_string().chars().take(16).collect()
}

fn list(view: &AdmissionView) -> String {
    let AdmissionView { open, modes, addresses, pending, approved: _, sessions, banned, pair_tokens } =
        view;
    if !open {
        return "strangers are not answered: `modes` in `[admission]` of the configuration is empty, \
                or this machine does not own the swarm"
            .to_owned();
    }
    let mut text = format!("asked in this order: {BOLD}{}{BOLD:#}\n", modes.join(", "));
    for address in addresses {
        text.push_str(&format!("{DIM}on the other machine: sedge join --at {address}{DIM:#}\n"));
    }
    let mut table = Table::new(["node", "name", "state", "since", "until"]);
    let never = || "–".to_owned();
    let ends = |it: &Option<Timestamp>| it.map_or_else(never, |it| it.to_string());
    for it in pending {
        let state = if it.connected { "waits here" } else { "asked" };
        let since = it.requested_at.to_string();
        table.row([short(&it.node), it.name.clone(), state.to_owned(), since, never()]);
    }
    for it in sessions {
        let state = format!("in by {}, trust {}", it.mode, it.trust);
        table.row([short(&it.node), it.name.clone(), state, it.began.to_string(), ends(&it.ends)]);
    }
    for it in banned {
        let state = format!("banned: {}", it.reason);
        table.row([short(&it.node), never(), state, it.at.to_string(), it.until.to_string()]);
    }
    for it in pair_tokens {
        let state = match &it.used_by {
            Some(node) => format!("pairing token, used by {}", short(node)),
            None => "pairing token".to_owned(),
        };
        table.row([it.id.to_string(), never(), state, it.at.to_string(), it.expires.to_string()]);
    }
    text.push('\n');
    text.push_str(&table.text());
    for it in pending {
        text.push_str(&format!("let {} in: {BOLD}{}{BOLD:#}\n", it.name, it.approve));
    }
    text
}
