//! Agents of others: where they are, and what they say they can do.
//!
//! [`discover`] asks the places that a person names, each in its own way ([`Way`]): a fixed list, a
//! name server, the local network, a Kubernetes service. Of each candidate it fetches the agent
//! card, which says who the agent is and which skills it has.
//!
//! Invariants: nobody is asked who was not named; what a name server or a card says is a hint and
//! proves nothing; one place or one agent that fails hides no other; candidates, sizes and times are
//! bounded; no redirect is followed, and no proxy is used.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let ways = vec!["http://127.0.0.1:1".parse().map(sedge_agents::Way::Fixed).unwrap()];
//! let found = sedge_agents::discover(ways, &sedge_agents::Options::default()).await;
//! assert!(found.agents.is_empty());
//! assert_eq!(found.failed[0].at, "http://127.0.0.1:1");
//! # }
//! ```

mod candidate;
mod card;
mod discover;
mod fetch;
mod finders;
#[cfg(any(test, fuzzing))]
pub mod fuzz;

pub use candidate::{AgentUrl, AgentUrlError, Candidate};
pub use card::{AgentCard, CardError, Skill};
pub use discover::{Agent, Discovery, Failed, Options, discover};
pub use fetch::FetchError;
pub use finders::{FindError, Way};
