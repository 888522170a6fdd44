//! An HTTP handler: `/` answers with the body in upper case, the other paths misbehave on demand.

use wasip2::cli::environment;
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
            "/ask" => ask(out, &read(request)),
            "/dump" => dump(out, &read(request)),
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

/// Asks `AUTHORITY PATH` by GET over plain HTTP, with a header of its own that the host may replace; returns
/// the status and the body, or why there is none.
fn asked(target: &[u8]) -> Vec<u8> {
    let Ok(target) = core::str::from_utf8(target) else { return b"no text".to_vec() };
    let Some((authority, path)) = target.trim().split_once(' ') else { return b"no target".to_vec() };
    let headers = Fields::new();
    let own = headers.set("authorization", &[b"Bearer of-the-guest".to_vec()]);
    let request = OutgoingRequest::new(headers);
    let made = own.is_ok()
        && request.set_scheme(Some(&Scheme::Http)).is_ok()
        && request.set_authority(Some(authority)).is_ok()
        && request.set_path_with_query(Some(path)).is_ok();
    if !made {
        return b"no request".to_vec();
    }
    let future = match outgoing_handler::handle(request, None) {
        Ok(future) => future,
        Err(code) => return format!("{code:?}").into_bytes(),
    };
    future.subscribe().block();
    let response = match future.get() {
        Some(Ok(Ok(response))) => response,
        other => return format!("{:?}", other.map(|it| it.map(|it| it.map(|_| ())))).into_bytes(),
    };
    let mut told = format!("{} ", response.status()).into_bytes();
    if let Ok(body) = response.consume() {
        if let Ok(stream) = body.stream() {
            while let Ok(bytes) = stream.blocking_read(64 * 1024) {
                told.extend_from_slice(&bytes);
            }
        }
        drop(IncomingBody::finish(body));
    }
    told
}

fn ask(out: ResponseOutparam, target: &[u8]) {
    answer(out, 200, &asked(target));
}

/// Asks, and then answers with all of this guest's memory, its environment among it.
fn dump(out: ResponseOutparam, target: &[u8]) {
    let told = asked(target);
    let environment = environment::get_environment();
    let Some(body) = begin(out, 200) else { return };
    if let Ok(stream) = body.write() {
        drop(stream.blocking_write_and_flush(b"told: "));
        for piece in told.chunks(4096) {
            drop(stream.blocking_write_and_flush(piece));
        }
        let pages = core::arch::wasm32::memory_size(0);
        // SAFETY: the memory of this guest lies from 0 to here, and nothing else runs in it; its first
        // bytes are left out, because a slice does not begin at the null pointer.
        let memory = unsafe { core::slice::from_raw_parts(16 as *const u8, pages * 65536 - 16) };
        for piece in memory.chunks(4096) {
            if stream.blocking_write_and_flush(piece).is_err() {
                break;
            }
        }
    }
    drop(std::hint::black_box(environment));
    drop(OutgoingBody::finish(body, None));
}
