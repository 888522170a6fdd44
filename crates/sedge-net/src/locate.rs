//! From `host:port` to a node: what an inviter says about itself to whoever asks.
//!
//! QUIC between nodes needs the peer's key before the first packet, and a person knows only an
//! address. So while an invite is open, the inviter answers on TCP, at the same port number as its
//! QUIC port if that is free, with one small card.
//!
//! The card is **not proven**. Somebody between can send another card, and wins nothing: pairing
//! binds the password exchange to the keys of both ends, so a lie makes the pairing fail.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use sedge_base::{ByteSize, Cancel, ErrorKind, NodeId, TaskScope};
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::debug;

use crate::frame::{Frame, FrameError, FrameReader, FrameWriter, JsonError};
use crate::lan::Nameplate;
use crate::transport::PeerAddr;

/// The card's version.
const VERSION: u8 = 1;
/// The kind of the one frame that is sent.
const CARD: u8 = 1;
/// The largest card.
const LIMIT: ByteSize = ByteSize::from_bytes(4 << 10);
/// Addresses on a card; more are not read.
const ADDRESSES: usize = 16;
/// How long one visitor may take to read the card.
const VISIT: Duration = Duration::from_secs(2);
/// Visitors at the same time; more are turned away.
const VISITORS: usize = 16;

/// What an inviter says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Card {
    version: u8,
    node: NodeId,
    udp: Vec<SocketAddr>,
    nameplate: Option<Nameplate>,
}

/// Why nobody can ask for the card.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {addr}")]
pub struct BeaconError {
    /// Where we wanted to listen.
    pub addr: SocketAddr,
    /// What the system says.
    pub source: io::Error,
}

impl BeaconError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::Unavailable
    }
}

/// Answers visitors with this node's card until it is dropped.
#[derive(Debug)]
pub struct Beacon {
    addr: SocketAddr,
    scope: TaskScope,
}

impl Beacon {
    /// Listens at `addr`, or at any free port of the same address when that port is taken.
    ///
    /// `of` is where the node can be dialled; `nameplate` is the open invite's number.
    ///
    /// # Errors
    ///
    /// [`BeaconError`] when the address is not ours.
    pub async fn open(
        addr: SocketAddr,
        of: &PeerAddr,
        nameplate: Option<Nameplate>,
    ) -> Result<Self, BeaconError> {
        let listener = match TcpListener::bind(addr).await {
            Err(err) if err.kind() == io::ErrorKind::AddrInUse => {
                TcpListener::bind((addr.ip(), 0)).await
            }
            other => other,
        };
        let listener = listener.map_err(|source| BeaconError { addr, source })?;
        let addr = listener.local_addr().map_err(|source| BeaconError { addr, source })?;
        let PeerAddr { node, direct } = of.clone();
        let udp = direct.into_iter().take(ADDRESSES).collect();
        let scope = TaskScope::new();
        let card = Card { version: VERSION, node, udp, nameplate };
        let visitors = scope.clone();
        scope.spawn("beacon", |cancel| serve(listener, card, visitors, cancel));
        Ok(Self { addr, scope })
    }

    /// Returns where it listens: what a person types on the other machine.
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Beacon {
    fn drop(&mut self) {
        self.scope.stop();
    }
}

async fn serve(listener: TcpListener, card: Card, scope: TaskScope, cancel: Cancel) {
    let places = Arc::new(Semaphore::new(VISITORS));
    let Ok(frame) = Frame::json(CARD, &card) else { return };
    loop {
        let visitor = tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            visitor = listener.accept() => visitor,
        };
        // A failed accept is the visitor's (it left) or passes (no descriptors): both cost a turn.
        let Ok((stream, from)) = visitor else {
            tokio::task::yield_now().await;
            continue;
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let frame = frame.clone();
        scope.spawn("beacon visitor", move |_| async move {
            let told = timeout(VISIT, tell(stream, &frame)).await;
            debug!(%from, told = matches!(told, Ok(Ok(()))), "a visitor asked for the card");
            drop(place);
        });
    }
}

async fn tell(stream: TcpStream, frame: &Frame) -> Result<(), FrameError> {
    let mut writer = FrameWriter::with_limit(stream, LIMIT);
    writer.write(frame).await?;
    let mut stream = writer.into_inner();
    let source = tokio::io::AsyncWriteExt::shutdown(&mut stream).await;
    source.map_err(|source| FrameError::Stream { source })
}

/// Why an address did not lead to a node.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LocateError {
    /// The name does not lead to an address.
    #[error("`{place}` does not lead to an address")]
    Name {
        /// What was asked for, `host:port`.
        place: String,
        /// What the system says.
        source: io::Error,
    },
    /// Nobody listens there.
    #[error("nobody answers at {place}: no invite is open there, or a firewall is between")]
    Nobody {
        /// What was asked for.
        place: String,
        /// What the system says of the last address that was tried.
        source: io::Error,
    },
    /// Nothing came in time.
    #[error("nothing came from {place} within {within:?}")]
    Silent {
        /// What was asked for.
        place: String,
        /// How long was waited.
        within: Duration,
    },
    /// Somebody else listens there.
    #[error("what answers at {place} is no open invite")]
    Strange {
        /// What was asked for.
        place: String,
        /// What is wrong with the answer; `None` when it said nothing at all.
        source: Option<FrameError>,
    },
    /// The card cannot be read.
    #[error("the card from {place} cannot be read")]
    Unreadable {
        /// What was asked for.
        place: String,
        /// Where and what.
        source: JsonError,
    },
    /// The inviter runs another release.
    #[error("the card from {place} has version {got}, this release reads {VERSION}")]
    Version {
        /// What was asked for.
        place: String,
        /// The card's version.
        got: u8,
    },
    /// The inviter there has another invite open.
    #[error("{place} has another invite open")]
    OtherInvite {
        /// What was asked for.
        place: String,
    },
}

impl LocateError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Name { .. } | Self::OtherInvite { .. } => ErrorKind::NotFound,
            Self::Nobody { .. } => ErrorKind::Unavailable,
            Self::Silent { .. } => ErrorKind::Timeout,
            Self::Strange { .. } | Self::Unreadable { .. } => ErrorKind::Corrupt,
            Self::Version { .. } => ErrorKind::Unsupported,
        }
    }
}

/// Asks the inviter at `place` (`host:port`) who it is, and where it can be dialled.
///
/// The answer is not proven; see the module's text. A `nameplate` that contradicts the card ends
/// the search before a try of the code is spent.
///
/// # Errors
///
/// [`LocateError`], at the latest after `within`.
///
/// # Cancel safety
///
/// Dropping the future ends the attempt.
pub async fn locate(
    place: &str,
    nameplate: Option<Nameplate>,
    within: Duration,
) -> Result<PeerAddr, LocateError> {
    let deadline = Instant::now() + within;
    let asked = timeout_at(deadline, ask(place)).await;
    let (frame, from) =
        asked.map_err(|_| LocateError::Silent { place: place.to_owned(), within })??;
    let card = read(&frame, place)?;
    if nameplate.is_some() && card.nameplate.is_some() && card.nameplate != nameplate {
        return Err(LocateError::OtherInvite { place: place.to_owned() });
    }
    Ok(PeerAddr { node: card.node, direct: reachable(&card.udp, from) })
}

/// Reads a card; one of another version may have other fields, and still says its version.
fn read(frame: &Frame, place: &str) -> Result<Card, LocateError> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u8,
    }
    let unreadable = |source| LocateError::Unreadable { place: place.to_owned(), source };
    match frame.parse().map_err(unreadable)? {
        Versioned { version: VERSION } => frame.parse().map_err(unreadable),
        Versioned { version: got } => Err(LocateError::Version { place: place.to_owned(), got }),
    }
}

/// Returns the card's addresses, those at the host that answered first: what a machine believes
/// its address to be is often not what others see.
fn reachable(udp: &[SocketAddr], from: IpAddr) -> Vec<SocketAddr> {
    let mut addrs = Vec::new();
    let udp = || udp.iter().take(ADDRESSES);
    let seen = udp().map(|it| SocketAddr::new(from, it.port()));
    for addr in seen.chain(udp().copied().filter(|it| !it.ip().is_unspecified())) {
        if addr.port() != 0 && !addrs.contains(&addr) {
            addrs.push(addr);
        }
    }
    addrs
}

async fn ask(place: &str) -> Result<(Frame, IpAddr), LocateError> {
    let named = || place.to_owned();
    let addrs = tokio::net::lookup_host(place).await;
    let addrs = addrs.map_err(|source| LocateError::Name { place: named(), source })?;
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for addr in addrs {
        let stream = match TcpStream::connect(addr).await {
            Ok(stream) => stream,
            Err(err) => {
                last = err;
                continue;
            }
        };
        let mut reader = FrameReader::with_limit(stream, LIMIT);
        return match reader.next().await {
            Ok(Some(frame)) if frame.kind == CARD => Ok((frame, addr.ip())),
            Ok(_) => Err(LocateError::Strange { place: named(), source: None }),
            Err(err) => Err(LocateError::Strange { place: named(), source: Some(err) }),
        };
    }
    Err(LocateError::Nobody { place: named(), source: last })
}

/// Feeds a card's frame to its reader; returns whether it took it.
#[cfg(any(test, fuzzing))]
pub(crate) fn feed(bytes: &[u8]) -> bool {
    let card = read(&Frame::new(0, bytes.to_vec()), "nowhere");
    card.is_ok_and(|it| reachable(&it.udp, IpAddr::from([192, 0, 2, 1])).len() <= 2 * ADDRESSES)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn garbage_is_no_card(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            assert!(read(&Frame::new(CARD, bytes), "here").is_err());
        }

        #[test]
        fn what_is_told_is_read(node in any::<[u8; 32]>(), ports in proptest::collection::vec(any::<u16>(), 0..4), nameplate in any::<Option<u32>>()) {
            let udp = ports.into_iter().map(|it| SocketAddr::from(([10, 0, 0, 2], it))).collect();
            let card = Card { version: VERSION, node: NodeId::from_bytes(node), udp, nameplate };
            let frame = Frame::json(CARD, &card).unwrap();
            assert_eq!(read(&frame, "here").unwrap(), card);
        }
    }

    #[test]
    fn the_host_that_answered_comes_first() {
        let udp = ["0.0.0.0:7", "10.0.0.2:7", "10.0.0.2:0"].map(|it| it.parse().unwrap());
        let expected = ["192.0.2.1:7", "10.0.0.2:7"].map(|it| it.parse().unwrap());
        assert_eq!(reachable(&udp, "192.0.2.1".parse().unwrap()), expected);
    }
}
