//! `sedge revoke`.

use sedge_node::RevokedView;

use crate::api::{Api, segment};
use crate::failed::Failed;
use crate::settings::Settings;
use crate::ui::{BOLD, DIM, Ui};

/// Take back a node's membership: every machine cuts it off, until it joins with a new invitation
#[derive(Debug, clap::Args)]
pub(crate) struct Revoke {
    /// The node, by name, id or the beginning of an id
    #[arg(value_name = "NODE")]
    node: String,
}

impl Revoke {
    /// Takes it back.
    pub(crate) fn run(self, settings: &Settings, ui: &Ui) -> Result<(), Failed> {
        let api = Api::of_home(&settings.home()?)?;
        let revoked: RevokedView = api.post(&format!("nodes/{}/revoke", segment(&self.node)), &())?;
        let name = revoked.name.clone().unwrap_or_else(|| self.node.clone());
        ui.result(&revoked, || words(&name, &revoked));
        Ok(())
    }
}

/// Says what was taken back, and who knows it.
pub(crate) fn words(what: &str, revoked: &RevokedView) -> String {
    let RevokedView { told, not_yet, .. } = revoked;
    let mut text = format!("{BOLD}{what}{BOLD:#} is revoked");
    if !told.is_empty() {
        text.push_str(&format!("; {} know it", told.join(", ")));
    }
    text.push('\n');
    if !not_yet.is_empty() {
        let names = not_yet.join(", ");
        text.push_str(&format!("{DIM}{names} will know it when they connect{DIM:#}\n"));
    }
    text
}
