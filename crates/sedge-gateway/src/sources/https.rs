//! A web server: downloads that go on where they broke off.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use ureq::config::RedirectAuthHeaders;
use ureq::http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, HeaderName, RANGE,
};
use ureq::http::{Response, Uri};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};

use super::{Pull, Source, SourceError, SourceSettings};

/// How often in a row a connection may end without having brought a byte.
const FRUITLESS: u32 = 3;

/// How long to wait after the first fruitless connection; doubled after each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// A file on a web server.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Https {
    /// Its address.
    pub url: String,
}

impl Source for Https {
    fn label(&self, _: &SourceSettings) -> String {
        format!("web {}", self.url)
    }

    fn needs_network(&self, _: &SourceSettings) -> bool {
        !is_loopback(&self.url)
    }

    fn scratch_bytes(&self) -> u64 {
        0
    }

    fn pull(&self, settings: &SourceSettings, pull: &mut Pull<'_>) -> Result<(), SourceError> {
        download(Place { url: &self.url, token: None }, settings, pull)
    }
}

/// An address, and what its server knows the user by.
pub(super) struct Place<'a> {
    pub(super) url: &'a str,
    pub(super) token: Option<&'a str>,
}

/// How one connection ended that did not bring the whole file.
enum Broken {
    /// It may work at the next try.
    Connection(SourceError),
    /// It will never work.
    Refused(SourceError),
}

/// Returns whether an address leads to this machine itself.
pub(crate) fn is_loopback(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else { return false };
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|it| it.is_loopback())
}

/// Brings the missing bytes of a file, over as many connections as it takes.
///
/// A connection that brought something may break off as often as it likes; [`FRUITLESS`] in a row
/// that brought nothing end the attempt.
pub(super) fn download(
    place: Place<'_>,
    settings: &SourceSettings,
    pull: &mut Pull<'_>,
) -> Result<(), SourceError> {
    let agent = agent(&place, settings)?;
    let mut fruitless = 0;
    loop {
        pull.check()?;
        let before = pull.part.len();
        match connection(&agent, &place, pull) {
            Ok(()) => return Ok(()),
            Err(Broken::Refused(err)) => return Err(err),
            Err(Broken::Connection(err)) => {
                fruitless = if pull.part.len() > before { 0 } else { fruitless + 1 };
                if fruitless >= FRUITLESS {
                    return Err(err);
                }
                if fruitless > 0 {
                    pull.pause(FIRST_PAUSE * 2_u32.pow(fruitless - 1))?;
                }
            }
        }
    }
}

fn agent(place: &Place<'_>, settings: &SourceSettings) -> Result<Agent, SourceError> {
    let mut config = Agent::config_builder()
        .http_status_as_error(false)
        .redirect_auth_headers(RedirectAuthHeaders::SameHost)
        .user_agent(concat!("sedge/", env!("CARGO_PKG_VERSION")))
        .timeout_resolve(Some(settings.stall))
        .timeout_connect(Some(settings.stall))
        .timeout_recv_response(Some(settings.stall))
        .timeout_per_read(Some(settings.stall));
    if is_loopback(place.url) {
        config = config.proxy(None);
    }
    if let Some(path) = &settings.ca_file {
        config = config.tls_config(TlsConfig::builder().root_certs(roots(path)?).build());
    }
    Ok(config.build().new_agent())
}

fn roots(path: &Path) -> Result<RootCerts, SourceError> {
    let refused = |err| SourceError::Certificates { path: path.to_owned(), source: Box::new(err) };
    let text = std::fs::read(path).map_err(|err| refused(ureq::Error::Io(err)))?;
    let mut certificates = Vec::new();
    for item in parse_pem(&text) {
        if let PemItem::Certificate(certificate) = item.map_err(refused)? {
            certificates.push(certificate);
        }
    }
    Ok(RootCerts::Specific(Arc::new(certificates)))
}

/// Asks once for the missing bytes and takes what comes.
fn connection(agent: &Agent, place: &Place<'_>, pull: &mut Pull<'_>) -> Result<(), Broken> {
    let (from, total) = (pull.part.len(), pull.part.total());
    let mut request = agent.get(place.url).header(ACCEPT_ENCODING, "identity");
    if from > 0 {
        request = request.header(RANGE, format!("bytes={from}-"));
    }
    if let Some(token) = place.token {
        request = request.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    let response = request.call().map_err(|err| {
        // A name that leads nowhere will lead nowhere a moment later.
        let hopeless = matches!(err, ureq::Error::HostNotFound | ureq::Error::BadUri(_));
        let err = SourceError::Connection { source: Box::new(err) };
        if hopeless { Broken::Refused(err) } else { Broken::Connection(err) }
    })?;
    match response.status().as_u16() {
        200 => {
            // The whole file, whatever was asked for.
            if let Some(got) = number(response.headers(), &CONTENT_LENGTH).filter(|it| *it != total)
            {
                return Err(Broken::Refused(SourceError::Length { want: total, got }));
            }
            pull.part.restart().map_err(|err| Broken::Refused(err.into()))?;
        }
        206 => right_range(response.headers(), from, total).map_err(Broken::Refused)?,
        // It has fewer bytes than are here already: begin again at the next connection.
        416 if from > 0 => {
            pull.part.restart().map_err(|err| Broken::Refused(err.into()))?;
            return Err(Broken::Connection(SourceError::Status { status: 416 }));
        }
        status @ (408 | 429 | 500..=599) => {
            return Err(Broken::Connection(SourceError::Status { status }));
        }
        status => return Err(Broken::Refused(SourceError::Status { status })),
    }
    body(response, pull)
}

fn body(response: Response<Body>, pull: &mut Pull<'_>) -> Result<(), Broken> {
    let mut reader = response.into_body().into_reader();
    let broke_off =
        |source: Option<io::Error>, at, total| SourceError::BrokeOff { at, total, source };
    let drained = pull.drain(&mut reader, |err| broke_off(Some(err), 0, 0));
    let (at, total) = (pull.part.len(), pull.part.total());
    match drained {
        Ok(()) if at == total => Ok(()),
        Ok(()) => Err(Broken::Connection(broke_off(None, at, total))),
        Err(SourceError::BrokeOff { source, .. }) => {
            Err(Broken::Connection(broke_off(source, at, total)))
        }
        Err(err) => Err(Broken::Refused(err)),
    }
}

fn number(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

/// Checks that a partial answer begins where it was asked to and belongs to a file of this length.
fn right_range(headers: &HeaderMap, from: u64, total: u64) -> Result<(), SourceError> {
    let got = headers.get(CONTENT_RANGE).and_then(|it| it.to_str().ok()).unwrap_or_default();
    match range(got) {
        Some((first, last, whole)) if first == from && last < total && whole == total => Ok(()),
        _ => {
            let got = got.chars().take(80).collect();
            Err(SourceError::Range { from, got })
        }
    }
}

/// Reads `bytes FIRST-LAST/WHOLE` (RFC 9110, 14.4); a server that does not know the whole length is
/// not understood.
fn range(text: &str) -> Option<(u64, u64, u64)> {
    let (range, whole) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, whole) = (first.parse().ok()?, last.parse().ok()?, whole.parse().ok()?);
    (first <= last && last < whole).then_some((first, last, whole))
}

/// Feeds what a server says of its piece to the reader; returns whether it took it.
#[cfg(any(test, fuzzing))]
pub(crate) fn feed(text: &str) -> bool {
    is_loopback(text);
    range(text).is_some_and(|(first, last, whole)| first <= last && last < whole)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_are_read() {
        assert_eq!(range("bytes 5-9/10"), Some((5, 9, 10)));
        for bad in
            ["", "bytes */10", "bytes 5-9/*", "bytes 9-5/10", "bytes 5-10/10", "items 5-9/10"]
        {
            assert_eq!(range(bad), None, "{bad}");
        }
    }

    #[test]
    fn loopback_addresses_are_told_from_others() {
        for near in ["http://127.0.0.1:80/x", "http://[::1]:1/", "https://localhost"] {
            assert!(is_loopback(near), "{near}");
        }
        for far in ["https://example.org", "http://127.0.0.1.example.org", "not a url", ""] {
            assert!(!is_loopback(far), "{far}");
        }
    }

    proptest! {
        #[test]
        fn odd_ranges_never_panic(text in "\\PC*") {
            if let Some((first, last, whole)) = range(&text) {
                prop_assert!(first <= last && last < whole);
            }
        }
    }
}
