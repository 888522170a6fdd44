//! A server that requests may go to.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use hyper::Uri;
use serde::{Deserialize, Serialize};

use super::{MOST_TEXT, OutboundError};

const PLACE: &str =
    "a place such as https://api.example.com, https://*.example.com or http://10.0.0.7:8080";

/// Servers that a function may send requests to: scheme, host and port; `*.` before the host means
/// every host below it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Place {
    tls: bool,
    below: bool,
    host: String,
    port: u16,
}

impl FromStr for Place {
    type Err = OutboundError;

    fn from_str(text: &str) -> Result<Self, OutboundError> {
        let wrong = || OutboundError::new(text, PLACE);
        if text.len() > MOST_TEXT {
            return Err(wrong());
        }
        // A star is no part of a host, so that it cannot stand anywhere else.
        let (below, plain) = match text.split_once("://*.") {
            Some((scheme, host)) => (true, format!("{scheme}://{host}")),
            None => (false, text.to_owned()),
        };
        let uri: Uri = plain.parse().map_err(|_| wrong())?;
        let Aim { tls, host, port } = Aim::of(&uri).ok_or_else(wrong)?;
        let bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
        if !bare || host.contains('*') || (below && ip(&host).is_some()) {
            return Err(wrong());
        }
        Ok(Self { tls, below, host, port })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, usual) = if self.tls { ("https", 443) } else { ("http", 80) };
        let star = if self.below { "*." } else { "" };
        write!(f, "{scheme}://{star}{}", self.host)?;
        if self.port == usual { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

impl TryFrom<String> for Place {
    type Error = OutboundError;

    fn try_from(text: String) -> Result<Self, OutboundError> {
        text.parse()
    }
}

impl From<Place> for String {
    fn from(place: Place) -> Self {
        place.to_string()
    }
}

impl Place {
    /// Returns whether every request for the other place is one for this place.
    pub fn contains(&self, other: &Self) -> bool {
        let host = match (self.below, other.below) {
            (false, below) => !below && other.host == self.host,
            (true, below) => {
                is_below(&other.host, &self.host) || (below && other.host == self.host)
            }
        };
        host && (self.tls, self.port) == (other.tls, other.port)
    }

    /// Returns whether nobody on the way can read a request for it: it is encrypted, or stays on this
    /// machine.
    pub fn is_private(&self) -> bool {
        let here = self.host == "localhost" || ip(&self.host).is_some_and(|it| it.is_loopback());
        self.tls || (here && !self.below)
    }

    pub(crate) fn covers(&self, aim: &Aim) -> bool {
        let named = match self.below {
            false => aim.host == self.host,
            true => is_below(&aim.host, &self.host),
        };
        named && (aim.tls, aim.port) == (self.tls, self.port)
    }
}

fn is_below(host: &str, parent: &str) -> bool {
    host.strip_suffix(parent).is_some_and(|it| it.len() > 1 && it.ends_with('.'))
}

/// Returns the address that a host is written as, if it is one.
fn ip(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// Where one request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Aim {
    pub(crate) tls: bool,
    /// In small letters, an IPv6 address in brackets.
    host: String,
    pub(crate) port: u16,
}

impl Aim {
    /// Returns where a request with this address goes; `None` for other schemes, and where a user is
    /// named.
    pub(crate) fn of(uri: &Uri) -> Option<Self> {
        let (tls, usual) = match uri.scheme_str()? {
            "https" => (true, 443),
            "http" => (false, 80),
            _ => return None,
        };
        let (authority, host) = (uri.authority()?.as_str(), uri.host()?);
        let port = match authority.strip_prefix(host)? {
            "" => usual,
            rest => rest.strip_prefix(':').filter(|it| !it.starts_with('+'))?.parse().ok()?,
        };
        let host = host.to_ascii_lowercase();
        // `localhost.` is `localhost`.
        let host = host.trim_end_matches('.').to_owned();
        (!host.is_empty()).then_some(Self { tls, host, port })
    }

    /// Returns the host as the resolver and certificates know it.
    pub(crate) fn host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }
}

impl fmt::Display for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> Place {
        text.parse().unwrap()
    }

    #[track_caller]
    fn covers(place: &Place, address: &str, expected: bool) {
        let aim = address.parse::<Uri>().ok().and_then(|it| Aim::of(&it));
        assert_eq!(aim.is_some_and(|it| place.covers(&it)), expected, "{address}");
    }

    #[test]
    fn a_place_covers_its_servers_and_no_others() {
        let api = place("https://API.example.com");
        covers(&api, "https://api.example.com/v1?a=b", true);
        covers(&api, "https://Api.Example.com.:443/", true);
        for other in [
            "http://api.example.com/",
            "https://api.example.com:8443/",
            "https://api.example.com.evil.net/",
            "https://evil-api.example.com/",
            "https://x@evil.net/",
            "https://evil.net@api.example.com/",
        ] {
            covers(&api, other, false);
        }
        let below = place("https://*.example.com:8443");
        covers(&below, "https://a.b.example.com:8443/", true);
        for other in ["example.com", ".example.com", "notexample.com", "example.com.evil.net"] {
            covers(&below, &format!("https://{other}:8443/"), false);
        }
        assert_eq!(below.to_string(), "https://*.example.com:8443");
    }

    #[test]
    fn a_place_contains_what_it_covers() {
        for (outer, inner, expected) in [
            ("https://a.example.com", "https://a.example.com", true),
            ("https://*.example.com", "https://a.example.com", true),
            ("https://*.example.com", "https://*.example.com", true),
            ("https://*.example.com", "https://*.a.example.com", true),
            ("https://*.a.example.com", "https://*.example.com", false),
            ("https://a.example.com", "https://*.a.example.com", false),
            ("https://*.example.com", "https://example.com", false),
            ("https://a.example.com", "http://a.example.com:443", false),
        ] {
            assert_eq!(place(outer).contains(&place(inner)), expected, "{outer} {inner}");
        }
    }

    #[test]
    fn only_what_is_encrypted_or_stays_here_is_private() {
        for (text, expected) in [
            ("https://a", true),
            ("http://localhost:8080", true),
            ("http://127.0.0.1", true),
            ("http://[::1]:80", true),
            ("http://*.localhost", false),
            ("http://10.0.0.1", false),
            ("http://localhost.example.com", false),
        ] {
            assert_eq!(place(text).is_private(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for text in [
            "",
            "example.com",
            "ftp://a",
            "https://",
            "https://*",
            "https://a.*.b",
            "https://a/b",
            "https://a?b",
            "https://u@a",
            "https://*.10.0.0.1",
            "https://a:99999",
            "https://a:",
        ] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
    }
}
