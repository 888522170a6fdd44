//! Whole nodes: start, memory, calls through the API here and to another process, tokens.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sedge_base::ErrorKind;
use sedge_node::{DeployOptions, Deployed, NodeView, Status};
use serde_json::json;
use tokio::time::Instant;

use super::engine::UPPER;
use super::{Bench, Figure, artifact, code, percentiles};
use crate::api::Api;
use crate::commands::chat;
use crate::commands::demo::{Stage, invite, join, join_all, offering, until_all_online};
use crate::failed::Failed;
use crate::settings::Settings;
use crate::ui::{Ui, spoken};

/// Makes a folder for one measurement.
pub(super) fn folder(what: &str) -> Result<PathBuf, Failed> {
    let random: [u8; 6] =
        sedge_trust::random_bytes().map_err(|err| Failed::of(ErrorKind::Internal, &err))?;
    let folder = std::env::temp_dir().join(format!("sedge-bench-{what}-{}", hex::encode(random)));
    DirBuilder::new()
        .mode(0o700)
        .create(&folder)
        .map_err(|err| Failed::io(&format!("cannot create {}", folder.display()), &err))?;
    Ok(folder)
}

/// Measures two node processes on loopback; the second one has the model.
pub(super) fn measure(bench: &Bench, settings: &Settings, ui: Ui) -> Result<Vec<Figure>, Failed> {
    let (rounds, with_model) = (bench.rounds, !bench.no_model);
    let cache = settings.cache()?;
    if with_model {
        crate::commands::demo::fetch_models(settings, ui)?;
    }
    let mut stage = Stage::build()?;
    let mut figures = vec![start(&mut stage, &cache)?];
    let other: &[&str] = if with_model { &[] } else { &["--no-model"] };
    stage.enter("two", other, &cache)?;
    let status: Status = stage.actor("one")?.api.get("status")?;
    if let Some(resident) = status.resident {
        figures.push(Figure::new("idle memory", resident.to_string(), "resident memory of the first node's process when it was ready, no model loaded"));
    }
    join_all(&stage)?;
    let one = &stage.actor("one")?.api;
    let path = "functions/upper?to=all";
    let deployed: Vec<Deployed> = one.put(path, &DeployOptions::default(), UPPER)?;
    if let Some(failure) = deployed.iter().find_map(|it| it.failure.as_ref()) {
        return Err(Failed::new(failure.kind, failure.to_string()));
    }
    stage.until_all_see("the component", |api| Ok(offering(api, "upper")? == 2))?;
    figures.push(calls(one, "call through the API, here", "one", rounds)?);
    let mut remote = calls(one, "call through the API, other process", "two", rounds)?;
    let nodes: Vec<NodeView> = one.get("nodes")?;
    if let Some(rtt) = nodes.iter().find(|it| it.name == "two").and_then(|it| it.rtt_us) {
        remote = remote.beside(format!("round trip of the same connection {}", spoken(Duration::from_micros(rtt))));
    }
    figures.push(remote);
    figures.extend(artifact::measure(one, &stage.actor("two")?.api, bench.artifact)?);
    figures.extend(code::measure(one, rounds)?);
    if with_model {
        let model = sedge_gateway::DEFAULT_CHAT;
        stage.until_all_see("the model", |api| Ok(offering(api, model)? == 1))?;
        figures.extend(tokens(one)?);
    }
    figures.extend(joins(&mut stage, &cache)?);
    stage.stop()?;
    if with_model {
        figures.extend(super::model::measure(settings)?);
    }
    Ok(figures)
}

/// Starts the first node three times in the same home, keeps it, and returns the median.
fn start(stage: &mut Stage, cache: &Path) -> Result<Figure, Failed> {
    let mut times = Vec::new();
    for round in 0..3 {
        if round > 0 {
            stage.leave("one")?;
        }
        let began = Instant::now();
        stage.enter("one", &["--no-model"], cache)?;
        times.push(began.elapsed());
    }
    Ok(Figure::new("start to ready", spoken(median(times)), "from the start of the process to its first word, no model, median of 3"))
}

/// Lets five machines join by a spoken code, one after the other; when they are three, a large component
/// goes to all.
fn joins(stage: &mut Stage, cache: &Path) -> Result<Vec<Figure>, Failed> {
    let mut figures = Vec::new();
    let (mut admitted, mut known) = (Vec::new(), Vec::new());
    for name in ["three", "four", "five", "six", "seven"] {
        stage.enter(name, &["--no-model"], cache)?;
        let invitation = invite(stage)?;
        let began = Instant::now();
        join(&stage.actor(name)?.api, &invitation)?;
        admitted.push(began.elapsed());
        until_all_online(stage)?;
        known.push(began.elapsed());
        if name == "three" {
            figures.push(deploys(&stage.actor("one")?.api)?);
        }
    }
    let known = median(known);
    let how = "five joins by a spoken code at an address, from the request to the signed membership; medians";
    figures.push(Figure::new("join", spoken(median(admitted)), how)
        .beside(format!("every member lists it online after {}, looked for every 10 ms", spoken(known))));
    Ok(figures)
}

/// Deploys a component of 10 MiB to all three members, five times, another one each time.
fn deploys(api: &Api) -> Result<Figure, Failed> {
    let mut times = Vec::new();
    for round in 0..5 {
        let wasm = padded(UPPER, 10 << 20)?;
        let began = Instant::now();
        let deployed: Vec<Deployed> =
            api.put(&format!("functions/large-{round}?to=all"), &DeployOptions::default(), &wasm)?;
        times.push(began.elapsed());
        if let Some(failure) = deployed.iter().find_map(|it| it.failure.as_ref()) {
            return Err(Failed::new(failure.kind, failure.to_string()));
        }
        if deployed.len() != 3 {
            return Err(Failed::new(ErrorKind::Internal, "the component did not go to three members"));
        }
    }
    let how = "a 663-byte C component with a section of 10 MiB of chance, through the API to three node processes: sent, hashed, compiled, linked and on disk at each; median of 5";
    Ok(Figure::new("deploy of 10 MiB to 3 nodes", spoken(median(times)), how))
}

/// Returns the component with a section of random bytes that means nothing to anybody.
fn padded(component: &[u8], bytes: usize) -> Result<Vec<u8>, Failed> {
    const NAME: &[u8] = b"\x07padding";
    let mut wasm = component.to_vec();
    wasm.push(0);
    let mut length = NAME.len() + bytes;
    // The section's length, seven bits at a time.
    while length >= 0x80 {
        wasm.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    wasm.push(length as u8);
    wasm.extend_from_slice(NAME);
    for _ in 0..bytes / 1024 {
        let random: [u8; 1024] =
            sedge_trust::random_bytes().map_err(|err| Failed::of(ErrorKind::Internal, &err))?;
        wasm.extend_from_slice(&random);
    }
    Ok(wasm)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn calls(api: &Api, what: &'static str, on: &str, rounds: u32) -> Result<Figure, Failed> {
    let mut times = Vec::new();
    for round in 0..rounds + rounds.div_ceil(10) {
        let began = Instant::now();
        let raw = api.call("functions/upper/call", Some(on), b"abc")?;
        let took = began.elapsed();
        if let Some(failed) = raw.failed {
            return Err(failed);
        }
        // The first tenth warms up.
        if round >= rounds.div_ceil(10) {
            times.push(took);
        }
    }
    Ok(Figure::new(what, percentiles(times), format!("{rounds} calls one after the other over HTTP, each with a receipt on disk at both ends")))
}

fn tokens(api: &Api) -> Result<Vec<Figure>, Failed> {
    let body = json!({
        "model": sedge_gateway::DEFAULT_CHAT,
        "messages": [{ "role": "user", "content": "Count from one to fifty in words." }],
        "temperature": 0,
        "max_tokens": 64,
        "stream": true,
        "stream_options": { "include_usage": true },
    });
    let mut best: Option<(f64, Duration)> = None;
    for _ in 0..3 {
        let began = Instant::now();
        let heard = chat::hear(api, &body, None, Ui::new(true))?;
        let speed = heard.origin["tokens_per_second"].as_f64().unwrap_or(0.0);
        if best.is_none_or(|(fastest, _)| speed > fastest) {
            best = Some((speed, began.elapsed()));
        }
    }
    let (speed, took) = best.unwrap_or_default();
    Ok(vec![
        Figure::new("tokens from another process", format!("{speed:.0} tokens/s"), "64 tokens, greedy, best of 3, as the engine counts them")
            .beside(format!("whole answer {}", spoken(took))),
    ])
}
