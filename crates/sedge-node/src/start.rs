//! The start of a node: every part is made, checked and put in its place, or nothing runs.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, Mutex};

use sedge_base::{Clock, ErrorKind, NodeId, Secret, TaskScope};
use sedge_capability::{Failure, Handle};
use sedge_functions::Runtime;
use sedge_functions::code::{Parts, Sandboxes};
use sedge_gateway::{Environment, Gateway, Providers, ProvidersError};
use sedge_ledger::Ledger;
use sedge_members::{Gauges, Listed, Members, Roster};
use sedge_quorum::SwarmDisk;
use sedge_sandbox::Launcher;
use sedge_store::Store;
use sedge_trust::admission::DEV;
use sedge_trust::swarm::{Member, Role, Version};
use sedge_trust::{Identity, KeyFileError, Owner, Revocation};
use serde_json::json;
use tokio::sync::Notify;

use crate::access::Access;
use crate::admission::{Reception, TokenFileError};
use crate::artifacts::Depot;
use crate::beat;
use crate::config::{Config, ConfigError, NAME_RULE, check_name};
use crate::edge::Desk;
use crate::execute::Executor;
use crate::gossip::Turns;
use crate::graph::Graph;
use crate::home::{Home, HomeError};
use crate::load::Meter;
use crate::mesh::{Mesh, MeshOptions, Network};
use crate::node::{Node, internal, unwritten};
use crate::pair::Pairing;
use crate::plans::Plans;
use crate::plugins;
use crate::quorum::{self, QuorumLink};
use crate::registry::Registry;
use crate::relays::Relays;
use crate::secrets::SecretFolder;
use crate::swarm::Fabric;
use crate::world::{Engine, World};

/// Where the setting lies that says whose swarm this node belongs to.
const SWARM_SETTING: &str = "swarm.owner";

/// What the command line says beyond the configuration file.
#[derive(Debug, Clone, Default)]
pub struct StartOptions {
    /// The name that people see; stands above the configuration.
    pub name: Option<String>,
    /// The name if nobody gave one: the machine's.
    pub host_name: Option<String>,
    /// Where the mesh listens once the node is paired; stands above the configuration.
    pub listen: Option<SocketAddr>,
    /// Offer no models.
    pub no_model: bool,
    /// Where model files are kept; nodes of one machine may share the folder.
    pub models: Option<PathBuf>,
    /// The folder where the nodes of this machine and user meet; made if it is missing.
    pub meeting: Option<PathBuf>,
    /// What sandboxes for code are made of; without it none is offered.
    pub sandboxes: Option<SandboxParts>,
    /// Variables that the file of providers may name.
    pub environment: Environment,
    /// What to take from elsewhere than this machine.
    pub world: World,
}

/// What sandboxes for code are made of, beside the Wasm engine.
#[derive(Debug, Clone)]
pub struct SandboxParts {
    /// What starts this program again as a sandbox.
    pub launcher: Launcher,
    /// Where the machine's toolchains are looked for, as the `PATH` has it.
    pub path: OsString,
    /// Where snapshots of interpreters lie.
    pub snapshots: PathBuf,
    /// What a cloud knows the owner by.
    pub cloud_key: Option<Secret<String>>,
}

/// Why a node does not start. Nothing was changed that a next start would not find again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The home cannot be used.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The configuration is refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A key file cannot be used.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] sedge_store::OpenError),
    /// The chain of receipts cannot be gone on with.
    #[error("the chain of receipts is broken")]
    Ledger(#[source] sedge_ledger::LedgerError),
    /// The engine for functions does not start.
    #[error("functions cannot run here")]
    Functions(#[source] sedge_functions::RuntimeError),
    /// The engine for models does not start.
    #[error("models cannot run here")]
    Gateway(#[source] sedge_gateway::GatewayError),
    /// The file of providers is refused.
    #[error(transparent)]
    Providers(#[from] ProvidersError),
    /// A part refused for a reason that it names.
    #[error(transparent)]
    Part(#[from] Failure),
}

impl StartError {
    /// Returns what the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Home(it) => it.kind(),
            Self::Config(it) => it.kind(),
            Self::Key(it) => it.kind(),
            Self::Store(it) => it.kind(),
            Self::Ledger(it) => it.kind(),
            Self::Functions(it) => it.kind(),
            Self::Gateway(it) => it.kind(),
            Self::Providers(it) => it.kind(),
            Self::Part(it) => it.kind,
        }
    }

    /// Returns the next step for the person, where there is one.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Home(it) => it.hint(),
            Self::Providers(it) => Some(it.hint()),
            Self::Config(_) => Some("correct the file; nothing was changed".to_owned()),
            Self::Key(_) => Some("restore the file from a backup; it is never replaced".to_owned()),
            Self::Store(_) => Some("restore the database from a backup, or free space".to_owned()),
            _ => None,
        }
    }
}

/// Makes the switch of the mesh, which nobody has opened.
fn closed_mesh(
    options: &StartOptions,
    config: &Config,
    listen: SocketAddr,
    network: Option<Arc<dyn Network>>,
) -> Mesh {
    Mesh::new(MeshOptions {
        listen,
        exact: options.listen.is_some(),
        lan_discovery: config.node.lan_discovery,
        meeting: options.meeting.clone(),
        network,
    })
}

impl Node {
    /// Starts a node in its home.
    ///
    /// The mesh opens only if the node was paired before, or if it owns its swarm and the configuration
    /// says how strangers are admitted.
    ///
    /// # Errors
    ///
    /// See [`StartError`].
    pub async fn start(
        home: Home,
        config: Config,
        options: StartOptions,
    ) -> Result<Arc<Self>, StartError> {
        let World { network, clock, scope, disk, gauges, engine } = options.world.clone();
        let clock = clock.unwrap_or_else(Clock::machine);
        let scope = scope.unwrap_or_default();
        let listen = options.listen.unwrap_or(config.node.listen);
        let config = check_admission(config, &home, listen)?;
        let mesh = Arc::new(closed_mesh(&options, &config, listen, network));
        let api_key = home.api_key()?;
        let identity = Identity::load_or_create(home.path())?;
        let store = Store::open_on(&home.path().join("sedge.db"), disk).await?;
        let name = pick_name(&options, &config)?;
        let found = find_swarm(&home, &store, &identity, &name, &clock).await?;
        let swarm = found.members.swarm();
        let keep_inputs = config.node.keep_inputs;
        let ledger =
            Ledger::open(store.clone(), identity.clone(), clock.clone(), swarm, keep_inputs).await;
        let ledger = Arc::new(ledger.map_err(StartError::Ledger)?);

        let secrets = SecretFolder::of(&home);
        let functions = open_functions(&home, &config, &scope, (secrets.clone(), store.clone()))?;
        let engine = engine.unwrap_or_else(|| Arc::clone(&functions) as Arc<dyn Engine>);
        let gateway = open_gateway(&home, &config, &options, &scope)?;
        let registry = Arc::new(Registry::default());
        if !options.no_model {
            offer_all(&registry, gateway.capabilities(), &config)?;
        }
        let executor =
            Executor::new(Arc::clone(&registry), Arc::clone(&ledger), clock.clone(), scope.clone());
        let me = identity.node_id();
        let plugins = plugins::open((&home, me), &config.plugins, &store, &functions, &executor);
        found.members.limit(config.mesh.max_members, config.mesh.book);
        let members = Arc::new(found.members.with_full_mesh(config.node.full_mesh));
        let link = QuorumLink::new(me, Arc::clone(&members), Arc::clone(&mesh));
        let disk = SwarmDisk { store: store.clone(), swarm };
        let quorum = quorum::open(link, &config.quorum, &clock, &scope, disk).await?;
        let reception = Reception::load(&config.admission, store.clone(), &clock).await?;
        let access = Access::new(Arc::clone(&members), store.clone(), clock.clone());
        let node = Arc::new(Self {
            graph: Graph::open(&store, &identity, &clock, &members).await?,
            home,
            name: found.name,
            fabric: Fabric::new(&me),
            identity,
            owner: Mutex::new(found.owner),
            started: clock.now(),
            depot: Depot::new(store.clone()),
            store,
            ledger,
            members,
            access,
            registry,
            executor,
            functions,
            secrets,
            engine,
            desk: Desk::new(clock.clone(), &scope),
            gateway: Arc::new(gateway),
            mesh,
            learned: Arc::default(),
            turns: Turns::new(config.mesh.gossip),
            quorum,
            pairing: Pairing::default(),
            relays: Relays::default(),
            reception,
            plans: Plans::new(config.node.max_tasks.get()),
            plugins,
            meter: gauges.map_or_else(Meter::new, Meter::given),
            gauges: Mutex::new(Gauges::default()),
            running: AtomicU32::new(0),
            draining: AtomicBool::new(false),
            changed: Notify::new(),
            api_key,
            config,
            clock,
            scope,
        });
        node.come_up(options.sandboxes).await?;
        Ok(node)
    }

    /// Takes up what was there before the last stop, and talks to the others.
    async fn come_up(self: &Arc<Self>, code: Option<SandboxParts>) -> Result<(), StartError> {
        if let Some(parts) = code.filter(|_| self.config.code.enabled) {
            self.offer_code(parts)?;
        }
        self.redeploy().await?;
        self.remember_draining().await?;
        self.remember_relays().await?;
        self.remember_addresses().await;
        self.remember_serial().await?;
        self.measure();
        self.ask_people();
        if !self.members.others().is_empty() {
            drop(self.mesh.open(self).await?);
        }
        self.receive().await?;
        self.spread_graph();
        self.remember_plans().await?;
        self.watch_channels();
        self.remember_plugins().await?;
        let beating = Arc::clone(self);
        self.scope.spawn("beat", async move |cancel| {
            tokio::select! {
                biased;
                () = cancel.cancelled() => {}
                () = beat::beat_all(beating) => {}
            }
        });
        if self.is_owner() && !self.config.quorum.voters.is_empty() {
            let founding = Arc::clone(self);
            self.scope.spawn("found quorum", async move |cancel| {
                tokio::select! {
                    biased;
                    () = cancel.cancelled() => {}
                    () = founding.found_as_configured() => {}
                }
            });
        }
        self.hooks().tell("node.started", || json!({ "node": self.id(), "name": self.name }));
        tracing::info!(target: "sedge::events::node_started", id = %self.id(), name = self.name);
        Ok(())
    }

    /// Offers a sandbox for each language that probably runs here, and sessions of them.
    fn offer_code(&self, parts: SandboxParts) -> Result<(), StartError> {
        let SandboxParts { launcher, path, snapshots, cloud_key } = parts;
        let parts = Parts {
            runtime: Arc::clone(&self.functions),
            launcher,
            path,
            snapshots,
            cloud_key,
            node: self.id(),
            sessions: self.home.path().join("sessions"),
        };
        let (clock, scope) = (self.clock.clone(), self.scope.clone());
        let sandboxes = Sandboxes::new(parts, self.config.code.clone(), clock, scope);
        let limit = self.config.code.max_concurrent.get();
        if let Some(sessions) = sandboxes.sessions() {
            self.registry.offer(sessions, limit)?;
        }
        for code in sandboxes.capabilities() {
            self.registry.offer(code, limit)?;
        }
        Ok(())
    }

    /// Puts a member's record on disk.
    pub(crate) async fn store_member(&self, listed: &Listed) -> Result<(), Failure> {
        put_member(&self.store, listed).await
    }

    /// Puts on disk whose swarm this node belongs to.
    pub(crate) async fn store_swarm(&self, owner: NodeId) -> Result<(), Failure> {
        self.store.settings().set(SWARM_SETTING, &owner.to_string()).await.map_err(internal)
    }
}

pub(crate) async fn put_member(store: &Store, listed: &Listed) -> Result<(), Failure> {
    let member = &listed.membership.member;
    let record = sedge_store::Member {
        node: member.node_id,
        epoch: member.epoch,
        revoked: false,
        at: member.joined_at,
        json: serde_json::to_string(listed).map_err(internal)?,
    };
    store.members().put(record).await.map_err(|it| unwritten(it.kind(), it))
}

/// Makes the engine of functions, with its cache in the node's home.
fn open_functions(
    home: &Home,
    config: &Config,
    scope: &TaskScope,
    (secrets, store): (SecretFolder, Store),
) -> Result<Arc<Runtime>, StartError> {
    let made = Runtime::new(config.functions.clone(), &home.path().join("cache"), scope);
    let made = made.map_err(StartError::Functions)?;
    Ok(Arc::new(made.with_secrets(Arc::new(secrets)).with_store(store)))
}

/// Adds what lies in files of its own, and refuses what is only for one machine where others listen.
fn check_admission(
    mut config: Config,
    home: &Home,
    listen: SocketAddr,
) -> Result<Config, StartError> {
    let admission = std::mem::take(&mut config.admission);
    if admission.modes.contains(&DEV) && !listen.ip().is_loopback() {
        let must_be = "without `dev` unless the mesh listens on loopback: it admits everybody, so \
                       set `node.listen` or `--listen` to 127.0.0.1:7377, or use another mode";
        let must_be = must_be.to_owned();
        return Err(ConfigError::Value { key: "admission.modes", must_be }.into());
    }
    config.admission = admission.with_token_file(home).map_err(|it| match it {
        TokenFileError::Home(it) => StartError::Home(it),
        TokenFileError::Config(it) => StartError::Config(it),
    })?;
    Ok(config)
}

fn pick_name(options: &StartOptions, config: &Config) -> Result<Option<String>, ConfigError> {
    let wrong = || ConfigError::Value { key: "--name", must_be: NAME_RULE.to_owned() };
    match (&options.name, &config.node.name) {
        (Some(name), _) => check_name(name).map(Some).ok_or_else(wrong),
        (None, Some(name)) => Ok(Some(name.clone())),
        (None, None) => Ok(options.host_name.as_deref().and_then(check_name)),
    }
}

/// Sets the models up: those of this machine, and those of providers that the owner has written down.
fn open_gateway(
    home: &Home,
    config: &Config,
    options: &StartOptions,
    scope: &TaskScope,
) -> Result<Gateway, StartError> {
    let models = options.models.clone().unwrap_or_else(|| home.path().join("models"));
    let gateway =
        Gateway::new(config.gateway.clone(), models, scope).map_err(StartError::Gateway)?;
    if options.no_model {
        return Ok(gateway);
    }
    let named = config.gateway.providers.as_deref();
    let path = home.path().join(named.unwrap_or_else(|| Path::new("providers.yaml")));
    match Providers::read(&path, &options.environment)? {
        Some(providers) => gateway.with_providers(providers).map_err(StartError::Gateway),
        None if named.is_none() => Ok(gateway),
        None => {
            let key = "gateway.providers";
            let must_be = format!("the path of a file; {} is none", path.display());
            Err(ConfigError::Value { key, must_be }.into())
        }
    }
}

/// The swarm that a home belongs to.
struct Found {
    owner: Option<Owner>,
    members: Members,
    name: String,
}

/// Reads the swarm from the store; founds one at the first start.
async fn find_swarm(
    home: &Home,
    store: &Store,
    identity: &Identity,
    name: &Option<String>,
    clock: &Clock,
) -> Result<Found, StartError> {
    let me = identity.node_id();
    let pinned = store.settings().get(SWARM_SETTING).await.map_err(internal)?;
    let Some(pinned) = pinned else {
        let owner = Owner::load_or_create(home.path())?;
        let members = Members::new(me, owner.public_key(), clock.clone());
        let name = name.clone().unwrap_or_else(|| format!("node-{}", &me.short()[..6]));
        let member = Member {
            version: Version::default(),
            swarm_id: owner.swarm_id(),
            node_id: me,
            name: name.clone(),
            session_key: identity.session_public_key(),
            capabilities: vec!["*".to_owned()],
            joined_at: clock.now(),
            roles: vec![Role::Owner, Role::Executor, Role::Requester],
            epoch: 1,
            expires_at: None,
        };
        let membership = owner.admit(member).map_err(internal)?;
        let listed = Listed { membership, addresses: Vec::new() };
        members.merge(Roster { members: vec![listed.clone()], ..Roster::default() })?;
        put_member(store, &listed).await?;
        let text = owner.public_key().to_string();
        store.settings().set(SWARM_SETTING, &text).await.map_err(internal)?;
        return Ok(Found { owner: Some(owner), members, name });
    };
    let pinned: NodeId = pinned.parse().map_err(internal)?;
    let owner = Owner::load(home.path())?.filter(|it| it.public_key() == pinned);
    let members = Members::new(me, pinned, clock.clone());
    let mut listed = Vec::new();
    for record in store.members().list().await.map_err(internal)? {
        listed.push(serde_json::from_str(&record.json).map_err(internal)?);
    }
    // Records of a swarm that this node has left stay in the store and are not taken in.
    listed.retain(|it: &Listed| it.membership.member.swarm_id == members.swarm());
    let mut revocations = Vec::new();
    for json in store.revocations().list().await.map_err(internal)? {
        revocations.push(serde_json::from_str(&json).map_err(internal)?);
    }
    revocations.retain(|it: &Revocation| it.facts.swarm_id == members.swarm());
    members.merge(Roster { members: listed, revocations })?;
    let stored = members.name_of(&me);
    if let Some(name) = name.as_ref().filter(|it| **it != stored) {
        tracing::warn!(
            target: "sedge::events::name_kept",
            wanted = name, stored, "the name is part of the membership and stays"
        );
    }
    Ok(Found { owner, members, name: stored })
}

/// Offers capabilities, each for as many tasks as the node takes.
fn offer_all(registry: &Registry, all: Vec<Handle>, config: &Config) -> Result<(), Failure> {
    for handle in all {
        registry.offer(handle, config.node.max_tasks.get())?;
    }
    Ok(())
}
