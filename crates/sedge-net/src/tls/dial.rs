//! The dialling side of a listener whose authority somebody was told to trust.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore};
use sedge_base::ErrorKind;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::provider;

/// How long the connection and its handshake may take.
const WITHIN: Duration = Duration::from_secs(15);

/// Why nobody is reached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// The address is none.
    #[error("`{address}` is no HOST:PORT")]
    Address {
        /// What was given.
        address: String,
    },
    /// The text holds no certificate of an authority.
    #[error("the authority's certificate is damaged")]
    Authority,
    /// Nobody answers there.
    #[error("cannot connect to {address}")]
    Connect {
        /// Where.
        address: String,
        /// What the system says.
        source: io::Error,
    },
    /// Whoever answers is not whom the authority vouches for, or speaks no TLS 1.3.
    #[error("whoever answers at {address} is not vouched for by the authority")]
    Handshake {
        /// Where.
        address: String,
        /// What is wrong.
        source: io::Error,
    },
    /// Nobody answered in time.
    #[error("nobody answered at {address} within {WITHIN:?}")]
    Late {
        /// Where.
        address: String,
    },
}

impl DialError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Address { .. } | Self::Authority => ErrorKind::Invalid,
            Self::Connect { .. } | Self::Late { .. } => ErrorKind::Unavailable,
            Self::Handshake { .. } => ErrorKind::Unauthenticated,
        }
    }
}

/// Connects to `address` (`HOST:PORT`) by TLS 1.3, to whoever the authority in PEM vouches for under
/// that host; `protocols` is what ALPN offers.
///
/// # Errors
///
/// [`DialError`] when the text is wrong, or nobody of that name is there.
///
/// # Cancel safety
///
/// Dropping the future breaks the connection off.
pub async fn dial(
    address: &str,
    authority: &str,
    protocols: &[&str],
) -> Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static + use<>, DialError> {
    let no_address = || DialError::Address { address: address.to_owned() };
    let (host, port) = address.rsplit_once(':').ok_or_else(no_address)?;
    port.parse::<u16>().map_err(|_| no_address())?;
    let host = host.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(host);
    let name = ServerName::try_from(host.to_owned()).map_err(|_| no_address())?;
    let connector = TlsConnector::from(Arc::new(config(authority, protocols)?));
    let work = async {
        let failed = |source| DialError::Connect { address: address.to_owned(), source };
        let stream = TcpStream::connect(address).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let shaken = connector.connect(name, stream).await;
        shaken.map_err(|source| DialError::Handshake { address: address.to_owned(), source })
    };
    let late = || DialError::Late { address: address.to_owned() };
    timeout(WITHIN, work).await.unwrap_or_else(|_| Err(late()))
}

fn config(authority: &str, protocols: &[&str]) -> Result<ClientConfig, DialError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority.as_bytes()) {
        let certificate = certificate.map_err(|_| DialError::Authority)?;
        roots.add(certificate).map_err(|_| DialError::Authority)?;
    }
    if roots.is_empty() {
        return Err(DialError::Authority);
    }
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(|_| DialError::Authority)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|it| it.as_bytes().to_vec()).collect();
    Ok(config)
}

#[cfg(test)]
mod tests {
    use sedge_base::NodeId;
    use sedge_trust::Identity;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::tls::{Authority, Listener};

    #[tokio::test]
    async fn only_whom_the_authority_vouches_for_is_talked_to() {
        let identity = Identity::generate().unwrap();
        let authority = Authority::generate(identity.node_id()).unwrap();
        let names = ["127.0.0.1".to_owned()];
        let at = "127.0.0.1:0".parse().unwrap();
        let mut listener =
            Listener::bind(at, (&identity, &authority), &names, &["h2"], 4).await.unwrap();
        let address = listener.address().to_string();
        let served = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"hello").await.unwrap();
            stream.flush().await.unwrap();
            let mut rest = Vec::new();
            drop(stream.read_to_end(&mut rest).await);
        };
        let pem = authority.certificate().unwrap();
        let dialled = async {
            let mut stream = dial(&address, &pem, &["h2"]).await.unwrap();
            let mut said = [0; 5];
            stream.read_exact(&mut said).await.unwrap();
            assert_eq!(&said, b"hello");
        };
        tokio::join!(served, dialled);
        let other = Authority::generate(NodeId::from_bytes([1; 32])).unwrap();
        let other = other.certificate().unwrap();
        let refused = dial(&address, &other, &["h2"]).await.map(drop).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unauthenticated, "{refused}");
        for (address, pem) in [("nowhere", pem.as_str()), ("a:b", &pem), ("127.0.0.1:1", "x")] {
            let refused = dial(address, pem, &[]).await.map(drop).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Invalid, "{refused}");
        }
    }
}
