//! `sedge status`.

use sedge_node::Status as State;

use crate::api::Api;
use crate::failed::Failed;
use crate::settings::Settings;
use crate::ui::{BOLD, DIM, Ui};

/// Show how the node of this home is
#[derive(Debug, clap::Args)]
pub(crate) struct Status {}

impl Status {
    /// Shows it.
    pub(crate) fn run(self, settings: &Settings, ui: &Ui) -> Result<(), Failed> {
        let Self {} = self;
        let api = Api::of_home(&settings.home()?)?;
        let state: State = api.get("status")?;
        ui.result(&state, || words(&state, &api));
        Ok(())
    }
}

fn words(state: &State, api: &Api) -> String {
    let mesh: Vec<String> = state.mesh.iter().map(ToString::to_string).collect();
    let role = if state.owner { "its owner" } else { "a member" };
    let receipts = match state.two_histories.as_slice() {
        [] => state.receipts.to_string(),
        names => format!(
            "{}; {} told two histories of its chain, see `sedge receipt chains`",
            state.receipts,
            names.join(", ")
        ),
    };
    let lines = [
        ("node", state.id.to_string()),
        ("swarm", format!("{}, {role}, members: {}", state.swarm, state.members)),
        ("home", state.home.clone()),
        ("version", state.version.clone()),
        ("started", state.started.to_string()),
        ("OpenAI", format!("{}/v1", api.base())),
        ("mesh", if mesh.is_empty() { "closed".to_owned() } else { mesh.join(", ") }),
        ("offers", state.offers.join(", ")),
        ("tasks", format!("{} running", state.running)),
        ("receipts", receipts),
        ("machine", format!("{:.0} % busy, {} free of {}", state.cpu_percent, state.free_memory, state.total_memory)),
        ("memory", state.resident.map_or_else(|| "unknown".to_owned(), |it| it.to_string())),
    ];
    let mut text = format!("{BOLD}{}{BOLD:#} is up\n", state.name);
    let coordinator = state.coordinator.clone().map(|it| ("decides", it));
    for (label, value) in lines.into_iter().chain(coordinator) {
        text.push_str(&format!("  {DIM}{label:9}{DIM:#} {value}\n"));
    }
    text
}
