//! Answers HTTP requests: `/hello/NAME` with a greeting.

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

struct Greeter;

wasip2::http::proxy::export!(Greeter);

impl Guest for Greeter {
    /// Answers one request; every request has a fresh instance.
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        match path.strip_prefix("/hello/") {
            Some(name) if !name.is_empty() => answer(out, 200, &format!("Hello, {name}!")),
            _ => answer(out, 404, "ask for /hello/NAME"),
        }
    }
}

fn answer(out: ResponseOutparam, status: u16, text: &str) {
    let headers = Fields::new();
    let _ = headers.set("content-type", &[b"text/plain; charset=utf-8".to_vec()]);
    let response = OutgoingResponse::new(headers);
    let _ = response.set_status_code(status);
    let Ok(body) = response.body() else { return };
    ResponseOutparam::set(out, Ok(response));
    if let Ok(stream) = body.write() {
        // Whoever asked may be gone by now.
        let _ = stream.blocking_write_and_flush(text.as_bytes());
    }
    let _ = OutgoingBody::finish(body, None);
}
