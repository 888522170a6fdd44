//! The listener on loopback that all doors share.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::serve::ListenerExt;
use sedge_base::{Cancel, ErrorKind, TaskScope};
use sedge_node::Node;
use tokio::net::TcpListener;
use tracing::{info, warn};

use crate::routes;

/// What every door's handlers get.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    /// The node that the doors lead to.
    pub(crate) node: Arc<Node>,
    /// Cancelled when a client asks the program to stop.
    pub(crate) stop: Cancel,
}

/// A server that listens on loopback until its scope ends.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: Cancel,
}

/// Why the doors could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// Somebody could reach it from another machine.
    #[error("the API listens on loopback only, {address} is not on loopback")]
    NotLoopback {
        /// The address that was asked for.
        address: SocketAddr,
    },
    /// Another program listens there.
    #[error("port {} of {} is in use", address.port(), address.ip())]
    InUse {
        /// The address that was asked for.
        address: SocketAddr,
    },
    /// The operating system refused.
    #[error("cannot listen on {address}")]
    Io {
        /// The address that was asked for.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

impl BindError {
    /// Returns what the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotLoopback { .. } => ErrorKind::Invalid,
            Self::InUse { .. } => ErrorKind::Conflict,
            Self::Io { .. } => ErrorKind::Unavailable,
        }
    }

    /// Returns the next step, for people.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NotLoopback { .. } => "use 127.0.0.1, [::1] or localhost with a port",
            Self::InUse { .. } => {
                "another node or program has it: pick another with `--api 127.0.0.1:PORT`, or port 0 for any"
            }
            Self::Io { .. } => "pick another address with `--api`",
        }
    }
}

impl Server {
    /// Opens all doors of `node` on `address`; port 0 takes any free port.
    ///
    /// # Errors
    ///
    /// [`BindError`] when the address is not on loopback or cannot be had.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future opens nothing.
    pub async fn bind(
        address: SocketAddr,
        node: Arc<Node>,
        scope: &TaskScope,
    ) -> Result<Self, BindError> {
        if !address.ip().is_loopback() {
            return Err(BindError::NotLoopback { address });
        }
        let listener = TcpListener::bind(address).await.map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => BindError::InUse { address },
            _ => BindError::Io { address, source },
        })?;
        let address = listener.local_addr().map_err(|source| BindError::Io { address, source })?;
        let stop = Cancel::new();
        let app = routes::app(&Shared { node, stop: stop.clone() });
        scope.spawn("api", |cancel| async move {
            let listener = listener.tap_io(|stream| {
                if let Err(err) = stream.set_nodelay(true) {
                    warn!(target: "sedge::server", %err, "no TCP_NODELAY");
                }
            });
            let served =
                axum::serve(listener, app).with_graceful_shutdown(cancel.cancelled_owned());
            if let Err(err) = served.await {
                warn!(target: "sedge::server", %err, "the API stopped");
            }
        });
        info!(target: "sedge::server", %address, "the API listens");
        Ok(Self { address, stop })
    }

    /// Returns where the doors are.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until a client asks the program to stop.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn stop_asked(&self) {
        self.stop.cancelled().await;
    }
}
