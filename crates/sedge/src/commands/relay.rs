//! `sedge relay`.

use std::net::SocketAddr;
use std::time::Duration;

use sedge_node::{RelaysView, Serving};
use serde_json::Value;

use crate::api::Api;
use crate::failed::Failed;
use crate::settings::Settings;
use crate::ui::{BAD, BOLD, DIM, GOOD, Ui, spoken};

/// Pass on what machines behind routers cannot send each other directly, or see who does
#[derive(Debug, clap::Args)]
pub(crate) struct Relay {
    #[command(subcommand)]
    action: Option<Action>,
}

/// What to do; without it, the relays are shown.
#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Show the relays that are known, and how they fare
    Status,
    /// Run a relay on this machine, now and after each start
    On {
        /// Where it listens, TCP and UDP
        #[arg(long, value_name = "ADDR:PORT", default_value = "0.0.0.0:7379")]
        listen: SocketAddr,
        /// A name or address that others reach it under; the machine's own addresses unless told otherwise
        #[arg(long, value_name = "HOST[:PORT]")]
        at: Vec<String>,
    },
    /// Run no relay any more
    Off,
}

impl Relay {
    /// Does it.
    pub(crate) fn run(self, settings: &Settings, ui: &Ui) -> Result<(), Failed> {
        let api = Api::of_home(&settings.home()?)?;
        match self.action.unwrap_or(Action::Status) {
            Action::Status => {
                let relays: RelaysView = api.get("relay")?;
                ui.result(&relays, || words(&relays));
            }
            Action::On { listen, at } => {
                let relays: RelaysView = api.set("relay", &Serving { listen, hosts: at })?;
                ui.result(&relays, || words(&relays));
            }
            Action::Off => {
                let stopped: Value = api.delete("relay")?;
                ui.result(&stopped, || match stopped["stopped"] == true {
                    true => "this machine runs no relay any more\n".to_owned(),
                    false => "this machine ran no relay\n".to_owned(),
                });
            }
        }
        Ok(())
    }
}

fn words(relays: &RelaysView) -> String {
    let mut text = String::new();
    for it in &relays.serving {
        text.push_str(&format!("{BOLD}runs here{BOLD:#}  {}:{}\n", it.host, it.port));
    }
    for it in &relays.known {
        let state = match (it.healthy, it.took_us) {
            (true, Some(took)) => {
                format!("{GOOD}healthy{GOOD:#}    in {}", spoken(Duration::from_micros(took)))
            }
            (true, None) => "not checked yet".to_owned(),
            (false, _) => format!(
                "{BAD}unhealthy{BAD:#}  {} failures, the last: {}",
                it.failures,
                it.error.as_deref().unwrap_or("unknown")
            ),
        };
        let relay = &it.relay;
        text.push_str(&format!("{}:{}  {state}  {DIM}{}{DIM:#}\n", relay.host, relay.port, relay.node.short()));
    }
    if text.is_empty() {
        text.push_str("no relay is known; `sedge relay on` runs one here\n");
    }
    text
}
