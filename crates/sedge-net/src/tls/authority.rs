//! A node's own authority, for clients that know no Ed25519 certificates.

use std::fmt;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use sedge_base::{ErrorKind, NodeId, Secret};

/// Signs the certificates that a node shows to foreign clients; ECDSA on P-256.
///
/// A client is given [`Authority::certificate`] and trusts it for this one node. The certificates
/// that it signs are made anew at each start and never stored.
pub struct Authority {
    key: KeyPair,
    params: CertificateParams,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

/// Why there is no authority or no certificate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// The text holds no P-256 key.
    #[error("this is no P-256 key in PEM")]
    Key(#[source] rcgen::Error),
    /// A name cannot stand in a certificate, or the system gave no random numbers.
    #[error("no certificate can be made")]
    Certificate(#[source] rcgen::Error),
}

impl AuthorityError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Key(_) => ErrorKind::Corrupt,
            Self::Certificate(_) => ErrorKind::Invalid,
        }
    }
}

impl Authority {
    /// Makes an authority with a new key.
    ///
    /// # Errors
    ///
    /// [`AuthorityError::Certificate`] when the system gives no random numbers.
    pub fn generate(node: NodeId) -> Result<Self, AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256);
        Ok(Self::new(key.map_err(AuthorityError::Certificate)?, node))
    }

    /// Makes the authority again from what [`Authority::key`] gave.
    ///
    /// # Errors
    ///
    /// [`AuthorityError::Key`] when the text holds no P-256 key.
    pub fn from_key(pem: &str, node: NodeId) -> Result<Self, AuthorityError> {
        let key = KeyPair::from_pem_and_sign_algo(pem, &PKCS_ECDSA_P256_SHA256);
        Ok(Self::new(key.map_err(AuthorityError::Key)?, node))
    }

    fn new(key: KeyPair, node: NodeId) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, format!("sedge {}", node.short()));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        Self { key, params }
    }

    /// Returns the key in PEM, to be kept.
    pub fn key(&self) -> Secret<String> {
        Secret::new(self.key.serialize_pem())
    }

    /// Returns the certificate in PEM that clients are told to trust. Its names and key are always
    /// the same, its signature is not.
    ///
    /// # Errors
    ///
    /// [`AuthorityError::Certificate`] when the system gives no random numbers.
    pub fn certificate(&self) -> Result<String, AuthorityError> {
        let made = self.params.self_signed(&self.key);
        Ok(made.map_err(AuthorityError::Certificate)?.pem())
    }

    /// Makes a certificate for a listener that is reached by these names and addresses.
    pub(super) fn issue(
        &self,
        names: &[String],
    ) -> Result<(CertificateDer<'static>, PrivatePkcs8KeyDer<'static>), AuthorityError> {
        let failed = AuthorityError::Certificate;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
        let mut params = CertificateParams::new(names).map_err(failed)?;
        params.distinguished_name.push(DnType::CommonName, super::NAME);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let issuer = Issuer::from_params(&self.params, &self.key);
        let made = params.signed_by(&key, &issuer).map_err(failed)?;
        Ok((made.der().clone(), PrivatePkcs8KeyDer::from(key.serialize_der())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_made_again_from_its_key() {
        let node = NodeId::from_bytes([7; 32]);
        let first = Authority::generate(node).unwrap();
        let again = Authority::from_key(first.key().reveal(), node).unwrap();
        assert_eq!(first.key.public_key_raw(), again.key.public_key_raw());
        assert!(again.certificate().unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
        for bad in ["", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
            let refused = Authority::from_key(bad, node).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Corrupt);
        }
    }

    #[test]
    fn a_name_that_no_certificate_can_hold_is_refused() {
        let authority = Authority::generate(NodeId::from_bytes([7; 32])).unwrap();
        assert!(authority.issue(&["é".to_owned()]).is_err());
        assert!(authority.issue(&["localhost".to_owned(), "::1".to_owned()]).is_ok());
    }
}
