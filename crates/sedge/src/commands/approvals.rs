//! `sedge approvals`.

use sedge_base::Clock;
use sedge_node::ApprovalView;

use crate::api::Api;
use crate::failed::Failed;
use crate::settings::Settings;
use crate::ui::{BOLD, DIM, Table, Ui, spoken};

/// List what waits for a person's approval at this node, and what was answered in the last minutes
#[derive(Debug, clap::Args)]
pub(crate) struct Approvals {}

impl Approvals {
    /// Lists them.
    pub(crate) fn run(self, settings: &Settings, ui: &Ui) -> Result<(), Failed> {
        let api = Api::of_home(&settings.home()?)?;
        let all: Vec<ApprovalView> = api.get("approvals")?;
        ui.result(&all, || words(&all));
        Ok(())
    }
}

fn words(all: &[ApprovalView]) -> String {
    if all.is_empty() {
        return "nothing waits for an approval".to_owned();
    }
    let now = Clock::machine().now();
    let mut table = Table::new(["id", "state", "what", "asked by", "left"]);
    for it in all {
        let id: String = it.id.to_string().chars().take(8).collect();
        let left = spoken(it.ends.since(now));
        let what = it.question.capability.clone();
        table.row([id, it.state.clone(), what, it.asked_by_name.clone(), left]);
    }
    let mut text = table.text();
    for it in all.iter().filter(|it| it.state == "pending") {
        let id: String = it.id.to_string().chars().take(8).collect();
        text.push_str(&format!(
            "{id} with {}\n  {BOLD}sedge approve {id}{BOLD:#} {DIM}or{DIM:#} {BOLD}sedge approve {id} --refuse{BOLD:#}\n",
            shown(it)
        ));
    }
    text
}

/// Writes the arguments as they will be given to the tool; control characters are escaped in JSON.
pub(super) fn shown(view: &ApprovalView) -> String {
    view.arguments.to_string()
}
