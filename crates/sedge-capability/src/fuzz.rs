//! What a stranger's bytes reach in this crate, for the fuzzer and for its kept inputs (`fuzz/README.md`).

use std::str;

use bytes::Bytes;

use crate::http::{read_request, read_response, write_request, write_response};
use crate::{Descriptor, End, Name};

/// The name of a decoder and what feeds it.
type Target = (&'static str, fn(&[u8]) -> bool);

/// The decoders; what feeds one returns whether the input was taken.
pub const TARGETS: &[Target] = &[("capability_http", http), ("capability_record", record)];

/// HTTP messages as tasks carry them; what was read is written and read alike.
fn http(bytes: &[u8]) -> bool {
    let message = Bytes::copy_from_slice(bytes);
    let (request, response) = (read_request(&message), read_response(&message));
    let taken = request.is_ok() || response.is_ok();
    if let Ok(request) = request {
        let again = read_request(&write_request(&request)).map(|it| it.into_body());
        assert_eq!(again.ok(), Some(request.into_body()), "it is written as it was read");
    }
    if let Ok(response) = response {
        let again = read_response(&write_response(&response)).map(|it| it.into_body());
        assert_eq!(again.ok(), Some(response.into_body()), "it is written as it was read");
    }
    taken
}

/// What members say of capabilities and of tasks that ended.
fn record(bytes: &[u8]) -> bool {
    let name = str::from_utf8(bytes).is_ok_and(|it| it.parse::<Name>().is_ok());
    let described = serde_json::from_slice::<Descriptor>(bytes).is_ok();
    name || described || serde_json::from_slice::<End>(bytes).is_ok()
}

#[cfg(test)]
#[path = "../../../fuzz/src/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::replay::all;
    use super::*;

    #[test]
    fn every_kept_input_is_taken_or_refused_as_its_name_says() {
        let text = |it: &str| it.as_bytes().to_vec();
        let sound = "POST /a?b=1 HTTP/1.1\r\nhost: h:80\r\ncontent-length: 2\r\nx-a: 1\r\n\r\nhi";
        let named = [
            ("capability_http", "sound.read", text(sound)),
            ("capability_http", "response.read", text("HTTP/1.1 200 OK\r\nx: y\r\n\r\nhi")),
            ("capability_http", "truncated.refused", text(&sound[..40])),
            (
                "capability_http",
                "malformed.refused",
                text(&sound.replace("content-length: 2", "content-length: 3")),
            ),
            (
                "capability_http",
                "huge.refused",
                text(&sound.replace("content-length: 2", "content-length: 99999999999999999999")),
            ),
            (
                "capability_http",
                "deep.refused",
                text(&format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(2000))),
            ),
            ("capability_http", "version.refused", text(&sound.replace("HTTP/1.1", "HTTP/9.1"))),
            ("capability_record", "name.read", text("text.echo")),
            ("capability_record", "malformed.refused", text("{\"name\":1}")),
            ("capability_record", "huge.refused", vec![b'a'; 300]),
            ("capability_record", "deep.refused", vec![b'['; 2000]),
        ];
        all(TARGETS, &named);
    }
}
