//! What a server of Redis and its clients say to each other, in version 2 of its protocol.

use std::io;

use sedge_base::ErrorKind;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _};

/// The longest line, in bytes.
const MOST_LINE: u64 = 64 << 10;
/// How deep lists may lie in lists.
const DEEPEST: usize = 8;
/// What an answer costs in memory, beside its bytes.
const COST: u64 = 64;

/// What a server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    /// Nothing.
    Nil,
    /// A word, such as `OK`.
    Status(String),
    /// What went wrong.
    Error(String),
    /// A number.
    Number(i64),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Several of all these.
    List(Vec<Self>),
}

/// Why what a server says is not understood, or not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
    /// It ended.
    #[error("the server closed the connection")]
    Closed,
    /// It is another protocol, or damaged.
    #[error("this is not the protocol of Redis")]
    Malformed,
    /// It is longer than is taken.
    #[error("the answer is too long")]
    TooLong,
}

impl WireError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Broken(_) | Self::Closed => ErrorKind::Unavailable,
            Self::Malformed => ErrorKind::Corrupt,
            Self::TooLong => ErrorKind::Exhausted,
        }
    }
}

/// Returns the bytes of a command.
pub(super) fn command(parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", parts.len()).into_bytes();
    for part in parts {
        bytes.extend_from_slice(format!("${}\r\n", part.len()).as_bytes());
        bytes.extend_from_slice(part);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// How something begins that a server says.
enum Head {
    Whole(Reply),
    Bytes(u64),
    List(u64),
}

/// Reads one answer, which takes at most so many bytes of memory.
///
/// # Cancel safety
///
/// What was read of an answer is lost with the future, so that the connection is of no more use.
pub(super) async fn read(
    from: &mut (impl AsyncBufRead + Unpin),
    most: u64,
) -> Result<Reply, WireError> {
    let mut left = most;
    // Lists that are being filled, and how many items each lacks.
    let mut open: Vec<(Vec<Reply>, u64)> = Vec::new();
    loop {
        left = left.checked_sub(COST).ok_or(WireError::TooLong)?;
        let mut reply = match head(from, &mut left).await? {
            Head::Whole(reply) => reply,
            Head::Bytes(length) => {
                left = left.checked_sub(length).ok_or(WireError::TooLong)?;
                body(from, length).await?
            }
            Head::List(0) => Reply::List(Vec::new()),
            Head::List(_) if open.len() == DEEPEST => return Err(WireError::Malformed),
            Head::List(count) => {
                open.push((Vec::new(), count));
                continue;
            }
        };
        loop {
            let Some((mut items, lacking)) = open.pop() else { return Ok(reply) };
            items.push(reply);
            if lacking > 1 {
                open.push((items, lacking - 1));
                break;
            }
            reply = Reply::List(items);
        }
    }
}

async fn head(from: &mut (impl AsyncBufRead + Unpin), left: &mut u64) -> Result<Head, WireError> {
    let mut line = Vec::new();
    (&mut *from).take(MOST_LINE).read_until(b'\n', &mut line).await?;
    if line.is_empty() {
        return Err(WireError::Closed);
    }
    let Some(line) = line.strip_suffix(b"\r\n") else {
        return Err(match line.len() as u64 {
            MOST_LINE => WireError::TooLong,
            _ if line.ends_with(b"\n") => WireError::Malformed,
            _ => WireError::Closed,
        });
    };
    *left = left.checked_sub(line.len() as u64).ok_or(WireError::TooLong)?;
    let (&sort, rest) = line.split_first().ok_or(WireError::Malformed)?;
    let words = || String::from_utf8_lossy(rest).into_owned();
    let number = || {
        let digits = std::str::from_utf8(rest).ok().filter(|it| !it.starts_with('+'));
        digits.and_then(|it| it.parse::<i64>().ok()).ok_or(WireError::Malformed)
    };
    Ok(match sort {
        b'+' => Head::Whole(Reply::Status(words())),
        b'-' => Head::Whole(Reply::Error(words())),
        b':' => Head::Whole(Reply::Number(number()?)),
        b'$' | b'*' => match (number()?, sort) {
            (-1, _) => Head::Whole(Reply::Nil),
            (length, b'$') => Head::Bytes(length.try_into().map_err(|_| WireError::Malformed)?),
            (count, _) => Head::List(count.try_into().map_err(|_| WireError::Malformed)?),
        },
        _ => return Err(WireError::Malformed),
    })
}

async fn body(from: &mut (impl AsyncBufRead + Unpin), length: u64) -> Result<Reply, WireError> {
    let mut bytes = Vec::new();
    (&mut *from).take(length).read_to_end(&mut bytes).await?;
    let mut end = [0; 2];
    match from.read_exact(&mut end).await {
        Ok(_) if &end == b"\r\n" && bytes.len() as u64 == length => Ok(Reply::Bytes(bytes)),
        Ok(_) => Err(WireError::Malformed),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(WireError::Closed),
        Err(error) => Err(error.into()),
    }
}

/// Feeds what a server says to its reader; returns whether it is one answer and nothing else.
#[cfg(any(test, fuzzing))]
pub(crate) fn feed(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    let read = now(read(&mut rest, 1 << 20));
    read.is_ok() && rest.is_empty()
}

/// Returns what a future gives that never waits.
#[cfg(any(test, fuzzing))]
fn now<T>(future: impl Future<Output = Result<T, WireError>>) -> Result<T, WireError> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        std::task::Poll::Ready(read) => read,
        std::task::Poll::Pending => Err(WireError::Closed),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(bytes: &[u8], most: u64) -> Result<Reply, String> {
        let mut bytes = bytes;
        now(read(&mut bytes, most)).map_err(|it| it.to_string())
    }

    #[test]
    fn answers_are_read() {
        let bytes = |text: &str| Reply::Bytes(text.as_bytes().to_vec());
        assert_eq!(told(b"+OK\r\n", 1000), Ok(Reply::Status("OK".to_owned())));
        assert_eq!(told(b"-ERR no\r\n", 1000), Ok(Reply::Error("ERR no".to_owned())));
        assert_eq!(told(b":-7\r\n", 1000), Ok(Reply::Number(-7)));
        assert_eq!(told(b"$-1\r\n", 1000), Ok(Reply::Nil));
        assert_eq!(told(b"*-1\r\n", 1000), Ok(Reply::Nil));
        assert_eq!(told(b"$0\r\n\r\n", 1000), Ok(bytes("")));
        let list = told(b"*3\r\n$1\r\na\r\n*2\r\n:1\r\n*0\r\n$2\r\n\r\n\r\n", 1000);
        let inner = Reply::List(vec![Reply::Number(1), Reply::List(vec![])]);
        assert_eq!(list, Ok(Reply::List(vec![bytes("a"), inner, bytes("\r\n")])));
        assert_eq!(command(&[b"GET", b"a\r\n"]), b"*2\r\n$3\r\nGET\r\n$3\r\na\r\n\r\n");
    }

    #[test]
    fn what_is_too_long_too_deep_or_something_else_is_refused() {
        let malformed = Err("this is not the protocol of Redis".to_owned());
        let long = Err("the answer is too long".to_owned());
        let closed = Err("the server closed the connection".to_owned());
        for text in ["HTTP/1.1 200 OK\r\n", "\r\n", ":1\n", ":+1\r\n", "$-2\r\n", "$1\r\nab\r\n"] {
            assert_eq!(told(text.as_bytes(), 1000), malformed, "{text}");
        }
        assert_eq!(told("*1\r\n".repeat(9).as_bytes(), 1000), malformed);
        assert_eq!(told(b"$1000\r\n", 1000), long);
        assert_eq!(told(b"*99999999999\r\n:1\r\n:1\r\n:1\r\n:1\r\n", 300), long);
        assert_eq!(told(&vec![b'+'; 1 << 17], 1 << 20), long);
        for text in ["", "+OK", "$3\r\nab", "$3\r\nabc\r", "*2\r\n:1\r\n"] {
            assert_eq!(told(text.as_bytes(), 1000), closed, "{text}");
        }
    }

    proptest! {
        #[test]
        fn garbage_is_refused_in_peace(
            garbage in proptest::collection::vec(any::<u8>(), 0..200),
            lines in "([*$:+-][0-9]{1,3}\r\n){0,9}"
        ) {
            feed(&garbage);
            feed(lines.as_bytes());
            feed(&[lines.as_bytes(), &garbage].concat());
        }
    }
}
