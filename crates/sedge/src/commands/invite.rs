//! `sedge invite`.

use std::thread;
use std::time::Duration;

use sedge_base::{Clock, ErrorKind};
use sedge_node::{Invitation, InviteState};
use sedge_server::InviteAsk;
use serde_json::json;

use crate::api::Api;
use crate::failed::Failed;
use crate::settings::Settings;
use crate::span;
use crate::ui::{BOLD, DIM, GOOD, Ui};

/// How often the countdown is drawn.
const REDRAW: Duration = Duration::from_millis(200);

/// Open an invitation: print a code for `sedge join` on the other machine, wait for it
#[derive(Debug, clap::Args)]
pub(crate) struct Invite {
    /// How long the code holds, ten minutes at most
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = span::parse)]
    ttl: Duration,
    /// Print the code and return at once
    #[arg(long)]
    no_wait: bool,
}

impl Invite {
    /// Opens the invitation.
    pub(crate) fn run(self, settings: &Settings, ui: &Ui) -> Result<(), Failed> {
        let api = Api::of_home(&settings.home()?)?;
        let ask = InviteAsk { ttl_s: Some(self.ttl.as_secs()) };
        let invitation: Invitation = api.post("invites", &ask)?;
        ui.result(&invitation, || words(&invitation));
        if self.no_wait {
            return Ok(());
        }
        wait(&api, *ui)
    }
}

fn words(invitation: &Invitation) -> String {
    let Invitation { code, addresses, relays, .. } = invitation;
    let mut text = format!("\n    {BOLD}{GOOD}{code}{GOOD:#}{BOLD:#}\n\non the other machine: sedge join {code}\n");
    for address in addresses {
        text.push_str(&format!("{DIM}no discovery there?  sedge join {code} --at {address}{DIM:#}\n"));
    }
    for relay in relays {
        text.push_str(&format!("{DIM}another network?  sedge join {code} --relay {relay}{DIM:#}\n"));
    }
    text
}

/// Waits until somebody joined, the code is burnt, or its time is over.
fn wait(api: &Api, ui: Ui) -> Result<(), Failed> {
    let countdown = ui.bar(0);
    countdown.set_style(indicatif::ProgressStyle::default_spinner());
    let ended = loop {
        match api.get("invites")? {
            InviteState::Open { expires } => {
                let left = expires.since(Clock::machine().now()).as_secs();
                countdown.set_message(format!("waiting, {}:{:02} left", left / 60, left % 60));
                countdown.tick();
                thread::sleep(REDRAW);
            }
            ended => break ended,
        }
    };
    countdown.finish_and_clear();
    let again = "`sedge invite` makes a new code";
    match ended {
        InviteState::Joined { node, name } => {
            ui.result(&json!({ "state": "joined", "node": node, "name": name }), || {
                format!("{GOOD}{name}{GOOD:#} joined  {DIM}{node}{DIM:#}")
            });
            Ok(())
        }
        InviteState::Burnt { reason } => {
            let message = format!("the code is burnt: {reason}");
            Err(Failed::new(ErrorKind::Denied, message).hint(again))
        }
        InviteState::Expired | InviteState::Open { .. } => {
            Err(Failed::new(ErrorKind::Timeout, "nobody came before the code expired").hint(again))
        }
        InviteState::None => {
            Err(Failed::new(ErrorKind::Cancelled, "the invitation was withdrawn").hint(again))
        }
    }
}
