//! Agents that talk to each other as a peer-to-peer swarm.
//!
//! The API is that of an older swarm library, over our own trust and transports: what its documents
//! show compiles here with the crate's name changed, and does what they say between real machines.
//!
//! Invariants:
//!
//! - A peer is listened to only after its connection has proven its key and its hello has shown
//!   the swarm's key; its id is held to the first key that registered it.
//! - A message changes nothing before registry, signature, age, nonce, counter, decryption and
//!   payload hash were checked, in this order; nobody carries messages for others.
//! - What one agent learned or remembers is changed by that agent's messages alone, and repetition
//!   changes nothing.
//! - Everything that grows with what peers send is bounded.
//! - Without a swarm key of its own an agent talks to its own machine only.
//!
//! What it does not do: hold a task to its fuel and memory (the [`p2p::TaskExecutor`] does), carry
//! messages over several hops, or decide anything by majority.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//!
//! use sedge_swarm::p2p::P2PSwarmV2;
//!
//! let mut one = P2PSwarmV2::new("one", None, vec!["worker".to_string()]);
//! let mut two = P2PSwarmV2::new("two", Some(one.swarm_key()?), vec!["worker".to_string()]);
//! one.connect().await?;
//! two.connect().await?;
//! let mut heard = two.messages("chat", 16).ok_or("too many")?;
//! two.join(&one.addr().ok_or("not connected")?).await?;
//! assert!(one.wait_for_peer("two", Duration::from_secs(10)).await);
//! one.publish("chat", "Hello, swarm!")?;
//! assert_eq!(heard.recv().await.ok_or("closed")?.payload, "Hello, swarm!");
//! assert_eq!(one.derive_session_key("two")?, two.derive_session_key("one")?);
//! # Ok(())
//! # }
//! ```

mod compress;
#[cfg(any(test, fuzzing))]
pub mod fuzz;

pub mod p2p;

pub mod intelligence;
pub mod memory;

pub mod config;
pub mod protocol;

pub mod agent;

pub use compress::UnpackError;

/// Everything that a program with one agent needs.
pub mod prelude {
    pub use crate::agent::{AgentError as SwarmError, Result, SwarmAgent};
    pub use crate::config::{AgentRole, CompressionLevel, SwarmConfig, Transport};
    pub use crate::intelligence::IntelligenceSync;
    pub use crate::memory::{VectorEntry, VectorMemory};
    pub use crate::p2p::{IdentityManager, P2PSwarmV2};
    pub use crate::protocol::{MessagePayload, MessageType, SwarmMessage};
}
