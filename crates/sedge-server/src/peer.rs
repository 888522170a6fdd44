//! Whom a connection comes from, as handlers are told.

use std::io;
use std::net::SocketAddr;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};

/// Whom a connection comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// A listener whose connections come with their [`Peer`].
pub(crate) struct Named<L>(pub(crate) L);

impl<L: Listener<Addr = SocketAddr>> Listener for Named<L> {
    type Io = L::Io;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (L::Io, SocketAddr) {
        self.0.accept().await
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl<L: Listener<Addr = SocketAddr>> Connected<IncomingStream<'_, Named<L>>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Named<L>>) -> Self {
        Self(*stream.remote_addr())
    }
}
