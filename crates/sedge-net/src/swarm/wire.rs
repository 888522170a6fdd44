//! What members of a swarm tell each other, and its form on the wire (postcard).

use std::fmt;
use std::net::SocketAddr;

use bytes::Bytes;
use sedge_base::NodeId;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::dice::mix;

/// The kind of every frame of a swarm's stream; the first one opens it.
pub const SWARM: u8 = 40;

/// The largest message in bytes: a page of news, or the largest post with all that is around it.
pub(crate) const LARGEST: usize = 13 << 10;
/// The most news in one message.
pub(crate) const NEWS_PAGE: usize = 100;
/// The most addresses of one member.
pub(crate) const ADDRESSES: usize = 4;
/// The most ids in one message.
pub(crate) const IDS: usize = 200;
/// Into how many parts a table is cut for comparison.
pub(crate) const BUCKETS: usize = 64;
/// The largest body of a post in bytes.
pub(crate) const BODY: usize = 4 << 10;
/// The longest name of a topic in bytes.
pub(crate) const TOPIC: usize = 64;
/// The most hops that a post can be allowed.
pub(crate) const HOPS: u8 = 64;

/// How a member is named inside the state machines: by its key, or by a number in simulations.
pub(crate) trait Peer:
    Copy + Ord + fmt::Debug + Send + Sync + Serialize + DeserializeOwned + 'static
{
    /// Returns the bytes that are signed.
    fn bytes(&self) -> [u8; 32];

    /// Returns whom such bytes name.
    fn named(bytes: [u8; 32]) -> Self;

    /// Returns an even number made of the name.
    fn mixed(&self) -> u64 {
        let bytes = self.bytes();
        let parts = bytes.chunks_exact(8);
        parts.fold(0, |sum, it| mix(sum ^ it.try_into().map_or(0, u64::from_le_bytes)))
    }
}

/// A node by its key, 33 bytes on the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key([u8; 32]);

/// Written and read as one piece: byte by byte, keys are most of the work of a page of news.
impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = <&[u8]>::deserialize(deserializer)?;
        let found = bytes.len();
        bytes.try_into().map(Self).map_err(|_| D::Error::invalid_length(found, &"32 bytes"))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.node().fmt(f)
    }
}

impl Key {
    pub(crate) const fn node(self) -> NodeId {
        NodeId::from_bytes(self.0)
    }
}

impl From<NodeId> for Key {
    fn from(node: NodeId) -> Self {
        Self(*node.as_bytes())
    }
}

impl Peer for Key {
    fn bytes(&self) -> [u8; 32] {
        self.0
    }

    fn named(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

/// How a member stands, as far as a node knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// It answers.
    Up,
    /// Somebody had no answer from it; it has a short time to object.
    Suspect,
    /// It did not object, or it has left.
    Down,
}

/// What is said about a member; without addresses 43 bytes on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct News<P> {
    pub(crate) node: P,
    /// Grows with every statement of the member about itself; starts at its clock's milliseconds.
    pub(crate) incarnation: u64,
    pub(crate) standing: Standing,
    /// Where it may be found; a hint that proves nothing.
    pub(crate) direct: Vec<SocketAddr>,
}

/// Name, incarnation and standing.
const NEWS: usize = 32 + 8 + 1;

/// Written and read in one piece but for the addresses: field by field, the news of a thousand members
/// are most of the work of a join.
impl<P: Peer> Serialize for News<P> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut piece = [0; NEWS];
        piece[..32].copy_from_slice(&self.node.bytes());
        piece[32..40].copy_from_slice(&self.incarnation.to_be_bytes());
        piece[40] = match self.standing {
            Standing::Up => 0,
            Standing::Suspect => 1,
            Standing::Down => 2,
        };
        (Piece(piece), &self.direct).serialize(serializer)
    }
}

impl<'de, P: Peer> Deserialize<'de> for News<P> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (piece, direct) = <(&[u8], Vec<SocketAddr>)>::deserialize(deserializer)?;
        let wrong = || D::Error::invalid_length(piece.len(), &"41 bytes");
        let (node, rest) = piece.split_first_chunk().ok_or_else(wrong)?;
        let (incarnation, rest) = rest.split_first_chunk().ok_or_else(wrong)?;
        let standing = match rest {
            [0] => Standing::Up,
            [1] => Standing::Suspect,
            [2] => Standing::Down,
            _ => return Err(wrong()),
        };
        let incarnation = u64::from_be_bytes(*incarnation);
        Ok(Self { node: P::named(*node), incarnation, standing, direct })
    }
}

struct Piece([u8; NEWS]);

impl Serialize for Piece {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

/// Names a post: its author and the author's number for it.
pub(crate) type Id<P> = (P, u64);

/// An Ed25519 signature, 64 bytes on the wire.
pub(crate) type Proof = [[u8; 32]; 2];

/// Something that a member tells one other or everybody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Post<P> {
    pub(crate) author: P,
    /// Grows with every post of the author.
    pub(crate) serial: u64,
    /// For whom; `None` is everybody.
    pub(crate) to: Option<P>,
    pub(crate) topic: String,
    /// How many hops it may make.
    pub(crate) limit: u8,
    pub(crate) body: Bytes,
    /// The author's signature over everything above.
    pub(crate) proof: Proof,
    /// Hops made when it arrives; what relays say.
    pub(crate) hops: u8,
}

impl<P: Peer> Post<P> {
    pub(crate) const fn id(&self) -> Id<P> {
        (self.author, self.serial)
    }

    /// Returns what is signed.
    pub(crate) fn text(&self, swarm: [u8; 8]) -> Vec<u8> {
        let mut text = b"sedge post 1\0".to_vec();
        text.extend_from_slice(&swarm);
        text.extend_from_slice(&self.author.bytes());
        text.extend_from_slice(&self.serial.to_be_bytes());
        text.push(u8::from(self.to.is_some()));
        text.extend_from_slice(&self.to.map_or([0; 32], |it| it.bytes()));
        text.push(self.limit);
        text.extend_from_slice(&(self.topic.len() as u64).to_be_bytes());
        text.extend_from_slice(self.topic.as_bytes());
        text.extend_from_slice(&self.body);
        text
    }
}

/// One message between two members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "P: Peer")]
pub(crate) enum Message<P> {
    /// Be my neighbour; this is me. Who is urgent has no other one.
    Neighbour { urgent: bool, us: News<P> },
    /// We are neighbours; this is me.
    Accepted { us: News<P> },
    /// I have as many as I may have; ask these.
    Refused { us: News<P>, others: Vec<News<P>> },
    /// We are no neighbours any more.
    Apart,
    /// Are you alive?
    Ping { nonce: u32 },
    /// I am; this is the digest of the members I know.
    Ack { nonce: u32, digest: u64 },
    /// Is that one alive?
    PingFor { nonce: u32, target: P },
    /// The one you asked for is alive.
    AckFor { nonce: u32 },
    /// This has changed.
    News(Vec<News<P>>),
    /// These are the digests of the parts of my table; tell me where yours differs. The answer to a
    /// comparison is not answered by another one.
    Compare { buckets: Vec<[u8; 8]>, answer: bool },
    /// A post.
    Post(Post<P>),
    /// I have these posts.
    Have(Vec<Id<P>>),
    /// Send me this post, and the next ones at once.
    Want(Id<P>),
    /// I get posts from others sooner: tell me their ids only.
    Prune,
}

/// A message that a member of this protocol does not send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a message of a swarm: {what}")]
pub(crate) struct Malformed {
    pub(crate) what: &'static str,
}

impl<P: Peer> Message<P> {
    /// Writes a message; `None` cannot happen for what this module's types allow.
    pub(crate) fn encode(&self) -> Option<Bytes> {
        postcard::to_allocvec(self).ok().map(Bytes::from)
    }

    /// Reads a message and checks every length in it.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() > LARGEST {
            return Err(Malformed { what: "it is too large" });
        }
        let (message, rest) = postcard::take_from_bytes::<Self>(bytes)
            .map_err(|_| Malformed { what: "it cannot be read" })?;
        if !rest.is_empty() {
            return Err(Malformed { what: "something follows it" });
        }
        if message.is_bounded() {
            Ok(message)
        } else {
            Err(Malformed { what: "a list is too long" })
        }
    }

    fn is_bounded(&self) -> bool {
        let one = |it: &News<P>| it.direct.len() <= ADDRESSES;
        match self {
            Self::Neighbour { us, .. } | Self::Accepted { us } => one(us),
            Self::Refused { us, others } => {
                one(us) && others.len() <= NEWS_PAGE && others.iter().all(one)
            }
            Self::News(news) => news.len() <= NEWS_PAGE && news.iter().all(one),
            Self::Compare { buckets, .. } => buckets.len() == BUCKETS,
            Self::Post(post) => {
                post.body.len() <= BODY
                    && (1..=TOPIC).contains(&post.topic.len())
                    && (1..=HOPS).contains(&post.limit)
                    && (1..=post.limit).contains(&post.hops)
            }
            Self::Have(ids) => ids.len() <= IDS,
            Self::Apart
            | Self::Ping { .. }
            | Self::Ack { .. }
            | Self::PingFor { .. }
            | Self::AckFor { .. }
            | Self::Want(_)
            | Self::Prune => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(id: u8) -> Key {
        Key::from(NodeId::from_bytes([id; 32]))
    }

    fn post() -> Post<Key> {
        Post {
            author: key(1),
            serial: 7,
            to: None,
            topic: "jobs".to_owned(),
            limit: 10,
            body: Bytes::from_static(b"hello"),
            proof: [[0; 32]; 2],
            hops: 1,
        }
    }

    fn refused(message: &Message<Key>) -> bool {
        Message::<Key>::decode(&message.encode().unwrap()).is_err()
    }

    #[test]
    fn what_is_written_is_read() {
        let news = News {
            node: key(2),
            incarnation: 1 << 40,
            standing: Standing::Suspect,
            direct: vec!["127.0.0.1:4433".parse().unwrap()],
        };
        let message = Message::News(vec![news]);
        let bytes = message.encode().unwrap();
        assert_eq!(bytes.len(), 52, "a member costs 50 bytes");
        assert_eq!(Message::decode(&bytes), Ok(message));
        let message = Message::Post(post());
        assert_eq!(Message::decode(&message.encode().unwrap()), Ok(message));
    }

    #[test]
    fn what_is_too_long_is_refused() {
        assert!(refused(&Message::Post(Post { hops: 11, ..post() })));
        assert!(refused(&Message::Post(Post { hops: 0, ..post() })));
        assert!(refused(&Message::Post(Post { limit: HOPS + 1, ..post() })));
        assert!(refused(&Message::Post(Post { topic: String::new(), ..post() })));
        assert!(refused(&Message::Post(Post { body: vec![0; BODY + 1].into(), ..post() })));
        assert!(refused(&Message::Have(vec![(key(1), 1); IDS + 1])));
        assert!(refused(&Message::Compare { buckets: Vec::new(), answer: false }));
        assert!(!refused(&Message::Post(post())));
    }

    #[test]
    fn every_field_of_a_post_but_its_hops_is_signed() {
        let text = |post: Post<Key>| post.text([0; 8]);
        let signed = text(post());
        assert_eq!(text(Post { hops: 5, ..post() }), signed);
        assert_ne!(text(Post { serial: 8, ..post() }), signed);
        assert_ne!(text(Post { to: Some(key(0)), ..post() }), signed);
        assert_ne!(text(Post { limit: 9, ..post() }), signed);
        assert_ne!(
            text(Post { topic: "jobsh".to_owned(), body: Bytes::from_static(b"ello"), ..post() }),
            signed
        );
        assert_ne!(post().text([1; 8]), signed);
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            if let Ok(message) = Message::<Key>::decode(&bytes) {
                prop_assert!(message.is_bounded());
            }
        }

        #[test]
        fn a_flipped_bit_never_panics(at in 0_usize..200, bit in 0_u8..8) {
            let mut bytes = Message::Post(post()).encode().unwrap().to_vec();
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            if let Ok(message) = Message::<Key>::decode(&bytes) {
                prop_assert!(message.is_bounded());
            }
        }
    }
}
