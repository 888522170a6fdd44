//! A component that always gives the same answer: its variables `status`, `headers` (a line for each) and
//! `body`.

wit_bindgen::generate!({ path: "wit", world: "fixed", generate_all });

use wasi::config::store;
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

struct Fixed;

wasip2::http::proxy::export!(Fixed);

impl Guest for Fixed {
    fn handle(_request: IncomingRequest, out: ResponseOutparam) {
        let told = |name| store::get(name).ok().flatten().unwrap_or_default();
        let headers = Fields::new();
        for line in told("headers").lines() {
            if let Some((name, value)) = line.split_once(": ") {
                drop(headers.append(name, value.as_bytes()));
            }
        }
        let response = OutgoingResponse::new(headers);
        drop(response.set_status_code(told("status").parse().unwrap_or(200)));
        let Ok(body) = response.body() else { return };
        ResponseOutparam::set(out, Ok(response));
        if let Ok(stream) = body.write() {
            for piece in told("body").as_bytes().chunks(4096) {
                if stream.blocking_write_and_flush(piece).is_err() {
                    break;
                }
            }
        }
        drop(OutgoingBody::finish(body, None));
    }
}
