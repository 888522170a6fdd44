//! What only holders of a space's key can read.
//!
//! The key of a space is 32 random bytes under AES-256-GCM. Its founder gives it to a member as an
//! entry of the graph like any other, sealed under the key that the two share (X25519): whoever
//! carries it cannot read it, and no key lies on a disk but the nodes' own.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use sedge_base::{ErrorKind, NodeId};
use sedge_trust::session::SessionKey;
use sedge_trust::{OpenFailed, SealError, Sealed};
use serde::{Deserialize, Serialize};

use crate::space::Space;
use crate::state::State;
use crate::value::{MAX_SEALED, Value, ValueError};

/// The soul under which a closed space's founder says who has which key.
pub const GRANTS: &str = "~keys";

const TAG: usize = 16;

/// A value under AES-256-GCM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedValue {
    /// The encrypted text and its tag, in base64 without padding.
    ct: String,
    /// The nonce, twelve bytes in base64.
    iv: String,
    /// The number of the space's key; grants carry the number that they give.
    pub(crate) key: u32,
}

/// Where a value lies and whose it is: what a sealed value is bound to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) space: &'a Space,
    pub(crate) soul: &'a str,
    pub(crate) key: &'a str,
    pub(crate) author: &'a NodeId,
    pub(crate) state: State,
}

/// Why a sealed value cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnsealError {
    /// This node was not given the key.
    #[error("this node has no key to the space")]
    NoKey,
    /// Another key, another place, or a changed byte.
    #[error("the sealed value does not open")]
    Corrupt,
}

impl UnsealError {
    /// Returns what the caller can do about it.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::NoKey => ErrorKind::Denied,
            Self::Corrupt => ErrorKind::Corrupt,
        }
    }
}

impl From<OpenFailed> for UnsealError {
    fn from(_: OpenFailed) -> Self {
        Self::Corrupt
    }
}

impl Place<'_> {
    /// Returns the bytes that a sealed value is bound to: in another place it does not open.
    fn context(&self, number: u32) -> Vec<u8> {
        let Self { space, soul, key, author, state } = self;
        let state = state.as_thousandths();
        // Neither souls nor keys hold control characters.
        format!("sedge-graph/1\n{space}\n{soul}\n{key}\n{author}\n{state}\n{number}").into_bytes()
    }

    /// Encrypts a value for this place.
    pub(crate) fn seal(
        &self,
        key: &SessionKey,
        number: u32,
        value: &Value,
    ) -> Result<SealedValue, SealError> {
        self.seal_bytes(key, number, value.text().as_bytes())
    }

    pub(crate) fn seal_bytes(
        &self,
        key: &SessionKey,
        number: u32,
        text: &[u8],
    ) -> Result<SealedValue, SealError> {
        let sealed = Sealed::seal(key, text, &self.context(number))?;
        let ct = BASE64.encode([&sealed.ciphertext[..], &sealed.tag[..]].concat());
        Ok(SealedValue { ct, iv: BASE64.encode(sealed.iv), key: number })
    }

    /// Decrypts a value of this place.
    pub(crate) fn open(
        &self,
        key: &SessionKey,
        sealed: &SealedValue,
    ) -> Result<Value, UnsealError> {
        let text = self.open_bytes(key, sealed)?;
        let value: Value = serde_json::from_slice(&text).map_err(|_| UnsealError::Corrupt)?;
        value.check().map_err(|_| UnsealError::Corrupt)?;
        Ok(value)
    }

    pub(crate) fn open_bytes(
        &self,
        key: &SessionKey,
        sealed: &SealedValue,
    ) -> Result<Vec<u8>, UnsealError> {
        let bytes = sealed.bytes().map_err(|_| UnsealError::Corrupt)?;
        Ok(bytes.open(key, &self.context(sealed.key))?)
    }
}

impl SealedValue {
    pub(crate) fn check(&self) -> Result<(), ValueError> {
        self.bytes().map(drop)
    }

    fn bytes(&self) -> Result<Sealed, ValueError> {
        if self.ct.len() > MAX_SEALED || self.key == 0 {
            return Err(ValueError::Sealed);
        }
        let decode = |text: &str| BASE64.decode(text).map_err(|_| ValueError::Sealed);
        let mut ciphertext = decode(&self.ct)?;
        let at = ciphertext.len().checked_sub(TAG).ok_or(ValueError::Sealed)?;
        let tag = ciphertext.split_off(at).try_into().map_err(|_| ValueError::Sealed)?;
        let iv = decode(&self.iv)?.try_into().map_err(|_| ValueError::Sealed)?;
        Ok(Sealed { ciphertext, iv, tag })
    }
}

/// Returns the key under which a grant of a member lies.
pub(crate) fn grant_key(member: &NodeId, number: u32) -> String {
    format!("{member}/{number}")
}

/// Reads whom a grant is for, and which key it gives.
pub(crate) fn granted(key: &str) -> Option<(NodeId, u32)> {
    let (member, number) = key.split_once('/')?;
    let (member, number) = (member.parse().ok()?, number.parse().ok()?);
    // One spelling only.
    (number > 0 && grant_key(&member, number) == key).then_some((member, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    const AUTHOR: NodeId = NodeId::from_bytes([3; 32]);

    #[test]
    fn a_sealed_value_opens_in_its_own_place_alone() {
        let space = Space::founded("team", AUTHOR).unwrap();
        let state = State::from_thousandths(5).unwrap();
        let place = Place { space: &space, soul: "a", key: "b", author: &AUTHOR, state };
        let key = SessionKey::from_bytes([1; 32]);
        let value = Value::Text("a secret".to_owned());
        let sealed = place.seal(&key, 1, &value).unwrap();
        assert_eq!(sealed.check(), Ok(()));
        assert!(!Value::Sealed(sealed.clone()).text().contains("secret"));
        assert_eq!(place.open(&key, &sealed), Ok(value));
        let elsewhere = Place { key: "c", ..place };
        assert_eq!(elsewhere.open(&key, &sealed), Err(UnsealError::Corrupt));
        let later = Place { state: state.next(), ..place };
        assert_eq!(later.open(&key, &sealed), Err(UnsealError::Corrupt));
        let other = SessionKey::from_bytes([2; 32]);
        assert_eq!(place.open(&other, &sealed), Err(UnsealError::Corrupt));
        let renumbered = SealedValue { key: 2, ..sealed };
        assert_eq!(place.open(&key, &renumbered), Err(UnsealError::Corrupt));
    }

    #[test]
    fn grants_are_spelled_one_way() {
        assert_eq!(granted(&grant_key(&AUTHOR, 7)), Some((AUTHOR, 7)));
        for key in
            ["", "a/1", &format!("{AUTHOR}/0"), &format!("{AUTHOR}/07"), &format!("{AUTHOR}")]
        {
            assert_eq!(granted(key), None, "{key}");
        }
    }

    #[test]
    fn garbage_is_no_sealed_value() {
        for (ct, iv) in [("", ""), ("!", "AAAAAAAAAAAAAAAA"), ("AAAA", "AAAAAAAAAAAAAAAA")] {
            let sealed = SealedValue { ct: ct.to_owned(), iv: iv.to_owned(), key: 1 };
            assert_eq!(sealed.check(), Err(ValueError::Sealed), "{ct} {iv}");
        }
    }
}
