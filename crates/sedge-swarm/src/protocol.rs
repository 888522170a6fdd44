//! The messages between agents: thirteen types, each with the payload that fits it.

use sedge_base::{ErrorKind, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::config::AgentRole;

/// How many hops a message may make unless it says otherwise.
pub const USUAL_TTL: u8 = 10;
/// The largest encoded message that is read, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 2 << 20;
/// The longest name or short text in a message, in bytes.
pub const MAX_TEXT_BYTES: usize = 1024;
/// The most entries that one request asks for.
pub const USUAL_REQUEST: usize = 1000;

/// What a message is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum MessageType {
    /// An agent joins: it enters the peer list.
    Join,
    /// An agent leaves: it is taken from the peer list.
    Leave,
    /// Are you there? Answered by [`MessageType::Pong`].
    Ping,
    /// The answer to a ping.
    Pong,
    /// Patterns that the sender learned: they are merged.
    SyncPatterns,
    /// Asks for patterns: answered by [`MessageType::SyncPatterns`].
    RequestPatterns,
    /// Entries of the sender's memory: they are merged.
    SyncMemories,
    /// Asks for entries: answered by [`MessageType::SyncMemories`].
    RequestMemories,
    /// Work for whoever can: answered by [`MessageType::TaskResult`].
    BroadcastTask,
    /// What became of work that we gave out.
    TaskResult,
    /// An agent wants to coordinate: answered by a better candidate.
    Election,
    /// An agent says that it coordinates.
    Coordinator,
    /// Why the sender did not do what a message asked for.
    Error,
}

impl MessageType {
    /// Every type, in the order of declaration.
    pub const ALL: [Self; 13] = [
        Self::Join,
        Self::Leave,
        Self::Ping,
        Self::Pong,
        Self::SyncPatterns,
        Self::RequestPatterns,
        Self::SyncMemories,
        Self::RequestMemories,
        Self::BroadcastTask,
        Self::TaskResult,
        Self::Election,
        Self::Coordinator,
        Self::Error,
    ];
}

/// What a message carries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum MessagePayload {
    /// Nothing.
    Empty,
    /// Who joins.
    Join {
        /// Its role.
        agent_role: AgentRole,
        /// What it offers.
        capabilities: Vec<String>,
        /// Its release.
        version: String,
    },
    /// A [`crate::intelligence::LearningState`].
    Patterns {
        /// Its bytes: JSON, under LZ4 if `compressed`.
        #[serde(with = "packed")]
        state: Vec<u8>,
        /// Whether it is compressed.
        compressed: bool,
    },
    /// Entries of a memory.
    Memories {
        /// The entries as JSON.
        #[serde(with = "packed")]
        entries: Vec<u8>,
        /// How many they are.
        count: usize,
    },
    /// What is asked for.
    Request {
        /// Patterns after this version; entries from this date, in ms since 1970.
        since_version: u64,
        /// The most that is wanted.
        max_entries: usize,
    },
    /// Work.
    Task {
        /// The work's id.
        task_id: String,
        /// What kind of work it is.
        task_type: String,
        /// What is to be done.
        description: String,
        /// More about it.
        parameters: serde_json::Value,
        /// How urgent it is.
        priority: u8,
        /// How long it may take, in ms.
        timeout_ms: u64,
    },
    /// What became of work.
    TaskResult {
        /// The work's id.
        task_id: String,
        /// Whether it was done.
        success: bool,
        /// What came out, or why it was not done.
        result: serde_json::Value,
        /// How long it took, in ms.
        execution_time_ms: u64,
    },
    /// Who wants to coordinate, or does.
    Election {
        /// The agent.
        candidate_id: String,
        /// How much it should be the one.
        priority: u32,
        /// Which election this is; later ones count.
        term: u64,
    },
    /// Why something was not done.
    Error {
        /// The kind of failure, by its stable name such as `not_found`.
        code: String,
        /// In words.
        message: String,
    },
    /// Bytes that only their receiver understands.
    Raw {
        /// The bytes.
        #[serde(with = "packed")]
        bytes: Vec<u8>,
    },
}

/// Bytes as base64, which is shorter than a list of numbers.
mod packed {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        STANDARD.decode(String::deserialize(from)?).map_err(D::Error::custom)
    }
}

/// One message between agents.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SwarmMessage {
    /// A random UUID.
    pub id: String,
    /// What it is about.
    pub message_type: MessageType,
    /// The sender's id; the receiver holds it to the signature that the message came under.
    pub sender_id: String,
    /// Whom it is for; `None` for everybody.
    pub recipient_id: Option<String>,
    /// What it carries.
    pub payload: MessagePayload,
    /// When it was written, in ms since 1970.
    pub timestamp: Timestamp,
    /// How many hops it may still make.
    pub ttl: u8,
}

/// Why bytes are no message, or a message makes no sense.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// It is too large.
    #[error("a message has at most {MAX_MESSAGE_BYTES} bytes, this has {got}")]
    TooLarge {
        /// How many bytes it has.
        got: usize,
    },
    /// It is not a message.
    #[error("the bytes are no message")]
    Form(#[source] serde_json::Error),
    /// A text in it is longer than allowed.
    #[error("a text in the message is longer than {MAX_TEXT_BYTES} bytes")]
    Text,
    /// Its payload belongs to another type.
    #[error("the payload does not fit a message of type {message_type:?}")]
    Payload {
        /// The message's type.
        message_type: MessageType,
    },
}

impl MessageError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::TooLarge { .. } => ErrorKind::Exhausted,
            Self::Form(_) | Self::Text | Self::Payload { .. } => ErrorKind::Invalid,
        }
    }
}

impl SwarmMessage {
    /// Writes a message.
    pub fn new(
        message_type: MessageType,
        sender_id: &str,
        recipient_id: Option<&str>,
        payload: MessagePayload,
        now: Timestamp,
    ) -> Self {
        Self {
            id: Uuid::new_v4().to_string(),
            message_type,
            sender_id: sender_id.to_owned(),
            recipient_id: recipient_id.map(str::to_owned),
            payload,
            timestamp: now,
            ttl: USUAL_TTL,
        }
    }

    /// Takes one hop off; `false` when none was left.
    pub const fn decrement_ttl(&mut self) -> bool {
        match self.ttl.checked_sub(1) {
            Some(left) => {
                self.ttl = left;
                true
            }
            None => false,
        }
    }

    /// Returns whether the message is older than this.
    pub fn is_expired(&self, max_age: std::time::Duration, now: Timestamp) -> bool {
        now.since(self.timestamp) > max_age
    }

    /// Returns the bytes that travel.
    ///
    /// # Errors
    ///
    /// [`MessageError`] when it is too large or cannot be written.
    pub fn encode(&self) -> Result<Vec<u8>, MessageError> {
        let bytes = serde_json::to_vec(self).map_err(MessageError::Form)?;
        let got = bytes.len();
        if got > MAX_MESSAGE_BYTES { Err(MessageError::TooLarge { got }) } else { Ok(bytes) }
    }

    /// Reads the bytes that travelled. Whether the payload fits is asked by
    /// [`SwarmMessage::check`], so that the answer can name the message.
    ///
    /// # Errors
    ///
    /// [`MessageError`] when they are too many or no message.
    pub fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        if bytes.len() > MAX_MESSAGE_BYTES {
            return Err(MessageError::TooLarge { got: bytes.len() });
        }
        serde_json::from_slice(bytes).map_err(MessageError::Form)
    }

    /// Checks that the payload fits the type, and that no text is too long.
    ///
    /// # Errors
    ///
    /// [`MessageError`], which says what is wrong.
    pub fn check(&self) -> Result<(), MessageError> {
        use {MessagePayload as P, MessageType as T};
        let message_type = self.message_type;
        let fits = matches!(
            (message_type, &self.payload),
            (T::Join, P::Join { .. })
                | (T::Leave | T::Ping | T::Pong, P::Empty)
                | (T::SyncPatterns, P::Patterns { .. })
                | (T::RequestPatterns | T::RequestMemories, P::Request { .. })
                | (T::SyncMemories, P::Memories { .. })
                | (T::BroadcastTask, P::Task { .. })
                | (T::TaskResult, P::TaskResult { .. })
                | (T::Election | T::Coordinator, P::Election { .. })
                | (T::Error, P::Error { .. })
        );
        if !fits {
            return Err(MessageError::Payload { message_type });
        }
        let texts: Vec<&str> = match &self.payload {
            P::Join { capabilities, version, .. } => {
                capabilities.iter().map(String::as_str).chain([version.as_str()]).collect()
            }
            P::Task { task_id, task_type, .. } => vec![task_id, task_type],
            P::TaskResult { task_id, .. } => vec![task_id],
            P::Election { candidate_id, .. } => vec![candidate_id],
            P::Error { code, message } => vec![code, message],
            P::Empty
            | P::Patterns { .. }
            | P::Memories { .. }
            | P::Request { .. }
            | P::Raw { .. } => Vec::new(),
        };
        let all = texts.into_iter().chain([self.id.as_str(), &self.sender_id]);
        if all.into_iter().all(|it| it.len() <= MAX_TEXT_BYTES) {
            Ok(())
        } else {
            Err(MessageError::Text)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    #[test]
    fn a_payload_of_another_type_is_told() {
        let ping = SwarmMessage::new(MessageType::Ping, "a", Some("b"), MessagePayload::Empty, NOW);
        assert!(ping.check().is_ok());
        for message_type in MessageType::ALL {
            let raw = MessagePayload::Raw { bytes: vec![1] };
            let wrong = SwarmMessage { message_type, payload: raw, ..ping.clone() };
            assert_eq!(wrong.check().unwrap_err().kind(), ErrorKind::Invalid);
        }
    }

    #[test]
    fn a_message_is_written_with_the_listed_fields() {
        let raw = MessagePayload::Raw { bytes: b"abc".to_vec() };
        let mut message = SwarmMessage::new(MessageType::Error, "a", None, raw, NOW);
        let json = serde_json::to_value(&message).unwrap();
        assert_eq!(json["payload"], serde_json::json!({"type": "Raw", "bytes": "YWJj"}));
        assert_eq!((&json["ttl"], &json["recipient_id"]), (&10.into(), &serde_json::Value::Null));
        assert_eq!(SwarmMessage::decode(&message.encode().unwrap()).unwrap(), message);
        for _ in 0..USUAL_TTL {
            assert!(message.decrement_ttl());
        }
        assert!(!message.decrement_ttl());
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
            prop_assert!(SwarmMessage::decode(&bytes).is_err());
        }
    }
}
