//! Asking everybody, and fetching what they say about themselves.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::task::JoinSet;

use crate::candidate::{AgentUrl, Candidate};
use crate::card::AgentCard;
use crate::fetch::{self, FetchError};
use crate::finders::Way;

/// The most candidates of one place, and of all together.
pub(crate) const MOST: usize = 64;

/// How agents are looked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// The name server to ask instead of this machine's own.
    pub dns_server: Option<SocketAddr>,
    /// How long a name server, and an agent for each place of its card, may take.
    pub within: Duration,
    /// Where the question to the local network goes.
    pub mdns_group: SocketAddr,
    /// How long answers of the local network are waited for.
    pub mdns_listen: Duration,
    /// The Kubernetes namespace of services that name none.
    pub namespace: String,
    /// The cluster's domain.
    pub cluster_domain: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            dns_server: None,
            within: Duration::from_secs(5),
            mdns_group: SocketAddr::from(([224, 0, 0, 251], 5353)),
            mdns_listen: Duration::from_secs(2),
            namespace: "default".to_owned(),
            cluster_domain: "cluster.local".to_owned(),
        }
    }
}

/// An agent whose card was fetched.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Agent {
    /// Where it was found.
    pub url: AgentUrl,
    /// The way's name: `static`, `dns`, `mdns` or `kubernetes`.
    pub found_by: &'static str,
    /// What it says about itself.
    pub card: AgentCard,
}

/// A place that told of nobody, or an agent without a card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failed {
    /// Which place or agent.
    pub at: String,
    /// Why, with what is behind it.
    pub why: String,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Discovery {
    /// The agents, by address.
    pub agents: Vec<Agent>,
    /// What did not work.
    pub failed: Vec<Failed>,
}

/// Asks every place at once, then fetches the card of every candidate at once; an address that was
/// found in two ways is asked once.
///
/// # Cancel safety
///
/// Dropping the future stops asking; a card that is being fetched is fetched to its end, and dropped.
pub async fn discover(ways: Vec<Way>, options: &Options) -> Discovery {
    let mut found = Discovery::default();
    let options = Arc::new(options.clone());
    let mut asked = JoinSet::new();
    for (order, way) in ways.into_iter().enumerate() {
        let options = Arc::clone(&options);
        asked.spawn(async move { (order, way.place(), way.find(&options).await) });
    }
    let mut answers = asked.join_all().await;
    answers.sort_by_key(|(order, _, _)| *order);
    let mut seen = BTreeSet::new();
    let mut fetching = JoinSet::new();
    for (_, at, answer) in answers {
        match answer {
            Err(error) => found.failed.push(Failed { at, why: with_source(&error) }),
            Ok(candidates) => {
                for candidate in candidates {
                    if seen.len() < MOST && seen.insert(candidate.url.clone()) {
                        let within = options.within;
                        fetching.spawn(async move { of(candidate, within).await });
                    }
                }
            }
        }
    }
    for (Candidate { url, found_by, .. }, fetched) in fetching.join_all().await {
        match fetched {
            Ok(card) => found.agents.push(Agent { url, found_by, card }),
            Err(error) => {
                found.failed.push(Failed { at: url.to_string(), why: with_source(&error) });
            }
        }
    }
    found.agents.sort_by(|a, b| a.url.cmp(&b.url));
    found
}

/// Fetches one card on a thread that may wait.
async fn of(candidate: Candidate, within: Duration) -> (Candidate, Result<AgentCard, FetchError>) {
    let asked = candidate.clone();
    let fetched = tokio::task::spawn_blocking(move || fetch::fetch(&asked, within)).await;
    (candidate, fetched.unwrap_or(Err(FetchError::Stopped)))
}

fn with_source(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let more = inner.to_string();
        if !text.ends_with(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = inner.source();
    }
    text
}
