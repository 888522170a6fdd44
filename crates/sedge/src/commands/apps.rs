//! `sedge apps`.

use sedge_functions::{Route, share_of};
use sedge_node::{Offer, Status};
use serde_json::{Value, json};

use crate::api::{Api, segment};
use crate::failed::Failed;
use crate::settings::Settings;
use crate::ui::{Table, Ui};

/// List the applications of the machines and where they answer, or remove one
#[derive(Debug, clap::Args)]
pub(crate) struct Apps {
    #[command(subcommand)]
    action: Option<Action>,
}

/// What to do.
#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List them, which is also what is done without a word
    Ls,
    /// Remove an application from this node; what it has kept here stays
    Rm {
        /// Its name
        #[arg(value_name = "APP")]
        name: String,
    },
}

impl Apps {
    /// Does it.
    pub(crate) fn run(self, settings: &Settings, ui: &Ui) -> Result<(), Failed> {
        let api = Api::of_home(&settings.home()?)?;
        match self.action {
            None | Some(Action::Ls) => list(&api, ui),
            Some(Action::Rm { name }) => {
                let forgotten = forget(&api, &name, |_| true)?;
                ui.result(&json!({ "removed": forgotten }), || match forgotten.len() {
                    0 => format!("there is no {name} on this node\n"),
                    count => format!("{name} is gone, with {count} components\n"),
                });
                Ok(())
            }
        }
    }
}

fn list(api: &Api, ui: &Ui) -> Result<(), Failed> {
    let offers: Vec<Offer> = api.get("capabilities")?;
    let mut rows = Vec::new();
    for Offer { descriptor, node_name, .. } in &offers {
        let Some((app, routes)) = share_of(descriptor) else { continue };
        let row = |route: &Route| {
            let (route, url) = (route.to_string(), url(api, app, route));
            json!({ "app": app, "function": descriptor.name, "node": node_name, "route": route, "url": url })
        };
        rows.extend(routes.iter().map(row));
    }
    ui.result(&rows, || {
        if rows.is_empty() {
            return "there is no application yet: `sedge deploy spin.toml`".to_owned();
        }
        let columns = ["app", "route", "function", "node", "url"];
        let mut table = Table::new(columns);
        for row in &rows {
            table.row(columns.map(|it| row[it].as_str().unwrap_or_default().to_owned()));
        }
        table.text()
    });
    Ok(())
}

/// Returns where a route is, at this node.
pub(super) fn url(api: &Api, app: &str, route: &Route) -> String {
    format!("{}/fn/{}{route}", api.base(), segment(app))
}

/// Forgets components of an application on this node; returns which there were.
pub(super) fn forget(
    api: &Api,
    app: &str,
    which: impl Fn(&str) -> bool,
) -> Result<Vec<String>, Failed> {
    let (offers, me): (Vec<Offer>, Status) = (api.get("capabilities")?, api.get("status")?);
    let mut forgotten = Vec::new();
    for Offer { descriptor, node, .. } in offers {
        let function = descriptor.name.as_str();
        let ours = node == me.id && share_of(&descriptor).is_some_and(|it| it.0 == app);
        if ours && which(function) {
            let _removed: Value = api.delete(&format!("functions/{}", segment(function)))?;
            forgotten.push(function.to_owned());
        }
    }
    Ok(forgotten)
}
