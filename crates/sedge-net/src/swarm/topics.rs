//! Topics of one member: who listens, and who is behind.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use sedge_base::{ErrorKind, NodeId};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{Receiver, Sender, channel};

use super::wire::TOPIC;

/// Messages that may wait for one listener; who is further behind misses the oldest.
const WAITING: usize = 256;
/// Topics that one member listens to.
const TOPICS: usize = 1024;
/// Listeners of one topic.
const LISTENERS: usize = 256;

/// The name of a topic: 1 to 64 bytes of letters, digits, `.`, `_`, `-` and `/`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic(Arc<str>);

/// A text is not the name of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a topic has 1 to 64 letters, digits, `.`, `_`, `-` and `/`")]
pub struct TopicError;

impl TopicError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

impl FromStr for Topic {
    type Err = TopicError;

    fn from_str(name: &str) -> Result<Self, TopicError> {
        let allowed = |it: u8| it.is_ascii_alphanumeric() || b"._-/".contains(&it);
        if (1..=TOPIC).contains(&name.len()) && name.bytes().all(allowed) {
            Ok(Self(name.into()))
        } else {
            Err(TopicError)
        }
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A message that came on a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Who wrote and signed it.
    pub author: NodeId,
    /// On which topic.
    pub topic: Topic,
    /// What it says, 4 KiB at most.
    pub body: Bytes,
    /// Over how many hops it came, as the relays say; 0 from this node itself.
    pub hops: u8,
    /// It was meant for this node alone.
    pub directed: bool,
}

/// What a listener hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heed {
    /// A message.
    Message(Delivery),
    /// So many messages were missed, because the listener was too slow.
    Missed(u64),
}

/// Why a node does not listen to a topic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// It listens to as many topics as it may.
    #[error("this node listens to {TOPICS} topics already")]
    Topics,
    /// The topic has as many listeners as it may have.
    #[error("the topic `{topic}` has {LISTENERS} listeners already")]
    Listeners {
        /// Which.
        topic: Topic,
    },
}

impl SubscribeError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Topics | Self::Listeners { .. } => ErrorKind::Exhausted,
        }
    }
}

/// Listens to a topic until it is dropped.
#[derive(Debug)]
pub struct Subscription {
    receiver: Receiver<Delivery>,
}

impl Subscription {
    /// Waits for the next message; `None` when the swarm was left.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Heed> {
        match self.receiver.recv().await {
            Ok(delivery) => Some(Heed::Message(delivery)),
            Err(RecvError::Lagged(missed)) => Some(Heed::Missed(missed)),
            Err(RecvError::Closed) => None,
        }
    }
}

/// The listeners of one member.
#[derive(Debug, Default)]
pub(super) struct Topics(Mutex<BTreeMap<Topic, Sender<Delivery>>>);

impl Topics {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Topic, Sender<Delivery>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn subscribe(&self, topic: &Topic) -> Result<Subscription, SubscribeError> {
        let mut topics = self.lock();
        // A topic without listeners is given back here at the latest.
        topics.retain(|_, it| it.receiver_count() > 0);
        if topics.len() >= TOPICS && !topics.contains_key(topic) {
            return Err(SubscribeError::Topics);
        }
        let sender = topics.entry(topic.clone()).or_insert_with(|| channel(WAITING).0);
        if sender.receiver_count() >= LISTENERS {
            return Err(SubscribeError::Listeners { topic: topic.clone() });
        }
        Ok(Subscription { receiver: sender.subscribe() })
    }

    /// Gives a message to everybody who listens; returns to how many.
    pub(super) fn deliver(&self, delivery: Delivery) -> usize {
        let topics = self.lock();
        let sender = topics.get(&delivery.topic);
        // It fails when nobody listens any more.
        sender.map_or(0, |it| it.send(delivery).unwrap_or(0))
    }

    /// Tells all listeners that nothing more comes.
    pub(super) fn close(&self) {
        self.lock().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(body: &'static str) -> Delivery {
        Delivery {
            author: NodeId::from_bytes([1; 32]),
            topic: "jobs".parse().unwrap(),
            body: Bytes::from_static(body.as_bytes()),
            hops: 1,
            directed: false,
        }
    }

    #[test]
    fn names_of_topics_are_short_and_plain() {
        for name in ["jobs", "a/b.c-d_9", &"x".repeat(64)] {
            assert_eq!(name.parse::<Topic>().unwrap().to_string(), name);
        }
        for name in ["", "a b", "ä", &"x".repeat(65)] {
            assert_eq!(name.parse::<Topic>(), Err(TopicError), "{name}");
        }
    }

    #[tokio::test]
    async fn a_slow_listener_misses_the_oldest_and_is_told() {
        let topics = Topics::default();
        let topic = "jobs".parse().unwrap();
        let mut slow = topics.subscribe(&topic).unwrap();
        let mut quick = topics.subscribe(&topic).unwrap();
        for _ in 0..WAITING + 10 {
            assert_eq!(topics.deliver(delivery("x")), 2);
            assert_eq!(quick.next().await, Some(Heed::Message(delivery("x"))));
        }
        assert_eq!(slow.next().await, Some(Heed::Missed(10)));
        assert_eq!(slow.next().await, Some(Heed::Message(delivery("x"))));
        topics.close();
        assert_eq!(quick.next().await, None);
    }

    #[test]
    fn topics_and_listeners_are_bounded() {
        let topics = Topics::default();
        let topic: Topic = "jobs".parse().unwrap();
        let held: Vec<_> = (0..LISTENERS).map(|_| topics.subscribe(&topic).unwrap()).collect();
        let refused = topics.subscribe(&topic).unwrap_err();
        assert_eq!(refused.to_string(), "the topic `jobs` has 256 listeners already");
        drop(held);
        drop(topics.subscribe(&topic).unwrap());
        let name = |it: usize| format!("t{it}").parse::<Topic>().unwrap();
        let held: Vec<_> = (0..TOPICS).map(|it| topics.subscribe(&name(it)).unwrap()).collect();
        assert_eq!(topics.subscribe(&topic).unwrap_err(), SubscribeError::Topics);
        drop(held);
        assert_eq!(topics.deliver(delivery("x")), 0);
    }
}
