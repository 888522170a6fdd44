//! The TLS listener, as the HTTP server takes it.

use std::io;
use std::net::SocketAddr;

use sedge_net::tls::{Listener, Secured};

/// What ALPN offers: HTTP/2 for gRPC, HTTP/1.1 for the rest.
pub(crate) const PROTOCOLS: [&str; 2] = ["h2", "http/1.1"];

/// The most connections at once.
pub(crate) const MOST: usize = 1024;

/// Accepts connections that have finished their TLS handshake.
pub(crate) struct Accepting(pub(crate) Listener);

impl axum::serve::Listener for Accepting {
    type Io = Secured;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Secured, SocketAddr) {
        match self.0.accept().await {
            Some(accepted) => accepted,
            // Shut: nobody comes any more, and the server is about to end.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.0.address())
    }
}
