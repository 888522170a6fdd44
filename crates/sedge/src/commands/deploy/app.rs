//! `sedge deploy spin.toml`: every component of an application, under one name.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use sedge_base::ErrorKind;
use sedge_functions::{App, Given, Part, Place};
use sedge_node::{DeployOptions, Deployed};
use serde::Serialize;

use super::{Deploy, words};
use crate::api::Api;
use crate::commands::apps;
use crate::failed::Failed;
use crate::ui::DIM;

/// What became of an application.
#[derive(Debug, Serialize)]
pub(super) struct Done {
    /// Its name.
    app: String,
    /// Its components, in the order in which they were deployed.
    pub(super) parts: Vec<DonePart>,
    /// Components of an earlier version that this node has forgotten.
    forgotten: Vec<String>,
}

/// What became of one component.
#[derive(Debug, Serialize)]
pub(super) struct DonePart {
    /// Its function.
    function: String,
    /// Its routes.
    routes: Vec<DoneRoute>,
    /// The channels whose messages call it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    channels: Vec<DoneChannel>,
    /// The nodes.
    pub(super) on: Vec<Deployed>,
}

/// A route, and where it is.
#[derive(Debug, Serialize)]
struct DoneRoute {
    route: String,
    url: String,
}

/// A channel, and its server without a login.
#[derive(Debug, Serialize)]
struct DoneChannel {
    channel: String,
    server: String,
}

/// Deploys the components of a manifest, and forgets those of an earlier version on this node.
pub(super) fn deploy(deploy: &Deploy, api: &Api) -> Result<Done, Failed> {
    let text = fs::read_to_string(&deploy.file)
        .map_err(|err| Failed::io(&format!("cannot read {}", deploy.file.display()), &err))?;
    let folder = deploy.file.parent().unwrap_or(Path::new(""));
    let variables: BTreeMap<String, String> = deploy.variable.iter().cloned().collect();
    let files = |path: &Path| fs::read(folder.join(path));
    let given = Given {
        name: deploy.id.as_deref(),
        variables: &variables,
        files: &files,
        cron: &|it| apps::check_cron(it),
    };
    let App { name: app, parts } =
        App::read(&text, &given).map_err(|err| Failed::new(err.kind(), err.to_string()))?;
    let allowed = |place: &Place| {
        let all = parts.iter().flat_map(|it| &it.outbound.places).chain(&deploy.allow_host);
        all.into_iter().any(|it| it.contains(place))
    };
    if let Some(header) = deploy.add_header.iter().find(|it| !allowed(it.place())) {
        let message = format!("no component may send requests to {}", header.place());
        return Err(Failed::new(ErrorKind::Invalid, message));
    }
    let names: Vec<String> = parts.iter().map(|it| it.function.clone()).collect();
    let mut done = Vec::new();
    let mut crons = Vec::new();
    for part in parts {
        let route = |it: &sedge_functions::Route| DoneRoute {
            route: it.to_string(),
            url: apps::url(api, &app, it),
        };
        let routes = part.share.routes.iter().map(route).collect();
        let channel = |it: &sedge_functions::Channel| DoneChannel {
            channel: it.channel.clone(),
            server: it.address.to_string(),
        };
        let channels = part.share.channels.iter().map(channel).collect();
        crons.extend(part.crons.iter().map(|it| (part.function.clone(), it.clone())));
        let (function, wasm) = (part.function.clone(), part.wasm.clone());
        let on: Vec<Deployed> = api.put(&deploy.path(&function), &options(deploy, part), &wasm)?;
        let failed = on.iter().any(|it| it.failure.is_some());
        done.push(DonePart { function, routes, channels, on });
        if failed {
            // What was there before still answers; nothing of it is taken away.
            return Ok(Done { app, parts: done, forgotten: Vec::new() });
        }
    }
    let forgotten = apps::forget(api, &app, |function| !names.iter().any(|it| it == function))?;
    apps::unschedule(api, &app)?;
    apps::schedule(api, &app, crons)?;
    Ok(Done { app, parts: done, forgotten })
}

fn options(deploy: &Deploy, part: Part) -> DeployOptions {
    let mut options = deploy.options();
    // What the command line says counts more than the manifest.
    for (key, value) in part.environment {
        options.env.entry(key).or_insert(value);
    }
    options.outbound.places.extend(part.outbound.places);
    // A header is added where the component may send requests, and nowhere else.
    let places = &options.outbound.places;
    options.outbound.headers.retain(|it| places.iter().any(|place| place.contains(it.place())));
    options.share = Some(part.share);
    options
}

impl Done {
    /// Returns what people are told.
    pub(super) fn words(&self) -> String {
        let mut text = String::new();
        for DonePart { function, routes, channels, on } in &self.parts {
            text.push_str(&words(function, on));
            for DoneRoute { route, url } in routes {
                text.push_str(&format!("    {route}  {DIM}{url}{DIM:#}\n"));
            }
            for DoneChannel { channel, server } in channels {
                text.push_str(&format!("    {channel}  {DIM}{server}{DIM:#}\n"));
            }
        }
        for function in &self.forgotten {
            text.push_str(&format!("{DIM}{function} is gone{DIM:#}\n"));
        }
        text
    }
}
