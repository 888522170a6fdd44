//! Who belongs to the swarm, and what is known of each: the roster that the owner signs, what members
//! say of themselves, where they may be found, whether they are there, and how they fare.
//!
//! Nothing here talks to anybody: who does, takes in what it heard and asks what is known.
//!
//! Invariants: a record counts only with the owner's signature; what others pass on of a member counts
//! only with that member's; an address is a hint and proves nothing; everything that others say has an
//! end.
//!
//! ```
//! use sedge_base::{Clock, NodeId, Timestamp};
//! use sedge_members::{Listed, Members, Presence, Roster};
//! use sedge_trust::swarm::{Member, Role, Version};
//! use sedge_trust::{Owner, SessionPublicKey};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (owner, me) = (Owner::from_seed(&[1; 32]), NodeId::from_bytes([2; 32]));
//! let other = NodeId::from_bytes([3; 32]);
//! let members = Members::new(me, owner.public_key(), Clock::machine());
//! let membership = owner.admit(Member {
//!     version: Version::V1,
//!     swarm_id: owner.swarm_id(),
//!     node_id: other,
//!     name: "otter".to_owned(),
//!     session_key: SessionPublicKey::from_bytes([4; 32]),
//!     capabilities: Vec::new(),
//!     joined_at: Timestamp::from_millis(1),
//!     roles: vec![Role::Worker],
//!     epoch: 1,
//!     expires_at: None,
//! })?;
//! let listed = Listed { membership, addresses: Vec::new() };
//! members.merge(Roster { members: vec![listed], ..Roster::default() })?;
//! assert_eq!(members.find("otter")?, other);
//! # Ok(())
//! # }
//! ```

mod about;
mod advert;
mod book;
mod gauges;
mod health;
mod learned;
mod members;
mod notice;
mod pieces;
mod pulse;

#[cfg(any(test, fuzzing))]
pub mod fuzz;

pub use about::About;
pub use advert::{Advert, Leader, Listed, Offered, Roster};
pub use book::{AddressBook, BookLimits, Source};
pub use gauges::Gauges;
pub use health::{Advice, Checks, Health, NodeHealth, Presence, SwarmHealth};
pub use learned::{Learned, Watch};
pub use members::{Known, MAX_MEMBERS, Members, News, Noticed, PairFor, STALE};
pub use notice::{Held, Notice, NoticeError};
pub use pieces::{Pieces, cut};
pub use pulse::{Pulse, lasting};
