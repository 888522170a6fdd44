//! `sedge models`.

use sedge_node::Offer;

use crate::api::Api;
use crate::failed::Failed;
use crate::settings::Settings;
use crate::ui::{Table, Ui};

/// List the models of all machines
#[derive(Debug, clap::Args)]
pub(crate) struct Models {}

impl Models {
    /// Lists them.
    pub(crate) fn run(self, settings: &Settings, ui: &Ui) -> Result<(), Failed> {
        let Self {} = self;
        let offers: Vec<Offer> = Api::of_home(&settings.home()?)?.get("models")?;
        ui.result(&offers, || {
            if offers.is_empty() {
                return "no machine offers a model: `sedge up` without `--no-model` fetches one".to_owned();
            }
            let mut table = Table::new(["model", "kind", "node", "loaded", "labels"]);
            for Offer { descriptor, node_name, ready, .. } in &offers {
                let labels = descriptor.labels.iter();
                let labels: Vec<_> = labels.map(|(name, value)| format!("{name}={value}")).collect();
                table.row([
                    descriptor.name.to_string(),
                    descriptor.kind.to_string(),
                    node_name.clone(),
                    if *ready { "yes" } else { "on first use" }.to_owned(),
                    labels.join(" "),
                ]);
            }
            table.text()
        });
        Ok(())
    }
}
