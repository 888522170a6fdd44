//! `sedge up`: a node, in the foreground or behind.

mod keep;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sedge_base::{Cancel, ErrorKind, Secret, TaskScope};
use sedge_gateway::{Choice, Environment, Models};
use sedge_node::{Config, Home, SandboxParts, StartOptions, Status, World};
use sedge_sandbox::Launcher;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use self::keep::{Beside, Kept, beside, open};
use crate::child;
use crate::commands::contain;
use crate::failed::Failed;
use crate::settings::{Settings, swarms_in};
use crate::ui::{BOLD, DIM, Ui};

/// How long a node behind may take until it is ready: its models may have to be fetched first.
const READY_WITHIN: Duration = Duration::from_secs(60 * 60);

/// How long the nodes of the machine's other swarms may take to stop, all at the same time.
const GRACE: Duration = Duration::from_secs(15);

/// Where the API of the home's own node listens; that of another swarm takes any port.
const USUAL_API: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7378);

/// Start a node: make its home at the first start, then serve until stopped
#[derive(Debug, clap::Args)]
pub(crate) struct Up {
    /// The name that people see; the machine's name unless told otherwise
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Where the mesh listens once the node is paired
    #[arg(long, env = "SEDGE_LISTEN", value_name = "ADDR:PORT", hide_env_values = true)]
    listen: Option<SocketAddr>,
    /// Where the API listens, on loopback only; port 0 takes any. 127.0.0.1:7378 unless told otherwise,
    /// any port with `--swarm`
    #[arg(long, env = "SEDGE_API", value_name = "ADDR:PORT", hide_env_values = true)]
    api: Option<SocketAddr>,
    /// Offer no models, fetch none
    #[arg(long)]
    no_model: bool,
    /// Return when the node is ready; it goes on behind
    #[arg(long)]
    detach: bool,
    /// Leave the terminal's session; `--detach` says this to the node that it starts
    #[arg(long, hide = true)]
    detached: bool,
}

/// What a node says when it is ready.
#[derive(Debug, Serialize)]
struct Ready<'a> {
    ready: bool,
    pid: u32,
    api: SocketAddr,
    /// Whether the API speaks TLS.
    tls: bool,
    /// Where other machines find the doors, TLS always.
    doors: Option<SocketAddr>,
    api_key_file: PathBuf,
    status: &'a Status,
    /// The machine's other swarms, each with a node of its own in this process.
    #[serde(skip_serializing_if = "<[Beside]>::is_empty")]
    swarms: &'a [Beside],
}

impl Up {
    /// Runs the node until somebody stops it.
    pub(crate) fn run(self, settings: &Settings, ui: &Ui) -> Result<(), Failed> {
        let path = settings.home()?;
        if self.detach {
            return self.behind(&path, settings, *ui);
        }
        if self.detached {
            // Already the leader of a session of its own: nothing to leave.
            let _ = rustix::process::setsid();
        }
        log_to_stderr(settings)?;
        let (home, config) = open(&path)?;
        let models = settings.models()?;
        if !self.no_model {
            fetch(&config, &models, *ui)?;
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|err| Failed::io("no runtime", &err))?;
        let sandboxes = SandboxParts {
            launcher: Launcher::of_this_program(&[contain::NAME]),
            path: std::env::var_os("PATH").unwrap_or_default(),
            snapshots: settings.cache()?.join("guests"),
            cloud_key: variable("E2B_API_KEY"),
        };
        let options = StartOptions {
            name: self.name,
            host_name: Some(rustix::system::uname().nodename().to_string_lossy().into_owned()),
            listen: self.listen,
            no_model: self.no_model,
            models: Some(models),
            meeting: Some(meeting(settings)?),
            sandboxes: Some(sandboxes),
            environment: Environment::new(variable),
            world: World::default(),
        };
        let api = self.api.unwrap_or_else(|| usual_api(settings));
        let others = if settings.swarm().is_some() { Vec::new() } else { swarms_in(&path) };
        runtime.block_on(serve((home, config), options, (api, others), *ui))
    }

    /// Starts the node in a process of its own and returns when it is ready.
    fn behind(self, home: &Path, settings: &Settings, ui: Ui) -> Result<(), Failed> {
        // Here, where a person sees how far it is.
        if !self.no_model {
            let file = home.join("config.toml");
            let config = Config::read(&file).map_err(|err| Failed::of(err.kind(), &err))?;
            fetch(&config, &settings.models()?, ui)?;
        }
        let api = self.api.unwrap_or_else(|| usual_api(settings));
        let mut arguments = vec!["--api".to_owned(), api.to_string()];
        arguments.extend(["--cache".to_owned(), settings.cache()?.display().to_string()]);
        arguments.extend(["--log".to_owned(), settings.log().to_owned()]);
        for (flag, value) in [("--name", self.name), ("--listen", self.listen.map(|it| it.to_string()))] {
            if let Some(value) = value {
                arguments.extend([flag.to_owned(), value]);
            }
        }
        if self.no_model {
            arguments.push("--no-model".to_owned());
        }
        let started = child::start(home, &arguments, READY_WITHIN)?;
        let status: Status = started.api.get("status")?;
        ui.result(&started.ready, || {
            banner(&Ready {
                ready: true,
                pid: started.child.id(),
                api: started.api.address(),
                tls: started.api.tls(),
                doors: started.doors(),
                api_key_file: Home::api_key_path_in(home),
                status: &status,
                swarms: &[],
            })
        });
        Ok(())
    }
}

/// Returns a variable of the environment, unless it is empty or no text.
fn variable(name: &str) -> Option<Secret<String>> {
    let value = std::env::var_os(name).and_then(|it| it.into_string().ok());
    value.filter(|it| !it.is_empty()).map(Secret::new)
}

fn usual_api(settings: &Settings) -> SocketAddr {
    match settings.swarm() {
        None => USUAL_API,
        Some(_) => SocketAddr::new(USUAL_API.ip(), 0),
    }
}

async fn serve(
    home: (Home, Config),
    options: StartOptions,
    (api, others): (SocketAddr, Vec<(String, PathBuf)>),
    ui: Ui,
) -> Result<(), Failed> {
    let api_key_file = home.0.api_key_path();
    let mut signals = Signals::new()?;
    let kept = Kept::start(home, options.clone(), api).await?;
    let scope = TaskScope::new();
    let swarms = beside(others, &options, (&scope, ui)).await;
    let status = kept.node.status().await;
    let ready = Ready {
        ready: true,
        pid: std::process::id(),
        api: kept.server.address(),
        tls: kept.node.server_config().tls,
        doors: kept.server.away(),
        api_key_file,
        status: &status,
        swarms: &swarms,
    };
    ui.result(&ready, || banner(&ready));
    tokio::select! {
        () = kept.server.stop_asked() => {}
        () = signals.stop() => {}
    }
    ui.note("stopping");
    let (hung, ()) = tokio::join!(scope.shutdown(GRACE), kept.stop());
    if let Err(hung) = hung {
        tracing::warn!(target: "sedge::events::swarms_hung", count = hung.count);
    }
    Ok(())
}

/// The ways in which an operator says stop.
pub(super) struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    pub(super) fn new() -> Result<Self, Failed> {
        let listen = |kind| signal(kind).map_err(|err| Failed::io("no signals", &err));
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    pub(super) async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Brings the configured models here, with a bar for each.
pub(crate) fn fetch(config: &Config, folder: &Path, ui: Ui) -> Result<(), Failed> {
    let models = Models::open(folder, config.gateway.sources.clone())
        .map_err(|err| Failed::of(err.kind(), &err))?;
    for choice in [&config.gateway.chat, &config.gateway.embedding] {
        let Choice::Named(id) = choice else { continue };
        let bar = ui.bar(0);
        let fetched = models.ensure(id, &Cancel::new(), &mut |progress| {
            bar.set_length(progress.total);
            bar.set_message(format!("{} from {}", progress.model, progress.source));
            bar.set_position(progress.done);
        });
        bar.finish_and_clear();
        fetched.map_err(|err| {
            Failed::of(err.kind(), &err)
                .hint("`sedge up --no-model` starts a node that offers none and uses those of others")
        })?;
    }
    Ok(())
}

pub(super) fn log_to_stderr(settings: &Settings) -> Result<(), Failed> {
    let filter = tracing_subscriber::EnvFilter::try_new(settings.log()).map_err(|err| {
        Failed::new(ErrorKind::Invalid, format!("`--log` is not understood: {err}"))
            .hint("try `info` or `sedge=debug`")
    })?;
    // Only a test could have set one before; it stays then.
    drop(
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .try_init(),
    );
    Ok(())
}

/// Returns what a person sees when the node is ready.
fn banner(ready: &Ready<'_>) -> String {
    let Ready { pid, api, tls, doors, api_key_file, status, swarms, .. } = ready;
    let scheme = if *tls { "https" } else { "http" };
    let list = |items: &[String], none: &str| {
        if items.is_empty() { none.to_owned() } else { items.join(", ") }
    };
    let mesh: Vec<String> = status.mesh.iter().map(ToString::to_string).collect();
    let mut lines = vec![
        ("node", format!("{}", status.id)),
        ("home", format!("{}, process {pid}", status.home)),
        ("OpenAI", format!("{scheme}://{api}/v1")),
        ("key", format!("{}", api_key_file.display())),
        ("mesh", list(&mesh, "closed until it is paired: `sedge invite` or `sedge join CODE`")),
        ("members", format!("{}", status.members)),
        ("offers", list(&status.offers, "nothing yet: `sedge deploy FILE.wasm --id NAME`")),
    ];
    if !status.admission.is_empty() {
        lines.push(("admits", format!("{}: `sedge admission list`", status.admission.join(", "))));
    }
    let doors = doors.map(|it| ("doors", format!("https://{it}, for other machines")));
    let mut text = format!("{BOLD}{}{BOLD:#} is up\n", status.name);
    for (label, value) in lines.into_iter().chain(doors) {
        text.push_str(&format!("  {DIM}{label:8}{DIM:#} {value}\n"));
    }
    for Beside { swarm, id, members, .. } in *swarms {
        let value = format!("{swarm}, members: {members}, node {}: `sedge --swarm {swarm} status`", id.short());
        text.push_str(&format!("  {DIM}{:8}{DIM:#} {value}\n", "swarm"));
    }
    text
}

/// Returns the folder where this user's nodes on this machine meet; its parent exists.
fn meeting(settings: &Settings) -> Result<PathBuf, Failed> {
    let cache = settings.cache()?;
    // Where it cannot be made, the node says so and reaches the others as on any network.
    drop(std::fs::create_dir_all(&cache));
    Ok(cache.join("run"))
}
