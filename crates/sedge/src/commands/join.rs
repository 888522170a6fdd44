//! `sedge join`.

use std::time::Duration;

use sedge_node::Joined;
use sedge_server::JoinAsk;

use crate::api::Api;
use crate::failed::Failed;
use crate::settings::Settings;
use crate::ui::{DIM, GOOD, Ui, spoken};

/// Join the swarm of the machine that printed CODE
#[derive(Debug, clap::Args)]
pub(crate) struct Join {
    /// What `sedge invite` printed on the other machine; hyphens or spaces, any case
    #[arg(required = true, num_args = 1.., value_name = "CODE")]
    code: Vec<String>,
    /// Where the other machine is, when the local network has no discovery
    #[arg(long, value_name = "HOST:PORT")]
    at: Option<String>,
    /// A way through a relay, as `sedge invite` printed it
    #[arg(long, value_name = "WAY")]
    relay: Option<String>,
}

impl Join {
    /// Joins.
    pub(crate) fn run(self, settings: &Settings, ui: &Ui) -> Result<(), Failed> {
        let api = Api::of_home(&settings.home()?)?;
        let ask = JoinAsk { code: self.code.join("-"), at: self.at, relay: self.relay };
        let joined: Joined = api.post("join", &ask)?;
        ui.result(&joined, || {
            let Joined { inviter, inviter_name, way, members, took_ms, .. } = &joined;
            let took = spoken(Duration::from_millis(*took_ms));
            format!(
                "joined {GOOD}{inviter_name}{GOOD:#} by {way} in {took}; {members} members now  {DIM}{inviter}{DIM:#}"
            )
        });
        Ok(())
    }
}
