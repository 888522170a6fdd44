//! A way through an HTTP proxy: `CONNECT` (RFC 9110, section 9.3.6).

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The longest answer of a proxy that is read, in bytes.
const ANSWER: usize = 8 << 10;

/// Asks the proxy at the other end of `stream` for a connection to `to`.
///
/// # Errors
///
/// Any [`io::Error`] of the stream; [`io::ErrorKind::ConnectionRefused`] when the proxy says no.
pub(super) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    to: SocketAddr,
) -> io::Result<()> {
    let request = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    // One byte at a time: what follows the head is no longer the proxy's.
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() == ANSWER {
            return Err(io::ErrorKind::InvalidData.into());
        }
        answer.push(stream.read_u8().await?);
    }
    if is_yes(&answer) { Ok(()) } else { Err(io::ErrorKind::ConnectionRefused.into()) }
}

/// Returns whether an answer's status is one of success.
fn is_yes(answer: &[u8]) -> bool {
    let mut words = answer.split(|it| *it == b' ');
    let version = words.next().is_some_and(|it| it.starts_with(b"HTTP/1."));
    let status = words.next().unwrap_or_default();
    version && status.len() == 3 && status[0] == b'2' && status.iter().all(u8::is_ascii_digit)
}

/// Feeds a proxy's answer to its reader; returns whether it is a way through.
#[cfg(any(test, fuzzing))]
pub(super) fn feed(answer: &[u8]) -> bool {
    is_yes(answer)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(answer: &str, expected: bool) {
        assert_eq!(is_yes(answer.as_bytes()), expected);
    }

    #[test]
    fn only_success_is_a_way_through() {
        check("HTTP/1.1 200 Connection established\r\n\r\n", true);
        check("HTTP/1.0 204 \r\n\r\n", true);
        check("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", false);
        check("SSH-2.0 200 \r\n\r\n", false);
        check("\r\n\r\n", false);
    }

    #[tokio::test]
    async fn an_endless_answer_is_given_up() {
        let (mut near, mut far) = tokio::io::duplex(64);
        let to = "127.0.0.1:1".parse().unwrap();
        let flood = async { while far.write_all(&[b'x'; 64]).await.is_ok() {} };
        let asked = tokio::select! {
            asked = connect(&mut near, to) => asked,
            () = flood => Ok(()),
        };
        assert_eq!(asked.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    proptest! {
        #[test]
        fn garbage_is_no_way_through(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            prop_assert!(!is_yes(&bytes) || bytes.starts_with(b"HTTP/1."));
        }
    }
}
