//! The older protocol's records, byte for byte (origins 4.1).
//!
//! These forms exist so that what was signed elsewhere can be read and what others expect can be
//! written. They have known weaknesses, which their items name; new records use
//! [`crate::registration`], [`crate::envelope`] and [`crate::receipt`]. Texts here are as long as
//! the JSON that they were read from: whoever reads it bounds it.

mod artifact;
mod envelope;
mod heartbeat;
mod numbers;
mod receipt;
mod record;
mod registration;
mod signaling;
mod spelling;
mod task;

pub use artifact::{ArtifactPointer, ArtifactType, local_cid};
pub use envelope::{Envelope, Header, SealError};
pub use heartbeat::Heartbeat;
pub use receipt::{Receipt, Status, ViewError, ViewFacts, sign_view};
pub use record::{Record, Signed};
pub use registration::{Registration, RegistrationError};
pub use signaling::{MAX_SIGNAL_BYTES, MAX_SIGNAL_TTL, SignalType, Signaling, SignalingError};
pub use task::{Budgets, Claim, Task, TaskEnvelope, WrongHash};
