//! The local network: this node announces itself, and hears who else is there (mDNS, RFC 6762).
//!
//! What is heard is not proven: it says where to dial, never whom to trust. What is announced is
//! public: the node's key, its addresses, and the nameplate of an open invite, which is no secret.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use iroh::Endpoint;
use iroh::address_lookup::{AddressLookup, EndpointData, UserData};
use iroh_mdns_address_lookup::{DiscoveryEvent, MdnsAddressLookup};
use sedge_base::{ErrorKind, NodeId, TaskScope};
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use crate::quic::{Held, held};
use crate::transport::{Heard, PeerAddr};

/// Neighbours that are remembered; more are ignored until some leave.
const NEIGHBOURS: usize = 1024;
/// Addresses that are remembered of one neighbour.
const ADDRESSES: usize = 16;
/// How long is listened where nothing can be sent: others may still be heard.
const HOPELESS: Duration = Duration::from_secs(2);
/// The text in front of the nameplate, in the announcement's user data.
const INVITE: &str = "sedge-invite=";
/// What stands there while no invite is open: the lookup keeps the old text when there is none.
const NO_INVITE: &str = "sedge-invite=none";

/// The public number of an open invite: the first part of a pairing code.
pub type Nameplate = u32;

/// How to take part in the local network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LanOptions {
    /// The service's name in the announcements, 1 to 15 of `a–z`, `0–9` and `-` (RFC 6763).
    /// Nodes with different names do not hear each other.
    pub service: String,
}

impl Default for LanOptions {
    fn default() -> Self {
        Self { service: "sedge".to_owned() }
    }
}

/// Why the local network cannot be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LanError {
    /// The service's name cannot stand in an announcement.
    #[error("`{service}` is no service name: 1 to 15 lower-case letters, digits and hyphens")]
    Service {
        /// The name.
        service: String,
    },
    /// The socket for announcements cannot be opened.
    #[error("this machine lets nobody join the local network's announcements (port 5353)")]
    Socket {
        /// What the discovery says.
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
}

impl LanError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Service { .. } => ErrorKind::Invalid,
            Self::Socket { .. } => ErrorKind::Unsupported,
        }
    }
}

/// Why no inviter was found on the local network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiscoverError {
    /// Nobody announces this nameplate.
    #[error(
        "nobody on the local network announced invite {nameplate} within {within:?} ({others} other nodes did announce themselves)"
    )]
    Unheard {
        /// The invite's number.
        nameplate: Nameplate,
        /// How long was listened.
        within: Duration,
        /// How many neighbours were heard at all.
        others: usize,
    },
    /// This machine cannot send to the local network at all.
    #[error("this machine has no network that carries announcements (multicast)")]
    NoMulticast {
        /// What the system says.
        source: io::Error,
    },
}

impl DiscoverError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Unheard { .. } => ErrorKind::NotFound,
            Self::NoMulticast { .. } => ErrorKind::Unsupported,
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Neighbour {
    addrs: Vec<SocketAddr>,
    nameplate: Option<Nameplate>,
}

type Table = BTreeMap<NodeId, Neighbour>;

/// This node on the local network.
#[derive(Debug)]
pub struct Lan {
    endpoint: Held,
    table: watch::Receiver<Table>,
}

impl Lan {
    pub(crate) async fn start(
        (endpoint, held): (&Endpoint, &Held),
        options: &LanOptions,
        scope: &TaskScope,
    ) -> Result<Self, LanError> {
        let LanOptions { service } = options;
        let fits = |it: u8| matches!(it, b'a'..=b'z' | b'0'..=b'9' | b'-');
        if !(1..=15).contains(&service.len()) || !service.bytes().all(fits) {
            return Err(LanError::Service { service: service.clone() });
        }
        let mdns = MdnsAddressLookup::builder().service_name(service).build(endpoint.id());
        let mdns = mdns.map_err(|err| LanError::Socket { source: Arc::new(err) })?;
        let mut events = mdns.subscribe().await;
        if let Ok(lookups) = endpoint.address_lookup() {
            lookups.add(Announcer(mdns));
        }
        endpoint.set_user_data_for_address_lookup(user_data(None));
        let (tell, table) = watch::channel(Table::new());
        scope.spawn("lan neighbours", |cancel| async move {
            loop {
                let event = tokio::select! {
                    biased;
                    () = cancel.cancelled() => return,
                    event = events.next() => event,
                };
                let Some(event) = event else { return };
                tell.send_if_modified(|table| hear(table, event));
            }
        });
        Ok(Self { endpoint: Arc::clone(held), table })
    }

    /// Announces an open invite by its number, or that none is open any more.
    pub fn announce_invite(&self, nameplate: Option<Nameplate>) {
        if let Some(endpoint) = held(&self.endpoint) {
            endpoint.set_user_data_for_address_lookup(user_data(nameplate));
        }
    }

    /// Returns everybody who is heard now.
    pub fn neighbours(&self) -> Vec<PeerAddr> {
        let table = self.table.borrow();
        table.iter().map(|(node, it)| PeerAddr { node: *node, direct: it.addrs.clone() }).collect()
    }

    /// Returns what is heard of a node now.
    pub fn heard(&self, node: NodeId) -> Heard {
        match self.table.borrow().get(&node) {
            Some(it) if !it.addrs.is_empty() => Heard::At(it.addrs.clone()),
            _ => Heard::Nothing,
        }
    }

    /// Waits until a node announces itself, or `deadline` has passed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the waiting.
    pub async fn find(&self, node: NodeId, deadline: Instant) -> Heard {
        let mut table = self.table.clone();
        let there = |table: &Table| table.get(&node).is_some_and(|it| !it.addrs.is_empty());
        drop(timeout_at(deadline, table.wait_for(there)).await);
        self.heard(node)
    }

    /// Waits until somebody announces an open invite of this number, and returns all who do.
    ///
    /// Whoever answers is not proven to be the inviter; only the pairing itself shows that.
    ///
    /// # Errors
    ///
    /// [`DiscoverError`] when nobody did within `within`, or this machine has no such network.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the waiting.
    pub async fn discover(
        &self,
        nameplate: Nameplate,
        within: Duration,
    ) -> Result<Vec<PeerAddr>, DiscoverError> {
        let invites = |it: &Neighbour| it.nameplate == Some(nameplate) && !it.addrs.is_empty();
        let unheard = probe().await.err();
        let within = if unheard.is_some() { within.min(HOPELESS) } else { within };
        let mut table = self.table.clone();
        let heard = table.wait_for(|table| table.values().any(invites));
        if let Ok(Ok(table)) = timeout(within, heard).await {
            let inviters = table.iter().filter(|(_, it)| invites(it));
            return Ok(inviters
                .map(|(node, it)| PeerAddr { node: *node, direct: it.addrs.clone() })
                .collect());
        }
        match (self.table.borrow().len(), unheard) {
            (0, Some(source)) => Err(DiscoverError::NoMulticast { source }),
            (others, _) => Err(DiscoverError::Unheard { nameplate, within, others }),
        }
    }
}

/// Publishes our addresses and answers no lookups: those go through our own table, so that every
/// announcement reaches it.
#[derive(Debug)]
struct Announcer(MdnsAddressLookup);

impl AddressLookup for Announcer {
    fn publish(&self, data: &EndpointData) {
        self.0.publish(data);
    }
}

/// Takes an announcement into the table; returns whether it changed.
fn hear(table: &mut Table, event: DiscoveryEvent) -> bool {
    match event {
        DiscoveryEvent::Discovered { endpoint_info, .. } => {
            let node = NodeId::from_bytes(*endpoint_info.endpoint_id.as_bytes());
            if table.len() >= NEIGHBOURS && !table.contains_key(&node) {
                return false;
            }
            let said = endpoint_info.user_data().map(AsRef::as_ref);
            let neighbour = Neighbour {
                addrs: endpoint_info.ip_addrs().copied().take(ADDRESSES).collect(),
                nameplate: said.and_then(parse_invite),
            };
            table.insert(node, neighbour.clone()) != Some(neighbour)
        }
        DiscoveryEvent::Expired { endpoint_id } => {
            table.remove(&NodeId::from_bytes(*endpoint_id.as_bytes())).is_some()
        }
        _ => false,
    }
}

fn parse_invite(said: &str) -> Option<Nameplate> {
    said.strip_prefix(INVITE)?.parse().ok()
}

fn user_data(nameplate: Option<Nameplate>) -> Option<UserData> {
    let text = nameplate.map_or_else(|| NO_INVITE.to_owned(), |it| format!("{INVITE}{it}"));
    text.try_into().ok()
}

/// Sends an empty question to the group of RFC 6762, to learn whether the system can.
async fn probe() -> io::Result<()> {
    let group = (Ipv4Addr::new(224, 0, 0, 251), 5353);
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    socket.send_to(&[0; 12], group).await.map(drop)
}

/// Feeds what an announcement says beside its addresses to the reader; returns whether it took it.
#[cfg(any(test, fuzzing))]
pub(crate) fn feed(said: &str) -> bool {
    parse_invite(said).is_some()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_invite_survives_the_announcement() {
        let said = user_data(Some(42)).unwrap();
        assert_eq!(parse_invite(said.as_ref()), Some(42));
        let said = user_data(None).unwrap();
        assert_eq!(parse_invite(said.as_ref()), None);
    }

    proptest! {
        #[test]
        fn garbage_is_no_invite(said in ".{0,64}") {
            let number = said.strip_prefix("sedge-invite=").is_some_and(|it| it.parse::<u32>().is_ok());
            assert_eq!(parse_invite(&said).is_some(), number);
        }
    }
}
