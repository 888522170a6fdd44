//! A TCP listener behind which nothing but TLS 1.3 is heard.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{ServerConfig, SignatureScheme};
use sedge_base::{Cancel, ErrorKind, TaskScope};
use sedge_trust::Identity;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::debug;

use super::{Authority, AuthorityError, own, provider};

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Handshaken connections that may wait for [`Listener::accept`].
const WAITING: usize = 16;

/// Why a listener could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenerError {
    /// The system does not let us listen there.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What it says.
        source: io::Error,
    },
    /// No certificate can be made for these names.
    #[error("no certificate for the listener")]
    Authority(#[from] AuthorityError),
    /// No certificate can be made of the node's own key.
    #[error("no certificate of the node's own key")]
    Own(#[source] io::Error),
}

impl ListenerError {
    /// Returns what the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
                ErrorKind::Conflict
            }
            Self::Listen { .. } => ErrorKind::Unavailable,
            Self::Authority(it) => it.kind(),
            Self::Own(_) => ErrorKind::Internal,
        }
    }
}

/// Accepts TLS connections; who speaks anything else is cut off.
///
/// Handshakes run beside each other, each with a limit in time; connections are bounded in number,
/// and who comes above the bound waits in the system's own queue.
#[derive(Debug)]
pub struct Listener {
    address: SocketAddr,
    accepted: mpsc::Receiver<(Secured, SocketAddr)>,
    scope: TaskScope,
}

impl Listener {
    /// Listens at `address`, reached by `names` (DNS names and addresses), for at most `most`
    /// connections at once; `protocols` is what ALPN offers, the best first.
    ///
    /// # Errors
    ///
    /// [`ListenerError`] when the address is in use or not ours, or a name is none.
    pub async fn bind(
        address: SocketAddr,
        (identity, authority): (&Identity, &Authority),
        names: &[String],
        protocols: &[&str],
        most: usize,
    ) -> Result<Self, ListenerError> {
        let foreign = authority.issue(names)?;
        let config = config(identity, foreign, protocols).map_err(ListenerError::Own)?;
        let failed = |source| ListenerError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let scope = TaskScope::new();
        let (sender, accepted) = mpsc::channel(WAITING);
        let door = Door { acceptor: config.into(), places: Arc::new(Semaphore::new(most)), sender };
        let visitors = scope.clone();
        scope.spawn("tls acceptor", |cancel| accept_all(listener, door, visitors, cancel));
        Ok(Self { address, accepted, scope })
    }

    /// Returns where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for the next client that has finished its handshake; `None` once the listener is shut.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn accept(&mut self) -> Option<(Secured, SocketAddr)> {
        self.accepted.recv().await
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.scope.stop();
    }
}

/// A connection after its handshake; holds its place among the listener's connections.
#[derive(Debug)]
pub struct Secured {
    stream: TlsStream<TcpStream>,
    _place: OwnedSemaphorePermit,
}

impl AsyncRead for Secured {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Secured {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// What the acceptor needs for each visitor.
struct Door {
    acceptor: TlsAcceptor,
    places: Arc<Semaphore>,
    sender: mpsc::Sender<(Secured, SocketAddr)>,
}

async fn accept_all(listener: TcpListener, door: Door, scope: TaskScope, cancel: Cancel) {
    // Errors such as "too many open files" pass; a pause keeps them from filling the processor.
    let mut pause = tokio::time::interval(Duration::from_millis(50));
    loop {
        let accepted = async {
            let place = Arc::clone(&door.places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            () = door.sender.closed() => return,
            accepted = accepted => accepted,
        };
        let (Ok(place), Ok((tcp, from))) = (place, accepted) else {
            pause.tick().await;
            continue;
        };
        let (acceptor, sender) = (door.acceptor.clone(), door.sender.clone());
        scope.spawn("tls handshake", move |cancel| async move {
            let greet = timeout(HANDSHAKE, greet(acceptor, tcp));
            let greeted = tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                greeted = greet => greeted.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
            };
            match greeted {
                // The listener may be gone meanwhile, and the client with it.
                Ok(stream) => drop(sender.send((Secured { stream, _place: place }, from)).await),
                Err(err) => debug!(target: "sedge::net", %from, %err, "no TLS handshake"),
            }
        });
    }
}

async fn greet(acceptor: TlsAcceptor, tcp: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    tcp.set_nodelay(true)?;
    acceptor.accept(tcp).await
}

/// Makes the settings with both certificates.
fn config(
    identity: &Identity,
    foreign: (CertificateDer<'static>, PrivatePkcs8KeyDer<'static>),
    protocols: &[&str],
) -> io::Result<Arc<ServerConfig>> {
    let provider = provider();
    let certificates = Certificates {
        own: certified(&provider, own(identity)?)?,
        foreign: certified(&provider, foreign)?,
    };
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(io::Error::other)?;
    let mut config = builder.with_no_client_auth().with_cert_resolver(Arc::new(certificates));
    config.alpn_protocols = protocols.iter().map(|it| it.as_bytes().to_vec()).collect();
    Ok(Arc::new(config))
}

fn certified(
    provider: &CryptoProvider,
    (certificate, key): (CertificateDer<'static>, PrivatePkcs8KeyDer<'static>),
) -> io::Result<Arc<CertifiedKey>> {
    let key = provider.key_provider.load_private_key(PrivateKeyDer::Pkcs8(key));
    Ok(Arc::new(CertifiedKey::new(vec![certificate], key.map_err(io::Error::other)?)))
}

/// The two certificates of one node.
#[derive(Debug)]
struct Certificates {
    own: Arc<CertifiedKey>,
    foreign: Arc<CertifiedKey>,
}

impl ResolvesServerCert for Certificates {
    /// Shows the node's own key to who asks for Ed25519 alone, which is what nodes do.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let ecdsa = SignatureScheme::ECDSA_NISTP256_SHA256;
        let foreign = hello.signature_schemes().contains(&ecdsa);
        Some(Arc::clone(if foreign { &self.foreign } else { &self.own }))
    }
}
