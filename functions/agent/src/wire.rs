//! Bodies, read and written.

use serde_json::Value;
use wasip2::http::types::{Fields, IncomingBody, OutgoingBody, OutgoingResponse, ResponseOutparam};
use wasip2::io::streams::StreamError;

/// Reads a body to its end, or says that it is too long.
pub fn read(body: IncomingBody, most: usize) -> Result<Vec<u8>, String> {
    let mut all = Vec::new();
    let stream = body.stream().map_err(|()| "the body cannot be read".to_owned())?;
    loop {
        match stream.blocking_read(64 * 1024) {
            Ok(bytes) => all.extend_from_slice(&bytes),
            Err(StreamError::Closed) => break,
            Err(StreamError::LastOperationFailed(why)) => {
                return Err(format!("the body broke off: {}", why.to_debug_string()));
            }
        }
        if all.len() > most {
            return Err(format!("the body has more than {most} bytes"));
        }
    }
    drop(stream);
    drop(IncomingBody::finish(body));
    Ok(all)
}

/// Writes all of a body.
pub fn write(body: &OutgoingBody, bytes: &[u8]) -> Result<(), String> {
    let stream = body.write().map_err(|()| "the body cannot be written".to_owned())?;
    for piece in bytes.chunks(4096) {
        stream.blocking_write_and_flush(piece).map_err(|it| format!("the body broke off: {it:?}"))?;
    }
    Ok(())
}

/// Answers with a record.
pub fn answer(out: ResponseOutparam, status: u16, value: &Value) {
    let headers = Fields::new();
    let typed = headers.set("content-type", &[b"application/json".to_vec()]).is_ok();
    let response = OutgoingResponse::new(headers);
    let numbered = response.set_status_code(status).is_ok();
    let (true, true, Ok(body)) = (typed, numbered, response.body()) else { return };
    ResponseOutparam::set(out, Ok(response));
    // Whoever asked may be gone; there is nobody else to be told.
    drop(write(&body, value.to_string().as_bytes()));
    drop(OutgoingBody::finish(body, None));
}
