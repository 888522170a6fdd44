//! The listeners that all doors share: one on loopback, and one for other machines if the owner
//! wants it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::serve::ListenerExt;
use sedge_base::{Cancel, ErrorKind, TaskScope};
use sedge_cluster::EdgeCluster;
use sedge_net::tls::{Listener, ListenerError};
use sedge_node::{HomeError, Node};
use tokio::net::TcpListener;
use tracing::{info, warn};

use crate::entrance::Entrance;
use crate::page::Room;
use crate::peer::{Named, Peer};
use crate::routes;
use crate::secure::{Accepting, MOST, PROTOCOLS};

/// What every door's handlers get.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    /// The node that the doors lead to.
    pub(crate) node: Arc<Node>,
    /// The same node's swarm as a cluster of an older API.
    pub(crate) cluster: EdgeCluster,
    /// Cancelled when a client asks the program to stop.
    pub(crate) stop: Cancel,
    /// The work of connections that outlives a request.
    pub(crate) scope: TaskScope,
    /// The pages, on whichever listener they came.
    pub(crate) room: Room,
    /// The listener that the request came in by.
    pub(crate) entrance: Arc<Entrance>,
}

/// A server that listens until its scope ends.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    away: Option<SocketAddr>,
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
    /// The node has no certificate for its listeners.
    #[error("no certificate for the doors")]
    Certificate(#[source] ListenerError),
    /// The authority that foreign clients trust cannot be used.
    #[error(transparent)]
    Authority(#[from] HomeError),
}

impl BindError {
    fn of(error: ListenerError) -> Self {
        match error {
            ListenerError::Listen { address, source } => Self::of_io(address, source),
            error => Self::Certificate(error),
        }
    }

    fn of_io(address: SocketAddr, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::InUse { address },
            _ => Self::Io { address, source },
        }
    }

    /// Returns what the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotLoopback { .. } => ErrorKind::Invalid,
            Self::InUse { .. } => ErrorKind::Conflict,
            Self::Io { .. } => ErrorKind::Unavailable,
            Self::Certificate(it) => it.kind(),
            Self::Authority(it) => it.kind(),
        }
    }

    /// Returns the next step, for people.
    pub fn hint(&self) -> String {
        match self {
            Self::NotLoopback { .. } => {
                "use 127.0.0.1, [::1] or localhost with a port; `listen` in `[server]` of the configuration is for other machines"
            }
            Self::InUse { .. } => {
                "another node or program has it: pick another with `--api 127.0.0.1:PORT`, or port 0 for any"
            }
            Self::Io { .. } => "pick another address with `--api`, or `listen` in `[server]`",
            Self::Certificate(_) => "look at `names` in `[server]` of the configuration",
            Self::Authority(it) => return it.hint().unwrap_or_default(),
        }
        .to_owned()
    }
}

impl Server {
    /// Opens all doors of `node` on `address`, which is on loopback, and on the address that the
    /// configuration has for other machines; port 0 takes any free port.
    ///
    /// # Errors
    ///
    /// [`BindError`] when the address is not on loopback or one of them cannot be had.
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
        let (stop, room) = (Cancel::new(), Room::default());
        let cluster = EdgeCluster::over(Arc::clone(&node));
        let config = node.server_config().clone();
        let shared = |entrance| Shared {
            node: Arc::clone(&node),
            cluster: cluster.clone(),
            stop: stop.clone(),
            scope: scope.clone(),
            room: room.clone(),
            entrance: Arc::new(entrance),
        };
        let away = match config.listen {
            Some(address) => Some(secure(address, &node).await?),
            None => None,
        };
        let here = Entrance { loopback: true, tls: config.tls, origins: config.origins.clone() };
        let app = routes::app(&shared(here));
        let address = if config.tls {
            let listener = secure(address, &node).await?;
            let address = listener.address();
            serve(scope, Accepting(listener), app);
            address
        } else {
            let failed = |source| BindError::of_io(address, source);
            let listener = TcpListener::bind(address).await.map_err(failed)?;
            let address = listener.local_addr().map_err(failed)?;
            let listener = listener.tap_io(|stream| {
                if let Err(err) = stream.set_nodelay(true) {
                    warn!(target: "sedge::server", %err, "no TCP_NODELAY");
                }
            });
            serve(scope, listener, app);
            address
        };
        info!(target: "sedge::server", %address, tls = config.tls, "the API listens");
        let away = away.map(|listener| {
            let address = listener.address();
            let there = Entrance { loopback: false, tls: true, origins: config.origins };
            serve(scope, Accepting(listener), routes::app(&shared(there)));
            info!(target: "sedge::server", %address, "the doors listen for other machines");
            address
        });
        Ok(Self { address, away, stop })
    }

    /// Returns where the doors are on loopback.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns where other machines find the doors, if they do; TLS always.
    pub const fn away(&self) -> Option<SocketAddr> {
        self.away
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

/// Listens where nothing but TLS is heard.
async fn secure(address: SocketAddr, node: &Node) -> Result<Listener, BindError> {
    let authority = node.authority()?;
    let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
    if !address.ip().is_unspecified() {
        names.push(address.ip().to_string());
    }
    names.extend(node.server_config().names.iter().cloned());
    let listener =
        Listener::bind(address, (node.identity(), &authority), &names, &PROTOCOLS, MOST).await;
    listener.map_err(BindError::of)
}

fn serve<L>(scope: &TaskScope, listener: L, app: Router)
where
    L: axum::serve::Listener<Addr = SocketAddr>,
{
    scope.spawn("api", |cancel| async move {
        let app = app.into_make_service_with_connect_info::<Peer>();
        let listener = Named(listener);
        let served = axum::serve(listener, app).with_graceful_shutdown(cancel.cancelled_owned());
        if let Err(err) = served.await {
            warn!(target: "sedge::server", %err, "the API stopped");
        }
    });
}
