//! Members of a swarm that know who is alive, and tell each other things, at any size.
//!
//! Each member keeps links to about five others (see `gossip`), over which it passes on who came and
//! went (see `swim`) and what is posted. It knows every member, and dials one only to probe it, to
//! compare tables, or to hand it a message that is for it alone.
//!
//! Every message comes on a stream whose first frame is of kind [`SWARM`], over a connection whose
//! peer has proven its key; whoever serves the streams gives it to [`Swarm::serve`]. A post is also
//! signed by its author, because others relay it.
//!
//! Invariants: what others say about a member makes it a suspect at most; a member's posts can be
//! neither changed, forged nor repeated; lists, queues, rates and tables are bounded; all randomness
//! comes from a seed, and all time from `tokio::time`.
//!
//! What a member of bad will can do: say that a dead member lives, until its next probe; post as much
//! as an author may; reset the count of hops of a post that it relays; read what is sent to another
//! member the long way.

pub(crate) mod desk;
mod drive;
mod lane;
pub(crate) mod machine;
mod serve;
mod simulate;
mod topics;
pub(crate) mod wire;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use sedge_base::{ByteSize, Clock, ErrorKind, NodeId, SwarmId, TaskScope};
use sedge_trust::Identity;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use self::drive::Inner;
use self::machine::{Draft, Machine};
pub use self::serve::ServeError;
pub use self::simulate::{Simulated, Simulation, simulate};
pub use self::topics::{Delivery, Heed, SubscribeError, Subscription, Topic, TopicError};
use self::wire::{BODY, HOPS, Key};
pub use self::wire::{SWARM, Standing};
use crate::events::{HandlerBehind, HandlerPanicked, SwarmMetrics};
use crate::gossip::PostCounts;
use crate::pool::Pool;
use crate::swim::Times;
use crate::transport::{Admission, PeerAddr};

/// How many hops a message makes unless its author says otherwise.
pub const USUAL_HOPS: u8 = 10;

/// How a member behaves.
#[derive(Debug, Clone)]
pub struct SwarmOptions {
    /// Which swarm: posts of another one are not believed.
    pub swarm: SwarmId,
    /// This node's keys; posts are signed with them.
    pub identity: Arc<Identity>,
    /// Who is a member; asked for every message.
    pub admission: Arc<dyn Admission>,
    /// Where this node may be found, four addresses at most; told to the others.
    pub direct: Vec<SocketAddr>,
    /// When somebody is asked, suspected and given up.
    pub times: Times,
    /// Dates the start of this member, once.
    pub clock: Clock,
    /// Where the dice start.
    pub seed: u64,
    /// The most members that are known; others are passed over.
    pub most_members: usize,
    /// How many posts of one author are passed on in a second; four times as many at once.
    pub posts_per_second: u32,
    /// How long a dial may take.
    pub dial_within: Duration,
}

impl SwarmOptions {
    /// Returns options for a site (see [`Times::lan`]): 16,384 members, 50 posts per second and
    /// author, dials of three seconds.
    pub fn new(swarm: SwarmId, identity: Arc<Identity>, admission: Arc<dyn Admission>) -> Self {
        Self {
            swarm,
            identity,
            admission,
            direct: Vec::new(),
            times: Times::lan(),
            clock: Clock::machine(),
            seed: 0,
            most_members: 16_384,
            posts_per_second: 50,
            dial_within: Duration::from_secs(3),
        }
    }
}

/// A member as this node sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub node: NodeId,
    /// How it stands.
    pub standing: Standing,
}

/// Something that happened to the members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SwarmEvent {
    /// A member came, is suspected, or went.
    Stands(Member),
    /// A link to this member is kept from now on.
    Linked(NodeId),
    /// The link to this member is not kept any more.
    Unlinked(NodeId),
    /// So many events were missed; [`Swarm::members`] tells how things are.
    Missed(u64),
}

/// What happens to the members, from the moment when it was asked for.
#[derive(Debug)]
pub struct SwarmEvents(Receiver<SwarmEvent>);

impl SwarmEvents {
    /// Waits for the next event; `None` when the swarm was left.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<SwarmEvent> {
        match self.0.recv().await {
            Ok(event) => Some(event),
            Err(RecvError::Lagged(missed)) => Some(SwarmEvent::Missed(missed)),
            Err(RecvError::Closed) => None,
        }
    }
}

/// Why something was not posted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PostError {
    /// The body is too large.
    #[error("a post has {size}, the limit is {limit}")]
    TooLarge {
        /// The body's size.
        size: ByteSize,
        /// The most that is allowed.
        limit: ByteSize,
    },
    /// The number of hops makes no sense.
    #[error("a post makes 1 to {HOPS} hops, not {hops}")]
    Hops {
        /// What was asked for.
        hops: u8,
    },
    /// This node has posted too much just now.
    #[error("this node posts too much; the next post is taken in {retry_in:?}")]
    TooMany {
        /// When the next one is taken.
        retry_in: Duration,
    },
}

impl PostError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::TooLarge { .. } | Self::Hops { .. } => ErrorKind::Invalid,
            Self::TooMany { .. } => ErrorKind::Exhausted,
        }
    }
}

/// This node as a member of its swarm; cheap to clone.
#[derive(Debug, Clone)]
pub struct Swarm(Arc<Inner>);

impl Swarm {
    /// Joins: asks the seeds, then whomever they name, until there are neighbours.
    ///
    /// It goes on until `scope` stops; the neighbours are told then. Whoever serves the pool's
    /// connections has to give the streams of kind [`SWARM`] to [`Swarm::serve`].
    pub fn start(
        pool: Pool,
        seeds: Vec<PeerAddr>,
        options: SwarmOptions,
        scope: &TaskScope,
    ) -> Self {
        Self(Inner::start(pool, seeds, options, scope))
    }

    /// Says where a member may be found, and asks it when nobody else is known.
    pub fn hint(&self, addr: PeerAddr) {
        self.0.hint(addr);
    }

    /// Says that a member did not answer whoever owns this node: it is suspected, and everybody waits
    /// for it to object. Does nothing when it is not up, or has objected a moment ago.
    pub fn doubt(&self, node: NodeId) {
        self.0.doubt(Key::from(node));
    }

    /// Asks a member outside of its turn whether it is alive, for instance one that is down here and
    /// was met elsewhere.
    pub fn knock(&self, node: NodeId) {
        self.0.knock(Key::from(node));
    }

    /// Returns every known member, this node included, in the order of their ids.
    pub fn members(&self) -> Vec<Member> {
        self.0.with(|machine| {
            let members = machine.swim().table.iter();
            members
                .map(|(key, record)| Member { node: key.node(), standing: record.standing })
                .collect()
        })
    }

    /// Returns how many members are up or suspect, this node included.
    pub fn alive(&self) -> usize {
        self.0.with(|machine| machine.swim().table.alive())
    }

    /// Returns how a member stands; `None` when nobody has spoken of it.
    pub fn standing(&self, node: NodeId) -> Option<Standing> {
        self.0.with(|machine| machine.swim().table.get(&Key::from(node))).map(|it| it.standing)
    }

    /// Returns the members to which links are kept.
    pub fn neighbours(&self) -> Vec<NodeId> {
        self.0.with(|machine| machine.neighbours().iter().map(|it| it.node()).collect())
    }

    /// Returns what became of the posts of others.
    pub fn posts(&self) -> PostCounts {
        self.0.with(Machine::counts)
    }

    /// Returns what happens to the members from now on; up to 1,024 events wait.
    pub fn events(&self) -> SwarmEvents {
        SwarmEvents(self.0.subscribe_events())
    }

    /// Returns the counters.
    pub fn metrics(&self) -> &Arc<SwarmMetrics> {
        &self.0.metrics
    }

    /// Listens to a topic; up to 256 messages wait.
    ///
    /// # Errors
    ///
    /// [`SubscribeError`] at 1,024 topics or 256 listeners of one.
    pub fn subscribe(&self, topic: &Topic) -> Result<Subscription, SubscribeError> {
        self.0.topics.subscribe(topic)
    }

    /// Lets a handler run for every message of a topic, one after the other, until the swarm is
    /// left. Handlers do not wait for each other; one that is too slow misses messages, and one that
    /// panics is called again for the next message. Both are counted and told to the operator.
    ///
    /// # Errors
    ///
    /// [`SubscribeError`], as [`Swarm::subscribe`].
    pub fn on<F, Fut>(&self, topic: &Topic, handler: F) -> Result<(), SubscribeError>
    where
        F: Fn(Delivery) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let mut subscription = self.subscribe(topic)?;
        let (metrics, topic) = (Arc::clone(&self.0.metrics), topic.clone());
        self.0.scope.spawn("topic handler", |cancel| async move {
            loop {
                let heed = tokio::select! {
                    biased;
                    () = cancel.cancelled() => return,
                    heed = subscription.next() => heed,
                };
                match heed {
                    None => return,
                    Some(Heed::Missed(missed)) => {
                        HandlerBehind { topic: &topic, missed }.emit(&metrics);
                    }
                    Some(Heed::Message(delivery)) => {
                        let handled = async { handler(delivery).await };
                        let handled = std::panic::AssertUnwindSafe(handled).catch_unwind();
                        let ended = tokio::select! {
                            biased;
                            () = cancel.cancelled() => return,
                            ended = handled => ended,
                        };
                        if ended.is_err() {
                            HandlerPanicked { topic: &topic }.emit(&metrics);
                        }
                    }
                }
            }
        });
        Ok(())
    }

    /// Tells every member, and the listeners of this node.
    ///
    /// Whoever is further than `hops` away does not get it ([`USUAL_HOPS`] reach thousands). Members
    /// that are cut off at the moment do not get it either: it is not kept for them.
    ///
    /// # Errors
    ///
    /// [`PostError`].
    pub fn publish(&self, topic: &Topic, body: Bytes, hops: u8) -> Result<(), PostError> {
        self.post(None, topic, body, hops)
    }

    /// Tells one member: directly if it can be reached, otherwise through the others, `hops` of them
    /// at most, who can read it.
    ///
    /// # Errors
    ///
    /// [`PostError`]. That the member does not get it is no error: let it answer.
    pub fn send(&self, to: NodeId, topic: &Topic, body: Bytes, hops: u8) -> Result<(), PostError> {
        self.post(Some(to), topic, body, hops)
    }

    fn post(
        &self,
        to: Option<NodeId>,
        topic: &Topic,
        body: Bytes,
        hops: u8,
    ) -> Result<(), PostError> {
        if body.len() > BODY {
            let (size, limit) = (body.len() as u64, BODY as u64);
            let [size, limit] = [size, limit].map(ByteSize::from_bytes);
            return Err(PostError::TooLarge { size, limit });
        }
        if !(1..=HOPS).contains(&hops) {
            return Err(PostError::Hops { hops });
        }
        let us = self.0.us;
        let ours = to.is_none_or(|it| it == us);
        if to != Some(us) {
            let (to, topic) = (to.map(Key::from), topic.to_string());
            let draft = Draft { to, topic, limit: hops, body: body.clone() };
            self.0.post(draft).map_err(|retry_in| PostError::TooMany { retry_in })?;
        }
        if ours {
            let (topic, directed) = (topic.clone(), to.is_some());
            let delivery = Delivery { author: us, topic, body, hops: 0, directed };
            self.0.topics.deliver(delivery);
        }
        self.0.metrics.posted.fetch_add(1, Relaxed);
        Ok(())
    }
}
