//! The way to one provider: its address, its key, and how long it may stay silent.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use rustls::{ClientConfig, RootCertStore};
use sedge_base::{ErrorKind, Secret};
use sedge_capability::Failure;
use tokio::time::timeout;

use super::decoder::{broke_off, unreadable};
use super::frames::Framing;
use super::refusal::{self, Said};
use crate::providers::{Api, Request};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);

/// The most bytes of a no that are read.
const LONGEST_NO: usize = 64 << 10;

/// The most bytes of an answer that is not streamed.
const LONGEST_BODY: usize = 64 << 20;

/// Makes the HTTP client of all providers: TLS by the public authorities, no redirects, no proxy.
///
/// # Errors
///
/// When this build's cryptography lacks what TLS needs, which it does not.
pub(crate) fn client() -> Result<Client, Box<dyn Error + Send + Sync>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let roots: RootCertStore = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client = Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(Policy::none())
        .no_proxy()
        .connect_timeout(CONNECT)
        .user_agent(concat!("sedge/", env!("CARGO_PKG_VERSION")))
        .build()?;
    Ok(client)
}

/// The way to one provider.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    /// What the owner calls it.
    pub(crate) provider: String,
    /// What it speaks.
    pub(crate) api: &'static Api,
    /// Where it is, without a slash at the end.
    pub(crate) base_url: String,
    /// Who asks.
    pub(crate) key: Option<Secret<String>>,
    /// How long it may send nothing at all.
    pub(crate) silence: Duration,
    pub(crate) client: Client,
}

impl Link {
    /// Sends a request; returns the beginning of a good answer.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection.
    pub(super) async fn send(&self, request: &Request) -> Result<Response, Failure> {
        let Request { path, body } = request;
        let mut sending = self
            .client
            .post(format!("{}{path}", self.base_url))
            .header(CONTENT_TYPE, "application/json")
            .body(body.to_string());
        if self.api.framing == Framing::Events {
            sending = sending.header(ACCEPT, "text/event-stream, application/json");
        }
        for (name, value) in self.api.headers {
            sending = sending.header(*name, *value);
        }
        if let Some(key) = &self.key {
            let (name, word) = self.api.key.header();
            let value = HeaderValue::try_from(format!("{word}{}", key.reveal()));
            let Ok(mut value) = value else {
                let text = format!("the key for `{}` has characters no key has", self.provider);
                return Err(Failure::new(ErrorKind::Unavailable, "provider_key_refused", text));
            };
            // Whatever prints headers prints none of it.
            value.set_sensitive(true);
            sending = sending.header(name, value);
        }
        let sent = timeout(self.silence, sending.send()).await;
        let response = sent.map_err(|_| self.silent())?.map_err(|err| self.unreachable(&err))?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(self.refused(response).await)
    }

    /// Returns the next piece of an answer, `None` at its end.
    pub(super) async fn piece(&self, answer: &mut Response) -> Result<Option<Bytes>, Failure> {
        match timeout(self.silence, answer.chunk()).await {
            Ok(Ok(piece)) => Ok(piece),
            Ok(Err(_)) => Err(broke_off(&self.provider)),
            Err(_) => Err(self.silent()),
        }
    }

    /// Checks that a good answer is a stream, and says what it is when it is none.
    pub(super) async fn stream(&self, answer: Response) -> Result<Response, Failure> {
        let kind = media_type(&answer);
        let wanted = match self.api.framing {
            Framing::Events => "text/event-stream",
            Framing::Lines => "application/x-ndjson",
        };
        // Lines of JSON go by several names, and some servers give none at all.
        let lines = self.api.framing == Framing::Lines && kind == "application/json";
        if kind == wanted || lines || kind.is_empty() {
            return Ok(answer);
        }
        if kind == "application/json" {
            let body = self.body(answer, LONGEST_NO).await?;
            let value = serde_json::from_slice(&body).unwrap_or_default();
            if let Some(said) = Said::of(&value) {
                return Err(self.failure(said.status(), &said, None));
            }
        }
        Err(self.unexpected(&kind))
    }

    /// Returns a good answer that is one JSON document.
    pub(super) async fn json(&self, answer: Response) -> Result<serde_json::Value, Failure> {
        let kind = media_type(&answer);
        if kind == "text/html" {
            return Err(self.unexpected(&kind));
        }
        let body = self.body(answer, LONGEST_BODY).await?;
        let Ok(value) = serde_json::from_slice(&body) else {
            return Err(unreadable(&self.provider, "it is no JSON"));
        };
        match Said::of(&value) {
            Some(said) => Err(self.failure(said.status(), &said, None)),
            None => Ok(value),
        }
    }

    async fn body(&self, mut answer: Response, most: usize) -> Result<Vec<u8>, Failure> {
        let mut body = Vec::new();
        while let Some(piece) = self.piece(&mut answer).await? {
            if body.len() + piece.len() > most {
                return Err(unreadable(&self.provider, "it is longer than any answer"));
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }

    async fn refused(&self, answer: Response) -> Failure {
        let status = answer.status().as_u16();
        let kind = media_type(&answer);
        let wait = answer.headers().get(RETRY_AFTER).and_then(|it| it.to_str().ok()?.parse().ok());
        if status == 404 && kind == "text/html" {
            // A web server's page, and not a provider that lacks a model.
            return self.unexpected(&kind);
        }
        let body = self.body(answer, LONGEST_NO).await.unwrap_or_default();
        self.failure(status, &Said::of_body(&body), wait)
    }

    /// Returns the failure for a no, without the key in it, whatever the provider repeats.
    fn failure(&self, status: u16, said: &Said, wait: Option<u64>) -> Failure {
        self.without_key(refusal::failure(&self.provider, status, said, wait))
    }

    /// Takes the key out of a failure that may repeat what a provider said.
    pub(super) fn without_key(&self, mut failure: Failure) -> Failure {
        if let Some(key) = &self.key {
            failure.message = failure.message.replace(key.reveal().as_str(), "…");
        }
        failure
    }

    fn unexpected(&self, kind: &str) -> Failure {
        let provider = &self.provider;
        let what = if kind == "text/html" { "a web page" } else { "something else" };
        let text = format!("`{provider}` answers with {what}: its `base_url` is hardly right");
        Failure::new(ErrorKind::Unavailable, "provider_is_none", text)
    }

    fn silent(&self) -> Failure {
        let Self { provider, silence, .. } = self;
        let text = format!("`{provider}` sent nothing for {silence:?}");
        Failure::new(ErrorKind::Timeout, "provider_silent", text)
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        // The innermost cause says it; what is around it repeats the address.
        let mut cause: &dyn Error = error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        let text = format!("`{}` cannot be reached: {cause}", self.provider);
        Failure::new(ErrorKind::Unavailable, "provider_unreachable", text)
    }
}

/// Returns what an answer says that it is, without its parameters; empty when it says nothing.
fn media_type(answer: &Response) -> String {
    let kind = answer.headers().get(CONTENT_TYPE).and_then(|it| it.to_str().ok());
    let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default();
    kind.trim().to_ascii_lowercase()
}
