//! `sedge join`.

use std::time::Duration;

use sedge_node::{AskWaits, Joined};
use sedge_server::{JoinAsk, KnockAsk};
use serde_json::json;

use super::token::given;
use crate::api::Api;
use crate::failed::Failed;
use crate::settings::Settings;
use crate::span;
use crate::ui::{BOLD, DIM, GOOD, Ui, spoken};

/// Join the swarm of the machine that printed CODE, or ask a machine to be let in
///
/// Without a code, `--at` asks the machine at that address: with a token that its configuration has for
/// this node's name, with a pairing token that it made, or with neither, for the person there to decide.
#[derive(Debug, clap::Args)]
pub(crate) struct Join {
    /// What `sedge invite` printed on the other machine; hyphens or spaces, any case
    #[arg(required_unless_present = "at", num_args = 1.., value_name = "CODE")]
    code: Vec<String>,
    /// Where the other machine is, when the local network has no discovery, or to ask it
    #[arg(long, value_name = "HOST:PORT")]
    at: Option<String>,
    /// A way through a relay, as `sedge invite` printed it
    #[arg(long, value_name = "WAY", requires = "code")]
    relay: Option<String>,
    /// A token from the other machine's configuration, or `-` to read it from the standard input
    #[arg(long, value_name = "TOKEN", requires = "at", conflicts_with_all = ["code", "pair_token"])]
    token: Option<String>,
    /// A token that `sedge admission pair-token` made there, or `-` to read it from the standard input
    #[arg(long, value_name = "TOKEN", requires = "at", conflicts_with = "code")]
    pair_token: Option<String>,
    /// How long to wait for the person there, ten minutes at most; `0s` asks and returns
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = span::parse)]
    wait: Duration,
}

impl Join {
    /// Joins.
    pub(crate) fn run(self, settings: &Settings, ui: &Ui) -> Result<(), Failed> {
        let api = Api::of_home(&settings.home()?)?;
        let joined: Joined = match self.at {
            Some(at) if self.code.is_empty() => {
                let token = self.token.as_deref().map(given).transpose()?;
                let pair_token = self.pair_token.as_deref().map(given).transpose()?;
                let ask = KnockAsk { at, token, pair_token, wait_s: Some(self.wait.as_secs()) };
                api.knock(&ask, |waits| tell(*ui, &waits))?
            }
            at => api.post("join", &JoinAsk { code: self.code.join("-"), at, relay: self.relay })?,
        };
        ui.result(&joined, || words(&joined));
        Ok(())
    }
}

/// Says what the person at the other end must type.
fn tell(ui: Ui, waits: &AskWaits) {
    let AskWaits { node, name, approve } = waits;
    ui.result(&json!({ "state": "pending", "node": node, "name": name, "approve": approve }), || {
        format!(
            "{GOOD}{name}{GOOD:#} asks its person; on that machine: {BOLD}{approve}{BOLD:#}\n\
             {DIM}waiting, Ctrl-C stops  {node}{DIM:#}"
        )
    });
}

fn words(joined: &Joined) -> String {
    let Joined { inviter, inviter_name, way, members, took_ms, admitted, .. } = joined;
    let took = spoken(Duration::from_millis(*took_ms));
    let mut text = format!(
        "joined {GOOD}{inviter_name}{GOOD:#} by {way} in {took}; {members} members now  {DIM}{inviter}{DIM:#}"
    );
    if let Some(admitted) = admitted {
        text.push_str(&format!("\nlet in by the mode {}, trust {}", admitted.mode, admitted.trust));
        if let Some(ends) = admitted.ends {
            text.push_str(&format!(" until {ends}; the same command renews it"));
        }
    }
    text
}
