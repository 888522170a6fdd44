//! Keys that two members share, and direct messages under them.

use std::sync::Arc;
use std::time::Duration;

use sedge_base::{ErrorKind, Timestamp};
use sedge_trust::RandomError;
use sedge_trust::registration::UnknownSender;
use sedge_trust::seed::{SignalType, Signaling};
use sedge_trust::session::{
    OpenError, Rekey, RotateError, Rotated, SealError, Session, SessionKey, SessionMessage, WeakKey,
};

use super::super::envelope::SignalingMessage;
use super::super::node::{Node, SESSION_GRACE, State};
use super::publish::{PublishError, topic};
use super::{GREETING, P2PSwarmV2};

/// Why a session with a member did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// There was no randomness to make keys of.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// Nobody is registered under this id.
    #[error(transparent)]
    Unknown(#[from] UnknownSender),
    /// The member's key gives no secret.
    #[error(transparent)]
    Weak(#[from] WeakKey),
    /// The key was not changed.
    #[error(transparent)]
    Rotate(#[from] RotateError),
    /// The offer could not be sent.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The offer could not be written.
    #[error(transparent)]
    Canonical(#[from] sedge_trust::canonical::CanonicalError),
    /// The member did not answer the offer.
    #[error("`{agent_id}` did not answer within {within:?}")]
    Silent {
        /// Who.
        agent_id: String,
        /// How long was waited.
        within: Duration,
    },
    /// A text was not sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A message was not opened.
    #[error(transparent)]
    Open(#[from] OpenError),
}

impl SessionError {
    /// Returns what the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Random(err) => err.kind(),
            Self::Unknown(_) => ErrorKind::NotFound,
            Self::Weak(err) => err.kind(),
            Self::Rotate(err) => err.kind(),
            Self::Publish(err) => err.kind(),
            Self::Canonical(err) => err.kind(),
            Self::Silent { .. } => ErrorKind::Timeout,
            Self::Seal(err) => err.kind(),
            Self::Open(err) => err.kind(),
        }
    }
}

impl P2PSwarmV2 {
    /// Returns the key that this agent and a member share now; both get the same one.
    ///
    /// Before the first rotation it is derived without a message, so any two registered members
    /// have one at once.
    ///
    /// # Errors
    ///
    /// [`SessionError`] when the member is unknown or its key gives no secret.
    pub fn derive_session_key(&self, agent_id: &str) -> Result<SessionKey, SessionError> {
        let node = self.node()?;
        Ok(session(node, &mut node.state(), agent_id)?.key().clone())
    }

    /// Returns how often the session with a member was rotated.
    ///
    /// # Errors
    ///
    /// As [`P2PSwarmV2::derive_session_key`].
    pub fn session_epoch(&self, agent_id: &str) -> Result<u64, SessionError> {
        let node = self.node()?;
        Ok(session(node, &mut node.state(), agent_id)?.epoch())
    }

    /// Gives the session with a linked member a new key from fresh secrets, and returns its epoch.
    /// What was sealed under the key before is read for [`SESSION_GRACE`] on both sides.
    ///
    /// # Errors
    ///
    /// [`SessionError`] when the member is unknown, has no connection, or does not answer.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the waiting; the key may change all the same, on both sides.
    pub async fn rotate_session_key(&self, agent_id: &str) -> Result<u64, SessionError> {
        let node = self.node()?;
        let (before, offer) = {
            let mut state = node.state();
            let session = session(node, &mut state, agent_id)?;
            (session.epoch(), session.offer(&node.identity)?)
        };
        node.send(Some(agent_id), topic::SESSION, &offer.encode()?)?;
        let later = |state: &mut State| {
            let epoch = state.sessions.get(agent_id)?.epoch();
            (epoch > before).then_some(epoch)
        };
        let within = GREETING;
        let silent = || SessionError::Silent { agent_id: agent_id.to_owned(), within };
        node.until(within, later).await.ok_or_else(silent)
    }

    /// Seals a text that only one member can read.
    ///
    /// # Errors
    ///
    /// [`SessionError`] when the member is unknown or the text was not sealed.
    pub fn seal_for(&self, agent_id: &str, text: &[u8]) -> Result<SessionMessage, SessionError> {
        let node = self.node()?;
        Ok(session(node, &mut node.state(), agent_id)?.seal(text)?)
    }

    /// Opens a text that a member sealed for this agent, once.
    ///
    /// # Errors
    ///
    /// [`SessionError`] when the member is unknown or the text is not its.
    pub fn open_from(
        &self,
        agent_id: &str,
        message: &SessionMessage,
    ) -> Result<Vec<u8>, SessionError> {
        let node = self.node()?;
        Ok(session(node, &mut node.state(), agent_id)?.open(message, node.clock.now())?)
    }

    /// Writes and signs one message of a WebRTC negotiation with a member, good for `ttl_ms`
    /// (five minutes at most).
    ///
    /// # Errors
    ///
    /// [`RandomError`] when there was no randomness to make keys of.
    pub fn create_signaling(
        &self,
        signal_type: SignalType,
        to: &str,
        payload: impl Into<String>,
        ttl_ms: u64,
    ) -> Result<SignalingMessage, RandomError> {
        let node = self.node()?;
        let when = (node.clock.now(), Duration::from_millis(ttl_ms));
        let signal = Signaling::new(signal_type, (&node.agent_id, to), payload.into(), when);
        Ok(signal.sign(&node.identity))
    }

    /// Returns whether a signal is for this agent, fresh, whole, and by the registered sender.
    pub fn verify_signaling(&self, signal: &SignalingMessage) -> bool {
        self.node().is_ok_and(|node| {
            signal.holds(&node.agent_id, &node.state().registry, node.clock.now())
        })
    }

    /// Sends a signal to the member that it is for; it arrives on the topic `signaling`, as JSON,
    /// and is to be verified there.
    ///
    /// # Errors
    ///
    /// [`PublishError`], which says why nothing was sent.
    pub fn send_signaling(&self, signal: &SignalingMessage) -> Result<String, PublishError> {
        self.node()?.send_json(Some(&signal.record.to), topic::SIGNALING, signal)
    }
}

/// Returns the session with a member, begun if there was none. A member that registered anew with
/// the same key keeps its session.
fn session<'a>(
    node: &Node,
    state: &'a mut State,
    agent_id: &str,
) -> Result<&'a mut Session, SessionError> {
    let member = state.registry.member(agent_id);
    let member = member.ok_or_else(|| UnknownSender { agent_id: agent_id.to_owned() })?;
    if !state.sessions.contains_key(agent_id) {
        let peer = (member.node_id, member.session_key);
        let new = Session::new(&node.identity, peer, node.swarm, SESSION_GRACE)?;
        state.sessions.insert(agent_id.to_owned(), new);
    }
    let unknown = || UnknownSender { agent_id: agent_id.to_owned() };
    Ok(state.sessions.get_mut(agent_id).ok_or_else(unknown)?)
}

/// Takes a member's offer or answer.
pub(super) fn heard(node: &Arc<Node>, from: &str, rekey: &Rekey) -> Result<(), &'static str> {
    let now: Timestamp = node.clock.now();
    let rotated = {
        let mut state = node.state();
        let session = session(node, &mut state, from).map_err(|_| "no session with the sender")?;
        session.receive(&node.identity, rekey, now).map_err(|_| "a rekey that does not hold")?
    };
    node.tell_change();
    if let Rotated::Answer(answer) = rotated {
        let bytes = answer.encode().map_err(|_| "an answer that cannot be written")?;
        node.send(Some(from), topic::SESSION, &bytes).map_err(|_| "an answer that was not sent")?;
    }
    Ok(())
}
