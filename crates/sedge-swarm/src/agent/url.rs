//! Where an agent is: `ws://host:port`, with `#NODE-ID` if its key is known, or `local://NODE-ID`.

use std::net::SocketAddr;
use std::time::Duration;

use sedge_base::{ErrorKind, NodeId};
use sedge_net::{KeyError, PeerAddr, WebSocket};
use tokio::net::lookup_host;

/// How long asking for an agent's key may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest address that is read, in bytes.
const MAX_BYTES: usize = 512;

/// Why an address leads to no agent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// It is no such address.
    #[error(
        "an agent's address is `ws://HOST:PORT`, with `#NODE-ID` behind it if its key is known, or `local://NODE-ID`"
    )]
    Form,
    /// The host's name leads nowhere.
    #[error("no host `{host}` is known")]
    NoHost {
        /// The host and its port.
        host: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// Nobody there proves a key.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl UrlError {
    /// Returns what the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Form => ErrorKind::Invalid,
            Self::NoHost { .. } => ErrorKind::NotFound,
            Self::Key(err) => err.kind(),
        }
    }
}

/// What an address says before anybody is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Host { host: String, node: Option<NodeId> },
    Local(NodeId),
}

fn parse(text: &str) -> Option<Place> {
    if text.len() > MAX_BYTES {
        return None;
    }
    if let Some(node) = text.strip_prefix("local://") {
        return node.parse().ok().map(Place::Local);
    }
    let rest = text.strip_prefix("ws://").or_else(|| text.strip_prefix("wss://"))?;
    let (place, node) = match rest.split_once('#') {
        Some((place, node)) => (place, Some(node.parse().ok()?)),
        None => (rest, None),
    };
    let host = place.strip_suffix('/').unwrap_or(place);
    let (name, port) = host.rsplit_once(':')?;
    let sound = !name.is_empty() && !name.contains(['/', '@', '?', ' ']);
    port.parse::<u16>().ok().filter(|_| sound)?;
    Some(Place::Host { host: host.to_owned(), node })
}

/// Finds out whom to dial. An address without a key is asked for one: whoever answers proves that
/// it has it, and its hello then has to show the swarm's key.
pub(super) async fn resolve(text: &str, proxy: Option<SocketAddr>) -> Result<PeerAddr, UrlError> {
    let (host, node) = match parse(text).ok_or(UrlError::Form)? {
        Place::Local(node) => return Ok(PeerAddr::new(node)),
        Place::Host { host, node } => (host, node),
    };
    let no_host = |source| UrlError::NoHost { host: host.clone(), source };
    let found: Vec<_> = lookup_host(&host).await.map_err(no_host)?.take(8).collect();
    if let Some(node) = node {
        return Ok(PeerAddr { node, direct: found });
    }
    let mut failed = UrlError::Form;
    for addr in found {
        match WebSocket::key_at(addr, proxy, PATIENCE).await {
            Ok(node) => return Ok(PeerAddr::new(node).with(addr)),
            Err(err) => failed = err.into(),
        }
    }
    Err(failed)
}

/// Feeds an address to its reader; returns whether it took it.
#[cfg(any(test, fuzzing))]
pub(crate) fn feed(text: &str) -> bool {
    parse(text).is_some()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_are_read() {
        let node = NodeId::from_bytes([7; 32]);
        let host = |host: &str, node| Some(Place::Host { host: host.to_owned(), node });
        assert_eq!(parse("ws://coordinator:8080"), host("coordinator:8080", None));
        assert_eq!(parse("ws://[::1]:1/"), host("[::1]:1", None));
        assert_eq!(parse(&format!("wss://a:1#{node}")), host("a:1", Some(node)));
        assert_eq!(parse(&format!("local://{node}")), Some(Place::Local(node)));
        for bad in
            ["", "a:1", "ws://a", "ws://:1", "ws://a:x", "ws://a:1#b", "ws://a/b:1", "local://a"]
        {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics(text in ".{0,64}") {
            for scheme in ["ws://", "local://", ""] {
                if let Some(Place::Host { host, .. }) = parse(&format!("{scheme}{text}")) {
                    prop_assert!(host.contains(':'));
                }
            }
        }
    }
}
