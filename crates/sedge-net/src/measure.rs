//! Figures of a connection: round trips, throughput, and a bare socket to hold them against.
//!
//! One side runs [`answer`], the other one [`ping`] and [`pour`]. What is measured includes this
//! crate's seam: a task's first frame travels the same way.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use sedge_base::{ByteSize, ErrorKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::{Instant, timeout};

use crate::conn::{Conn, ConnError};
use crate::stream::Stream;

/// The size of a small ping and of its answer, in bytes.
pub const PING: usize = 64;
/// The largest ping that is answered, in bytes.
pub const LARGEST_PING: usize = 4 << 20;

const MODE_PING: u8 = b'p';
const MODE_POUR: u8 = b't';
const PIECE: usize = 64 << 10;

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MeasureError {
    /// The connection gives no stream.
    #[error("no stream to measure on")]
    Conn(#[source] ConnError),
    /// A socket or stream broke meanwhile.
    #[error("the measurement broke off")]
    Broken(#[source] io::Error),
    /// It took too long.
    #[error("the measurement was not done within {within:?}")]
    Slow {
        /// How long was waited.
        within: Duration,
    },
    /// The other side did not answer what was asked.
    #[error("the other side does not measure")]
    Peer,
}

impl MeasureError {
    /// Returns what the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Conn(err) => err.kind(),
            Self::Broken(_) | Self::Peer => ErrorKind::Unavailable,
            Self::Slow { .. } => ErrorKind::Timeout,
        }
    }
}

/// Times of round trips.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoundTrips {
    /// How many were made.
    pub count: usize,
    /// Half of them were faster.
    pub p50: Duration,
    /// All but one in a hundred were faster.
    pub p99: Duration,
}

impl RoundTrips {
    /// Sums up single times; `None` when there are none.
    pub fn of(mut times: Vec<Duration>) -> Option<Self> {
        times.sort_unstable();
        let count = times.len();
        let at =
            |percent: usize| times.get((count * percent / 100).min(count.checked_sub(1)?)).copied();
        Some(Self { count, p50: at(50)?, p99: at(99)? })
    }
}

/// Answers the measurements of a peer, one after the other, until the connection ends.
///
/// # Cancel safety
///
/// Dropping the future ends the measurement that runs.
pub async fn answer(conn: &Conn) {
    while let Ok(stream) = conn.accept().await {
        // A broken measurement is the peer's to report.
        drop(answer_one(stream).await);
    }
}

async fn answer_one(stream: Stream) -> io::Result<()> {
    let Stream { mut send, mut recv } = stream;
    match recv.read_u8().await? {
        MODE_PING => {
            let size = recv.read_u32().await? as usize;
            if size > LARGEST_PING {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let mut bytes = vec![0; size];
            while recv.read_exact(&mut bytes).await.is_ok() {
                send.write_all(&bytes).await?;
            }
        }
        MODE_POUR => {
            let mut piece = vec![0; PIECE];
            let mut total = 0_u64;
            loop {
                match recv.read(&mut piece).await? {
                    0 => break,
                    some => total += some as u64,
                }
            }
            send.write_u64(total).await?;
        }
        _ => return Err(io::ErrorKind::InvalidData.into()),
    }
    let stopped = send.stopped();
    send.shutdown().await?;
    stopped.await;
    Ok(())
}

/// Measures `count` round trips of `size` bytes ([`LARGEST_PING`] at most), one after the other on
/// one stream.
///
/// # Errors
///
/// [`MeasureError`], at the latest after `within`.
///
/// # Cancel safety
///
/// Dropping the future ends the measurement.
pub async fn ping(
    conn: &Conn,
    size: usize,
    count: usize,
    within: Duration,
) -> Result<RoundTrips, MeasureError> {
    let Stream { mut send, mut recv } = conn.open(within).await.map_err(MeasureError::Conn)?;
    let trips = async {
        let announced = u32::try_from(size).map_err(|_| io::ErrorKind::InvalidInput)?;
        send.write_u8(MODE_PING).await?;
        send.write_u32(announced).await?;
        let mut bytes = vec![7; size];
        let mut times = Vec::with_capacity(count);
        for _ in 0..count {
            let start = Instant::now();
            send.write_all(&bytes).await?;
            recv.read_exact(&mut bytes).await?;
            times.push(start.elapsed());
        }
        Ok(times)
    };
    sum_up(timeout(within, trips).await, within)
}

/// Measures `count` round trips of [`PING`] bytes over a bare UDP socket of this process.
///
/// The floor for every transport: two wake-ups and no cryptography. `listen` is usually
/// `127.0.0.1:0`.
///
/// # Errors
///
/// [`MeasureError`], at the latest after `within`.
///
/// # Cancel safety
///
/// Dropping the future ends the measurement.
pub async fn ping_bare(
    listen: SocketAddr,
    count: usize,
    within: Duration,
) -> Result<RoundTrips, MeasureError> {
    let trips = async {
        let (near, far) = (UdpSocket::bind(listen).await?, UdpSocket::bind(listen).await?);
        near.connect(far.local_addr()?).await?;
        far.connect(near.local_addr()?).await?;
        let echo = async {
            let mut bytes = [0; PING];
            for _ in 0..count {
                let some = far.recv(&mut bytes).await?;
                far.send(&bytes[..some]).await?;
            }
            Ok::<_, io::Error>(())
        };
        let ask = async {
            let mut bytes = [7; PING];
            let mut times = Vec::with_capacity(count);
            for _ in 0..count {
                let start = Instant::now();
                near.send(&bytes).await?;
                near.recv(&mut bytes).await?;
                times.push(start.elapsed());
            }
            Ok::<_, io::Error>(times)
        };
        tokio::try_join!(ask, echo).map(|(times, ())| times)
    };
    sum_up(timeout(within, trips).await, within)
}

/// Measures `count` round trips of `size` bytes over a bare TCP connection of this process, without
/// delay (`TCP_NODELAY`).
///
/// What a transport is held against for payloads that no datagram carries.
///
/// # Errors
///
/// [`MeasureError`], at the latest after `within`.
///
/// # Cancel safety
///
/// Dropping the future ends the measurement.
pub async fn ping_tcp(
    listen: SocketAddr,
    size: usize,
    count: usize,
    within: Duration,
) -> Result<RoundTrips, MeasureError> {
    let trips = async {
        let listener = TcpListener::bind(listen).await?;
        let to = listener.local_addr()?;
        let echo = async {
            let (mut far, _) = listener.accept().await?;
            far.set_nodelay(true)?;
            let mut bytes = vec![0; size];
            for _ in 0..count {
                far.read_exact(&mut bytes).await?;
                far.write_all(&bytes).await?;
            }
            Ok::<_, io::Error>(())
        };
        let ask = async {
            let mut near = TcpStream::connect(to).await?;
            near.set_nodelay(true)?;
            let mut bytes = vec![7; size];
            let mut times = Vec::with_capacity(count);
            for _ in 0..count {
                let start = Instant::now();
                near.write_all(&bytes).await?;
                near.read_exact(&mut bytes).await?;
                times.push(start.elapsed());
            }
            Ok::<_, io::Error>(times)
        };
        tokio::try_join!(ask, echo).map(|(times, ())| times)
    };
    sum_up(timeout(within, trips).await, within)
}

fn sum_up(
    times: Result<io::Result<Vec<Duration>>, tokio::time::error::Elapsed>,
    within: Duration,
) -> Result<RoundTrips, MeasureError> {
    let times = times.map_err(|_| MeasureError::Slow { within })?.map_err(MeasureError::Broken)?;
    RoundTrips::of(times).ok_or(MeasureError::Peer)
}

/// Measures how long it takes until the peer has read `amount` on one stream.
///
/// # Errors
///
/// [`MeasureError`], at the latest after `within`.
///
/// # Cancel safety
///
/// Dropping the future ends the measurement.
pub async fn pour(
    conn: &Conn,
    amount: ByteSize,
    within: Duration,
) -> Result<Duration, MeasureError> {
    let Stream { mut send, mut recv } = conn.open(within).await.map_err(MeasureError::Conn)?;
    let poured = async {
        let start = Instant::now();
        send.write_u8(MODE_POUR).await?;
        let piece = vec![7; PIECE];
        let mut left = amount.as_len();
        while left > 0 {
            let some = left.min(PIECE);
            send.write_all(&piece[..some]).await?;
            left -= some;
        }
        send.shutdown().await?;
        Ok((recv.read_u64().await?, start.elapsed()))
    };
    let poured = timeout(within, poured).await.map_err(|_| MeasureError::Slow { within })?;
    let (read, took) = poured.map_err(MeasureError::Broken)?;
    if read == amount.as_bytes() { Ok(took) } else { Err(MeasureError::Peer) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_times() {
        let times = (1..=200).rev().map(Duration::from_millis).collect();
        let trips = RoundTrips::of(times).unwrap();
        assert_eq!(trips.p50, Duration::from_millis(101));
        assert_eq!(trips.p99, Duration::from_millis(199));
        assert_eq!(RoundTrips::of(Vec::new()), None);
    }
}
