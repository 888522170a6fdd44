//! `sedge apps`.

use sedge_base::{Clock, ErrorKind};
use sedge_capability::{Budgets, Name, NameError};
use sedge_functions::{Route, share_of};
use sedge_node::{
    AppForgotten, ChannelView, Missed, Offer, ScheduleAsk, ScheduleView, Status, When, Wish,
};
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
    /// Remove an application from this node; what it has kept here stays, unless `--data` is said
    Rm {
        /// Its name
        #[arg(value_name = "APP")]
        name: String,
        /// Also delete what it has kept on this node, its keys and databases; nothing brings them back
        #[arg(long)]
        data: bool,
    },
}

impl Apps {
    /// Does it.
    pub(crate) fn run(self, settings: &Settings, ui: &Ui) -> Result<(), Failed> {
        let api = Api::of_home(&settings.home()?)?;
        match self.action {
            None | Some(Action::Ls) => list(&api, ui),
            Some(Action::Rm { name, data }) => remove(&api, ui, &name, data),
        }
    }
}

/// Removes an application from this node and, when that was asked for, what it has kept here.
fn remove(api: &Api, ui: &Ui, name: &str, data: bool) -> Result<(), Failed> {
    unschedule(api, name)?;
    let removed = forget(api, name, |_| true)?;
    let deleted: Option<AppForgotten> = match data {
        true => Some(api.delete(&format!("apps/{}/data", segment(name)))?),
        false => None,
    };
    ui.result(&json!({ "removed": removed, "deleted": deleted }), || {
        let mut text = match removed.len() {
            0 => format!("there is no {name} on this node\n"),
            count => format!("{name} is gone, with {count} components\n"),
        };
        if let Some(AppForgotten { keys, databases }) = deleted {
            text.push_str(&format!("deleted: {keys} keys, {databases} databases\n"));
        }
        text
    });
    Ok(())
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
    let channels: Vec<ChannelView> = api.get("channels")?;
    let all: Vec<Value> = rows.iter().cloned().chain(channels.iter().map(|it| json!(it))).collect();
    ui.result(&all, || {
        if all.is_empty() {
            return "there is no application yet: `sedge deploy spin.toml`".to_owned();
        }
        if rows.is_empty() {
            return heard(&channels);
        }
        let columns = ["app", "route", "function", "node", "url"];
        let mut table = Table::new(columns);
        for row in &rows {
            table.row(columns.map(|it| row[it].as_str().unwrap_or_default().to_owned()));
        }
        if channels.is_empty() { table.text() } else { table.text() + "\n" + &heard(&channels) }
    });
    Ok(())
}

/// Returns what people are told about the channels that this node hears.
fn heard(channels: &[ChannelView]) -> String {
    let mut table = Table::new(["app", "channel", "function", "server", "state"]);
    for ChannelView { app, function, channel, server, heard, why, messages, failed, .. } in channels
    {
        let state = match (heard, why) {
            (true, _) => format!("heard: {messages} messages, {failed} failed"),
            (false, Some(why)) => format!("away: {why}"),
            (false, None) => "not yet heard".to_owned(),
        };
        table.row([app.clone(), channel.clone(), function.to_string(), server.clone(), state]);
    }
    table.text()
}

/// Returns where a route is, at this node.
pub(super) fn url(api: &Api, app: &str, route: &Route) -> String {
    format!("{}/fn/{}{route}", api.base(), segment(app))
}

/// Says what is wrong with a cron expression.
pub(super) fn check_cron(cron: &str) -> Result<(), String> {
    let first = when(cron).first(Clock::machine().now());
    first.map(drop).map_err(|err| err.to_string())
}

fn when(cron: &str) -> When {
    When::Cron { cron: cron.to_owned(), zone: "UTC".to_owned() }
}

/// Has this node call components of an application, each as its cron expression says.
pub(super) fn schedule(api: &Api, app: &str, crons: Vec<(String, String)>) -> Result<(), Failed> {
    for (at, (function, cron)) in crons.into_iter().enumerate() {
        let wrong = |err: NameError| Failed::new(ErrorKind::Invalid, err.to_string());
        let function: Name = function.parse().map_err(wrong)?;
        let ask = ScheduleAsk {
            id: Some(format!("{}{at}", mark(app))),
            task: Wish {
                function,
                input: String::new(),
                input_hex: None,
                on: None,
                budgets: Budgets::default(),
            },
            when: when(&cron),
            missed: Missed::Skip,
            max_runs: None,
        };
        let _made: ScheduleView = api.post("schedules", &ask)?;
    }
    Ok(())
}

/// Forgets when this node calls components of an application.
pub(super) fn unschedule(api: &Api, app: &str) -> Result<(), Failed> {
    let views: Vec<ScheduleView> = api.get("schedules")?;
    let ours = views.iter().map(|it| &it.schedule.id).filter(|it| it.starts_with(&mark(app)));
    for id in ours {
        let _removed: Value = api.delete(&format!("schedules/{}", segment(id)))?;
    }
    Ok(())
}

/// What the names of an application's schedules begin with.
fn mark(app: &str) -> String {
    format!("{app}.cron.")
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
