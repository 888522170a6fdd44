//! One connection to a server of Redis.

use std::time::Duration;

use sedge_base::ErrorKind;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::time::timeout;

use super::Address;
use super::address::Login;
use super::wire::{self, Reply, WireError};
use crate::outbound::{Client, Stream, Walls, connect};

/// How long it may take until a server takes commands.
const OPEN: Duration = Duration::from_secs(10);
/// The longest answer to what we say ourselves, in bytes.
const MOST_GREETING: u64 = 64 << 10;

/// Why a server of Redis is not reached, or does not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RedisError {
    /// The node's configuration does not let functions reach it.
    #[error(
        "{address} is on this machine or its networks, and `functions.local_places` does not name it"
    )]
    Prohibited {
        /// Where it is.
        address: String,
    },
    /// Nobody answers there.
    #[error("{address} is not reached: {reason}")]
    Unreachable {
        /// Where it is.
        address: String,
        /// The words of the network.
        reason: String,
    },
    /// It was reached, and then said nothing for too long.
    #[error("the server does not answer")]
    Silent,
    /// What it says is not understood, or the connection broke.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// It refuses.
    #[error("the server refuses: {message}")]
    Refused {
        /// Its words.
        message: String,
    },
}

impl RedisError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Prohibited { .. } => ErrorKind::Denied,
            Self::Unreachable { .. } | Self::Silent => ErrorKind::Unavailable,
            Self::Wire(it) => it.kind(),
            Self::Refused { .. } => ErrorKind::Failed,
        }
    }
}

/// A connection that has logged in.
pub(crate) struct Link {
    stream: BufReader<Box<dyn Stream>>,
    /// Whether every answer was read to its end.
    clean: bool,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("clean", &self.clean).finish_non_exhaustive()
    }
}

impl Link {
    /// Connects and logs in.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection.
    pub(crate) async fn open(
        address: &Address,
        walls: &Walls,
        client: &Client,
    ) -> Result<Self, RedisError> {
        let opened = timeout(OPEN, async {
            let stream = connect(address.aim(), false, walls, client).await;
            let stream = stream.map_err(|error| unreached(address, &error))?;
            let mut link = Self::over(stream);
            link.log_in(address).await?;
            Ok(link)
        });
        opened.await.unwrap_or(Err(RedisError::Silent))
    }

    /// A connection that nobody has said anything over.
    pub(super) fn over(stream: Box<dyn Stream>) -> Self {
        Self { stream: BufReader::new(stream), clean: true }
    }

    async fn log_in(&mut self, address: &Address) -> Result<(), RedisError> {
        if let Some(Login { user, password }) = address.login() {
            let mut parts: Vec<&[u8]> = vec![b"AUTH"];
            parts.extend(user.as_ref().map(|it| it.as_bytes()));
            parts.push(password.reveal().as_bytes());
            done(self.ask(&parts, MOST_GREETING).await?)?;
        }
        if address.database() != 0 {
            let database = address.database().to_string();
            done(self.ask(&[b"SELECT", database.as_bytes()], MOST_GREETING).await?)?;
        }
        Ok(())
    }

    /// Asks and returns the answer, which takes at most so many bytes.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, whether the server did it is not known, and the link says no more.
    pub(crate) async fn ask(&mut self, parts: &[&[u8]], most: u64) -> Result<Reply, RedisError> {
        self.say(parts).await?;
        Ok(self.hear(most).await?)
    }

    /// Says something without waiting for the answer.
    pub(super) async fn say(&mut self, parts: &[&[u8]]) -> Result<(), WireError> {
        if !self.clean {
            return Err(WireError::Closed);
        }
        self.clean = false;
        self.stream.write_all(&wire::command(parts)).await?;
        self.stream.flush().await?;
        self.clean = true;
        Ok(())
    }

    /// Waits until the server says something.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub(super) async fn something(&mut self) -> Result<(), WireError> {
        if self.stream.fill_buf().await?.is_empty() { Err(WireError::Closed) } else { Ok(()) }
    }

    /// Hears one thing.
    pub(super) async fn hear(&mut self, most: u64) -> Result<Reply, WireError> {
        if !self.clean {
            return Err(WireError::Closed);
        }
        self.clean = false;
        let reply = wire::read(&mut self.stream, most).await?;
        self.clean = true;
        Ok(reply)
    }
}

/// Returns the error in an answer, if it is one.
pub(super) fn done(reply: Reply) -> Result<Reply, RedisError> {
    match reply {
        Reply::Error(message) => Err(RedisError::Refused { message }),
        other => Ok(other),
    }
}

fn unreached(address: &Address, error: &wasmtime_wasi_http::Error) -> RedisError {
    let address = address.to_string();
    match error {
        wasmtime_wasi_http::Error::DestinationIpProhibited => RedisError::Prohibited { address },
        other => RedisError::Unreachable { address, reason: other.to_string() },
    }
}
