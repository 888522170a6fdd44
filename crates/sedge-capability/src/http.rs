//! HTTP messages as inputs and outputs: the media type `message/http` (RFC 9112, section 10.1).
//!
//! A message travels whole, so everything after the empty line is its body; `content-length` may
//! say so, and must then be right. Transfer codings and what else belongs to one connection only
//! are taken out by whoever puts a message in, and refused by whoever takes it out.

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderName, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use sedge_base::ErrorKind;

/// The most header fields of one message.
pub const MAX_FIELDS: usize = 100;

/// The longest head of a message, from its first line to the empty line, in bytes.
pub const MAX_HEAD: usize = 64 << 10;

/// Fields that belong to one connection and never to a message that is passed on (RFC 9110, 7.6.1).
const HOP_BY_HOP: [HeaderName; 8] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("proxy-authorization"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Why bytes are not an HTTP message that a task can carry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// The head is not one.
    #[error("this is no HTTP/1.1 message: {reason}")]
    Head {
        /// What the parser met.
        reason: String,
    },
    /// The head does not end.
    #[error("the head of the HTTP message does not end within its first {MAX_HEAD} bytes")]
    Unfinished,
    /// The first line names no method, target or status that exists.
    #[error("the first line of the HTTP message is wrong")]
    FirstLine,
    /// A field belongs to one connection only.
    #[error("`{field}` belongs to one connection and not to a message that is passed on")]
    HopByHop {
        /// The field's name.
        field: HeaderName,
    },
    /// The body is longer or shorter than its head says.
    #[error("the HTTP message says that its body has {said} bytes, it has {has}")]
    Length {
        /// What the head says.
        said: String,
        /// What came.
        has: usize,
    },
}

impl MessageError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

/// Takes out what belongs to one connection only, and what `connection` names beside it.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|it| it.to_str().ok())
        .flat_map(|it| it.split(','))
        .filter_map(|it| it.trim().parse().ok())
        .collect();
    for name in HOP_BY_HOP.iter().chain(&named) {
        headers.remove(name);
    }
}

/// Writes a request with its target in origin form; the authority goes to `host` if none is set.
pub fn write_request(request: &Request<Bytes>) -> Bytes {
    let mut out = BytesMut::new();
    let target = request.uri().path_and_query().map_or("/", |it| it.as_str());
    out.put_slice(request.method().as_str().as_bytes());
    out.put_slice(b" ");
    out.put_slice(target.as_bytes());
    out.put_slice(b" HTTP/1.1\r\n");
    if !request.headers().contains_key(HOST)
        && let Some(authority) = request.uri().authority()
    {
        field(&mut out, &HOST, authority.as_str().as_bytes());
    }
    rest(out, request.headers(), request.body())
}

/// Writes a response.
pub fn write_response(response: &Response<Bytes>) -> Bytes {
    let mut out = BytesMut::new();
    out.put_slice(b"HTTP/1.1 ");
    out.put_slice(response.status().as_str().as_bytes());
    out.put_slice(b" ");
    out.put_slice(response.status().canonical_reason().unwrap_or_default().as_bytes());
    out.put_slice(b"\r\n");
    rest(out, response.headers(), response.body())
}

/// Reads a request; its address has the host of the `host` field, if there is one.
///
/// # Errors
///
/// [`MessageError`] when the bytes are no request, or one that belongs to a connection.
pub fn read_request(message: &Bytes) -> Result<Request<Bytes>, MessageError> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut head = httparse::Request::new(&mut fields);
    let length = finished(head.parse(beginning(message)))?;
    let (Some(method), Some(target)) = (head.method, head.path) else {
        return Err(MessageError::FirstLine);
    };
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| MessageError::FirstLine)?;
    let (headers, body) = split(message, length, head.headers)?;
    let mut uri = Uri::builder().path_and_query(target);
    if !target.starts_with('/') {
        return Err(MessageError::FirstLine);
    }
    if let Some(host) = headers.get(HOST) {
        uri = uri.scheme("http").authority(host.as_bytes());
    }
    let uri = uri.build().map_err(|_| MessageError::FirstLine)?;
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_11;
    *request.headers_mut() = headers;
    Ok(request)
}

/// Reads a response.
///
/// # Errors
///
/// [`MessageError`] when the bytes are no response, or one that belongs to a connection.
pub fn read_response(message: &Bytes) -> Result<Response<Bytes>, MessageError> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut head = httparse::Response::new(&mut fields);
    let length = finished(head.parse(beginning(message)))?;
    let status = head.code.and_then(|it| StatusCode::from_u16(it).ok());
    let status = status.ok_or(MessageError::FirstLine)?;
    let (headers, body) = split(message, length, head.headers)?;
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

fn field(out: &mut BytesMut, name: &HeaderName, value: &[u8]) {
    out.put_slice(name.as_str().as_bytes());
    out.put_slice(b": ");
    out.put_slice(value);
    out.put_slice(b"\r\n");
}

fn rest(mut out: BytesMut, headers: &HeaderMap, body: &Bytes) -> Bytes {
    for (name, value) in headers {
        if *name != CONTENT_LENGTH && !HOP_BY_HOP.contains(name) {
            field(&mut out, name, value.as_bytes());
        }
    }
    field(&mut out, &CONTENT_LENGTH, body.len().to_string().as_bytes());
    out.put_slice(b"\r\n");
    out.put_slice(body);
    out.freeze()
}

fn beginning(message: &Bytes) -> &[u8] {
    message.get(..MAX_HEAD).unwrap_or(message)
}

fn finished(parsed: httparse::Result<usize>) -> Result<usize, MessageError> {
    match parsed {
        Ok(httparse::Status::Complete(length)) => Ok(length),
        Ok(httparse::Status::Partial) => Err(MessageError::Unfinished),
        Err(err) => Err(MessageError::Head { reason: err.to_string() }),
    }
}

/// Returns the fields and what follows them.
fn split(
    message: &Bytes,
    length: usize,
    fields: &[httparse::Header<'_>],
) -> Result<(HeaderMap, Bytes), MessageError> {
    let body = message.slice(length..);
    let mut headers = HeaderMap::new();
    for it in fields {
        let wrong = |reason: &str| MessageError::Head { reason: reason.to_owned() };
        let name =
            HeaderName::from_bytes(it.name.as_bytes()).map_err(|_| wrong("a field's name"))?;
        let value = HeaderValue::from_bytes(it.value).map_err(|_| wrong("a field's value"))?;
        if HOP_BY_HOP.contains(&name) {
            return Err(MessageError::HopByHop { field: name });
        }
        headers.append(name, value);
    }
    for said in headers.get_all(CONTENT_LENGTH) {
        let text = String::from_utf8_lossy(said.as_bytes());
        if text != body.len().to_string() {
            return Err(MessageError::Length { said: text.into_owned(), has: body.len() });
        }
    }
    Ok((headers, body))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reasons(message: &str) -> String {
        read_request(&Bytes::from(message.to_owned())).unwrap_err().to_string()
    }

    #[test]
    fn a_request_there_and_back() {
        let request = Request::put("http://shop.local:8080/a%20b/c?d=e")
            .header("x-one", "1")
            .header("x-one", "2")
            .header("connection", "keep-alive")
            .body(Bytes::from_static(b"body\r\n\r\n"))
            .unwrap();
        let message = write_request(&request);
        assert_eq!(
            message,
            "PUT /a%20b/c?d=e HTTP/1.1\r\nhost: shop.local:8080\r\nx-one: 1\r\nx-one: 2\r\n\
             content-length: 8\r\n\r\nbody\r\n\r\n"
        );
        let read = read_request(&message).unwrap();
        assert_eq!((read.method(), read.uri()), (request.method(), request.uri()));
        assert_eq!(read.body(), request.body());
        assert_eq!(write_request(&read), message);
    }

    #[test]
    fn a_response_there_and_back() {
        let response = Response::builder().status(404).header("a", "b");
        let message = write_response(&response.body(Bytes::from_static(b"no")).unwrap());
        assert_eq!(message, "HTTP/1.1 404 Not Found\r\na: b\r\ncontent-length: 2\r\n\r\nno");
        let read = read_response(&message).unwrap();
        assert_eq!((read.status().as_u16(), &**read.body()), (404, &b"no"[..]));
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let cases = [
            ("", "the head of the HTTP message does not end within its first 65536 bytes"),
            (
                "GET / HTTP/1.1\r\na: b\r\n",
                "the head of the HTTP message does not end within its first 65536 bytes",
            ),
            ("hello", "the head of the HTTP message does not end within its first 65536 bytes"),
            ("GET / HTTP/1.1\r\na b\r\n\r\n", "this is no HTTP/1.1 message: invalid header name"),
            ("GET http://a/ HTTP/1.1\r\n\r\n", "the first line of the HTTP message is wrong"),
            (
                "GET / HTTP/1.1\r\ncontent-length: 3\r\n\r\nab",
                "the HTTP message says that its body has 3 bytes, it has 2",
            ),
            (
                "GET / HTTP/1.1\r\ncontent-length: +2\r\n\r\nab",
                "the HTTP message says that its body has +2 bytes, it has 2",
            ),
            (
                "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                "`transfer-encoding` belongs to one connection and not to a message that is passed on",
            ),
        ];
        for (message, expected) in cases {
            assert_eq!(reasons(message), expected, "{message:?}");
        }
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(MAX_FIELDS + 1));
        assert_eq!(reasons(&many), "this is no HTTP/1.1 message: too many headers");
        let long = format!("GET / HTTP/1.1\r\na: {}\r\n\r\n", "x".repeat(MAX_HEAD));
        assert_eq!(reasons(&long), MessageError::Unfinished.to_string());
    }

    #[test]
    fn what_belongs_to_a_connection_is_taken_out() {
        let mut headers = HeaderMap::new();
        for (name, value) in
            [("connection", "close, X-Mine"), ("x-mine", "1"), ("te", "x"), ("a", "b")]
        {
            headers.append(name, HeaderValue::from_static(value));
        }
        strip_hop_by_hop(&mut headers);
        assert_eq!(headers.keys().collect::<Vec<_>>(), ["a"]);
    }

    proptest! {
        #[test]
        fn garbage_is_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let bytes = Bytes::from(bytes);
            drop((read_request(&bytes), read_response(&bytes)));
        }

        #[test]
        fn what_is_read_is_written_alike(
            target in "/[a-z0-9/?&=%.]{0,20}",
            fields in proptest::collection::vec(("x-[a-z]{1,8}", "[ -~]{0,20}"), 0..5),
            body in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            let mut message = format!("POST {target} HTTP/1.1\r\nhost: a\r\n");
            for (name, value) in fields {
                message.push_str(&format!("{name}: {value}\r\n"));
            }
            let mut message = message.into_bytes();
            message.extend_from_slice(b"\r\n");
            message.extend_from_slice(&body);
            if let Ok(read) = read_request(&message.into()) {
                let written = write_request(&read);
                let again = read_request(&written).unwrap();
                prop_assert_eq!(again.uri(), read.uri());
                prop_assert_eq!(again.body(), read.body());
                prop_assert_eq!(write_request(&again), written);
            }
        }
    }
}
