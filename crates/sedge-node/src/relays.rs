//! Relays of the swarm: the one that this node runs, and those that it uses.
//!
//! Invariants: a relay runs only when somebody asked for it; a member can name relays of its own key
//! only; a relay serves members, and strangers only while a member has an invitation open.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sedge_base::{ErrorKind, NodeId};
use sedge_capability::Failure;
use sedge_members::Members;
use sedge_net::{Admission, Protocol, RelayAddr, RelayServer, RelayState};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use crate::node::{Node, internal};

/// Where the setting lies that says which relay this node runs.
const SERVING_SETTING: &str = "relay.serving";
/// Where the setting lies that keeps the relays that members run.
const TOLD_SETTING: &str = "relay.told";
/// The most addresses of one member's relay.
const MAX_ADDRESSES: usize = 8;
/// How long a relay may take to stop.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// A relay that this node runs, as its owner wants it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Serving {
    /// Where it listens, TCP and UDP.
    pub listen: SocketAddr,
    /// Under which names or addresses others reach it; the machine's own addresses when empty.
    pub hosts: Vec<String>,
}

/// The relays, as the node that was asked sees them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelaysView {
    /// Addresses of the relay that this node runs; empty when it runs none.
    pub serving: Vec<RelayAddr>,
    /// The relays that it uses.
    pub known: Vec<RelayState>,
}

/// A way to a node through a relay, as a person types it: `INVITER@RELAY@HOST:PORT`, or
/// `INVITER@HOST:PORT` when the inviter runs the relay itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Through {
    pub(crate) inviter: NodeId,
    pub(crate) relay: RelayAddr,
}

impl fmt::Display for Through {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.inviter != self.relay.node {
            write!(f, "{}@", self.inviter)?;
        }
        self.relay.fmt(f)
    }
}

impl FromStr for Through {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        let wrong = || {
            let text = "give `--relay` what `sedge invite` printed after it";
            Failure::new(ErrorKind::Invalid, "bad_relay", text)
        };
        let (first, rest) = text.split_once('@').ok_or_else(wrong)?;
        let inviter: NodeId = first.parse().map_err(|_| wrong())?;
        let relay = if rest.contains('@') { rest } else { text };
        Ok(Self { inviter, relay: relay.parse().map_err(|_| wrong())? })
    }
}

/// What is known of relays.
#[derive(Debug, Default)]
pub(crate) struct Relays {
    server: tokio::sync::Mutex<Option<RelayServer>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Where the own relay listens, and the hosts that its owner named.
    serving: Option<(SocketAddr, Vec<String>)>,
    told: BTreeMap<NodeId, BTreeSet<RelayAddr>>,
}

impl Relays {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whom this node's relay serves.
#[derive(Debug)]
struct Guests(Arc<Members>);

impl Admission for Guests {
    fn admits(&self, peer: NodeId, protocol: Protocol) -> bool {
        match protocol {
            Protocol::Mesh => self.0.admits(peer, protocol),
            Protocol::Pair => self.0.admits(peer, protocol) || self.0.is_somebody_inviting(),
        }
    }
}

impl Node {
    /// Runs a relay, now and after each start.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when it cannot listen there; nothing has changed then.
    pub async fn relay_on(self: &Arc<Self>, serving: Serving) -> Result<RelaysView, Failure> {
        if let Some(bad) = serving.hosts.iter().find(|it| with_port(self.id(), it, 1).is_none()) {
            let text =
                format!("`{bad}` is no host: give a name or an address, with or without a port");
            return Err(Failure::new(ErrorKind::Invalid, "bad_host", text));
        }
        self.start_relay(&serving).await?;
        let text = serde_json::to_string(&serving).map_err(internal)?;
        self.store.settings().set(SERVING_SETTING, &text).await.map_err(internal)?;
        self.use_relays().await;
        self.changed.notify_one();
        Ok(self.relays())
    }

    /// Runs no relay any more. Returns whether one ran.
    ///
    /// # Errors
    ///
    /// A [`Failure`] when the store could not forget it.
    pub async fn relay_off(self: &Arc<Self>) -> Result<bool, Failure> {
        let was = self.store.settings().remove(SERVING_SETTING).await.map_err(internal)?;
        let server = self.relays.server.lock().await.take();
        self.relays.state().serving = None;
        if let Some(server) = server {
            server.close(CLOSE_WITHIN).await;
        }
        self.use_relays().await;
        self.changed.notify_one();
        Ok(was)
    }

    /// Returns the relays and how they fare.
    pub fn relays(&self) -> RelaysView {
        RelaysView { serving: self.own_relays(), known: self.mesh.relays() }
    }

    async fn start_relay(&self, serving: &Serving) -> Result<(), Failure> {
        let mut server = self.relays.server.lock().await;
        if let Some(old) = server.take() {
            old.close(CLOSE_WITHIN).await;
        }
        let guests = Arc::new(Guests(Arc::clone(&self.members)));
        let opened = RelayServer::open(&self.identity, serving.listen, guests).await;
        let opened = opened.map_err(|it| Failure::new(it.kind(), "relay_bind", it))?;
        let at = opened.listening();
        *server = Some(opened);
        drop(server);
        info!(target: "sedge::events::relay_started", listen = %at);
        self.relays.state().serving = Some((at, serving.hosts.clone()));
        Ok(())
    }

    /// Returns the addresses of the relay that this node runs: the hosts that its owner named, or the
    /// machine's own addresses once the mesh is open.
    pub(crate) fn own_relays(&self) -> Vec<RelayAddr> {
        let Some((at, hosts)) = self.relays.state().serving.clone() else { return Vec::new() };
        let me = self.id();
        let named = hosts.iter().filter_map(|it| with_port(me, it, at.port()));
        let mut found: Vec<_> = named.collect();
        if found.is_empty() && !at.ip().is_unspecified() {
            found.push(RelayAddr::at(me, at));
        }
        if found.is_empty() {
            let ips = self.mesh.addresses().into_iter().map(|it| it.ip());
            let ips: BTreeSet<_> = ips.filter(|it| it.is_ipv4() == at.is_ipv4()).collect();
            found.extend(
                ips.into_iter().map(|ip| RelayAddr::at(me, SocketAddr::new(ip, at.port()))),
            );
        }
        found.truncate(MAX_ADDRESSES);
        found
    }

    /// Returns every relay that is known.
    fn all_relays(&self) -> BTreeSet<RelayAddr> {
        let told: BTreeSet<_> = self.relays.state().told.values().flatten().cloned().collect();
        told.into_iter().chain(self.own_relays()).collect()
    }

    /// Takes up what was known and what ran before the last stop.
    pub(crate) async fn remember_relays(&self) -> Result<(), Failure> {
        let settings = self.store.settings();
        if let Some(told) = settings.get(TOLD_SETTING).await.map_err(internal)? {
            self.relays.state().told = serde_json::from_str(&told).map_err(internal)?;
        }
        if let Some(serving) = settings.get(SERVING_SETTING).await.map_err(internal)? {
            let serving = serde_json::from_str(&serving).map_err(internal)?;
            if let Err(failure) = self.start_relay(&serving).await {
                warn!(target: "sedge::events::relay_not_started", %failure);
            }
        }
        Ok(())
    }

    /// Stops the relay for now.
    pub(crate) async fn rest_relay(&self) {
        if let Some(server) = self.relays.server.lock().await.take() {
            server.close(CLOSE_WITHIN).await;
        }
    }

    /// Notes the relays that a member says it runs.
    pub(crate) async fn hear_relays(&self, from: NodeId, relays: &[RelayAddr]) {
        let own = relays.iter().filter(|it| it.node == from).take(MAX_ADDRESSES);
        self.know_relays(from, own.cloned().collect()).await;
    }

    pub(crate) async fn know_relays(&self, of: NodeId, relays: BTreeSet<RelayAddr>) {
        let told = {
            let mut state = self.relays.state();
            let known = state.told.get(&of).cloned().unwrap_or_default();
            if known == relays {
                return;
            }
            match relays.is_empty() {
                true => drop(state.told.remove(&of)),
                false => drop(state.told.insert(of, relays)),
            }
            serde_json::to_string(&state.told)
        };
        if let Ok(told) = told
            && let Err(fault) = self.store.settings().set(TOLD_SETTING, &told).await
        {
            warn!(target: "sedge::events::relays_not_stored", %fault);
        }
        self.use_relays().await;
    }

    /// Lets the mesh use every relay that is known.
    pub(crate) async fn use_relays(&self) {
        self.mesh.set_relays(&self.all_relays()).await;
    }

    /// Returns what to give `sedge join --relay` on another machine.
    pub(crate) fn ways_through(&self) -> Vec<String> {
        let through = |relay| Through { inviter: self.id(), relay }.to_string();
        self.all_relays().into_iter().map(through).collect()
    }
}

/// Returns the address of a relay at a host; a host that names its port keeps it.
fn with_port(node: NodeId, host: &str, port: u16) -> Option<RelayAddr> {
    let has_port = host.rsplit_once(':').is_some_and(|(name, port)| {
        port.parse::<u16>().is_ok() && (!name.contains(':') || name.ends_with(']'))
    });
    let at = if has_port { host.to_owned() } else { format!("{host}:{port}") };
    format!("{node}@{at}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_through_a_relay_is_read_as_it_is_written() {
        let (one, two) = (NodeId::from_bytes([1; 32]), NodeId::from_bytes([2; 32]));
        for (inviter, node) in [(one, one), (one, two)] {
            let relay = RelayAddr { node, host: "10.0.0.1".to_owned(), port: 7379 };
            let through = Through { inviter, relay };
            assert_eq!(through.to_string().parse::<Through>().unwrap(), through);
        }
        for text in ["", "x", "@", "a@b@c:1", &format!("{one}@"), &format!("{one}@{two}@h")] {
            assert_eq!(text.parse::<Through>().unwrap_err().code, "bad_relay", "{text}");
        }
    }

    #[test]
    fn a_host_keeps_the_port_that_it_names() {
        let read = |host| {
            let relay = with_port(NodeId::from_bytes([1; 32]), host, 7)?;
            Some(format!("{} {}", relay.host, relay.port))
        };
        let cases = [
            ("relay.example.org", Some("relay.example.org 7")),
            ("relay.example.org:9", Some("relay.example.org 9")),
            ("[::1]", Some("[::1] 7")),
            ("[::1]:9", Some("[::1] 9")),
            ("a b", None),
            ("", None),
        ];
        for (host, expected) in cases {
            assert_eq!(read(host).as_deref(), expected, "{host}");
        }
    }
}
