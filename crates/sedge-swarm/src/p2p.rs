//! A swarm of agents that know each other by signed registrations and share one key.

pub mod artifact;
pub mod envelope;
mod hello;
mod identity;
mod node;
mod swarm;
mod tasks;

pub use identity::{IdentityManager, Offer, RegisteredMember, RegistrationError};
pub use node::{CLAIM_WINDOW, HEARTBEAT, MEMBER_TIMEOUT, Message, SESSION_GRACE};
pub use swarm::artifacts::FetchError;
pub use swarm::publish::{MAX_PUBLISH_BYTES, PublishError};
pub use swarm::sessions::SessionError;
pub use swarm::tasks::{ReceiptError, SubmitError};
pub use swarm::{ConnectError, JoinError, Listen, P2PSwarmV2, Parts, SwarmStatus};
pub use tasks::{ClaimError, Execution, TaskExecutor, Work};
