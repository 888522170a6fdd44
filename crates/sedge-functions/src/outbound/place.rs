//! Servers that a function may reach.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use hyper::Uri;
use serde::{Deserialize, Serialize};

use super::{MOST_TEXT, OutboundError};

const PLACE: &str = "a place such as https://api.example.com, https://*.example.com:8443, \
    tcp://10.0.0.0/8:5432 or *://127.0.0.1:8000..9000";

/// How a server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scheme {
    Http,
    Https,
    /// A connection without a meaning of ours.
    Tcp,
    Redis,
    /// Redis over TLS.
    Rediss,
}

impl Scheme {
    const ALL: [Self; 5] = [Self::Http, Self::Https, Self::Tcp, Self::Redis, Self::Rediss];

    const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Tcp => "tcp",
            Self::Redis => "redis",
            Self::Rediss => "rediss",
        }
    }

    /// Returns the port that is meant when none is named.
    pub(crate) const fn usual(self) -> Option<u16> {
        match self {
            Self::Http => Some(80),
            Self::Https => Some(443),
            Self::Tcp => None,
            Self::Redis | Self::Rediss => Some(6379),
        }
    }
}

/// Servers that a function may reach: a scheme, a host and a port.
///
/// The scheme is `http`, `https`, `tcp`, `redis`, `rediss`, or `*` for all of them. The host is a name, `*.` before one
/// for every host below it, an address, a network such as `10.0.0.0/8`, or `*`. The port is a number, a range such as
/// `8000..9000` without its end, or `*`; the usual one of the scheme when it is left out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Place {
    /// `None` means all.
    scheme: Option<Scheme>,
    host: Host,
    ports: Ports,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Host {
    Any,
    /// Every host below this one.
    Below(String),
    Named(String),
    Within(Network),
}

/// Addresses that begin with the same bits; one address when those are all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Network {
    base: IpAddr,
    bits: u32,
}

/// The ports from the first to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Ports {
    first: u16,
    last: u16,
}

impl FromStr for Place {
    type Err = OutboundError;

    fn from_str(text: &str) -> Result<Self, OutboundError> {
        let wrong = || OutboundError::new(text, PLACE);
        if text.len() > MOST_TEXT {
            return Err(wrong());
        }
        Self::read(text).ok_or_else(wrong)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.scheme.map_or("*", Scheme::name))?;
        match &self.host {
            Host::Any => f.write_str("*")?,
            Host::Below(host) => write!(f, "*.{host}")?,
            Host::Named(host) => f.write_str(host)?,
            Host::Within(network) => write!(f, "{network}")?,
        }
        match self.ports {
            ports if self.scheme.and_then(Scheme::usual).map(Ports::one) == Some(ports) => Ok(()),
            Ports::ALL => f.write_str(":*"),
            Ports { first, last } if first == last => write!(f, ":{first}"),
            Ports { first, last } => write!(f, ":{first}..{}", u32::from(last) + 1),
        }
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
    fn read(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let scheme = match scheme {
            "*" => None,
            named => {
                Some(Scheme::ALL.into_iter().find(|it| named.eq_ignore_ascii_case(it.name()))?)
            }
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, after) = match rest.strip_prefix('[') {
            Some(inside) => {
                let (address, after) = inside.split_once(']')?;
                (Host::Within(Network::one(address.parse::<Ipv6Addr>().ok()?.into())), after)
            }
            None => {
                let end = rest.find(['/', ':']).unwrap_or(rest.len());
                let (host, after) = rest.split_at_checked(end)?;
                (Host::read(host)?, after)
            }
        };
        let (host, after) = match (host, after.strip_prefix('/')) {
            (host, None) => (host, after),
            (Host::Within(one), Some(after)) => {
                let end = after.find(':').unwrap_or(after.len());
                let (bits, after) = after.split_at_checked(end)?;
                (Host::Within(Network::new(one.base, number(bits)?)?), after)
            }
            (_, Some(_)) => return None,
        };
        let ports = match after.strip_prefix(':') {
            Some(ports) => Ports::read(ports)?,
            None if after.is_empty() => Ports::one(scheme?.usual()?),
            None => return None,
        };
        Some(Self { scheme, host, ports })
    }

    /// Returns whether everything at the other place is at this place.
    pub fn contains(&self, other: &Self) -> bool {
        let host = match (&self.host, &other.host) {
            (Host::Any, _) => true,
            (Host::Named(ours), Host::Named(theirs)) => ours == theirs,
            (Host::Below(ours), Host::Named(theirs)) => is_below(theirs, ours),
            (Host::Below(ours), Host::Below(theirs)) => ours == theirs || is_below(theirs, ours),
            (Host::Within(ours), Host::Within(theirs)) => {
                ours.bits <= theirs.bits && ours.has(theirs.base)
            }
            _ => false,
        };
        let scheme = self.scheme.is_none() || self.scheme == other.scheme;
        let Ports { first, last } = other.ports;
        host && scheme && self.ports.has(first) && self.ports.has(last)
    }

    /// Returns whether nobody on the way can read an HTTP request for it, and it is no more than one server: it is
    /// encrypted, or stays on this machine.
    pub fn is_private(&self) -> bool {
        let here = match &self.host {
            Host::Named(host) => host == "localhost",
            Host::Within(it) => it.base.is_loopback(),
            Host::Any | Host::Below(_) => false,
        };
        self.is_web() && (here || self.scheme == Some(Scheme::Https))
    }

    /// Returns whether it is a server that HTTP requests go to, or the servers below a name.
    pub(crate) fn is_web(&self) -> bool {
        let few = match &self.host {
            Host::Any => false,
            Host::Within(it) => it.is_one(),
            Host::Below(_) | Host::Named(_) => true,
        };
        let http = matches!(self.scheme, Some(Scheme::Http | Scheme::Https));
        http && few && self.ports.first == self.ports.last
    }

    /// Returns whether plain connections may lead there.
    pub(crate) fn takes(&self, scheme: Scheme) -> bool {
        self.scheme.is_none_or(|it| it == scheme)
    }

    /// Returns whether it names this host, whatever the port, so that its addresses may be looked up.
    pub(crate) fn names(&self, host: &str) -> bool {
        match &self.host {
            Host::Any => true,
            Host::Named(ours) => ours == host,
            Host::Below(ours) => is_below(host, ours),
            Host::Within(_) => false,
        }
    }

    pub(crate) fn covers(&self, aim: &Aim) -> bool {
        let named = match (&self.host, ip(&aim.host)) {
            (Host::Any, _) => true,
            (Host::Within(network), Some(address)) => network.has(address.to_canonical()),
            (Host::Within(_), None) => false,
            (Host::Below(ours), _) => is_below(&aim.host, ours),
            (Host::Named(ours), _) => aim.host == *ours,
        };
        named && self.takes(aim.scheme) && self.ports.has(aim.port)
    }
}

impl Host {
    /// Reads what is no address in brackets.
    fn read(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::Any);
        }
        // A star is no part of a host, so that it cannot stand anywhere else.
        let (below, host) = text.strip_prefix("*.").map_or((false, text), |it| (true, it));
        let host = plain(host)?;
        match host.parse::<Ipv4Addr>() {
            Ok(_) if below => None,
            Ok(address) => Some(Self::Within(Network::one(address.into()))),
            Err(_) if below => Some(Self::Below(host)),
            Err(_) => Some(Self::Named(host)),
        }
    }
}

/// Returns a host's name in small letters; `localhost.` is `localhost`.
fn plain(host: &str) -> Option<String> {
    let host = host.to_ascii_lowercase();
    let host = host.trim_end_matches('.');
    let sound = host.bytes().all(|it| it.is_ascii_alphanumeric() || b"-_.".contains(&it));
    (sound && !host.is_empty()).then(|| host.to_owned())
}

impl Network {
    fn one(base: IpAddr) -> Self {
        let base = base.to_canonical();
        Self { base, bits: width(base) }
    }

    fn new(base: IpAddr, bits: u32) -> Option<Self> {
        (bits <= width(base)).then(|| Self { base: cut(base, bits), bits })
    }

    fn is_one(self) -> bool {
        self.bits == width(self.base)
    }

    fn has(self, address: IpAddr) -> bool {
        address.is_ipv4() == self.base.is_ipv4() && cut(address, self.bits) == self.base
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.base {
            IpAddr::V4(base) => write!(f, "{base}")?,
            IpAddr::V6(base) => write!(f, "[{base}]")?,
        }
        if self.is_one() { Ok(()) } else { write!(f, "/{}", self.bits) }
    }
}

/// Returns how many bits an address of this family has.
const fn width(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// Returns an address with nothing behind its first bits.
fn cut(address: IpAddr, bits: u32) -> IpAddr {
    match address {
        IpAddr::V4(it) => {
            let mask = u32::MAX.checked_shl(32 - bits.min(32)).unwrap_or(0);
            Ipv4Addr::from_bits(it.to_bits() & mask).into()
        }
        IpAddr::V6(it) => {
            let mask = u128::MAX.checked_shl(128 - bits.min(128)).unwrap_or(0);
            Ipv6Addr::from_bits(it.to_bits() & mask).into()
        }
    }
}

impl Ports {
    const ALL: Self = Self { first: 0, last: u16::MAX };

    const fn one(port: u16) -> Self {
        Self { first: port, last: port }
    }

    fn read(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::ALL);
        }
        let Some((first, end)) = text.split_once("..") else {
            return Some(Self::one(u16::try_from(number(text)?).ok()?));
        };
        let (first, last) = (number(first)?, number(end)?.checked_sub(1)?);
        let (first, last) = (u16::try_from(first).ok()?, u16::try_from(last).ok()?);
        (first <= last).then_some(Self { first, last })
    }

    const fn has(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }
}

/// Reads digits and nothing else.
fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|_| text.bytes().all(|it| it.is_ascii_digit()))
}

fn is_below(host: &str, parent: &str) -> bool {
    host.strip_suffix(parent).is_some_and(|it| it.len() > 1 && it.ends_with('.'))
}

/// Returns the address that a host is written as, if it is one.
fn ip(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// Where one request or connection goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Aim {
    scheme: Scheme,
    /// In small letters, an IPv6 address in brackets.
    host: String,
    pub(crate) port: u16,
}

impl Aim {
    /// Returns where a request with this address goes; `None` for other schemes, and where a user is
    /// named.
    pub(crate) fn of(uri: &Uri) -> Option<Self> {
        let scheme = match uri.scheme_str()? {
            "https" => Scheme::Https,
            "http" => Scheme::Http,
            _ => return None,
        };
        let (authority, host) = (uri.authority()?.as_str(), uri.host()?);
        let port = match authority.strip_prefix(host)? {
            "" => scheme.usual()?,
            rest => rest.strip_prefix(':').filter(|it| !it.starts_with('+'))?.parse().ok()?,
        };
        let host = host.to_ascii_lowercase();
        // `localhost.` is `localhost`.
        let host = host.trim_end_matches('.').to_owned();
        (!host.is_empty()).then_some(Self { scheme, host, port })
    }

    /// Returns where a connection to this host goes, a name or an address without brackets.
    pub(crate) fn at(scheme: Scheme, host: &str, port: u16) -> Option<Self> {
        let host = match host.parse::<IpAddr>().map(|it| it.to_canonical()) {
            Ok(IpAddr::V6(address)) => format!("[{address}]"),
            Ok(address) => address.to_string(),
            Err(_) => plain(host)?,
        };
        Some(Self { scheme, host, port })
    }

    /// Returns whether it is encrypted.
    pub(crate) const fn tls(&self) -> bool {
        matches!(self.scheme, Scheme::Https | Scheme::Rediss)
    }

    /// Returns the host as the resolver and certificates know it.
    pub(crate) fn host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }
}

impl fmt::Display for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", self.scheme.name(), self.host, self.port)
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

    #[track_caller]
    fn leads(place: &str, (host, port): (&str, u16), expected: bool) {
        let aim = Aim::at(Scheme::Tcp, host, port).unwrap();
        assert_eq!(self::place(place).covers(&aim), expected, "{place} {aim}");
    }

    #[test]
    fn connections_are_covered_by_address_network_range_and_name() {
        leads("tcp://127.0.0.1:7000", ("127.0.0.1", 7000), true);
        leads("tcp://127.0.0.1:7000", ("::ffff:127.0.0.1", 7000), true);
        leads("tcp://127.0.0.1:7000", ("127.0.0.1", 7001), false);
        leads("tcp://127.0.0.1:7000", ("127.0.0.2", 7000), false);
        leads("tcp://127.0.0.0/24:7000..7002", ("127.0.0.9", 7001), true);
        leads("tcp://127.0.0.0/24:7000..7002", ("127.0.0.9", 7002), false);
        leads("tcp://127.0.0.0/24:7000..7002", ("127.0.1.9", 7001), false);
        leads("*://[fd00::]/8:*", ("fd12::1", 1), true);
        leads("*://[fd00::]/8:*", ("fe80::1", 1), false);
        leads("*://[fd00::]/8:*", ("253.0.0.1", 1), false);
        leads("*://0.0.0.0/0:1", ("8.8.8.8", 1), true);
        leads("*://*:*", ("db.example.com", 5432), true);
        leads("*://*.example.com:5432", ("DB.example.com", 5432), true);
        leads("redis://*:*", ("127.0.0.1", 6379), false);
        leads("http://127.0.0.1:7000", ("127.0.0.1", 7000), false);
        for (text, told) in [
            ("*://127.1.2.3/8:0..65536", "*://127.0.0.0/8:*"),
            ("REDIS://Cache.:6379/", "redis://cache"),
            ("https://[::FFFF:10.0.0.1]:443", "https://10.0.0.1"),
            ("tcp://[2001:DB8::1]/128:5..7", "tcp://[2001:db8::1]:5..7"),
        ] {
            assert_eq!(place(text).to_string(), told);
        }
        assert!(place("*://*.a.b:1").names("c.a.b") && !place("*://*.a.b:1").names("a.b"));
        assert!(!place("*://10.0.0.0/8:1").names("10.0.0.1"));
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
            ("*://*:*", "rediss://10.0.0.1", true),
            ("tcp://10.0.0.0/8:1..9", "tcp://10.1.0.0/16:2..9", true),
            ("tcp://10.0.0.0/8:1..9", "tcp://10.1.0.0/16:2..10", false),
            ("tcp://10.1.0.0/16:1", "tcp://10.0.0.0/8:1", false),
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
            ("https://*", false),
            ("https://10.0.0.0/8", false),
            ("https://a:1..9", false),
            ("tcp://127.0.0.1:80", false),
            ("*://127.0.0.1:80", false),
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
            "https://a.*.b",
            "https://*.*",
            "https://a/b",
            "https://a/8",
            "https://10.0.0.0/33",
            "https://10.0.0.0/+8",
            "tcp://a",
            "*://a",
            "udp://a:1",
            "https://a:9..9",
            "https://a:1..65537",
            "https://[10.0.0.1]",
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
