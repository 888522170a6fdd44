//! Ids, units, clock, error kinds and task scopes: the words that every other room uses.
//!
//! Invariants: nothing here touches a file, a socket or the environment. The one wall clock of the
//! workspace is [`Clock`]; the one way to start background work is [`TaskScope`].
//!
//! ```
//! use sedge_base::{Clock, ContentId, Timestamp};
//!
//! let clock = Clock::manual(Timestamp::from_millis(1_700_000_000_000));
//! assert_eq!(clock.now().as_millis(), 1_700_000_000_000);
//! assert_eq!(ContentId::of(b"").to_string().len(), 64);
//! ```

mod clock;
mod config;
mod dice;
mod error;
mod hash;
mod id;
mod scope;
mod secret;
mod size;

pub use clock::{Clock, DateError, Timestamp};
pub use config::ConfigError;
pub use dice::Dice;
pub use error::ErrorKind;
pub use hash::ContentHasher;
pub use id::{ArtifactId, ContentId, IdError, NodeId, SwarmId, TaskId};
pub use scope::{Cancel, Hung, TaskScope};
pub use secret::Secret;
pub use size::{ByteSize, ByteSizeError};
