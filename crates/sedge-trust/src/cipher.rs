//! AES-256-GCM with a fresh random nonce per text.

use aes_gcm::aead::{Aead as _, Payload};
use aes_gcm::{Aes256Gcm, KeyInit as _};
use sedge_base::ErrorKind;

use crate::random::{RandomError, random_bytes};
use crate::session::SessionKey;

const TAG_LEN: usize = 16;

/// A text under AES-256-GCM (origins 4.1, `EncryptedPayload`).
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sealed {
    /// The encrypted text, as long as the plain one.
    pub ciphertext: Vec<u8>,
    /// The nonce of this text.
    pub iv: [u8; 12],
    /// The authentication tag.
    pub tag: [u8; TAG_LEN],
}

/// Why a text could not be encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// No random bytes for the nonce.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The text is longer than the cipher allows.
    #[error("the text is too long to be encrypted")]
    TooLong,
}

impl SealError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Random(err) => err.kind(),
            Self::TooLong => ErrorKind::Invalid,
        }
    }
}

/// Another key, another context, or a changed text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("decryption failed: authentication failed")]
pub struct OpenFailed;

impl Sealed {
    /// Encrypts `text`; `context` is not hidden, but must be the same to decrypt.
    ///
    /// # Errors
    ///
    /// [`SealError`] when there is no randomness or the text is too long.
    pub fn seal(key: &SessionKey, text: &[u8], context: &[u8]) -> Result<Self, SealError> {
        Self::seal_with_iv(key, text, context, random_bytes()?)
    }

    pub(crate) fn seal_with_iv(
        key: &SessionKey,
        text: &[u8],
        context: &[u8],
        iv: [u8; 12],
    ) -> Result<Self, SealError> {
        let cipher = Aes256Gcm::new(key.as_bytes().into());
        let payload = Payload { msg: text, aad: context };
        let mut ciphertext = cipher.encrypt(&iv.into(), payload).map_err(|_| SealError::TooLong)?;
        let mut tag = [0; TAG_LEN];
        let at = ciphertext.len().saturating_sub(TAG_LEN);
        tag.copy_from_slice(&ciphertext[at..]);
        ciphertext.truncate(at);
        Ok(Self { ciphertext, iv, tag })
    }

    /// Decrypts the text.
    ///
    /// # Errors
    ///
    /// [`OpenFailed`] when key, context or any byte is not what it was.
    pub fn open(&self, key: &SessionKey, context: &[u8]) -> Result<Vec<u8>, OpenFailed> {
        let cipher = Aes256Gcm::new(key.as_bytes().into());
        let joined = [&self.ciphertext[..], &self.tag[..]].concat();
        let payload = Payload { msg: &joined, aad: context };
        cipher.decrypt(&self.iv.into(), payload).map_err(|_| OpenFailed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vector_003_10() {
        let key = SessionKey::from_bytes([1; 32]);
        let sealed = Sealed::seal_with_iv(&key, b"Hello, World!", b"", [0; 12]).unwrap();
        assert_eq!(hex::encode(&sealed.ciphertext), "f750f4b01a1723e8fc0bfe2150");
        assert_eq!(hex::encode(sealed.tag), "481c46737011b3f8bb561b310e1a4bf1");
        assert_eq!(sealed.open(&key, b"").unwrap(), b"Hello, World!");
        assert_eq!(sealed.open(&key, b"other"), Err(OpenFailed));
    }
}
