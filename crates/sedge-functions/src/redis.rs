//! Redis: servers that functions ask, and channels that call functions.
//!
//! Invariants: a server is reached where the node's configuration lets functions reach it; what a server says has an end,
//! in bytes, depth and time; the login of an address is in no text but the one that is kept.

mod address;
mod channel;
mod link;
mod wire;

pub use address::{Address, AddressError};
pub use channel::{Channel, Hearing};
pub use link::RedisError;
pub use wire::WireError;

pub(crate) use link::Link;
pub(crate) use wire::Reply;

#[cfg(any(test, fuzzing))]
pub(crate) use wire::feed;
