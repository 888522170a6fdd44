//! A record of the older protocol and its signature.

use sedge_base::NodeId;
use serde::{Deserialize, Serialize};

use crate::identity::Identity;
use crate::registration::{Registry, VerifyFromError};
use crate::signature::{BadSignature, Signature, verify};

/// What the older protocol signs: a claim, a heartbeat, a receipt.
///
/// `signed_text` is asked when signing and when verifying, and must cover every field.
pub trait Record {
    /// Returns the id that the signer is registered with.
    fn signer(&self) -> &str;

    /// Returns the seed form of every field.
    fn signed_text(&self) -> String;
}

/// A record with its signature beside its fields; unknown fields are ignored, as there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Signed<T> {
    /// The record.
    #[serde(flatten)]
    pub record: T,
    /// By the signer, over [`Record::signed_text`].
    #[serde(with = "super::numbers")]
    pub signature: Signature,
}

impl<T: Record> Signed<T> {
    /// Signs a record; whether the key belongs to the record's signer is checked by the reader.
    pub fn sign(record: T, signer: &Identity) -> Self {
        let signature = signer.sign(record.signed_text().as_bytes());
        Self { record, signature }
    }

    /// Checks the signature against the key that is registered for the record's signer.
    ///
    /// # Errors
    ///
    /// [`VerifyFromError`] when the signer is unknown or did not sign this.
    pub fn verify(&self, registry: &Registry) -> Result<(), VerifyFromError> {
        let text = self.record.signed_text();
        registry.verify_from(self.record.signer(), text.as_bytes(), &self.signature).map(|_| ())
    }

    /// Checks the signature against a key that the caller knows to be the signer's.
    ///
    /// # Errors
    ///
    /// [`BadSignature`] when the key's owner did not sign this.
    pub fn verify_by(&self, key: &NodeId) -> Result<(), BadSignature> {
        verify(key, self.record.signed_text().as_bytes(), &self.signature)
    }
}
