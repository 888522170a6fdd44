//! Fetching an agent card over HTTP.

use std::net::SocketAddr;
use std::time::Duration;

use sedge_base::ErrorKind;
use ureq::Agent;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

use crate::candidate::Candidate;
use crate::card::{AgentCard, CardError};

/// Where a card lies: today's place, then the one before.
const PLACES: [&str; 2] = ["/.well-known/agent-card.json", "/.well-known/agent.json"];

/// The most addresses of one host: what the client has room for.
const MOST: usize = 16;

/// The largest card, in bytes.
const LARGEST: u64 = 256 << 10;

/// Why there is no card.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// Nobody answers.
    #[error("nobody answers")]
    Silent(#[source] Box<ureq::Error>),
    /// It answers, but not with a card at any of the known places.
    #[error("it has no agent card: the answer is {status}")]
    Missing {
        /// The HTTP status of the last place.
        status: u16,
    },
    /// What lies there is no card.
    #[error("its agent card is wrong")]
    Card(#[from] CardError),
    /// The fetching itself broke off.
    #[error("the work was stopped")]
    Stopped,
}

impl FetchError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Silent(_) => ErrorKind::Unavailable,
            Self::Missing { .. } => ErrorKind::NotFound,
            Self::Card(it) => it.kind(),
            Self::Stopped => ErrorKind::Cancelled,
        }
    }
}

/// Fetches the card of a candidate; blocks, `within` long at most for each place.
pub(crate) fn fetch(candidate: &Candidate, within: Duration) -> Result<AgentCard, FetchError> {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .proxy(None)
        .max_redirects(0)
        .timeout_global(Some(within))
        .user_agent(concat!("sedge/", env!("CARGO_PKG_VERSION")))
        .build();
    let agent: Agent = if candidate.addresses.is_empty() {
        config.into()
    } else {
        let known = Known(candidate.addresses.clone());
        Agent::with_parts(config, DefaultConnector::new(), known)
    };
    let silent = |err| FetchError::Silent(Box::new(err));
    let mut status = 0;
    for place in PLACES {
        let answer = agent.get(format!("{}{place}", candidate.url)).call().map_err(silent)?;
        status = answer.status().as_u16();
        if answer.status().is_success() {
            let body = answer.into_body().into_with_config().limit(LARGEST).read_to_vec();
            return Ok(AgentCard::parse(&body.map_err(silent)?)?);
        }
    }
    Err(FetchError::Missing { status })
}

/// Knows what the finder was told, and asks nobody.
#[derive(Debug)]
struct Known(Vec<SocketAddr>);

impl Resolver for Known {
    fn resolve(
        &self,
        _: &Uri,
        _: &ureq::config::Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut addresses = DefaultResolver::default().empty();
        for address in self.0.iter().take(MOST) {
            addresses.push(*address);
        }
        Ok(addresses)
    }
}
