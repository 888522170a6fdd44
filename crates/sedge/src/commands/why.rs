//! `sedge why`.

use sedge_node::Routed;

use crate::api::{Api, segment};
use crate::failed::Failed;
use crate::settings::Settings;
use crate::ui::{DIM, Ui};

/// Say why a task ran where it did: the candidates, their numbers, the losers
#[derive(Debug, clap::Args)]
pub(crate) struct Why {
    /// The task's id, or `last`
    #[arg(default_value = "last", value_name = "TASK")]
    task: String,
}

impl Why {
    /// Says it.
    pub(crate) fn run(self, settings: &Settings, ui: &Ui) -> Result<(), Failed> {
        let api = Api::of_home(&settings.home()?)?;
        let routed: Routed = api.get(&format!("decisions/{}", segment(&self.task)))?;
        ui.result(&routed, || format!("{DIM}task {}{DIM:#}\n{}", routed.task, routed.words));
        Ok(())
    }
}
