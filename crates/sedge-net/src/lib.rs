//! Bytes and streams between nodes: transports, discovery, cards for static addresses, a pool,
//! artifacts by content.
//!
//! Invariants:
//!
//! - A [`Conn`] exists only after both ends have proven their keys and admitted each other; a
//!   stranger reaches nobody behind [`Transport::accept`].
//! - Nothing leaves for a machine that the caller did not name or the local network announce: no
//!   public relay, no name server, no port mapper.
//! - What is heard before the keys are proven (announcements, cards) says where to dial, never
//!   whom to trust.
//! - Every wait for another machine has a limit; a peer that dies is noticed by its silence
//!   ([`Liveness`]), and a dropped stream is noticed by the other side.
//! - Nothing of an artifact is written before it was checked against its id.
//! - Nothing grows with what a peer sends: frames, streams, connections, neighbours are bounded.
//!
//! ```
//! # use std::{sync::Arc, time::Duration};
//! # use sedge_base::NodeId;
//! use sedge_net::{Admission, Frame, FrameReader, FrameWriter, MemoryNet, Protocol, Transport};
//!
//! #[derive(Debug)]
//! struct Everybody;
//!
//! impl Admission for Everybody {
//!     fn admits(&self, _peer: NodeId, _protocol: Protocol) -> bool {
//!         true
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let soon = Duration::from_secs(1);
//! # let [one, two] = [1, 2].map(|it| NodeId::from_bytes([it; 32]));
//! let net = MemoryNet::new(); // `Quic::bind` gives the same between machines
//! let near = net.join(one, &[Protocol::Mesh], Arc::new(Everybody));
//! let far = net.join(two, &[Protocol::Mesh], Arc::new(Everybody));
//!
//! let conn = near.dial(&far.place().peer_addr(), Protocol::Mesh, soon).await?;
//! let stream = conn.open(soon).await?;
//! let mut writer = FrameWriter::new(stream.send);
//! writer.write(&Frame::json(1, "hello")?).await?;
//! writer.into_inner().finish().await?; // dropped instead, it would take its word back
//!
//! let accepted = far.accept().await.ok_or("closed")?;
//! let frame = FrameReader::new(accepted.accept().await?.recv).next().await?.ok_or("ended")?;
//! assert_eq!(frame.parse::<String>()?, "hello");
//! assert_eq!(accepted.peer(), one);
//! # Ok(())
//! # }
//! ```

mod transport;

mod conn;
mod stream;

mod dice;

mod frame;

#[cfg(any(test, fuzzing))]
pub mod fuzz;

mod handshake;
mod mux;
mod packet;

mod door;
#[cfg(target_os = "linux")]
mod local;
mod memory;
mod quic;
mod relay;
pub mod tls;
mod websocket;

mod ways;

mod lan;
mod locate;
mod pool;

mod gossip;
mod swarm;
mod swim;

pub mod artifact;

pub mod conformance;
mod events;
mod measure;

pub use conn::{CloseReason, Conn, ConnError, Facts, Halves, Link, PathClass, Side};
pub use events::{Metrics, SwarmMetrics};
pub use frame::{Frame, FrameError, FrameReader, FrameWriter, JsonError, USUAL_LIMIT};
pub use gossip::{PostCounts, Quota, Rate};
pub use lan::{DiscoverError, Lan, LanError, LanOptions, Nameplate};
#[cfg(target_os = "linux")]
pub use local::{Local, LocalError, LocalOptions};
pub use locate::{Beacon, BeaconError, LocateError, locate};
pub use measure::{
    LARGEST_PING, MeasureError, PING, RoundTrips, answer, ping, ping_bare, ping_tcp, pour,
};
pub use memory::{Memory, MemoryNet};
pub use pool::{Pool, PoolOptions, REST};
pub use quic::{BindError, Liveness, Quic, QuicOptions};
pub use relay::{RelayAddr, RelayError, RelayServer, RelayState};
pub use stream::{BoxFuture, Incoming, Outgoing, RecvStream, SendStream, Stream};
pub use swarm::{
    Delivery, Heed, Member, PostError, SWARM, ServeError, Simulated, Simulation, Standing,
    SubscribeError, Subscription, Swarm, SwarmEvent, SwarmEvents, SwarmOptions, Topic, TopicError,
    USUAL_HOPS, simulate,
};
pub use swim::Times;
pub use transport::{
    Admission, DialError, Heard, PeerAddr, Place, Protocol, Transport, Tried, WayTried,
};
pub use ways::Ways;
pub use websocket::{KeyError, WebSocket, WebSocketError, WebSocketOptions};
