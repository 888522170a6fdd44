//! A component of an application: it answers with what it was given, a line for each thing. Each word of
//! the body is a variable that it asks for.

wit_bindgen::generate!({ path: "wit", world: "shape", generate_all });

use fermyon::spin::variables;
use wasi::config::store;
use wasip2::cli::environment;
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{
    Fields, IncomingBody, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

struct Shape;

wasip2::http::proxy::export!(Shape);

impl Guest for Shape {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let mut lines = vec![
            format!("method: {:?}", request.method()),
            format!("path: {}", request.path_with_query().unwrap_or_default()),
        ];
        for (name, value) in request.headers().entries() {
            lines.push(format!("{name}: {}", String::from_utf8_lossy(&value)));
        }
        let environment = environment::get_environment().into_iter();
        lines.extend(environment.map(|(name, value)| format!("env {name}={value}")));
        for word in String::from_utf8_lossy(&read(request)).split_whitespace() {
            lines.push(format!("spin {word}: {:?}", variables::get(word)));
            lines.push(format!("config {word}: {:?}", store::get(word)));
        }
        lines.push(format!("all: {:?}", store::get_all()));
        answer(out, lines.join("\n").as_bytes());
    }
}

fn read(request: IncomingRequest) -> Vec<u8> {
    let mut all = Vec::new();
    let Ok(body) = request.consume() else { return all };
    if let Ok(stream) = body.stream() {
        while let Ok(bytes) = stream.blocking_read(64 * 1024) {
            all.extend_from_slice(&bytes);
        }
    }
    drop(IncomingBody::finish(body));
    all
}

fn answer(out: ResponseOutparam, bytes: &[u8]) {
    let response = OutgoingResponse::new(Fields::new());
    let Ok(body) = response.body() else { return };
    ResponseOutparam::set(out, Ok(response));
    if let Ok(stream) = body.write() {
        for piece in bytes.chunks(4096) {
            if stream.blocking_write_and_flush(piece).is_err() {
                break;
            }
        }
    }
    drop(OutgoingBody::finish(body, None));
}
