//! Channels that a function hears.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::Address;
use super::link::{Link, RedisError, done};
use super::wire::Reply;
use crate::Runtime;

/// How long a server may be silent before it is asked whether it is there, and then to answer.
const SILENT: Duration = Duration::from_secs(20);
/// How long one message may take to come.
const WITHIN: Duration = Duration::from_secs(60);
/// The longest message, in bytes.
const MOST_MESSAGE: u64 = 8 << 20;

/// A channel of a server, whose messages call a function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    /// The server.
    pub address: Address,
    /// The channel's name.
    pub channel: String,
}

/// A channel that is being heard.
#[derive(Debug)]
pub struct Hearing(Link);

impl Runtime {
    /// Begins to hear a channel: every message from now on, until the connection breaks.
    ///
    /// # Errors
    ///
    /// [`RedisError`], when the server is not reached, or not allowed, or refuses.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection.
    pub async fn hear(&self, channel: &Channel) -> Result<Hearing, RedisError> {
        let mut link = Link::open(&channel.address, self.walls(), self.client()).await?;
        let parts = [&b"SUBSCRIBE"[..], channel.channel.as_bytes()];
        let asked = link.ask(&parts, MOST_MESSAGE);
        let answer = timeout(SILENT, asked).await.map_err(|_| RedisError::Silent)??;
        done(answer)?;
        Ok(Hearing(link))
    }
}

impl Hearing {
    /// Returns the next message.
    ///
    /// # Errors
    ///
    /// [`RedisError`]; the channel is then heard no more.
    ///
    /// # Cancel safety
    ///
    /// A message that was coming is lost with the future, and the channel is heard no more.
    pub async fn next(&mut self) -> Result<Bytes, RedisError> {
        let mut asked = false;
        loop {
            match timeout(SILENT, self.0.something()).await {
                Ok(said) => said?,
                Err(_) if asked => return Err(RedisError::Silent),
                Err(_) => {
                    asked = true;
                    self.0.say(&[b"PING"]).await?;
                    continue;
                }
            }
            asked = false;
            let said = timeout(WITHIN, self.0.hear(MOST_MESSAGE)).await;
            let said = done(said.map_err(|_| RedisError::Silent)??)?;
            if let Some(message) = message(said) {
                return Ok(message);
            }
        }
    }
}

/// Returns the message in what a server says; it says other things, too.
fn message(said: Reply) -> Option<Bytes> {
    let Reply::List(said) = said else { return None };
    match <[Reply; 3]>::try_from(said).ok()? {
        [Reply::Bytes(sort), _, Reply::Bytes(message)] if sort == b"message" => {
            Some(message.into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;
    use crate::redis::WireError;

    const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";

    #[tokio::test(start_paused = true)]
    async fn a_silent_server_is_asked_whether_it_is_there_and_then_given_up() {
        let (ours, mut theirs) = duplex(1024);
        let mut hearing = Hearing(Link::over(Box::new(ours)));
        let served = async {
            let mut asked = vec![0; PING.len()];
            theirs.read_exact(&mut asked).await.unwrap();
            assert_eq!(asked, PING);
            let said =
                b"*2\r\n$4\r\npong\r\n$0\r\n\r\n*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n";
            theirs.write_all(said).await.unwrap();
        };
        let (message, ()) = tokio::join!(hearing.next(), served);
        assert_eq!(message.unwrap(), "hi");
        assert!(matches!(hearing.next().await, Err(RedisError::Silent)));
    }

    #[tokio::test]
    async fn a_server_that_goes_or_says_something_else_is_told() {
        let cases: [(&[u8], &str); 5] = [
            (b"", "the server closed the connection"),
            (b"*3\r\n$7\r\nmess", "the server closed the connection"),
            (b"HTTP/1.1 200 OK\r\n", "this is not the protocol of Redis"),
            (b"-ERR full\r\n", "the server refuses: ERR full"),
            (b"$99999999\r\n", "the answer is too long"),
        ];
        for (said, expected) in cases {
            let (ours, mut theirs) = duplex(1024);
            theirs.write_all(said).await.unwrap();
            drop(theirs);
            let lost = Hearing(Link::over(Box::new(ours))).next().await.unwrap_err();
            assert_eq!(lost.to_string(), expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_that_was_given_up_leaves_no_answer_for_the_next() {
        let (ours, mut theirs) = duplex(1024);
        let mut link = Link::over(Box::new(ours));
        theirs.write_all(b"$5\r\nsec").await.unwrap();
        let asked = timeout(WITHIN, link.ask(&[b"GET", b"a"], 1000)).await;
        assert!(asked.is_err(), "the answer does not end");
        theirs.write_all(b"re\r\n+OK\r\n").await.unwrap();
        let next = link.ask(&[b"GET", b"b"], 1000).await;
        assert!(matches!(next, Err(RedisError::Wire(WireError::Closed))));
    }
}
