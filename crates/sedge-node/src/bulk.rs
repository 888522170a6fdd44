//! Much at once, and relays: whoever lends a relay does not lend a line for gigabytes. More than
//! [`BULK`] at once goes through a relay only if the configuration says so.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use sedge_base::{ArtifactId, ByteSize, ErrorKind, NodeId};
use sedge_capability::Failure;
use sedge_net::artifact::{Holder, HolderError, Remote};
use sedge_net::{Conn, PathClass};
use tokio::sync::mpsc;
use tokio::time::{interval, timeout};

use crate::node::Node;

/// What may go through a relay at once, whatever the configuration says.
pub(crate) const BULK: ByteSize = ByteSize::from_mib(1);
/// The code when something is too much for a relay.
pub(crate) const BULK_OVER_RELAY: &str = "bulk_over_relay";
/// How long a direct path is waited for: two nodes that have just met look for one.
const DIRECT_WITHIN: Duration = Duration::from_secs(3);
/// How often the path is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Waits until a connection does not go through a relay any more, or has ended.
async fn until_direct(conn: &Conn) {
    let mut every = interval(LOOK);
    while conn.path() == PathClass::Relayed && conn.is_open() {
        every.tick().await;
    }
}

/// Waits until a connection goes through a relay; for ever if it ends before.
async fn until_relayed(conn: &Conn) {
    let mut every = interval(LOOK);
    while conn.path() != PathClass::Relayed || !conn.is_open() {
        every.tick().await;
    }
}

impl Node {
    /// Returns how long an input may be that goes through a relay; `None` when any may.
    pub(crate) fn relay_limit(&self) -> Option<u64> {
        (!self.config.mesh.bulk_over_relay).then(|| BULK.as_bytes())
    }

    /// Returns once so much may be sent over a connection: at once when it is little, the connection
    /// is direct, or the configuration allows it; otherwise a moment is waited for a direct path.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when it stays on a relay; nothing was sent.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub(crate) async fn may_carry(&self, conn: &Conn, bytes: u64) -> Result<(), Failure> {
        let too_much = self.relay_limit().is_some_and(|it| bytes > it);
        if !too_much || timeout(DIRECT_WITHIN, until_direct(conn)).await.is_ok() {
            return Ok(());
        }
        let text = format!(
            "node {} is reached through a relay only, which carries {BULK} at once and not {}",
            self.members.name_of(&conn.peer()),
            ByteSize::from_bytes(bytes)
        );
        Err(Failure::new(ErrorKind::Unavailable, BULK_OVER_RELAY, text))
    }
}

/// A holder that is reached over a connection, and gives much only while that is direct.
pub(crate) struct Direct {
    conn: Conn,
    inner: Remote,
}

impl Direct {
    pub(crate) fn new(conn: Conn) -> Self {
        Self { inner: Remote::new(conn.clone()), conn }
    }
}

impl fmt::Debug for Direct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Direct").field(&self.conn.peer()).finish()
    }
}

#[async_trait]
impl Holder for Direct {
    fn node(&self) -> NodeId {
        self.inner.node()
    }

    async fn size(&self, id: ArtifactId) -> Result<Option<u64>, HolderError> {
        self.inner.size(id).await
    }

    async fn give(
        &self,
        id: ArtifactId,
        range: Range<u64>,
        to: mpsc::Sender<Bytes>,
    ) -> Result<(), HolderError> {
        if range.end.saturating_sub(range.start) <= BULK.as_bytes() {
            return self.inner.give(id, range, to).await;
        }
        if timeout(DIRECT_WITHIN, until_direct(&self.conn)).await.is_err() {
            return Err(HolderError::Relayed { most: BULK });
        }
        // A path that falls back to the relay ends it, too: what came until then stays.
        tokio::select! {
            biased;
            given = self.inner.give(id, range, to) => given,
            () = until_relayed(&self.conn) => Err(HolderError::Relayed { most: BULK }),
        }
    }
}
