//! Asking an OpenAI-compatible endpoint.

use serde_json::Value;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{Fields, Method, OutgoingBody, OutgoingRequest, Scheme};

use crate::wire::{read, write};

/// The largest answer, in bytes.
const MOST_TOLD: usize = 4 << 20;

/// Where to ask.
pub struct Endpoint {
    scheme: Scheme,
    authority: String,
    path: String,
}

impl Endpoint {
    /// Reads an address such as `https://api.example.com/v1`.
    pub fn parse(base: &str) -> Option<Self> {
        let (scheme, rest) = base.split_once("://")?;
        let scheme = match scheme {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return None,
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if authority.is_empty() {
            return None;
        }
        let path = format!("/{path}").trim_end_matches('/').to_owned();
        Some(Self { scheme, authority: authority.to_owned(), path })
    }
}

/// Asks for a completion; returns the endpoint's record, or what went wrong.
pub fn complete(to: &Endpoint, key: Option<&str>, wanted: &Value) -> Result<Value, String> {
    let headers = Fields::new();
    let mut given = vec![("content-type", "application/json".to_owned())];
    given.extend(key.map(|it| ("authorization", format!("Bearer {it}"))));
    for (name, value) in given {
        headers.set(name, &[value.into_bytes()]).map_err(|it| format!("header {name}: {it}"))?;
    }
    let request = OutgoingRequest::new(headers);
    let path = format!("{}/chat/completions", to.path);
    let made = request.set_method(&Method::Post).is_ok()
        && request.set_scheme(Some(&to.scheme)).is_ok()
        && request.set_authority(Some(&to.authority)).is_ok()
        && request.set_path_with_query(Some(&path)).is_ok();
    let body = request.body();
    let (true, Ok(body)) = (made, body) else { return Err("the address cannot be asked".to_owned()) };
    let answer = outgoing_handler::handle(request, None).map_err(|it| format!("not sent: {it:?}"))?;
    let sent = write(&body, wanted.to_string().as_bytes());
    drop(OutgoingBody::finish(body, None));
    answer.subscribe().block();
    let response = match answer.get() {
        Some(Ok(Ok(response))) => response,
        Some(Ok(Err(code))) => return Err(format!("{} does not answer: {code:?}", to.authority)),
        _ => return Err(format!("{} does not answer", to.authority)),
    };
    sent?;
    let status = response.status();
    let body = response.consume().map_err(|()| "the answer cannot be read".to_owned())?;
    let bytes = read(body, MOST_TOLD)?;
    let told = serde_json::from_slice::<Value>(&bytes);
    if !(200..300).contains(&status) {
        let why = told.ok().and_then(|it| it["error"]["message"].as_str().map(str::to_owned));
        return Err(format!("the endpoint answered {status}: {}", why.unwrap_or_default()));
    }
    told.map_err(|it| format!("the endpoint's answer is no JSON: {it}"))
}
