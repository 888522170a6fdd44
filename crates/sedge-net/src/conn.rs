//! A connection: two nodes that have proven their keys to each other, and cheap streams between them.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use sedge_base::{ErrorKind, NodeId};
use serde::{Deserialize, Serialize};

use crate::stream::{Incoming, Outgoing, Stream};
use crate::transport::Protocol;

/// How far away a peer is, nearest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PathClass {
    /// On this machine.
    Local,
    /// On the same local network: a private or link-local address.
    Lan,
    /// Across the internet, without anybody between.
    Direct,
    /// Through a relay, which sees sizes and times but no content.
    Relayed,
}

impl PathClass {
    /// Tells by an address how far away a directly connected peer is.
    pub fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            ip if ip.is_loopback() => Self::Local,
            IpAddr::V4(ip) if ip.is_private() || ip.is_link_local() => Self::Lan,
            IpAddr::V6(ip) if ip.is_unique_local() || ip.is_unicast_link_local() => Self::Lan,
            _ => Self::Direct,
        }
    }

    /// Returns the stable name that machines read, such as `lan`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Lan => "lan",
            Self::Direct => "direct",
            Self::Relayed => "relayed",
        }
    }
}

/// Which end began something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// This node.
    Us,
    /// The other node.
    Peer,
}

/// What is known about a connection now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Who is at the other end: its key was proven.
    pub peer: NodeId,
    /// What is spoken.
    pub protocol: Protocol,
    /// Who dialled.
    pub dialled_by: Side,
    /// How far away the peer is.
    pub path: PathClass,
    /// Whether it passes through this machine alone, and not even through its network; both ends say
    /// the same.
    pub same_host: bool,
    /// The time to the peer and back, once it was measured.
    pub rtt: Option<Duration>,
}

/// Why somebody closed a connection; travels to the other side as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    /// Nothing more to do.
    Done,
    /// The node stops.
    Shutdown,
    /// The key is not that of a member.
    NotAdmitted,
    /// Another connection between the same two nodes is kept.
    Duplicate,
    /// The other side broke the protocol.
    Protocol,
    /// The node has as many connections as it may have.
    Full,
    /// A number that this release does not know.
    Other(u32),
}

impl CloseReason {
    /// Returns the number that travels.
    pub const fn code(self) -> u32 {
        match self {
            Self::Done => 0,
            Self::Shutdown => 1,
            Self::NotAdmitted => 2,
            Self::Duplicate => 3,
            Self::Protocol => 4,
            Self::Full => 5,
            Self::Other(code) => code,
        }
    }

    /// Returns the reason that travels as this number.
    pub const fn from_code(code: u32) -> Self {
        match code {
            0 => Self::Done,
            1 => Self::Shutdown,
            2 => Self::NotAdmitted,
            3 => Self::Duplicate,
            4 => Self::Protocol,
            5 => Self::Full,
            code => Self::Other(code),
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("nothing more to do"),
            Self::Shutdown => f.write_str("the node stops"),
            Self::NotAdmitted => f.write_str("this key is not admitted"),
            Self::Duplicate => f.write_str("another connection between the two nodes is kept"),
            Self::Protocol => f.write_str("the protocol was broken"),
            Self::Full => f.write_str("the node has as many connections as it may have"),
            Self::Other(code) => write!(f, "reason {code}"),
        }
    }
}

/// Why a connection gives no stream, or ended.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ConnError {
    /// The other side closed it.
    #[error("the peer closed the connection: {reason}")]
    Closed {
        /// What it said.
        reason: CloseReason,
    },
    /// This side closed it.
    #[error("the connection was closed here")]
    ClosedHere,
    /// The peer fell silent: it died, froze, or the network between is gone.
    #[error("the peer fell silent")]
    Silent,
    /// So many streams are open that none became free in time.
    #[error("no stream became free within {within:?}")]
    Busy {
        /// How long was waited.
        within: Duration,
    },
    /// The transport broke the connection.
    #[error("the connection broke")]
    Broken {
        /// What the transport says.
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
}

impl ConnError {
    /// Returns what the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Closed { reason: CloseReason::NotAdmitted } => ErrorKind::Denied,
            Self::Closed { .. } | Self::Silent | Self::Broken { .. } => ErrorKind::Unavailable,
            Self::ClosedHere => ErrorKind::Cancelled,
            Self::Busy { .. } => ErrorKind::Exhausted,
        }
    }
}

/// The two directions of a stream, as a transport makes them.
pub type Halves = (Box<dyn Outgoing>, Box<dyn Incoming>);

/// What a transport implements for one connection; callers use [`Conn`].
///
/// A link exists only after both ends have proven their keys and admitted each other.
#[async_trait]
pub trait Link: Send + Sync + fmt::Debug + 'static {
    /// Returns what is known about the connection now; called often, does not block.
    fn facts(&self) -> Facts;

    /// Makes the next stream: one of our own, or the next that the peer opened.
    ///
    /// # Errors
    ///
    /// [`ConnError`] when the connection has ended.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no stream that the peer opened.
    async fn stream(&self, opener: Side) -> Result<Halves, ConnError>;

    /// Ends the connection and all of its streams at once; does nothing the second time.
    fn close(&self, reason: CloseReason);

    /// Waits until the connection has ended, and returns why.
    async fn closed(&self) -> ConnError;
}

/// A connection to a node that has proven its key; cheap to clone.
///
/// It ends when somebody closes it, when the peer falls silent, or when the last clone and the
/// last stream are dropped. An end loses what the peer has not read yet: who sends last waits for
/// [`SendStream::stopped`](crate::SendStream::stopped) or an answer before it drops everything.
#[derive(Debug, Clone)]
pub struct Conn {
    link: Arc<dyn Link>,
    streams: Arc<AtomicUsize>,
}

impl Conn {
    /// Wraps what a transport made.
    pub fn new(link: Arc<dyn Link>) -> Self {
        Self { link, streams: Arc::default() }
    }

    /// Returns everything that is known about the connection now.
    pub fn facts(&self) -> Facts {
        self.link.facts()
    }

    /// Returns who is at the other end.
    pub fn peer(&self) -> NodeId {
        self.facts().peer
    }

    /// Returns what is spoken.
    pub fn protocol(&self) -> Protocol {
        self.facts().protocol
    }

    /// Returns how far away the peer is.
    pub fn path(&self) -> PathClass {
        self.facts().path
    }

    /// Returns the time to the peer and back, or `None` when it was not measured yet.
    pub fn rtt(&self) -> Option<Duration> {
        self.facts().rtt
    }

    /// Returns how many streams are open, whoever opened them.
    pub fn streams(&self) -> usize {
        self.streams.load(Ordering::Relaxed)
    }

    /// Opens a stream. The peer learns of it with its first byte.
    ///
    /// # Errors
    ///
    /// [`ConnError`] when the connection has ended, or no stream became free within `within`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future opens nothing.
    pub async fn open(&self, within: Duration) -> Result<Stream, ConnError> {
        let made = tokio::time::timeout(within, self.link.stream(Side::Us)).await;
        let halves = made.map_err(|_| ConnError::Busy { within })??;
        Ok(Stream::new(halves, &self.link, &self.streams))
    }

    /// Waits for the next stream that the peer opens; as long as the connection lives.
    ///
    /// # Errors
    ///
    /// [`ConnError`] when the connection has ended.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no stream.
    pub async fn accept(&self) -> Result<Stream, ConnError> {
        let halves = self.link.stream(Side::Peer).await?;
        Ok(Stream::new(halves, &self.link, &self.streams))
    }

    /// Ends the connection and all of its streams at once.
    pub fn close(&self, reason: CloseReason) {
        self.link.close(reason);
    }

    /// Waits until the connection has ended, and returns why.
    pub async fn closed(&self) -> ConnError {
        self.link.closed().await
    }

    /// Returns whether the connection has not ended, as far as is known.
    pub fn is_open(&self) -> bool {
        self.link.closed().now_or_never().is_none()
    }

    /// Returns whether both are the same connection.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.streams, &other.streams)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_survive_the_wire() {
        for code in 0..9 {
            assert_eq!(CloseReason::from_code(code).code(), code);
        }
    }
}
