//! The node: a struct of its parts, and what doors ask of it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sedge_base::{Clock, ErrorKind, NodeId, Secret, TaskScope, Timestamp};
use sedge_capability::{Descriptor, Failure, Name};
use sedge_functions::Runtime;
use sedge_gateway::Gateway;
use sedge_ledger::Ledger;
use sedge_members::{
    About, Advert, Gauges, Health, Leader, Learned, Members, Offered, PairFor, Presence,
};
use sedge_net::tls::Authority;
use sedge_plugins::Plugins;
use sedge_quorum::Quorum;
use sedge_store::Store;
use sedge_trust::{Identity, Owner};
use tokio::sync::Notify;
use tracing::{info, warn};

use crate::access::{Access, Pass};
use crate::admission::Reception;
use crate::artifacts::Depot;
use crate::balance::functions;
use crate::config::{Config, NodeConfig};
use crate::doors::ServerConfig;
use crate::edge::Desk;
use crate::execute::Executor;
use crate::gossip::Turns;
use crate::graph::Graph;
use crate::home::{Home, Running};
use crate::load::Meter;
use crate::mesh::Mesh;
use crate::pair::Pairing;
use crate::plans::Plans;
use crate::registry::Registry;
use crate::relays::Relays;
use crate::secrets::SecretFolder;
use crate::swarm::Fabric;
use crate::view::{NodeView, Offer, Status};
use crate::world::Engine;

/// How long background work may take to stop.
const GRACE: Duration = Duration::from_secs(5);

/// One machine of the mesh, running.
#[derive(Debug)]
pub struct Node {
    pub(crate) home: Home,
    pub(crate) config: Config,
    pub(crate) name: String,
    pub(crate) identity: Identity,
    /// `None` on nodes that joined somebody else's swarm.
    pub(crate) owner: Mutex<Option<Owner>>,
    pub(crate) clock: Clock,
    pub(crate) scope: TaskScope,
    pub(crate) store: Store,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) members: Arc<Members>,
    pub(crate) access: Access,
    pub(crate) registry: Arc<Registry>,
    pub(crate) executor: Executor,
    pub(crate) functions: Arc<Runtime>,
    pub(crate) secrets: SecretFolder,
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) mesh: Arc<Mesh>,
    pub(crate) turns: Turns,
    pub(crate) learned: Arc<Learned>,
    pub(crate) quorum: Quorum,
    pub(crate) desk: Desk,
    pub(crate) pairing: Pairing,
    pub(crate) relays: Relays,
    pub(crate) reception: Reception,
    pub(crate) depot: Depot,
    pub(crate) graph: Graph,
    pub(crate) plans: Plans,
    pub(crate) plugins: Plugins,
    pub(crate) fabric: Fabric,
    pub(crate) meter: Meter,
    pub(crate) gauges: Mutex<Gauges>,
    /// Tasks that were asked here and run now, wherever.
    pub(crate) running: AtomicU32,
    /// Whether this node takes no new work.
    pub(crate) draining: AtomicBool,
    /// Told when what the node offers has changed.
    pub(crate) changed: Notify,
    pub(crate) started: Timestamp,
    pub(crate) api_key: Secret<String>,
}

impl Node {
    /// Returns the node's id.
    pub fn id(&self) -> NodeId {
        self.identity.node_id()
    }

    /// Returns the node's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the bearer key of the local API.
    pub const fn api_key(&self) -> &Secret<String> {
        &self.api_key
    }

    /// Returns what the node keeps on disk.
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// Returns the node's clock.
    pub const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Returns the receipts and metrics.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Returns the models' side of the node.
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// Returns the functions' side of the node.
    pub fn functions(&self) -> &Runtime {
        &self.functions
    }

    /// Lets a token in, for a door that was shown it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unauthenticated`] when it is no token of this swarm's owner, was taken back, or
    /// has ended.
    pub fn open_token(&self, text: &str) -> Result<Arc<Pass>, Failure> {
        self.access.open(text)
    }

    /// Checks that a token names a right expressly and is for this node; counts one of its calls. A
    /// token that limits no names runs tasks and grants no right.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Denied`] when it does not, [`ErrorKind::Exhausted`] when every call was made.
    pub async fn admit(&self, pass: &Pass, right: &str) -> Result<(), Failure> {
        self.access.admit(pass, right, self.id()).await
    }

    pub(crate) const fn access(&self) -> &Access {
        &self.access
    }

    pub(crate) const fn scope(&self) -> &TaskScope {
        &self.scope
    }

    pub(crate) const fn executor(&self) -> &Executor {
        &self.executor
    }

    pub(crate) const fn pairing(&self) -> &Pairing {
        &self.pairing
    }

    pub(crate) fn members(&self) -> &Members {
        &self.members
    }

    /// Returns the node's keys, for listeners that show them.
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Returns where doors listen, and for whom.
    pub const fn server_config(&self) -> &ServerConfig {
        &self.config.server
    }

    /// Returns the authority that foreign clients are told to trust; made when first asked for.
    ///
    /// # Errors
    ///
    /// See [`HomeError`](crate::HomeError).
    pub fn authority(&self) -> Result<Authority, crate::HomeError> {
        self.home.authority(self.id())
    }

    /// Tells other programs on this machine how to reach the node.
    ///
    /// # Errors
    ///
    /// See [`HomeError`](crate::HomeError).
    pub fn announce(&self, api: SocketAddr) -> Result<(), crate::HomeError> {
        self.home.announce(&Running {
            pid: std::process::id(),
            api,
            tls: self.config.server.tls,
            id: self.id(),
            name: self.name.clone(),
            started: self.started,
        })
    }

    /// Stops the node: tells its peers, waits for what runs, closes the store.
    pub async fn shutdown(&self) {
        self.home.withdraw();
        self.quorum.close().await;
        self.mesh.close(GRACE).await;
        self.rest_relay().await;
        if let Err(hung) = self.scope.shutdown(GRACE).await {
            warn!(target: "sedge::events::shutdown_hung", count = hung.count);
        }
        if let Err(fault) = self.store.close().await {
            warn!(target: "sedge::events::store_not_closed", %fault);
        }
        info!(target: "sedge::events::node_stopped", id = %self.id());
    }

    /// Returns what this node tells others about itself.
    pub(crate) fn advert(&self) -> Advert {
        Advert {
            name: self.name.clone(),
            offers: self.registry.offers(),
            gauges: *self.gauges.lock().unwrap_or_else(PoisonError::into_inner),
            running: self.running.load(Ordering::SeqCst),
            limit: self.config.node.max_tasks.get(),
            addresses: self.mesh.addresses(),
            roster: self.members.roster_hash(),
            checkpoint: self.ledger.newest_checkpoint().and_then(|it| it.id().ok()),
            draining: self.draining.load(Ordering::SeqCst),
            invocations: self.executor.finished(),
            about: self.about(),
            now: Some(self.clock.now()),
            inviting: self.members.is_inviting(),
            relays: self.own_relays(),
            coordinator: self.quorum.witnessed().map(|it| {
                let sedge_quorum::Coordinator { node, fence, term } = it;
                Leader { node, fence, term }
            }),
            serial: self.fabric.serial(),
            notices: None,
        }
    }

    /// Returns what this node tells a member that it talks to.
    pub(crate) fn whole_advert(&self) -> Advert {
        let notices = self.members.are_many().then(|| self.members.notices_hash());
        Advert { notices, ..self.advert() }
    }

    fn about(&self) -> About {
        let NodeConfig { location, labels, max_functions, .. } = &self.config.node;
        About::here(location.clone(), labels.clone(), max_functions.get())
    }

    /// Measures the machine; the busy share covers the time since the last measurement.
    pub(crate) fn measure(&self) {
        let gauges = self.meter.read();
        *self.gauges.lock().unwrap_or_else(PoisonError::into_inner) = gauges;
    }

    /// Notes what a member says of itself.
    pub(crate) async fn hear(&self, from: NodeId, advert: Advert) {
        let rtt = self.mesh.rtt(&from);
        self.hear_relays(from, &advert.relays).await;
        if self.members.heard(from, advert, rtt) {
            self.keep_addresses().await;
        }
    }

    /// Returns the state of the node itself.
    pub async fn status(&self) -> Status {
        self.measure();
        let gauges = *self.gauges.lock().unwrap_or_else(PoisonError::into_inner);
        let offers = self.registry.offers();
        Status {
            id: self.id(),
            name: self.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            swarm: self.members.swarm(),
            swarm_key: self.members.owner(),
            owner: self.is_owner(),
            home: self.home.path().display().to_string(),
            started: self.started,
            mesh: self.mesh.addresses(),
            members: self.members.all().len(),
            offers: offers.iter().map(|it| it.descriptor.name.to_string()).collect(),
            cpu_percent: gauges.cpu_percent,
            free_memory: gauges.free_memory,
            total_memory: gauges.total_memory,
            resident: Some(gauges.resident),
            receipts: self.ledger.count().await.unwrap_or(0),
            two_histories: self.two_histories().await,
            running: self.running.load(Ordering::SeqCst),
            coordinator: self.coordinator_name(),
            admission: match self.members.is_pairing(PairFor::Admission) {
                true => self.reception.modes().iter().map(|it| (*it).to_owned()).collect(),
                false => Vec::new(),
            },
        }
    }

    pub(crate) fn is_owner(&self) -> bool {
        self.owner.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Returns every member of the swarm, this node first.
    pub fn nodes(&self) -> Vec<NodeView> {
        self.measure();
        let (me, now) = (self.id(), self.clock.now());
        let mine = self.advert();
        let mut views: Vec<_> = self
            .members
            .all()
            .into_iter()
            .map(|(id, known)| {
                let here = id == me;
                let advert = if here { Some(&mine) } else { known.advert.as_ref() };
                let status = if here { Presence::Online } else { known.presence() };
                let last_seen = if here { Some(now) } else { known.last_seen };
                let gauges = advert.map(|it| &it.gauges);
                NodeView {
                    id,
                    name: known.name().to_owned(),
                    here,
                    status,
                    owner: known.membership.member.roles.contains(&sedge_trust::swarm::Role::Owner),
                    rtt_us: if here { Some(0) } else { known.rtt.map(micros) },
                    path: self.mesh.path(&id),
                    running: advert.map_or(0, |it| it.running),
                    limit: advert.map_or(0, |it| it.limit),
                    cpu_percent: advert.map(|it| it.gauges.cpu_percent),
                    free_memory: advert.map(|it| it.gauges.free_memory),
                    total_memory: advert.map(|it| it.gauges.total_memory),
                    resident: advert.map(|it| it.gauges.resident),
                    addresses: if here {
                        mine.addresses.clone()
                    } else {
                        self.members.addresses(&id)
                    },
                    last_seen,
                    capabilities: advert.map_or(0, |it| it.offers.len()),
                    functions: advert.map_or_else(Vec::new, |it| functions(&it.offers)),
                    draining: advert.is_some_and(|it| it.draining),
                    invocations: advert.map_or(0, |it| it.invocations),
                    health: Health::of(status, last_seen, gauges, &known.checks, now),
                    about: advert.map_or_else(|| known.about.clone(), |it| it.about.clone()),
                    reason: known.reason.filter(|_| !here),
                }
            })
            .collect();
        views.sort_by_key(|it| (!it.here, it.name.clone()));
        views
    }

    /// Returns one member.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] when nobody fits, [`ErrorKind::Invalid`] when several do.
    pub fn describe(&self, node: &str) -> Result<NodeView, Failure> {
        let id = self.members.find(node)?;
        let found = self.nodes().into_iter().find(|it| it.id == id);
        found.ok_or_else(|| internal("the node has just left"))
    }

    /// Returns everything that the swarm offers now, with the node that offers it.
    pub fn offers(&self) -> Vec<Offer> {
        self.offers_where(|_| true)
    }

    /// Returns what the swarm offers now and `wanted` picks, with the node that offers it.
    pub fn offers_where(&self, wanted: impl Fn(&Descriptor) -> bool) -> Vec<Offer> {
        let me = self.id();
        let offers = self.members.pick(|id, known| {
            let offered: Vec<Offered> = if id == me {
                self.registry.offers_where(&wanted)
            } else {
                let theirs = known.advert.as_ref()?.offers.iter();
                theirs.filter(|it| wanted(&it.descriptor)).cloned().collect()
            };
            let node_name = known.name().to_owned();
            Some((id, node_name, offered))
        });
        let mut offers: Vec<Offer> = offers
            .into_iter()
            .flat_map(|(node, node_name, offered)| {
                offered.into_iter().map(move |it| Offer {
                    descriptor: it.descriptor,
                    node,
                    node_name: node_name.clone(),
                    ready: it.ready,
                })
            })
            .collect();
        offers.sort_by(|a, b| {
            (&a.descriptor.name, &a.node_name).cmp(&(&b.descriptor.name, &b.node_name))
        });
        offers
    }

    /// Forgets a function of this node. Returns whether it was there.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when the store could not forget it.
    pub async fn undeploy(&self, name: &Name) -> Result<bool, Failure> {
        let stored = self.store.deployments().remove(name.as_str()).await.map_err(internal)?;
        let withdrawn = self.registry.withdraw(name);
        self.plans.channels.set(name, None, self.clock.now());
        self.changed.notify_one();
        Ok(withdrawn || stored)
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Turns a fault of the store into what a caller sees.
pub(crate) fn internal(error: impl std::fmt::Display) -> Failure {
    Failure::new(ErrorKind::Internal, "store_failed", format!("the node's store failed: {error}"))
}

/// Turns a failed write into what a caller sees: a full disk is something that an owner can mend.
pub(crate) fn unwritten(kind: ErrorKind, error: impl std::fmt::Display) -> Failure {
    match kind {
        ErrorKind::Exhausted => {
            Failure::new(kind, "disk_full", format!("nothing was kept: {error}"))
        }
        _ => internal(error),
    }
}

/// Writes an error with what is behind it, such as what the operating system said.
pub(crate) fn with_source(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}
