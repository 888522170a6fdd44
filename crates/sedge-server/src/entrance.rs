//! The listener that a request came in by, and what it asks of browsers.

use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, StatusCode, Uri};
use sedge_base::ErrorKind;

use crate::refusal::Refusal;

/// One listener.
#[derive(Debug, Clone, Default)]
pub(crate) struct Entrance {
    /// Whether only this machine's programs reach it.
    pub(crate) loopback: bool,
    /// Whether nothing but TLS is heard there.
    pub(crate) tls: bool,
    /// Pages of other sites that may use it.
    pub(crate) origins: Vec<String>,
}

impl Entrance {
    /// Refuses what a browser was tricked into sending: a foreign name that resolves to loopback
    /// (DNS rebinding), or a page of another site.
    ///
    /// For other machines no name is foreign: the certificate does not hold one that is.
    pub(crate) fn check(&self, headers: &HeaderMap, uri: &Uri) -> Result<(), Refusal> {
        let host = match headers.get(HOST) {
            Some(host) => host.to_str().ok(),
            None => uri.authority().map(|it| it.as_str()),
        };
        if self.loopback && !host.is_some_and(is_loopback) {
            return Err(Refusal::new(
                StatusCode::MISDIRECTED_REQUEST,
                ErrorKind::Denied,
                "foreign_host",
                "this API answers to 127.0.0.1, [::1] and localhost only",
            ));
        }
        for origin in headers.get_all(ORIGIN) {
            if !origin.to_str().is_ok_and(|it| self.knows(it, host)) {
                return Err(Refusal::new(
                    StatusCode::FORBIDDEN,
                    ErrorKind::Denied,
                    "foreign_origin",
                    "pages of other sites may not use this API",
                ));
            }
        }
        Ok(())
    }

    /// Returns whether a page of that site may use this listener: the owner named it, it is of this
    /// very site, or of this machine where only this machine comes in.
    fn knows(&self, origin: &str, host: Option<&str>) -> bool {
        let Some((scheme, site)) = origin.split_once("://") else { return false };
        self.origins.iter().any(|it| it == origin)
            || (self.loopback && is_loopback(site))
            || (self.tls && scheme == "https" && host == Some(site))
    }
}

/// Returns whether a host with or without a port is this machine itself.
fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|it| it.is_ascii_digit()) => {
            name
        }
        _ => host,
    };
    name == "127.0.0.1" || name == "[::1]" || name.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_local() {
        for good in ["127.0.0.1", "127.0.0.1:7411", "localhost:1", "LocalHost", "[::1]:80", "[::1]"]
        {
            assert!(is_loopback(good), "{good}");
        }
        for bad in [
            "",
            ":80",
            "example.org",
            "127.0.0.1.example.org",
            "127.0.0.1:80:80",
            "::1",
            "10.0.0.1",
        ] {
            assert!(!is_loopback(bad), "{bad}");
        }
    }

    #[test]
    fn pages_come_in_where_they_may() {
        let origins = vec!["https://home.example".to_owned()];
        let away = Entrance { loopback: false, tls: true, origins };
        let here = Entrance { loopback: true, ..Entrance::default() };
        let check = |it: &Entrance, host: &str, origin: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, host.parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(ORIGIN, origin.parse().unwrap());
            }
            it.check(&headers, &Uri::default()).map_err(|it| it.status.as_u16())
        };
        assert_eq!(check(&here, "box.lan", None), Err(421));
        assert_eq!(check(&here, "localhost:1", Some("http://localhost:3000")), Ok(()));
        assert_eq!(check(&here, "localhost:1", Some("https://home.example")), Err(403));
        assert_eq!(check(&away, "box.lan:7379", None), Ok(()));
        assert_eq!(check(&away, "box.lan:7379", Some("https://box.lan:7379")), Ok(()));
        assert_eq!(check(&away, "box.lan:7379", Some("https://home.example")), Ok(()));
        for bad in ["http://box.lan:7379", "https://evil.example", "null", "http://localhost:1"] {
            assert_eq!(check(&away, "box.lan:7379", Some(bad)), Err(403), "{bad}");
        }
    }
}
