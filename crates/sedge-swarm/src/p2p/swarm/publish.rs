//! Sending: sealed under the swarm's key, signed, queued for every link.

use std::sync::Arc;

use bytes::Bytes;
use sedge_base::{Cancel, ErrorKind};
use sedge_net::CloseReason;
use sedge_trust::seed::{self, Envelope, Header};
use sedge_trust::{Nonce, RandomError, random_bytes};
use serde::Serialize;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::super::envelope::{Heartbeat, Signed};
use super::super::node::{HEARTBEAT, MAX_HANDLERS, Message, Node, Subscriber};
use super::P2PSwarmV2;

/// The longest payload that is published, in bytes.
pub const MAX_PUBLISH_BYTES: usize = 4 << 20;

/// The topics that the swarm itself listens to.
pub(in crate::p2p) mod topic {
    /// Tasks that somebody wants done.
    pub(in crate::p2p) const TASKS: &str = "tasks";
    /// Who runs a task.
    pub(in crate::p2p) const CLAIMS: &str = "claims";
    /// What became of tasks.
    pub(in crate::p2p) const RECEIPTS: &str = "receipts";
    /// Signs of life.
    pub(in crate::p2p) const HEARTBEAT: &str = "heartbeat";
    /// Rotations of session keys, to one member each.
    pub(in crate::p2p) const SESSION: &str = "session";
    /// Messages of WebRTC negotiations, to one member each.
    pub(in crate::p2p) const SIGNALING: &str = "signaling";
}

/// Why a message was not published. Nothing was sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// This agent is not connected.
    #[error("not connected")]
    NotConnected,
    /// No connection with this member.
    #[error("no connection with `{agent_id}`")]
    NoLink {
        /// Whom.
        agent_id: String,
    },
    /// The payload is too long.
    #[error("a payload has at most {MAX_PUBLISH_BYTES} bytes, this has {got}")]
    TooLarge {
        /// How many bytes it has.
        got: usize,
    },
    /// There was no randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The envelope could not be sealed.
    #[error(transparent)]
    Seal(#[from] seed::SealError),
    /// The record cannot be written as JSON.
    #[error("the record cannot be written")]
    Json(#[from] serde_json::Error),
}

impl PublishError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::NotConnected | Self::NoLink { .. } => ErrorKind::Unavailable,
            Self::TooLarge { .. } => ErrorKind::Exhausted,
            Self::Random(err) => err.kind(),
            Self::Seal(err) => err.kind(),
            Self::Json(_) => ErrorKind::Internal,
        }
    }
}

impl P2PSwarmV2 {
    /// Encrypts, signs and sends a message to every member with a connection, and returns its id.
    ///
    /// It is queued, not delivered, when this returns; a member that does not keep up with its
    /// queue is disconnected.
    ///
    /// # Errors
    ///
    /// [`PublishError`], which says why nothing was sent.
    pub fn publish(&self, topic: &str, payload: impl AsRef<[u8]>) -> Result<String, PublishError> {
        self.node()?.send(None, topic, payload.as_ref())
    }

    /// Sends a message to one member, as [`P2PSwarmV2::publish`]. Whoever has the swarm's key could
    /// read it on the way; [`P2PSwarmV2::seal_for`] keeps it to the two.
    ///
    /// # Errors
    ///
    /// [`PublishError`], which says why nothing was sent.
    pub fn send_to(
        &self,
        agent_id: &str,
        topic: &str,
        payload: impl AsRef<[u8]>,
    ) -> Result<String, PublishError> {
        self.node()?.send(Some(agent_id), topic, payload.as_ref())
    }

    /// Returns a queue with the messages of a topic from now on, in the order in which they come.
    /// When `room` messages wait, their senders wait too. `None` when the topic has too many
    /// subscribers.
    pub fn messages(&self, topic: &str, room: usize) -> Option<mpsc::Receiver<Message>> {
        let (sender, receiver) = mpsc::channel(room.max(1));
        let added = self.node().ok()?.add_subscriber(topic, Subscriber::Queue(sender));
        added.then_some(receiver)
    }
}

impl Node {
    pub(super) fn add_subscriber(&self, topic: &str, subscriber: Subscriber) -> bool {
        let mut state = self.state();
        if state.topics.len() >= MAX_HANDLERS && !state.topics.contains_key(topic) {
            return false;
        }
        let subscribers = state.topics.entry(topic.to_owned()).or_default();
        let room = subscribers.len() < MAX_HANDLERS;
        if room {
            subscribers.push(subscriber);
        }
        room
    }

    /// Seals and queues a message, for one member or for all.
    pub(in crate::p2p) fn send(
        &self,
        to: Option<&str>,
        topic: &str,
        payload: &[u8],
    ) -> Result<String, PublishError> {
        if payload.len() > MAX_PUBLISH_BYTES {
            return Err(PublishError::TooLarge { got: payload.len() });
        }
        let message_id = format!("{}:{}", self.swarm, Uuid::new_v4());
        let nonce = Nonce::from_bytes(random_bytes()?);
        // Counters must reach each link in their order, so numbering and queueing are one step.
        let mut state = self.state();
        if state.connection.is_none() {
            return Err(PublishError::NotConnected);
        }
        let wanted = |it: &str| to.is_none_or(|to| to == it);
        if to.is_some() && !state.links.values().any(|it| wanted(&it.agent_id)) {
            return Err(PublishError::NoLink { agent_id: to.unwrap_or_default().to_owned() });
        }
        let header = Header {
            message_id: message_id.clone(),
            topic: topic.to_owned(),
            timestamp: self.clock.now(),
            sender_id: self.agent_id.clone(),
            nonce,
            counter: state.counter + 1,
        };
        let envelope = Envelope::seal(header, payload, &self.key, &self.identity)?;
        let bytes = Bytes::from(serde_json::to_vec(&envelope)?);
        state.counter += 1;
        let mut slow = Vec::new();
        for link in state.links.values().filter(|it| wanted(&it.agent_id)) {
            if link.queue.try_send(bytes.clone()).is_err() {
                slow.push(link.conn.clone());
            }
        }
        drop(state);
        for conn in slow {
            self.drop_link(&conn);
            conn.close(CloseReason::Full);
        }
        Ok(message_id)
    }

    /// Sends a record as JSON.
    pub(in crate::p2p) fn send_json<T: Serialize + Sync>(
        &self,
        to: Option<&str>,
        topic: &str,
        record: &T,
    ) -> Result<String, PublishError> {
        self.send(to, topic, &serde_json::to_vec(record)?)
    }
}

/// Says now and then that this agent lives and how busy it is.
pub(super) async fn heartbeat(node: Arc<Node>, cancel: Cancel) {
    let mut every = tokio::time::interval(HEARTBEAT);
    loop {
        tokio::select! {
            biased;
            () = cancel.cancelled() => break,
            _ = every.tick() => {}
        }
        let running = node.state().running;
        #[expect(clippy::cast_precision_loss, reason = "a share of a few tasks")]
        let load = (running as f64 / node.max_running.max(1) as f64).min(1.0);
        let beat = Heartbeat {
            agent_id: node.agent_id.clone(),
            timestamp: node.clock.now(),
            capabilities: node.capabilities.clone(),
            load,
        };
        let beat = Signed::sign(beat, &node.identity);
        if let Err(err) = node.send_json(None, topic::HEARTBEAT, &beat) {
            tracing::debug!(target: "sedge::swarm", %err, "no heartbeat");
        }
    }
}
