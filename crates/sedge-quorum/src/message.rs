//! What voters say to each other, and what members ask of the coordinator.
//!
//! Who sends a message is what the connection has proven; a message of the engine names its sender
//! as well, and both must be the same.

use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, VoteRequest, VoteResponse,
};
use openraft::{EmptyNode, EntryPayload, RaftLogId, SnapshotMeta};
use sedge_base::{ErrorKind, NodeId};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::refusal::Refusal;
use crate::state::{Claim, Record};
use crate::text::{Key, Text};
use crate::voter::{LogId, Types, Vote, Voter};

/// The largest message, in bytes.
pub const MAX_MESSAGE: usize = 1 << 20;

/// The most entries of the log in one message.
pub const MAX_ENTRIES: usize = 64;

/// The most voters: more only slow every decision down.
pub const MAX_VOTERS: usize = 9;

/// The longest life of a claim, in milliseconds: a day.
pub const MAX_TTL_MS: u64 = 24 * 60 * 60 * 1000;

/// The largest snapshot, in bytes.
const MAX_SNAPSHOT: u64 = 4 << 20;

/// The highest term and position that is believed: beyond it numbers lose precision in JSON.
const MAX_NUMBER: u64 = 1 << 53;

/// What one node says to another.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// Vote for me.
    Vote(VoteRequest<Voter>),
    /// These entries come next; none means that the leader is still there.
    Append(Entries),
    /// This is a part of the state, in place of entries that are gone.
    Snapshot(Part),
    /// Something that only the coordinator can do.
    Ask(Ask),
}

/// What a leader tells those that follow it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entries {
    pub(crate) request: AppendEntriesRequest<Types>,
    /// Whether a majority has confirmed the leader a moment ago: without it, those on its side of a
    /// split would take it for the coordinator for ever.
    pub(crate) confirmed: bool,
}

/// A part of a snapshot.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    vote: Vote,
    meta: SnapshotMeta<Voter, EmptyNode>,
    offset: u64,
    #[serde(serialize_with = "to_hex", deserialize_with = "of_hex")]
    data: Vec<u8>,
    done: bool,
}

fn to_hex<S: Serializer>(data: &[u8], to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&hex::encode(data))
}

fn of_hex<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    hex::decode(String::deserialize(from)?).map_err(serde::de::Error::custom)
}

impl From<InstallSnapshotRequest<Types>> for Part {
    fn from(request: InstallSnapshotRequest<Types>) -> Self {
        let InstallSnapshotRequest { vote, meta, offset, data, done } = request;
        Self { vote, meta, offset, data, done }
    }
}

impl From<Part> for InstallSnapshotRequest<Types> {
    fn from(part: Part) -> Self {
        let Part { vote, meta, offset, data, done } = part;
        Self { vote, meta, offset, data, done }
    }
}

/// What a member asks of the coordinator; for itself, as the connection has proven it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// Give me this claim, or let me keep it longer.
    Claim {
        /// On what.
        key: Key,
        /// For how long, in milliseconds; see [`MAX_TTL_MS`].
        ttl_ms: u64,
    },
    /// I have no use for this claim any more.
    Release {
        /// On what.
        key: Key,
        /// Its fence.
        fence: u64,
    },
    /// Write this record.
    Append {
        /// What it says.
        text: Text,
    },
    /// What was agreed on? Answered after a majority has confirmed that the coordinator still is.
    Show,
    /// Let this node vote, too; the owner's node asks.
    Add {
        /// The node.
        node: NodeId,
    },
    /// Let this node vote no more; the owner's node asks.
    Remove {
        /// The node.
        node: NodeId,
    },
}

/// What the coordinator answers, after a majority has it on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Granted {
    /// The claim is the asker's.
    Claimed(Claim),
    /// Whether there was such a claim.
    Released(bool),
    /// The record stands.
    Appended(Record),
    /// What was agreed on.
    Shown(Agreed),
    /// Who votes now.
    Voters(Vec<NodeId>),
}

/// What a majority has agreed on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agreed {
    /// The claims, by key, those that have ended included.
    pub claims: Vec<Claim>,
    /// The newest records, the oldest first.
    pub records: Vec<Record>,
}

/// The answer to a message.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// To [`Message::Vote`].
    Vote(VoteResponse<Voter>),
    /// To [`Message::Append`].
    Append(Followed),
    /// To [`Message::Snapshot`]: whom the other side follows.
    Snapshot(Vote),
    /// To [`Message::Ask`].
    Granted(Granted),
    /// No, and why.
    Refused(Refusal),
}

/// What a follower answers to entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Followed {
    /// It has them all.
    All,
    /// It has them up to this one.
    UpTo(Option<LogId>),
    /// The entry before them is not the one that it has.
    Gap,
    /// It follows somebody else.
    Other(Vote),
}

impl From<AppendEntriesResponse<Voter>> for Followed {
    fn from(response: AppendEntriesResponse<Voter>) -> Self {
        match response {
            AppendEntriesResponse::Success => Self::All,
            AppendEntriesResponse::PartialSuccess(upto) => Self::UpTo(upto),
            AppendEntriesResponse::Conflict => Self::Gap,
            AppendEntriesResponse::HigherVote(vote) => Self::Other(vote),
        }
    }
}

impl From<Followed> for AppendEntriesResponse<Voter> {
    fn from(followed: Followed) -> Self {
        match followed {
            Followed::All => Self::Success,
            Followed::UpTo(upto) => Self::PartialSuccess(upto),
            Followed::Gap => Self::Conflict,
            Followed::Other(vote) => Self::HigherVote(vote),
        }
    }
}

/// Why bytes are no message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// There are too many.
    #[error("a message has at most {MAX_MESSAGE} bytes, this has {got}")]
    TooLarge {
        /// How many there are.
        got: usize,
    },
    /// They are not JSON of this shape.
    #[error("not a message of a quorum")]
    Shape(#[from] serde_json::Error),
    /// It says what no honest node says.
    #[error("a message that no honest node sends: {what}")]
    Senseless {
        /// What is wrong with it.
        what: &'static str,
    },
}

impl DecodeError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

impl Message {
    /// Returns the message as it travels.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] when it is larger than others take.
    pub fn encode(&self) -> Result<Vec<u8>, DecodeError> {
        let bytes = serde_json::to_vec(self)?;
        if bytes.len() > MAX_MESSAGE {
            return Err(DecodeError::TooLarge { got: bytes.len() });
        }
        Ok(bytes)
    }

    /// Reads a message that came from elsewhere.
    ///
    /// # Errors
    ///
    /// [`DecodeError`]; nothing was done then.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > MAX_MESSAGE {
            return Err(DecodeError::TooLarge { got: bytes.len() });
        }
        let message: Self = serde_json::from_slice(bytes)?;
        message.check().map_err(|what| DecodeError::Senseless { what })?;
        Ok(message)
    }

    /// Returns the node that a message of the engine says that it comes from.
    pub(crate) fn claimed_sender(&self) -> Option<NodeId> {
        let vote = match self {
            Self::Vote(request) => &request.vote,
            Self::Append(entries) => &entries.request.vote,
            Self::Snapshot(part) => &part.vote,
            Self::Ask(_) => return None,
        };
        Some(vote.leader_id.node_id.0)
    }

    /// Checks what the engine takes for granted.
    fn check(&self) -> Result<(), &'static str> {
        match self {
            Self::Vote(request) => {
                sound(&request.vote)?;
                if request.vote.committed {
                    return Err("a candidate that has won already");
                }
                believable(request.last_log_id.as_ref())
            }
            Self::Append(entries) => check_entries(&entries.request),
            Self::Snapshot(part) => {
                sound(&part.vote)?;
                believable(part.meta.last_log_id.as_ref())?;
                believable(part.meta.last_membership.log_id().as_ref())?;
                let end = part.offset.checked_add(part.data.len() as u64);
                if end.is_none_or(|it| it > MAX_SNAPSHOT) {
                    return Err("a snapshot that is too large");
                }
                leads(&part.vote)
            }
            Self::Ask(Ask::Claim { ttl_ms, .. }) if !(1..=MAX_TTL_MS).contains(ttl_ms) => {
                Err("a claim for no time, or for more than a day")
            }
            Self::Ask(_) => Ok(()),
        }
    }
}

impl Answer {
    /// Checks what the engine takes for granted.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        match self {
            Self::Vote(response) => {
                sound(&response.vote)?;
                believable(response.last_log_id.as_ref())
            }
            Self::Append(Followed::Other(vote)) | Self::Snapshot(vote) => sound(vote),
            Self::Append(Followed::UpTo(upto)) => believable(upto.as_ref()),
            Self::Append(_) | Self::Granted(_) | Self::Refused(_) => Ok(()),
        }
    }
}

fn check_entries(request: &AppendEntriesRequest<Types>) -> Result<(), &'static str> {
    sound(&request.vote)?;
    leads(&request.vote)?;
    believable(request.prev_log_id.as_ref())?;
    believable(request.leader_commit.as_ref())?;
    if request.entries.len() > MAX_ENTRIES {
        return Err("too many entries at once");
    }
    let first = request.prev_log_id.map_or(0, |it| it.index + 1);
    for (due, entry) in (first..).zip(&request.entries) {
        let id = entry.get_log_id();
        believable(Some(id))?;
        if id.index != due || id.leader_id > request.vote.leader_id {
            return Err("entries that do not follow each other");
        }
        if let EntryPayload::Membership(voters) = &entry.payload {
            let count = voters.voter_ids().count();
            if count == 0 || count > MAX_VOTERS || voters.get_joint_config().len() > 2 {
                return Err("no voters, or too many");
            }
        }
    }
    Ok(())
}

fn sound(vote: &Vote) -> Result<(), &'static str> {
    let believable = vote.leader_id.term < MAX_NUMBER;
    believable.then_some(()).ok_or("a term that no vote ever reaches")
}

fn leads(vote: &Vote) -> Result<(), &'static str> {
    vote.committed.then_some(()).ok_or("a leader that nobody has voted for")
}

fn believable(id: Option<&LogId>) -> Result<(), &'static str> {
    let fits = |it: &LogId| it.index < MAX_NUMBER && it.leader_id.term < MAX_NUMBER;
    id.is_none_or(fits).then_some(()).ok_or("a position that no log ever reaches")
}

#[cfg(test)]
pub(crate) mod tests;
