//! Bytes and streams between nodes: transports, discovery, pairing connections.

pub mod conformance;
mod conn;
mod events;
mod frame;
mod lan;
mod locate;
mod memory;
mod pool;
mod quic;
mod stream;
mod transport;

pub use conn::{CloseReason, Conn, ConnError, Facts, Halves, Link, PathClass, Side};
pub use events::Metrics;
pub use frame::{Frame, FrameError, FrameReader, FrameWriter, JsonError, USUAL_LIMIT};
pub use lan::{DiscoverError, Lan, LanError, LanOptions, Nameplate};
pub use locate::{Beacon, BeaconError, LocateError, locate};
pub use memory::{Memory, MemoryNet};
pub use pool::{Pool, PoolOptions};
pub use quic::{BindError, Liveness, Quic, QuicOptions};
pub use stream::{BoxFuture, Incoming, Outgoing, RecvStream, SendStream, Stream};
pub use transport::{Admission, DialError, Heard, PeerAddr, Place, Protocol, Transport, Tried};
