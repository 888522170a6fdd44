//! A place where an agent may be.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use sedge_base::ErrorKind;
use serde::Serialize;

/// The longest address, in bytes.
const MAX_URL: usize = 512;

/// Where an agent is: `http://` or `https://`, a host, a port if it is not the usual one, a path.
/// It has no `/` at its end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct AgentUrl(String);

/// A text is no agent's address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an agent's address is `http://host` or `https://host`, with a port or a path if need be")]
pub struct AgentUrlError;

impl AgentUrlError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

impl AgentUrl {
    /// Returns the address as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Makes the address of a host and a port: TLS on the port that the web has for it.
    pub(crate) fn of(host: &str, port: u16) -> Result<Self, AgentUrlError> {
        let host = host.trim_end_matches('.');
        if host.contains('/') {
            return Err(AgentUrlError);
        }
        match port {
            443 => format!("https://{host}"),
            80 => format!("http://{host}"),
            port => format!("http://{host}:{port}"),
        }
        .parse()
    }
}

impl fmt::Display for AgentUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for AgentUrl {
    type Err = AgentUrlError;

    fn from_str(text: &str) -> Result<Self, AgentUrlError> {
        let text = text.trim_end_matches('/');
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let authority = rest.and_then(|it| it.split('/').next()).unwrap_or_default();
        let host = |it: u8| it.is_ascii_alphanumeric() || b".-_:[]".contains(&it);
        let whole = |it: u8| it.is_ascii_graphic() && !b"\"<>?#@\\^`{|}".contains(&it);
        let sound = !authority.is_empty()
            && authority.bytes().all(host)
            && text.len() <= MAX_URL
            && text.bytes().all(whole);
        if sound { Ok(Self(text.to_owned())) } else { Err(AgentUrlError) }
    }
}

/// An agent's address, and how it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its address.
    pub url: AgentUrl,
    /// The way's name, such as `dns`.
    pub found_by: &'static str,
    /// What the finder knows its host to be; the system is asked when it is empty.
    pub addresses: Vec<SocketAddr>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_agents() {
        for good in ["http://a", "https://a.b:8443/x/y", "http://[::1]:80", "http://a_b"] {
            assert_eq!(good.parse::<AgentUrl>().map(|it| it.to_string()), Ok(good.to_owned()));
        }
        assert_eq!("http://a/".parse::<AgentUrl>().unwrap().as_str(), "http://a");
        let long = format!("http://{}", "a".repeat(MAX_URL));
        for bad in ["", "a", "ftp://a", "http://", "http:///x", "http://u@a", "http://a b", &long] {
            assert_eq!(bad.parse::<AgentUrl>(), Err(AgentUrlError), "{bad}");
        }
        assert_eq!(AgentUrl::of("a.local.", 443).unwrap().as_str(), "https://a.local");
        assert_eq!(AgentUrl::of("a.local.", 8000).unwrap().as_str(), "http://a.local:8000");
    }
}
