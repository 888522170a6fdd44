//! Where a server of Redis is, and who asks.

use std::fmt;
use std::str::FromStr;

use sedge_base::{ErrorKind, Secret};
use serde::{Deserialize, Serialize};

use crate::outbound::{Aim, Scheme};

/// The longest address, in bytes.
const MOST: usize = 1024;

/// Why a text is no address; the text, which may have a password, is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the address is not one such as redis://127.0.0.1:6379 or rediss://user:password@host:6380/1"
)]
pub struct AddressError;

impl AddressError {
    /// Returns what the caller can do about it.
    pub const fn kind(self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

/// Where a server of Redis is: `redis://[user][:password@]host[:port][/database]`, or `rediss://` over TLS.
///
/// It prints without the login; [`String::from`] gives the whole text, for keeping it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address {
    whole: Secret<String>,
    aim: Aim,
    login: Option<Login>,
    database: u32,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Login {
    /// `None` is the server's usual user.
    pub(super) user: Option<String>,
    pub(super) password: Secret<String>,
}

impl Address {
    pub(crate) const fn aim(&self) -> &Aim {
        &self.aim
    }

    pub(super) const fn login(&self) -> Option<&Login> {
        self.login.as_ref()
    }

    pub(super) const fn database(&self) -> u32 {
        self.database
    }

    fn read(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let scheme = match scheme {
            "redis" => Scheme::Redis,
            "rediss" => Scheme::Rediss,
            _ => return None,
        };
        // What is left of the last @ is the login.
        let (login, rest) = rest.rsplit_once('@').map_or((None, rest), |(a, b)| (Some(a), b));
        let login = match login {
            None => None,
            Some(login) => Some(Login::read(login)?),
        };
        let (place, database) = rest.split_once('/').unwrap_or((rest, ""));
        let database = if database.is_empty() { 0 } else { number(database)? };
        let (host, port) = match place.strip_prefix('[') {
            Some(inside) => {
                let (host, port) = inside.split_once(']')?;
                (host.parse::<std::net::Ipv6Addr>().ok().map(|_| host)?, port)
            }
            None => place.split_at_checked(place.find(':').unwrap_or(place.len()))?,
        };
        let port = match port.strip_prefix(':') {
            Some(port) => u16::try_from(number(port)?).ok()?,
            None if port.is_empty() => scheme.usual()?,
            None => return None,
        };
        let aim = Aim::at(scheme, host, port)?;
        Some(Self { whole: Secret::new(text.to_owned()), aim, login, database })
    }
}

impl Login {
    fn read(text: &str) -> Option<Self> {
        let (user, password) = text.split_once(':')?;
        let user = Some(decoded(user)?).filter(|it| !it.is_empty());
        Some(Self { user, password: Secret::new(decoded(password)?) })
    }
}

/// Reads digits and nothing else.
fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|_| text.bytes().all(|it| it.is_ascii_digit()))
}

/// Reads a text in which `%2F` stands for `/`.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut parts = text.split('%');
    bytes.extend_from_slice(parts.next()?.as_bytes());
    for part in parts {
        let (code, rest) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(code, 16).ok().filter(|_| !code.starts_with('+'))?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let short = (text.len() <= MOST).then_some(text);
        short.and_then(Self::read).ok_or(AddressError)
    }
}

impl TryFrom<String> for Address {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.whole.reveal().clone()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.aim.fmt(f)?;
        if self.database == 0 { Ok(()) } else { write!(f, "/{}", self.database) }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_prints_without_its_login_and_is_kept_with_it() {
        let text = "rediss://ann:s3%2Fcret@Cache.example.com/2";
        let address: Address = text.parse().unwrap();
        assert_eq!(address.to_string(), "rediss://cache.example.com:6379/2");
        assert!(!format!("{address:?} {:?}", address.login()).contains("cret"));
        let login = address.login().unwrap();
        assert_eq!((login.user.as_deref(), &**login.password.reveal()), (Some("ann"), "s3/cret"));
        assert_eq!(String::from(address.clone()), text);
        assert_eq!(serde_json::from_str::<Address>(&format!("{text:?}")).unwrap(), address);
        let usual: Address = "redis://:pass@[::1]:7000".parse().unwrap();
        assert_eq!(usual.to_string(), "redis://[::1]:7000");
        assert_eq!(usual.login().unwrap().user, None);
        assert_eq!(usual.aim().host(), "::1");
    }

    #[test]
    fn what_is_no_address_is_refused_and_not_repeated() {
        for text in [
            "",
            "127.0.0.1:6379",
            "http://127.0.0.1",
            "redis://",
            "redis://a:99999",
            "redis://a:+1",
            "redis://a/b",
            "redis://a/1/2",
            "redis://pass@a",
            "redis://:%@a",
            "redis://:%zz@a",
            "redis://[a]:1",
            "redis://*:6379",
            "redis://a?b=c",
        ] {
            assert_eq!(text.parse::<Address>(), Err(AddressError), "{text}");
        }
        assert!(!AddressError.to_string().contains("s3cret"));
        assert!(format!("redis://{}", "a".repeat(MOST)).parse::<Address>().is_err());
    }
}
