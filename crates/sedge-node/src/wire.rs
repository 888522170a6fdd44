//! What members of a swarm say to each other: one request per stream, JSON heads, raw bodies.
//!
//! | request | body | answer |
//! | --- | --- | --- |
//! | `advert` | none | the other side's advert |
//! | `roster` | none | the other side's roster |
//! | `run` | the input | chunks, then an end with the executor's receipt; then the requester sends the countersigned receipt back |
//! | `deploy` | the component | what became of it |
//! | `undeploy` | none | whether it was there |
//! | `drain` | none | whether that is new |
//! | `version` | none | which version of a function lies there, and how it fares |
//! | `restore` | none | its content id, once a component that lies there is offered again |
//! | `hand` | none | its content id, once the other member has it |
//! | `where` | none | where the other side last found members that the asker misses |
//! | `chain` | none | the other side's newest checkpoint, how it goes on from what the asker keeps, and what the other side keeps of third nodes |
//! | `notices` | none | the notices that the asker lacks |
//! | of the swarm layer | more of its messages | none; see [`sedge_net::Swarm::serve`] |
//! | about an artifact | none | see [`sedge_net::artifact`] |
//! | of the quorum | none | see [`sedge_quorum::Message`] |
//! | about the graph | none or entries | see [`sedge_sync::Ask`] |
//!
//! Every request comes over a connection whose peer has proven a member's key: who asks is never
//! read from the message.

use bytes::{Bytes, BytesMut};
use sedge_base::{ByteSize, ContentId, NodeId, TaskId, Timestamp};
use sedge_capability::{Budgets, End, Failure, Media, Name};
use sedge_members::{Advert, Held, Roster};
use sedge_net::artifact::{ASK, Ask};
use sedge_net::{Frame, FrameError, FrameReader, FrameWriter, REST, RecvStream, SWARM, SendStream};
use sedge_trust::receipt::Checkpoint;
use sedge_trust::{Receipt, TreeHash};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::view::DeployOptions;

/// The largest input or component that travels in one request.
pub(crate) const MAX_BODY: ByteSize = ByteSize::from_mib(64);

/// How much of a body travels in one frame: small enough not to block the stream for long.
const PIECE: usize = 64 * 1024;

const REQUEST: u8 = 1;
const DATA: u8 = 2;
const REPLY: u8 = 3;
const END: u8 = 4;
const REFUSED: u8 = 5;
const RECEIPT: u8 = 6;
const QUORUM: u8 = 24;

/// What a member asks of another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub(crate) enum Request {
    /// This is me; who are you?
    Advert(Box<Advert>),
    /// These are the members I know; which do you know?
    Roster(Roster),
    /// Run this task; the input follows.
    Run(RunHead),
    /// Take this component; its bytes follow.
    Deploy(DeployHead),
    /// Forget this function.
    Undeploy {
        /// Its name.
        name: Name,
    },
    /// Take no new work from now on, or take it again.
    Drain {
        /// Which of both.
        draining: bool,
    },
    /// Which version of this function have you, and how does it fare?
    Version {
        /// Its name.
        name: Name,
    },
    /// Offer this component, which you have, under this name.
    Restore {
        /// The name.
        name: Name,
        /// The component.
        content: ContentId,
        /// How it runs.
        options: DeployOptions,
    },
    /// Give this function of yours to another member, and forget it when it is there.
    Hand {
        /// Its name.
        name: Name,
        /// Who gets it.
        to: NodeId,
    },
    /// Where are these members, as far as you know?
    Where {
        /// Whom the asker misses.
        of: Vec<NodeId>,
    },
    /// How does your chain of receipts go on from its first so many?
    Chain {
        /// How many receipts the asker's checkpoints of this node count.
        counts: Vec<u64>,
    },
    /// What have members signed about themselves that I lack? I have these.
    Notices {
        /// What the asker has, in the order of the nodes.
        held: Vec<Held>,
    },
    /// A first message of the swarm layer, in a frame of its own kind; more follow.
    #[serde(skip)]
    Swarm(Bytes),
    /// Does nobody use this connection? In a frame of its own kind.
    #[serde(skip)]
    Rest,
    /// Have you this artifact, give me these bytes of it; in a frame of its own kind.
    #[serde(skip)]
    Artifact(Ask),
    /// A message of the quorum, in a frame of its own kind; read by [`sedge_quorum`].
    #[serde(skip)]
    Quorum(Bytes),
    /// How does your graph differ from mine; in a frame of its own kind.
    #[serde(skip)]
    Graph(sedge_sync::Ask),
}

/// What a node shows of its chain of receipts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ChainShown {
    /// Its newest checkpoint, if it has one.
    pub(crate) checkpoint: Option<Checkpoint>,
    /// A proof for each number of receipts that was asked for, in order.
    pub(crate) proofs: Vec<Vec<TreeHash>>,
    /// The newest checkpoints that it keeps of other nodes.
    pub(crate) kept: Vec<Checkpoint>,
}

/// A task without its input and without its requester, who is the connection's peer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RunHead {
    pub(crate) task: TaskId,
    pub(crate) capability: Name,
    pub(crate) media: Media,
    pub(crate) budgets: Budgets,
    pub(crate) deadline: Timestamp,
    pub(crate) priority: u8,
    pub(crate) length: u64,
    /// The token that the task was asked for with; `None` when it was asked for with the node's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<String>,
}

/// A component without its bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct DeployHead {
    pub(crate) name: Name,
    pub(crate) content: ContentId,
    pub(crate) options: DeployOptions,
    pub(crate) length: u64,
}

/// What the executing node answers to a task, piece by piece.
#[derive(Debug)]
pub(crate) enum RunFrame {
    Chunk(Bytes),
    End(Box<End>),
    Refused(Failure),
}

/// Why a request or its answer could not be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    #[error("no stream: {0}")]
    Conn(sedge_net::ConnError),
    #[error("the stream broke")]
    Frame(#[from] FrameError),
    #[error("the peer sent something else than was due: kind {kind}")]
    Unexpected { kind: u8 },
    #[error("the peer sent a message that this release does not understand")]
    Shape(#[from] sedge_net::JsonError),
    #[error("the peer ended the stream early")]
    Early,
    #[error("a body of {length} bytes is more than {MAX_BODY}")]
    TooLarge { length: u64 },
    #[error("{0}")]
    Refused(Failure),
}

pub(crate) type Reader = FrameReader<RecvStream>;
pub(crate) type Writer = FrameWriter<SendStream>;

async fn due(reader: &mut Reader) -> Result<Frame, WireError> {
    reader.next().await?.ok_or(WireError::Early)
}

pub(crate) async fn send_request(writer: &mut Writer, request: &Request) -> Result<(), WireError> {
    Ok(writer.write(&Frame::json(REQUEST, request)?).await?)
}

pub(crate) async fn send_quorum(writer: &mut Writer, message: Vec<u8>) -> Result<(), WireError> {
    Ok(writer.write(&Frame::new(QUORUM, message)).await?)
}

pub(crate) async fn read_request(reader: &mut Reader) -> Result<Request, WireError> {
    let frame = due(reader).await?;
    match frame.kind {
        REQUEST => Ok(frame.parse()?),
        ASK => Ok(Request::Artifact(frame.parse()?)),
        QUORUM => Ok(Request::Quorum(frame.payload)),
        SWARM => Ok(Request::Swarm(frame.payload)),
        REST => Ok(Request::Rest),
        sedge_sync::ASK => Ok(Request::Graph(frame.parse()?)),
        kind => Err(WireError::Unexpected { kind }),
    }
}

pub(crate) async fn send_body(writer: &mut Writer, body: &Bytes) -> Result<(), WireError> {
    let mut rest = body.clone();
    while !rest.is_empty() {
        let piece = rest.split_to(rest.len().min(PIECE));
        writer.write(&Frame::new(DATA, piece)).await?;
    }
    Ok(())
}

/// Reads a body of the announced length; memory grows with what has come, not with what was said.
pub(crate) async fn read_body(reader: &mut Reader, length: u64) -> Result<Bytes, WireError> {
    if length > MAX_BODY.as_bytes() {
        return Err(WireError::TooLarge { length });
    }
    let mut body = BytesMut::new();
    while (body.len() as u64) < length {
        let frame = due(reader).await?;
        match frame.kind {
            DATA if (body.len() + frame.payload.len()) as u64 <= length => {
                body.extend_from_slice(&frame.payload);
            }
            kind => return Err(WireError::Unexpected { kind }),
        }
    }
    Ok(body.freeze())
}

pub(crate) async fn send_reply<T: Serialize>(
    writer: &mut Writer,
    reply: &T,
) -> Result<(), WireError> {
    Ok(writer.write(&Frame::json(REPLY, reply)?).await?)
}

pub(crate) async fn send_refusal(writer: &mut Writer, why: &Failure) -> Result<(), WireError> {
    Ok(writer.write(&Frame::json(REFUSED, why)?).await?)
}

pub(crate) async fn read_reply<T: DeserializeOwned>(reader: &mut Reader) -> Result<T, WireError> {
    let frame = due(reader).await?;
    match frame.kind {
        REPLY => Ok(frame.parse()?),
        REFUSED => Err(WireError::Refused(frame.parse()?)),
        kind => Err(WireError::Unexpected { kind }),
    }
}

pub(crate) async fn send_chunk(writer: &mut Writer, chunk: Bytes) -> Result<(), WireError> {
    send_body(writer, &chunk).await
}

pub(crate) async fn send_end(writer: &mut Writer, end: &End) -> Result<(), WireError> {
    Ok(writer.write(&Frame::json(END, end)?).await?)
}

pub(crate) async fn read_run_frame(reader: &mut Reader) -> Result<RunFrame, WireError> {
    let frame = due(reader).await?;
    match frame.kind {
        DATA => Ok(RunFrame::Chunk(frame.payload)),
        END => Ok(RunFrame::End(frame.parse()?)),
        REFUSED => Ok(RunFrame::Refused(frame.parse()?)),
        kind => Err(WireError::Unexpected { kind }),
    }
}

pub(crate) async fn send_receipt(writer: &mut Writer, receipt: &Receipt) -> Result<(), WireError> {
    Ok(writer.write(&Frame::json(RECEIPT, receipt)?).await?)
}

pub(crate) async fn read_receipt(reader: &mut Reader) -> Result<Receipt, WireError> {
    let frame = due(reader).await?;
    match frame.kind {
        RECEIPT => Ok(frame.parse()?),
        kind => Err(WireError::Unexpected { kind }),
    }
}

/// Feeds one frame, its kind before its payload, to every reader of such frames; returns whether one took it.
#[cfg(any(test, fuzzing))]
pub(crate) fn feed(bytes: &[u8]) -> bool {
    use std::collections::BTreeMap;
    use std::net::SocketAddr;

    use crate::plans::VersionHeld;

    let Some((kind, payload)) = bytes.split_first() else { return false };
    let frame = Frame::new(*kind, payload.to_vec());
    match frame.kind {
        REQUEST => frame.parse::<Request>().is_ok(),
        ASK => frame.parse::<Ask>().is_ok(),
        sedge_sync::ASK => frame.parse::<sedge_sync::Ask>().is_ok(),
        REPLY => {
            let (advert, chain) = (frame.parse::<Advert>(), frame.parse::<ChainShown>());
            let held = frame.parse::<Option<VersionHeld>>();
            let done = frame.parse::<ContentId>().is_ok() || frame.parse::<bool>().is_ok();
            let found = frame.parse::<BTreeMap<NodeId, Vec<SocketAddr>>>().is_ok();
            let answer = frame.parse::<sedge_quorum::Answer>();
            let notices = frame.parse::<Vec<sedge_members::Notice>>();
            let others = done || found || held.is_ok() || answer.is_ok() || notices.is_ok();
            others || frame.parse::<Roster>().is_ok() || advert.is_ok() || chain.is_ok()
        }
        END => frame.parse::<End>().is_ok(),
        REFUSED => frame.parse::<Failure>().is_ok(),
        RECEIPT => frame.parse::<Receipt>().is_ok(),
        _ => false,
    }
}
