//! `sedge capabilities`.

use sedge_node::Offer;

use crate::api::Api;
use crate::failed::Failed;
use crate::settings::Settings;
use crate::ui::{Table, Ui};

/// List what the machines offer
#[derive(Debug, clap::Args)]
pub(crate) struct Capabilities {}

impl Capabilities {
    /// Lists it.
    pub(crate) fn run(self, settings: &Settings, ui: &Ui) -> Result<(), Failed> {
        let Self {} = self;
        let offers: Vec<Offer> = Api::of_home(&settings.home()?)?.get("capabilities")?;
        ui.result(&offers, || {
            if offers.is_empty() {
                return "nothing is offered yet: `sedge deploy FILE.wasm --id NAME`".to_owned();
            }
            let mut table = Table::new(["name", "kind", "node", "ready", "what it does"]);
            for Offer { descriptor, node_name, ready, .. } in &offers {
                table.row([
                    descriptor.name.to_string(),
                    descriptor.kind.to_string(),
                    node_name.clone(),
                    if *ready { "yes" } else { "on first use" }.to_owned(),
                    descriptor.summary.clone(),
                ]);
            }
            table.text()
        });
        Ok(())
    }
}
