//! The way to other voters, and what this node knows of them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use openraft::EmptyNode;
use openraft::error::{
    Infallible, InstallSnapshotError, NetworkError, RPCError, RaftError, Unreachable,
};
use openraft::network::{Backoff, RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use sedge_base::{ErrorKind, NodeId};
use sedge_trust::swarm::Role;

use crate::message::{Answer, Entries, Message, Part};
use crate::state::Coordinator;
use crate::voter::{Types, Voter};

/// How long a voter that cannot be reached is left alone before the next try.
const AGAIN_AFTER: Duration = Duration::from_millis(200);

/// Why a message was not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// There is no connection with the node now.
    #[error("there is no connection with it now")]
    NotConnected,
    /// The connection broke before the answer, or the other side would not answer.
    #[error("{reason}")]
    Broken {
        /// What happened.
        reason: String,
    },
    /// The answer makes no sense.
    #[error("it answered {what}")]
    Senseless {
        /// What is wrong with it.
        what: &'static str,
    },
}

impl LinkError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::NotConnected | Self::Broken { .. } => ErrorKind::Unavailable,
            Self::Senseless { .. } => ErrorKind::Corrupt,
        }
    }
}

/// What a quorum needs of the node that it lives in. A node sends over its connections; tests have a
/// double that can be cut in two.
#[async_trait]
pub trait Link: fmt::Debug + Send + Sync + 'static {
    /// Sends a message to a member, and returns its answer.
    ///
    /// # Errors
    ///
    /// [`LinkError`]; whether the other side has done something is open then.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the answer up; the message may have arrived.
    async fn send(&self, to: NodeId, message: Message) -> Result<Answer, LinkError>;

    /// Returns what the owner allows a node to be; nothing when it is no member.
    fn roles(&self, node: &NodeId) -> Vec<Role>;

    /// Returns who is coordinator by what members that may be one say of it; it proves nothing.
    fn rumour(&self) -> Option<Coordinator>;
}

/// Makes the engine's ways to others.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) link: Arc<dyn Link>,
    /// Whether a majority has confirmed this node as leader a moment ago.
    pub(crate) confirmed: Arc<AtomicBool>,
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Way;

    async fn new_client(&mut self, target: Voter, _: &EmptyNode) -> Way {
        let Self { link, confirmed } = self;
        Way { to: target, link: Arc::clone(link), confirmed: Arc::clone(confirmed) }
    }
}

/// The engine's way to one voter.
#[derive(Debug)]
pub(crate) struct Way {
    to: Voter,
    link: Arc<dyn Link>,
    confirmed: Arc<AtomicBool>,
}

type Failed<E> = RPCError<Voter, EmptyNode, RaftError<Voter, E>>;

impl Way {
    async fn send<E: std::error::Error>(&self, message: Message) -> Result<Answer, Failed<E>> {
        let answer = self.link.send(self.to.0, message).await.and_then(|answer| {
            answer.check().map_err(|what| LinkError::Senseless { what })?;
            Ok(answer)
        });
        match answer {
            Ok(Answer::Refused(refusal)) => Err(RPCError::Unreachable(Unreachable::new(&refusal))),
            Ok(answer) => Ok(answer),
            // Asked again soon: the connection may be there in a moment.
            Err(error @ LinkError::Broken { .. }) => {
                Err(RPCError::Network(NetworkError::new(&error)))
            }
            Err(error) => Err(RPCError::Unreachable(Unreachable::new(&error))),
        }
    }
}

fn other<E: std::error::Error>() -> Failed<E> {
    let error = LinkError::Senseless { what: "something else than it was asked" };
    RPCError::Unreachable(Unreachable::new(&error))
}

impl RaftNetwork<Types> for Way {
    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        _: RPCOption,
    ) -> Result<AppendEntriesResponse<Voter>, Failed<Infallible>> {
        let confirmed = self.confirmed.load(Ordering::SeqCst);
        match self.send(Message::Append(Entries { request, confirmed })).await? {
            Answer::Append(followed) => Ok(followed.into()),
            _ => Err(other()),
        }
    }

    async fn install_snapshot(
        &mut self,
        request: InstallSnapshotRequest<Types>,
        _: RPCOption,
    ) -> Result<InstallSnapshotResponse<Voter>, Failed<InstallSnapshotError>> {
        match self.send(Message::Snapshot(Part::from(request))).await? {
            Answer::Snapshot(vote) => Ok(InstallSnapshotResponse { vote }),
            _ => Err(other()),
        }
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Voter>,
        _: RPCOption,
    ) -> Result<VoteResponse<Voter>, Failed<Infallible>> {
        match self.send(Message::Vote(request)).await? {
            Answer::Vote(response) => Ok(response),
            _ => Err(other()),
        }
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(AGAIN_AFTER))
    }
}
