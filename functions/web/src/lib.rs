//! An HTTP handler: `/` answers with the body in upper case, the other paths misbehave on demand.

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    Fields, IncomingBody, IncomingRequest, OutgoingBody, OutgoingRequest, OutgoingResponse,
    ResponseOutparam, Scheme,
};
use wasip2::io::streams::StreamError;

struct Web;

wasip2::http::proxy::export!(Web);

impl Guest for Web {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        match path.as_str() {
            "/" => answer(out, 200, &read(request).to_ascii_uppercase()),
            "/fetch" => fetch(out),
            "/flood" => flood(out),
            "/loop" => loop {
                std::hint::black_box(0);
            },
            "/silent" => drop(out),
            "/trap" => core::arch::wasm32::unreachable(),
            _ => answer(out, 404, b"no such page"),
        }
    }
}

fn read(request: IncomingRequest) -> Vec<u8> {
    let mut all = Vec::new();
    let Ok(body) = request.consume() else { return all };
    if let Ok(stream) = body.stream() {
        loop {
            match stream.blocking_read(64 * 1024) {
                Ok(bytes) => all.extend_from_slice(&bytes),
                Err(StreamError::Closed | StreamError::LastOperationFailed(_)) => break,
            }
        }
    }
    drop(IncomingBody::finish(body));
    all
}

fn begin(out: ResponseOutparam, status: u16) -> Option<OutgoingBody> {
    let headers = Fields::new();
    headers.set("content-type", &[b"text/plain".to_vec()]).ok()?;
    let response = OutgoingResponse::new(headers);
    response.set_status_code(status).ok()?;
    let body = response.body().ok()?;
    ResponseOutparam::set(out, Ok(response));
    Some(body)
}

fn answer(out: ResponseOutparam, status: u16, bytes: &[u8]) {
    let Some(body) = begin(out, status) else { return };
    if let Ok(stream) = body.write() {
        for piece in bytes.chunks(4096) {
            if stream.blocking_write_and_flush(piece).is_err() {
                break;
            }
        }
    }
    drop(OutgoingBody::finish(body, None));
}

/// Writes for ever.
fn flood(out: ResponseOutparam) {
    let Some(body) = begin(out, 200) else { return };
    if let Ok(stream) = body.write() {
        while stream.blocking_write_and_flush(&[b'x'; 4096]).is_ok() {}
    }
}

/// Asks another server and tells how that went.
fn fetch(out: ResponseOutparam) {
    let request = OutgoingRequest::new(Fields::new());
    let made = request.set_scheme(Some(&Scheme::Http)).is_ok()
        && request.set_authority(Some("example.com")).is_ok()
        && request.set_path_with_query(Some("/")).is_ok();
    let words = match outgoing_handler::handle(request, None) {
        Ok(future) => {
            future.subscribe().block();
            format!("{:?}", future.get().map(|it| it.map(|it| it.map(|it| it.status()))))
        }
        Err(code) => format!("{code:?}"),
    };
    answer(out, if made { 200 } else { 500 }, words.as_bytes());
}
