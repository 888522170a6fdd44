//! A header that the host adds.

use std::fmt;
use std::str::FromStr;

use hyper::header::{HeaderName, HeaderValue};
use sedge_base::Secret;
use serde::{Deserialize, Serialize};

use super::place::Aim;
use super::secrets::{Secrets, check_secret_name};
use super::{MOST_TEXT, OutboundError, Place};

const ADDED: &str = "a place, a space, and a header such as authorization=Bearer {API_TOKEN}";
const OPEN: &str = "a place for secrets: encrypted (https) or on this machine";

const WEB: &str = "a place for headers: http or https, one port, and hosts that it names";

/// Headers that make the message or its way, and so belong to the host alone.
const FRAMING: [&str; 12] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

/// A header that the host adds to every request for a place; `{NAME}` in its value stands for a secret
/// of the node that sends it. Its text is the place, a space, and `header=value`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Added {
    place: Place,
    header: String,
    value: String,
}

impl FromStr for Added {
    type Err = OutboundError;

    fn from_str(text: &str) -> Result<Self, OutboundError> {
        let wrong = || OutboundError::new(text, ADDED);
        if text.len() > MOST_TEXT {
            return Err(wrong());
        }
        let (place, rest) = text.split_once(' ').ok_or_else(wrong)?;
        let (header, value) = rest.trim_start().split_once('=').ok_or_else(wrong)?;
        let name: HeaderName = header.parse().map_err(|_| wrong())?;
        let place: Place = place.parse()?;
        let header = name.as_str().to_owned();
        if !place.is_web() {
            return Err(OutboundError::new(&place.to_string(), WEB));
        }
        let added = Self { place, header, value: value.to_owned() };
        for name in added.secrets() {
            check_secret_name(name)?;
        }
        if HeaderValue::from_str(value).is_err() || FRAMING.contains(&name.as_str()) {
            return Err(wrong());
        }
        if added.secrets().next().is_some() && !added.place.is_private() {
            return Err(OutboundError::new(&added.place.to_string(), OPEN));
        }
        Ok(added)
    }
}

impl fmt::Display for Added {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}={}", self.place, self.header, self.value)
    }
}

impl TryFrom<String> for Added {
    type Error = OutboundError;

    fn try_from(text: String) -> Result<Self, OutboundError> {
        text.parse()
    }
}

impl From<Added> for String {
    fn from(added: Added) -> Self {
        added.to_string()
    }
}

/// Why a header cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FillError {
    /// The node has no such secret.
    #[error("this node has no secret `{name}`")]
    Missing { name: String },
    /// The secret is for other places.
    #[error("the secret `{name}` is not for this place")]
    Elsewhere { name: String },
    /// The value is none that a header can have.
    #[error("the header `{header}` cannot have this value")]
    Value { header: String },
}

impl Added {
    /// Returns the names of the secrets in the value.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        self.value.split('{').skip(1).filter_map(|it| Some(it.split_once('}')?.0))
    }

    /// Returns where it is added.
    pub const fn place(&self) -> &Place {
        &self.place
    }

    /// Returns the header with its secrets, and the secrets; a secret is given out for a place that it
    /// is bound to, whatever the deployment says.
    pub(crate) fn fill(&self, aim: &Aim, known: &dyn Secrets) -> Result<Filled, FillError> {
        let wrong = || FillError::Value { header: self.header.clone() };
        let mut parts = self.value.split('{');
        let mut value = parts.next().unwrap_or_default().to_owned();
        let mut secrets = Vec::new();
        for part in parts {
            let Some((name, rest)) = part.split_once('}') else {
                value.push('{');
                value.push_str(part);
                continue;
            };
            let missing = || FillError::Missing { name: name.to_owned() };
            let bound = known.get(name).ok_or_else(missing)?;
            if !bound.places.iter().any(|it| it.is_private() && it.covers(aim)) {
                return Err(FillError::Elsewhere { name: name.to_owned() });
            }
            value.push_str(bound.value.reveal());
            value.push_str(rest);
            secrets.push(bound.value);
        }
        let name = self.header.parse().map_err(|_| wrong())?;
        let mut header = HeaderValue::from_str(&value).map_err(|_| wrong())?;
        header.set_sensitive(true);
        Ok(Filled { name, value: header, secrets })
    }
}

/// A header as it is sent.
#[derive(Debug)]
pub(crate) struct Filled {
    pub(crate) name: HeaderName,
    pub(crate) value: HeaderValue,
    pub(crate) secrets: Vec<Secret<String>>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbound::{Bound, NoSecrets};

    #[derive(Debug)]
    struct OneKnown;

    impl Secrets for OneKnown {
        fn get(&self, name: &str) -> Option<Bound> {
            let places = vec!["https://*.a".parse().unwrap()];
            (name == "KEY").then(|| Bound { value: Secret::new("s3cret".to_owned()), places })
        }
    }

    fn aim(text: &str) -> Aim {
        Aim::of(&text.parse().unwrap()).unwrap()
    }

    #[test]
    fn secrets_are_filled_in_where_they_belong() {
        let added: Added = "https://b.a authorization=Bearer {KEY}".parse().unwrap();
        assert_eq!(added.secrets().collect::<Vec<_>>(), ["KEY"]);
        let filled = added.fill(&aim("https://b.a/c"), &OneKnown).unwrap();
        assert_eq!(filled.value, "Bearer s3cret");
        assert!(!format!("{filled:?}").contains("s3cret"), "{filled:?}");
        let missing = added.fill(&aim("https://b.a/"), &NoSecrets).unwrap_err();
        assert_eq!(missing, FillError::Missing { name: "KEY".to_owned() });
        let added: Added = "https://evil.net x={KEY}".parse().unwrap();
        let elsewhere = added.fill(&aim("https://evil.net/"), &OneKnown).unwrap_err();
        assert_eq!(elsewhere, FillError::Elsewhere { name: "KEY".to_owned() });
    }

    #[test]
    fn what_is_no_added_header_is_refused() {
        for text in [
            "https://a",
            "https://a x",
            "https://a host=b",
            "https://a x y=b",
            "https://a x={lower}",
            "https://a content-length=0",
            "https://a x={}",
            "http://a x={KEY}",
            "https://* x=y",
            "*://a:80 x=y",
            "tcp://127.0.0.1:80 x=y",
            "https://10.0.0.0/8 x=y",
        ] {
            assert!(text.parse::<Added>().is_err(), "{text}");
        }
        assert!("http://a x=not-secret".parse::<Added>().is_ok());
        assert!("http://127.0.0.1:80 x={KEY}".parse::<Added>().is_ok());
    }
}
