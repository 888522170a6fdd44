//! TLS 1.3 by the node's own keys, for every listener that speaks TCP.
//!
//! Between nodes a certificate holds the node's Ed25519 key: whoever is dialled is known by it, no
//! authority is asked. Browsers and gRPC's own TLS know no Ed25519 certificates; for them a node has
//! an [`Authority`] of its own, which they are told to trust. A [`Listener`] shows each client the
//! certificate that it can read.

mod authority;
mod dial;
mod listener;

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, ServerConfig, SignatureScheme,
};
use sedge_base::NodeId;
use sedge_trust::Identity;

pub use authority::{Authority, AuthorityError};
pub use dial::{DialError, dial};
pub use listener::{Listener, ListenerError, Secured};

/// The name in every node's certificate; nobody checks it, the key counts.
pub(crate) const NAME: &str = "sedge";
/// An Ed25519 private key without its 32 bytes (RFC 8410, RFC 5958).
const PRIVATE: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
/// An Ed25519 public key without its 32 bytes (RFC 8410).
const PUBLIC: [u8; 12] = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];

/// What both ends of a TLS connection know and nobody else does (RFC 9266).
pub(crate) const EXPORTER: &[u8] = b"EXPORTER-Channel-Binding";

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Makes a certificate that the node signs for itself, and its key.
fn own(identity: &Identity) -> io::Result<(CertificateDer<'static>, PrivatePkcs8KeyDer<'static>)> {
    let mut key = PRIVATE.to_vec();
    key.extend_from_slice(&*identity.signing_seed());
    let key = PrivatePkcs8KeyDer::from(key);
    let pair =
        KeyPair::from_pkcs8_der_and_sign_algo(&key, &PKCS_ED25519).map_err(io::Error::other)?;
    let certificate = CertificateParams::new([NAME.to_owned()])
        .and_then(|it| it.self_signed(&pair))
        .map_err(io::Error::other)?;
    Ok((certificate.der().clone(), key))
}

/// Makes the listening side's settings, with a certificate that the node signs for itself.
pub(crate) fn server(identity: &Identity) -> io::Result<Arc<ServerConfig>> {
    let (certificate, key) = own(identity)?;
    let config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .and_then(|it| it.with_no_client_auth().with_single_cert(vec![certificate], key.into()));
    config.map(Arc::new).map_err(io::Error::other)
}

/// The nodes whose certificates are good; it may change.
pub(crate) type Known = Arc<RwLock<BTreeSet<NodeId>>>;

/// Makes the check of certificates by the keys in them.
pub(crate) fn verifier(known: Known, provider: Arc<CryptoProvider>) -> Arc<dyn ServerCertVerifier> {
    Arc::new(Pinned { known: Wanted::Known(known), provider })
}

/// Makes the dialling side's settings: nobody but `node` is talked to.
pub(crate) fn client(node: NodeId) -> io::Result<Arc<ClientConfig>> {
    let provider = provider();
    let known = Arc::new(RwLock::new(BTreeSet::from([node])));
    let verifier = verifier(known, Arc::clone(&provider));
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Makes settings that accept whoever has a node's key, and remember which node that was.
pub(crate) fn learner() -> io::Result<(Arc<ClientConfig>, Arc<OnceLock<NodeId>>)> {
    let (provider, learned) = (provider(), Arc::new(OnceLock::new()));
    let known = Wanted::Anybody(Arc::clone(&learned));
    let verifier = Arc::new(Pinned { known, provider: Arc::clone(&provider) });
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok((Arc::new(config), learned))
}

/// Whose key a certificate must hold.
#[derive(Debug)]
enum Wanted {
    /// That of one of these.
    Known(Known),
    /// Any node's; which, is remembered.
    Anybody(Arc<OnceLock<NodeId>>),
}

/// Accepts a certificate if it holds the key of a known node; neither names nor dates count.
#[derive(Debug)]
struct Pinned {
    known: Wanted,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let key = ParsedCertificate::try_from(end_entity)?.subject_public_key_info();
        let key = key.strip_prefix(PUBLIC.as_slice()).and_then(|it| it.try_into().ok());
        let good = |key: NodeId| match &self.known {
            Wanted::Known(known) => {
                known.read().unwrap_or_else(PoisonError::into_inner).contains(&key)
            }
            Wanted::Anybody(learned) => *learned.get_or_init(|| key) == key,
        };
        if key.map(NodeId::from_bytes).is_some_and(good) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}
