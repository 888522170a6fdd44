//! The way from a command to the running node.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sedge_base::{ErrorKind, Secret};
use sedge_node::{AskWaits, Fetched, Home, Joined, Progress, Running};
use sedge_server::{AskLine, ErrorBody, FetchLine, KnockAsk};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::http::{HeaderMap, Response};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Body, RequestBuilder, SendBody};

use crate::failed::Failed;

/// The largest answer that is read, in bytes.
const ANSWER_LIMIT: u64 = 64 << 20;

/// How long a connection to this machine's own port may take.
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// A running node, as its own machine's programs reach it.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    agent: Agent,
    address: SocketAddr,
    tls: bool,
    key: Secret<String>,
    home: PathBuf,
}

/// A body that is given as it is, with what the node says about it in its headers.
#[derive(Debug)]
pub(crate) struct Raw {
    /// The body.
    pub(crate) body: Vec<u8>,
    /// The headers.
    pub(crate) headers: HeaderMap,
    /// Why it failed, if it did; the headers tell about the failed task then.
    pub(crate) failed: Option<Failed>,
}

impl Api {
    /// Finds the node that runs in a home.
    pub(crate) fn of_home(home: &Path) -> Result<Self, Failed> {
        // Without a node there is no talk of a key.
        running(home)?;
        let key = Home::read_api_key(home)
            .map_err(|err| Failed::of(err.kind(), &err).maybe_hint(err.hint()))?;
        Self::with_key(home, key)
    }

    /// Finds the node that runs in a home, to talk to it with another key than its own.
    pub(crate) fn with_key(home: &Path, key: Secret<String>) -> Result<Self, Failed> {
        let running = running(home)?;
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .max_redirects(0)
            .timeout_connect(Some(CONNECT_TIME))
            .tls_config(pinned(home, &running)?)
            .user_agent(concat!("sedge/", env!("CARGO_PKG_VERSION")))
            .build();
        let Running { api: address, tls, .. } = running;
        Ok(Self { agent: config.into(), address, tls, key, home: home.to_owned() })
    }

    /// Returns where the node's doors are.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns whether they speak TLS.
    pub(crate) const fn tls(&self) -> bool {
        self.tls
    }

    /// Returns the beginning of every address.
    pub(crate) fn base(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Asks for a record.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failed> {
        let response = self.send(self.keyed(self.agent.get(self.url(path))).call())?;
        decode(&whole(response)?)
    }

    /// Asks for a record that a healthy node has at once.
    pub(crate) fn quickly<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failed> {
        let request = self.keyed(self.agent.get(self.url(path)));
        let request = request.config().timeout_global(Some(CONNECT_TIME)).build();
        decode(&whole(self.send(request.call())?)?)
    }

    /// Asks for a file's bytes.
    pub(crate) fn get_bytes(&self, path: &str) -> Result<Vec<u8>, Failed> {
        whole(self.send(self.keyed(self.agent.get(self.url(path))).call())?)
    }

    /// Sends a record, reads a record.
    pub(crate) fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failed> {
        let request = self.keyed(self.agent.post(self.url(path)));
        decode(&whole(self.send(request.send(&json(body)?))?)?)
    }

    /// Asks for something to be done that needs no words, on one node if it is named.
    pub(crate) fn act<T: DeserializeOwned>(
        &self,
        path: &str,
        on: Option<&str>,
    ) -> Result<T, Failed> {
        let mut request = self.keyed(self.agent.post(self.url(path)));
        if let Some(on) = on {
            request = request.header("x-sedge-on", on);
        }
        decode(&whole(self.send(request.send_empty())?)?)
    }

    /// Asks the node's program to stop.
    pub(crate) fn stop(&self) -> Result<(), Failed> {
        let response = self.send(self.keyed(self.agent.post(self.url("stop"))).send_empty())?;
        whole(response).map(drop)
    }

    /// Sends a component with its options, reads a record.
    pub(crate) fn put<T: DeserializeOwned>(
        &self,
        path: &str,
        options: &impl Serialize,
        body: &[u8],
    ) -> Result<T, Failed> {
        let request = self.keyed(self.agent.put(self.url(path)));
        let request = request.header(sedge_server::OPTIONS_HEADER, ascii_json(options)?);
        decode(&whole(self.send(request.send(body))?)?)
    }

    /// Sends an artifact as it is read; refused by its length before it is sent.
    pub(crate) fn upload<T: DeserializeOwned>(
        &self,
        path: &str,
        length: u64,
        mut from: impl Read,
    ) -> Result<T, Failed> {
        let request = self.keyed(self.agent.post(self.url(path)));
        let request = request.header("content-length", length).header("expect", "100-continue");
        decode(&whole(self.send(request.send(SendBody::from_reader(&mut from)))?)?)
    }

    /// Writes an artifact as it comes.
    pub(crate) fn download(
        &self,
        path: &str,
        what: &str,
        mut to: impl Write,
    ) -> Result<u64, Failed> {
        let response = self.send(self.keyed(self.agent.get(self.url(path))).call())?;
        if !response.status().is_success() {
            whole(response)?;
            return Err(Failed::new(ErrorKind::Internal, "the node refused without a word"));
        }
        let mut from = response.into_body().into_reader();
        std::io::copy(&mut from, &mut to).map_err(|err| Failed::io(what, &err))
    }

    /// Lets the node fetch an artifact; calls `on` for each line but the last, which it returns.
    pub(crate) fn fetch(
        &self,
        path: &str,
        mut on: impl FnMut(Progress),
    ) -> Result<Fetched, Failed> {
        let response = self.send(self.keyed(self.agent.post(self.url(path))).send_empty())?;
        if !response.status().is_success() {
            whole(response)?;
            return Err(Failed::new(ErrorKind::Internal, "the node refused without a word"));
        }
        let reader = BufReader::new(response.into_body().into_reader());
        for line in reader.lines() {
            let line = line.map_err(|err| {
                Failed::new(ErrorKind::Unavailable, format!("the answer broke off: {err}"))
            })?;
            match decode(line.as_bytes())? {
                FetchLine::Progress(progress) => on(progress),
                FetchLine::Done(fetched) => return Ok(*fetched),
                FetchLine::Error(record) => return Err((*record).into()),
            }
        }
        Err(Failed::new(ErrorKind::Unavailable, "the answer broke off"))
    }

    /// Puts a record in place of the one that was there.
    pub(crate) fn set<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failed> {
        let request = self.keyed(self.agent.put(self.url(path)));
        decode(&whole(self.send(request.send(&json(body)?))?)?)
    }

    /// Lets the node ask another one to be let in; calls `on` when a person there has to decide.
    pub(crate) fn knock(
        &self,
        ask: &KnockAsk,
        mut on: impl FnMut(AskWaits),
    ) -> Result<Joined, Failed> {
        let response =
            self.send(self.keyed(self.agent.post(self.url("join/ask"))).send(&json(ask)?))?;
        if !response.status().is_success() {
            whole(response)?;
            return Err(Failed::new(ErrorKind::Internal, "the node refused without a word"));
        }
        for line in BufReader::new(response.into_body().into_reader()).lines() {
            let line = line.map_err(|err| {
                Failed::new(ErrorKind::Unavailable, format!("the answer broke off: {err}"))
            })?;
            match decode(line.as_bytes())? {
                AskLine::Waiting(waits) => on(waits),
                AskLine::Done(joined) => return Ok(*joined),
                AskLine::Error(record) => return Err((*record).into()),
            }
        }
        Err(Failed::new(ErrorKind::Unavailable, "the answer broke off"))
    }

    /// Reads lines of JSON as they come; calls `on` for each until it says that it has enough.
    pub(crate) fn lines(
        &self,
        path: &str,
        mut on: impl FnMut(&str) -> Result<ControlFlow<()>, Failed>,
    ) -> Result<(), Failed> {
        let response = self.send(self.keyed(self.agent.get(self.url(path))).call())?;
        if !response.status().is_success() {
            whole(response)?;
            return Err(Failed::new(ErrorKind::Internal, "the node refused without a word"));
        }
        for line in BufReader::new(response.into_body().into_reader()).lines() {
            let line = line.map_err(|err| {
                Failed::new(ErrorKind::Unavailable, format!("the answer broke off: {err}"))
            })?;
            if on(&line)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Removes something.
    pub(crate) fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failed> {
        let request = self.keyed(self.agent.delete(self.url(path)));
        decode(&whole(self.send(request.call())?)?)
    }

    /// Sends bytes, reads bytes; a failed task is not an error here.
    pub(crate) fn call(&self, path: &str, on: Option<&str>, body: &[u8]) -> Result<Raw, Failed> {
        let mut request = self.keyed(self.agent.post(self.url(path)));
        if let Some(on) = on {
            request = request.header("x-sedge-on", on);
        }
        let response = self.send(request.send(body))?;
        let headers = response.headers().clone();
        match whole(response) {
            Ok(body) => Ok(Raw { body, headers, failed: None }),
            Err(failed) => Ok(Raw { body: Vec::new(), headers, failed: Some(failed) }),
        }
    }

    /// Sends a chat request; calls `event` for every event of the answer.
    pub(crate) fn chat(
        &self,
        body: &Value,
        on: Option<&str>,
        mut event: impl FnMut(&Value),
    ) -> Result<(), Failed> {
        let url = format!("{}/v1/chat/completions", self.base());
        let mut request = self.keyed(self.agent.post(url));
        if let Some(on) = on {
            request = request.header("x-sedge-on", on);
        }
        let response = self.send(request.send(&json(body)?))?;
        if !response.status().is_success() {
            return whole(response).map(drop);
        }
        let reader = BufReader::new(response.into_body().into_reader());
        for line in reader.take(ANSWER_LIMIT).lines() {
            let line = line.map_err(|err| {
                Failed::new(ErrorKind::Unavailable, format!("the answer broke off: {err}"))
            })?;
            let Some(data) = line.strip_prefix("data: ") else { continue };
            if data == "[DONE]" {
                return Ok(());
            }
            let data: Value = decode(data.as_bytes())?;
            if !data["error"].is_null() {
                return Err(openai_failed(ErrorKind::Failed, &data));
            }
            event(&data);
        }
        Err(Failed::new(ErrorKind::Unavailable, "the answer broke off"))
    }

    fn url(&self, path: &str) -> String {
        format!("{}/api/v1/{path}", self.base())
    }

    fn keyed<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        request.header("authorization", format!("Bearer {}", self.key.reveal()))
    }

    fn send(&self, sent: Result<Response<Body>, ureq::Error>) -> Result<Response<Body>, Failed> {
        sent.map_err(|err| match err {
            ureq::Error::Io(err) if err.kind() == std::io::ErrorKind::ConnectionRefused => {
                no_node(&self.home)
            }
            ureq::Error::ConnectionFailed => no_node(&self.home),
            err => Failed::new(ErrorKind::Unavailable, format!("the node does not answer: {err}"))
                .hint("its log may say why; `sedge down` and `sedge up` start it anew"),
        })
    }
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, Failed> {
    serde_json::to_vec(value)
        .map_err(|err| Failed::new(ErrorKind::Internal, format!("unwritable request: {err}")))
}

/// Trusts the authority in the node's home and no other, when the node speaks TLS.
fn pinned(home: &Path, running: &Running) -> Result<TlsConfig, Failed> {
    if !running.tls {
        return Ok(TlsConfig::default());
    }
    let path = Home::authority_path(home);
    let pem = std::fs::read(&path).map_err(|err| Failed::io(&path.display().to_string(), &err))?;
    let authority = Certificate::from_pem(&pem).map_err(|_| {
        Failed::new(ErrorKind::Corrupt, format!("{} holds no certificate", path.display()))
            .hint("`sedge down` and `sedge up` write it anew")
    })?;
    Ok(TlsConfig::builder().root_certs(RootCerts::new_with_certs(&[authority])).build())
}

/// Returns how to reach the node that runs in a home.
fn running(home: &Path) -> Result<Running, Failed> {
    Home::running(home)
        .map_err(|err| Failed::of(err.kind(), &err).maybe_hint(err.hint()))?
        .ok_or_else(|| no_node(home))
}

/// Says that there is nobody to talk to.
pub(crate) fn no_node(home: &Path) -> Failed {
    Failed::new(ErrorKind::Unavailable, format!("no node is running in {}", home.display()))
        .hint("start one with `sedge up`")
}

/// Reads a whole answer; a refusal becomes a failure.
fn whole(response: Response<Body>) -> Result<Vec<u8>, Failed> {
    let status = response.status();
    let body = response.into_body().into_with_config().limit(ANSWER_LIMIT).read_to_vec();
    let body = body.map_err(|err| {
        Failed::new(ErrorKind::Unavailable, format!("the answer broke off: {err}"))
    })?;
    if status.is_success() {
        return Ok(body);
    }
    if let Ok(ErrorBody { error }) = serde_json::from_slice(&body) {
        return Err(error.into());
    }
    let kind = kind_of_status(status.as_u16());
    let value: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    Err(openai_failed(kind, &value))
}

fn openai_failed(kind: ErrorKind, body: &Value) -> Failed {
    let message = body["error"]["message"].as_str().unwrap_or("the node refused without a word");
    let code = body["error"]["code"].as_str();
    let mut failed = Failed::new(kind, message);
    failed.code = code.map(str::to_owned);
    match code {
        Some("model_not_found") => failed.hint("`sedge models` lists what is offered"),
        _ => failed,
    }
}

/// Returns the kind that a status stands for.
fn kind_of_status(status: u16) -> ErrorKind {
    let kind = ErrorKind::ALL.into_iter().find(|it| it.http_status() == status);
    kind.unwrap_or(if status < 500 { ErrorKind::Invalid } else { ErrorKind::Internal })
}

/// Reads what the node answered.
pub(crate) fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failed> {
    serde_json::from_slice(body).map_err(|err| {
        Failed::new(ErrorKind::Internal, format!("the node's answer is not understood: {err}"))
            .hint("the node and this program may be of different versions")
    })
}

/// Writes JSON that a header can carry: other than ASCII becomes `\u` escapes.
fn ascii_json(value: &impl Serialize) -> Result<String, Failed> {
    let text = serde_json::to_string(value)
        .map_err(|err| Failed::new(ErrorKind::Internal, format!("unwritable options: {err}")))?;
    let mut ascii = String::with_capacity(text.len());
    for char in text.chars() {
        if char.is_ascii() && char != '\u{7f}' {
            ascii.push(char);
        } else {
            for unit in char.encode_utf16(&mut [0; 2]) {
                ascii.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    Ok(ascii)
}

/// Writes a text as one segment of a path.
pub(crate) fn segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_escaped() {
        assert_eq!(segment("fn-1"), "fn-1");
        assert_eq!(segment("a/b c?"), "a%2Fb%20c%3F");
    }

    #[test]
    fn headers_carry_ascii_only() {
        assert_eq!(ascii_json(&"é😀\n").unwrap(), r#""\u00e9\ud83d\ude00\n""#);
    }
}
