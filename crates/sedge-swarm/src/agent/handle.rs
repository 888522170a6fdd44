//! What each message does.

use std::sync::Arc;
use std::time::Duration;

use sedge_base::{Cancel, ErrorKind, TaskScope, Timestamp};
use serde_json::Value;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, timeout};

use super::election::Verdict;
use super::{AgentError, Candidate, Note, PeerInfo, Shared, TaskRequest};
use crate::intelligence::{self, MergeError};
use crate::memory::VectorEntry;
use crate::p2p::Message;
use crate::protocol::{MessageError, MessagePayload, MessageType, SwarmMessage, USUAL_REQUEST};

/// The most work of others that is done at once.
const MAX_WORK: usize = 4;
/// The longest time that work of others may take.
const LONGEST_WORK: Duration = Duration::from_secs(3600);
/// The most bytes of entries in one answer, before they are written as base64.
const MAX_ENTRIES_BYTES: usize = 1 << 20;

/// Why an agent did not do what a message asked for; the sender is told.
#[derive(Debug, thiserror::Error)]
enum HandleError {
    #[error(transparent)]
    Message(#[from] MessageError),
    #[error("the message names another sender than the one who signed it")]
    OtherSender,
    #[error("an agent stands up and coordinates for itself alone")]
    OtherCandidate,
    #[error("the peer list is full: it has {max} agents")]
    Full { max: usize },
    #[error("this agent does not share what it learns or remembers")]
    Off,
    #[error(transparent)]
    Merge(#[from] MergeError),
    #[error("the entries cannot be read, or are not as many as the message says")]
    Entries,
    #[error("nobody here does such work")]
    NoHandler,
    #[error("as much work is being done as may be")]
    Busy,
    #[error("no such work was given out")]
    NotGiven,
    #[error("term {term} has begun already, or the message's term is too far ahead")]
    Term { term: u64 },
    #[error("`{id}` coordinates in term {term}")]
    Coordinated { id: String, term: u64 },
    #[error("the answer was not sent: {0}")]
    Answer(#[from] AgentError),
}

impl HandleError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Message(err) => err.kind(),
            Self::OtherSender | Self::OtherCandidate => ErrorKind::Denied,
            Self::Full { .. } | Self::Busy => ErrorKind::Exhausted,
            Self::Off | Self::NoHandler => ErrorKind::Unsupported,
            Self::Merge(err) => err.kind(),
            Self::Entries => ErrorKind::Invalid,
            Self::NotGiven => ErrorKind::NotFound,
            Self::Term { .. } | Self::Coordinated { .. } => ErrorKind::Conflict,
            Self::Answer(err) => err.kind(),
        }
    }
}

/// Writes a candidate as it travels.
pub(super) fn payload(it: Candidate) -> MessagePayload {
    let Candidate { id: candidate_id, priority, term } = it;
    MessagePayload::Election { candidate_id, priority, term }
}

/// Handles one message after the other until the agent ends.
pub(super) async fn run(
    shared: Arc<Shared>,
    messages: Option<mpsc::Receiver<Message>>,
    scope: TaskScope,
    cancel: Cancel,
) {
    let Some(mut messages) = messages else { return };
    let hands = Hands { shared, scope, free: Arc::new(Semaphore::new(MAX_WORK)) };
    loop {
        let message = tokio::select! {
            biased;
            () = cancel.cancelled() => break,
            message = messages.recv() => message,
        };
        let Some(message) = message else { break };
        hands.handle(&message).await;
        hands.shared.changed.send_replace(());
    }
}

struct Hands {
    shared: Arc<Shared>,
    scope: TaskScope,
    free: Arc<Semaphore>,
}

impl Hands {
    async fn handle(&self, carried: &Message) {
        let from = carried.sender_id.as_str();
        let message = match SwarmMessage::decode(&carried.payload) {
            Ok(message) => message,
            Err(err) => return self.answer_error(from, &err.into()).await,
        };
        if message.recipient_id.as_ref().is_some_and(|it| *it != self.shared.id) {
            return;
        }
        let is_error = message.message_type == MessageType::Error;
        if let Some(peer) = self.shared.known().peers.get_mut(from) {
            peer.last_seen = self.shared.clock.now();
        }
        let done = if message.sender_id == from {
            self.act(from, message).await
        } else {
            Err(HandleError::OtherSender)
        };
        // Errors are not answered by errors.
        if let Err(err) = done
            && !is_error
        {
            self.answer_error(from, &err).await;
        }
    }

    async fn answer_error(&self, to: &str, err: &HandleError) {
        let (code, message) = (err.kind().name().to_owned(), err.to_string());
        let payload = MessagePayload::Error { code, message };
        if let Err(err) = self.shared.send(Some(to), MessageType::Error, payload).await {
            tracing::debug!(target: "sedge::swarm", to, %err, "no error told");
        }
    }

    async fn act(&self, from: &str, message: SwarmMessage) -> Result<(), HandleError> {
        use MessagePayload as P;
        message.check()?;
        let message_type = message.message_type;
        match (message_type, message.payload) {
            (MessageType::Join, P::Join { agent_role: role, capabilities, version }) => {
                let last_seen = self.shared.clock.now();
                let peer = PeerInfo { role, capabilities, version, last_seen, pongs: 0 };
                self.join(from, peer).await
            }
            (MessageType::Leave, _) => {
                let mut known = self.shared.known();
                known.peers.remove(from);
                known.election.left(from);
                Ok(())
            }
            (MessageType::Ping, _) => {
                Ok(self.shared.send(Some(from), MessageType::Pong, P::Empty).await?)
            }
            (MessageType::Pong, _) => {
                if let Some(peer) = self.shared.known().peers.get_mut(from) {
                    peer.pongs = peer.pongs.saturating_add(1);
                }
                Ok(())
            }
            (MessageType::SyncPatterns, P::Patterns { state, compressed }) => {
                self.allow(self.shared.config.enable_learning)?;
                self.shared.learned.merge(from, intelligence::decode(&state, compressed)?)?;
                Ok(())
            }
            (MessageType::RequestPatterns, P::Request { since_version, max_entries }) => {
                self.allow(self.shared.config.enable_learning)?;
                let payload =
                    self.shared.patterns(since_version, max_entries.min(USUAL_REQUEST))?;
                Ok(self.shared.send(Some(from), MessageType::SyncPatterns, payload).await?)
            }
            (MessageType::SyncMemories, P::Memories { entries, count }) => {
                self.remember(from, &entries, count)
            }
            (MessageType::RequestMemories, P::Request { since_version, max_entries }) => {
                self.allow(self.shared.config.enable_memory_sync)?;
                let payload = self.shared.memories(since_version, max_entries.min(USUAL_REQUEST));
                Ok(self.shared.send(Some(from), MessageType::SyncMemories, payload).await?)
            }
            (MessageType::BroadcastTask, task @ P::Task { .. }) => self.work(from, task),
            (MessageType::TaskResult, result @ P::TaskResult { .. }) => self.result(from, result),
            (
                MessageType::Election | MessageType::Coordinator,
                P::Election { candidate_id: id, priority, term },
            ) => self.elect(from, message_type, Candidate { id, priority, term }).await,
            (MessageType::Error, P::Error { code, message }) => {
                let (from, kind) = (from.to_owned(), ErrorKind::from_name(&code));
                self.shared.note(Note::Error { from, kind, message });
                Ok(())
            }
            // `check` has seen that the payload fits the type.
            (message_type, _) => Err(MessageError::Payload { message_type }.into()),
        }
    }

    const fn allow(&self, on: bool) -> Result<(), HandleError> {
        if on { Ok(()) } else { Err(HandleError::Off) }
    }

    /// Puts an agent into the peer list, and introduces this one to it the first time.
    async fn join(&self, from: &str, peer: PeerInfo) -> Result<(), HandleError> {
        let max = self.shared.config.max_peers;
        let new = {
            let mut known = self.shared.known();
            if known.peers.len() >= max && !known.peers.contains_key(from) {
                return Err(HandleError::Full { max });
            }
            known.peers.insert(from.to_owned(), peer).is_none()
        };
        if new {
            self.shared.send(Some(from), MessageType::Join, self.shared.introduction()).await?;
        }
        Ok(())
    }

    fn remember(&self, from: &str, entries: &[u8], count: usize) -> Result<(), HandleError> {
        self.allow(self.shared.config.enable_memory_sync)?;
        let entries: Vec<VectorEntry> =
            serde_json::from_slice(entries).map_err(|_| HandleError::Entries)?;
        if entries.len() != count {
            return Err(HandleError::Entries);
        }
        self.shared.known().memory.merge(from, entries);
        Ok(())
    }

    /// Does work in the background and tells what became of it.
    fn work(&self, from: &str, task: MessagePayload) -> Result<(), HandleError> {
        let MessagePayload::Task {
            task_id,
            task_type,
            description,
            parameters,
            priority,
            timeout_ms,
        } = task
        else {
            return Ok(());
        };
        let handler = self.shared.known().handler.clone().ok_or(HandleError::NoHandler)?;
        let Ok(place) = Arc::clone(&self.free).try_acquire_owned() else {
            return Err(HandleError::Busy);
        };
        let within = Duration::from_millis(timeout_ms).min(LONGEST_WORK);
        let request = TaskRequest {
            task_id: task_id.clone(),
            from: from.to_owned(),
            task_type,
            description,
            parameters,
            priority,
            timeout: within,
        };
        let (shared, to) = (Arc::clone(&self.shared), from.to_owned());
        self.scope.spawn("agent work", |cancel| async move {
            let started = Instant::now();
            let done = tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                done = timeout(within, handler.handle(request)) => done,
            };
            drop(place);
            let (success, result) = match done {
                Ok(Ok(result)) => (true, result),
                Ok(Err(why)) => (false, Value::String(why)),
                Err(_) => (false, Value::String(format!("not done within {within:?}"))),
            };
            let execution_time_ms =
                u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
            let payload =
                MessagePayload::TaskResult { task_id, success, result, execution_time_ms };
            if let Err(err) = shared.send(Some(&to), MessageType::TaskResult, payload).await {
                tracing::debug!(target: "sedge::swarm", to, %err, "no result told");
            }
        });
        Ok(())
    }

    fn result(&self, from: &str, result: MessagePayload) -> Result<(), HandleError> {
        let MessagePayload::TaskResult { task_id, success, result, execution_time_ms } = result
        else {
            return Ok(());
        };
        // Several agents may have done it: each one's result is noted.
        if !self.shared.known().given.contains(&task_id) {
            return Err(HandleError::NotGiven);
        }
        let (from, took) = (from.to_owned(), Duration::from_millis(execution_time_ms));
        self.shared.note(Note::Result { from, task_id, success, result, took });
        Ok(())
    }

    async fn elect(
        &self,
        from: &str,
        message_type: MessageType,
        candidate: Candidate,
    ) -> Result<(), HandleError> {
        if candidate.id != from {
            return Err(HandleError::OtherCandidate);
        }
        let verdict = {
            let election = &mut self.shared.known().election;
            match message_type {
                MessageType::Coordinator => election.heard_coordinator(&candidate),
                _ => election.heard_candidate(&candidate),
            }
        };
        match verdict {
            Verdict::Fine => Ok(()),
            Verdict::Refuse { term } => Err(HandleError::Term { term }),
            Verdict::Object(better) if better.id == self.shared.id => {
                let payload = payload(better);
                Ok(self.shared.send(Some(from), MessageType::Election, payload).await?)
            }
            Verdict::Object(Candidate { id, term, .. }) => {
                Err(HandleError::Coordinated { id, term })
            }
        }
    }
}

impl Shared {
    /// Returns this agent's own entries from a date, as many as fit into one message.
    pub(super) fn memories(&self, since: u64, max: usize) -> MessagePayload {
        let mut entries = self.known().memory.own_since(Timestamp::from_millis(since), max);
        loop {
            let written = serde_json::to_vec(&entries).unwrap_or_default();
            if written.len() <= MAX_ENTRIES_BYTES || entries.is_empty() {
                return MessagePayload::Memories { count: entries.len(), entries: written };
            }
            entries.truncate(entries.len() / 2);
        }
    }
}
