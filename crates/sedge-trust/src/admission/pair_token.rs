//! A token that pairs one machine, once, within a day.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sedge_base::{ErrorKind, NodeId, Secret, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::random::{RandomError, random_bytes};
use crate::signature::TreeHash;

/// How a pairing token begins when it is written.
pub const PAIR_TOKEN_PREFIX: &str = "sedge-pair.";

/// How long a pairing token holds, at most and unless the person says less: 24 hours.
pub const PAIR_TOKEN_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// The most pairing tokens that are open or kept at once.
pub const MAX_PAIR_TOKENS: usize = 256;

const TOKEN_BYTES: usize = 32;

/// 32 secret bytes; wiped on drop. [`PairToken::text`] shows them, `Debug` does not.
#[derive(Clone, PartialEq, Eq)]
pub struct PairToken {
    bytes: Zeroizing<[u8; TOKEN_BYTES]>,
    /// What proofs are made with, so that the token itself need not be kept.
    key: Zeroizing<[u8; 32]>,
}

impl fmt::Debug for PairToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PairToken({}, …)", self.id())
    }
}

/// A text is no pairing token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a pairing token is `{PAIR_TOKEN_PREFIX}` and 43 letters, digits, `-` or `_`")]
pub struct PairTokenError;

impl PairTokenError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

impl PairToken {
    /// Makes a token from the operating system's random source.
    ///
    /// # Errors
    ///
    /// [`RandomError`] when that source gives nothing.
    pub fn generate() -> Result<Self, RandomError> {
        Ok(Self::from_bytes(random_bytes()?))
    }

    /// Makes the token of these bytes.
    pub fn from_bytes(bytes: [u8; TOKEN_BYTES]) -> Self {
        let key = Sha256::new().chain_update(b"sedge-pair-token/1").chain_update(bytes).finalize();
        Self { bytes: Zeroizing::new(bytes), key: Zeroizing::new(key.into()) }
    }

    /// Returns the token as it is written and read; whoever has the text can pair.
    pub fn text(&self) -> String {
        format!("{PAIR_TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(&self.bytes[..]))
    }

    /// Returns the name that tells tokens apart; it says nothing about the secret.
    pub fn id(&self) -> PairTokenId {
        PairTokenId::of_key(&self.key)
    }

    pub(super) fn key(&self) -> &[u8] {
        &self.key[..]
    }

    /// Returns what the node that made the token keeps of it.
    pub fn issue(&self, now: Timestamp, ttl: Duration) -> Issued {
        Issued {
            id: self.id(),
            key: Secret::new(TreeHash::from_bytes(*self.key)),
            at: now,
            expires: now.plus(ttl.min(PAIR_TOKEN_TTL)),
            used_by: None,
        }
    }
}

impl FromStr for PairToken {
    type Err = PairTokenError;

    fn from_str(text: &str) -> Result<Self, PairTokenError> {
        let coded = text.trim().strip_prefix(PAIR_TOKEN_PREFIX).ok_or(PairTokenError)?;
        // 32 bytes are 43 characters; nothing longer is even decoded.
        if coded.len() != 43 {
            return Err(PairTokenError);
        }
        let bytes =
            URL_SAFE_NO_PAD.decode(coded).map(Zeroizing::new).map_err(|_| PairTokenError)?;
        let bytes: [u8; TOKEN_BYTES] = bytes[..].try_into().map_err(|_| PairTokenError)?;
        Ok(Self::from_bytes(bytes))
    }
}

/// Which pairing token: the first 8 bytes of a hash of it, written in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PairTokenId([u8; 8]);

impl PairTokenId {
    fn of_key(key: &[u8; 32]) -> Self {
        let hash = Sha256::digest(key);
        let mut id = [0; 8];
        id.copy_from_slice(&hash[..8]);
        Self(id)
    }
}

impl fmt::Display for PairTokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for PairTokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PairTokenId({self})")
    }
}

impl TryFrom<String> for PairTokenId {
    type Error = PairTokenError;

    fn try_from(text: String) -> Result<Self, PairTokenError> {
        let mut id = [0; 8];
        hex::decode_to_slice(&text, &mut id).map_err(|_| PairTokenError)?;
        Ok(Self(id))
    }
}

impl From<PairTokenId> for String {
    fn from(id: PairTokenId) -> Self {
        id.to_string()
    }
}

/// What the node that made a pairing token keeps: enough to check a proof, not the token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issued {
    /// Which token.
    pub id: PairTokenId,
    /// The key of its proofs.
    #[serde(with = "kept")]
    pub(super) key: Secret<TreeHash>,
    /// When it was made.
    pub at: Timestamp,
    /// Until when it holds.
    pub expires: Timestamp,
    /// Who paired with it, if somebody did.
    pub used_by: Option<NodeId>,
}

/// The key on disk, in a database that only its owner can read.
mod kept {
    use sedge_base::Secret;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::signature::TreeHash;

    pub(super) fn serialize<S: Serializer>(
        key: &Secret<TreeHash>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        key.reveal().serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Secret<TreeHash>, D::Error> {
        TreeHash::deserialize(from).map(Secret::new)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_token_is_written_and_read() {
        let token = PairToken::from_bytes([7; 32]);
        assert_eq!(token.text(), "sedge-pair.BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc");
        assert_eq!(token.text().parse(), Ok(token.clone()));
        assert!(!format!("{token:?}").contains("BwcH"));
        let issued = token.issue(Timestamp::from_millis(0), PAIR_TOKEN_TTL * 2);
        assert_eq!(issued.expires.as_millis(), 24 * 60 * 60 * 1000, "a day at most");
        assert!(!format!("{issued:?}").contains(&hex::encode(token.key())));
        let json = serde_json::to_string(&issued).unwrap();
        assert!(!json.contains("BwcH"), "the token itself is not kept");
        assert_eq!(serde_json::from_str::<Issued>(&json).unwrap(), issued);
    }

    proptest! {
        #[test]
        fn every_token_is_read_back(bytes in any::<[u8; 32]>()) {
            let token = PairToken::from_bytes(bytes);
            prop_assert_eq!(token.text().parse(), Ok(token));
        }

        #[test]
        fn garbage_is_no_token(text in ".{0,80}") {
            prop_assert!(text.parse::<PairToken>().is_err());
        }
    }
}
