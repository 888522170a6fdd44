//! What a majority has agreed on: the coordinator, fences, a replicated log.
//!
//! Among three or more nodes that are always on, one is coordinator at a time. It grants claims,
//! each under a fence that only grows, and writes records that every voter reads in the same order.
//!
//! Invariants: a vote, an entry and a snapshot are on disk before they are answered; a fence is
//! never given out twice; a side with less than half of the voters decides nothing and says so; no
//! clock decides safety; a message is let in by what its connection has proven and by the roles that
//! the swarm's owner signed, in one place (`gate`). Voters trust each other: a voter that lies
//! outright is not survived, one that dies or is cut off is.
//!
//! ```
//! use sedge_quorum::{QuorumConfig, QuorumSection, majority};
//!
//! let config = QuorumConfig::try_from(QuorumSection::default())?;
//! assert!(config.election >= config.heartbeat * 3);
//! // Two voters: losing either stops every decision.
//! assert_eq!([1, 2, 3, 5].map(majority), [1, 2, 2, 3]);
//! # Ok::<(), sedge_base::ConfigError>(())
//! ```

mod config;
mod disk;
mod events;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod gate;
mod link;
mod log;
mod machine;
mod message;
mod quorum;
mod refusal;
mod state;
mod text;
mod voter;

pub use config::{QuorumConfig, QuorumSection};
pub use disk::{Disk, SwarmDisk};
pub use link::{Link, LinkError};
pub use message::{
    Agreed, Answer, Ask, DecodeError, Entries, Followed, Granted, MAX_ENTRIES, MAX_MESSAGE,
    MAX_TTL_MS, MAX_VOTERS, Message, Part,
};
pub use quorum::{Handover, Parts, Quorum, Standing, majority};
pub use refusal::Refusal;
pub use state::{
    Claim, Command, Coordinator, MAX_CLAIMS, MAX_COORDINATORS, MAX_RECORDS, Outcome, Record,
};
pub use text::{Key, MAX_KEY_BYTES, MAX_TEXT_BYTES, Text, TextError};
pub use voter::{Types, Voter};
