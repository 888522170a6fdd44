//! The ways to find agents. A new way is its own file and one line here.

mod dns;
mod kubernetes;
pub(crate) mod mdns;

use std::net::SocketAddr;

use sedge_base::ErrorKind;

use crate::candidate::{AgentUrl, Candidate};
use crate::discover::Options;

/// The name of the service that agents have in DNS, RFC 2782.
const SERVICE: &str = "_a2a._tcp";

/// One place to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// An agent whose address is known.
    Fixed(AgentUrl),
    /// The SRV records of a name; `_a2a._tcp` is put before a name without a service.
    Dns(String),
    /// Whoever on the local network announces `_a2a._tcp`, RFC 6763.
    Mdns,
    /// A headless service of the cluster, `NAME` or `NAME.NAMESPACE`, whose port is called `a2a`.
    Kubernetes(String),
}

/// Why a place told of nobody.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FindError {
    /// The text is no name.
    #[error("`{name}` is no name of a host or a service")]
    Name {
        /// The text.
        name: String,
    },
    /// The name server did not say.
    #[error("no SRV record for `{name}`")]
    NoRecord {
        /// The whole name.
        name: String,
        /// Why.
        source: Box<hickory_resolver::net::NetError>,
    },
    /// The system names no name server.
    #[error("this machine knows no name server")]
    NoServer(#[source] Box<hickory_resolver::net::NetError>),
    /// The local network cannot be asked.
    #[error("the local network cannot be asked from {address}")]
    Network {
        /// From where.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
}

impl FindError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Name { .. } => ErrorKind::Invalid,
            Self::NoRecord { .. } => ErrorKind::NotFound,
            Self::NoServer(_) | Self::Network { .. } => ErrorKind::Unavailable,
        }
    }
}

impl Way {
    /// Returns what is asked, for people.
    pub fn place(&self) -> String {
        match self {
            Self::Fixed(url) => url.to_string(),
            Self::Dns(name) => name.clone(),
            Self::Mdns => "the local network".to_owned(),
            Self::Kubernetes(service) => service.clone(),
        }
    }

    pub(crate) async fn find(&self, options: &Options) -> Result<Vec<Candidate>, FindError> {
        match self {
            Self::Fixed(url) => {
                let url = url.clone();
                Ok(vec![Candidate { url, found_by: "static", addresses: Vec::new() }])
            }
            Self::Dns(name) => dns::find(name, "dns", options).await,
            Self::Mdns => mdns::find(options).await,
            Self::Kubernetes(service) => kubernetes::find(service, options).await,
        }
    }
}
