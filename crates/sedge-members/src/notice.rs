//! What a member says of itself for those that it does not talk to: an advert under its signature.

use sedge_base::{ByteSize, ErrorKind, NodeId, SwarmId};
use sedge_trust::{BadSignature, Identity, Signature, verify};
use serde::{Deserialize, Serialize};

use crate::Advert;

/// What every signed text begins with.
const DOMAIN: &[u8] = b"sedge notice 1";
/// The largest advert that travels as a notice.
pub(crate) const LARGEST: ByteSize = ByteSize::from_bytes(192 << 10);

/// The swarm of the notices that tests and the fuzzer make.
#[cfg(any(test, fuzzing))]
pub(crate) const FED: SwarmId = SwarmId::from_bytes([7; 8]);

/// An advert that others may pass on; the signature covers the swarm, the node and every byte of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// Who says it.
    pub node: NodeId,
    /// The advert as JSON; 192 KiB at most.
    pub text: String,
    /// Its signature.
    pub signature: Signature,
}

/// Whose notice somebody keeps, and its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Whose.
    pub node: NodeId,
    /// Its number.
    pub serial: u64,
}

/// Why a notice was not made or not believed.
#[derive(Debug, thiserror::Error)]
pub enum NoticeError {
    /// The advert is too large.
    #[error("an advert of {size} is too large for a notice, {LARGEST} at most")]
    TooLarge {
        /// How large it is.
        size: ByteSize,
    },
    /// Somebody else made it, or it was changed.
    #[error("the notice is not signed by its node")]
    Signature(#[source] BadSignature),
    /// What is signed is no advert.
    #[error("the notice holds no advert")]
    Shape(#[from] serde_json::Error),
}

impl NoticeError {
    /// Returns what the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::TooLarge { .. } => ErrorKind::Exhausted,
            Self::Signature(error) => error.kind(),
            Self::Shape(_) => ErrorKind::Invalid,
        }
    }
}

fn signed(swarm: SwarmId, node: &NodeId, text: &str) -> Vec<u8> {
    [DOMAIN, swarm.as_bytes(), node.as_bytes(), text.as_bytes()].concat()
}

fn check_size(text: &str) -> Result<(), NoticeError> {
    let size = ByteSize::from_bytes(text.len() as u64);
    if size > LARGEST { Err(NoticeError::TooLarge { size }) } else { Ok(()) }
}

impl Notice {
    /// Signs an advert of this node.
    ///
    /// # Errors
    ///
    /// [`NoticeError::TooLarge`].
    pub fn sign(advert: &Advert, swarm: SwarmId, identity: &Identity) -> Result<Self, NoticeError> {
        let (node, text) = (identity.node_id(), serde_json::to_string(advert)?);
        check_size(&text)?;
        let signature = identity.sign(&signed(swarm, &node, &text));
        Ok(Self { node, text, signature })
    }

    /// Returns what it says, if its node has signed it.
    ///
    /// # Errors
    ///
    /// [`NoticeError`]; nothing of it is to be believed then.
    pub fn open(&self, swarm: SwarmId) -> Result<Advert, NoticeError> {
        check_size(&self.text)?;
        let text = signed(swarm, &self.node, &self.text);
        verify(&self.node, &text, &self.signature).map_err(NoticeError::Signature)?;
        Ok(serde_json::from_str(&self.text)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pulse::example;

    #[test]
    fn a_notice_holds_for_its_swarm_its_node_and_its_text_alone() {
        let [one, two] = [5, 6].map(|it| Identity::from_bytes(&[it; 64]));
        let advert = example();
        let notice = Notice::sign(&advert, FED, &one).unwrap();
        assert_eq!(notice.open(FED).unwrap(), advert);
        let refused = |notice: &Notice, swarm| notice.open(swarm).unwrap_err().kind();
        let denied = ErrorKind::Unauthenticated;
        assert_eq!(refused(&notice, SwarmId::from_bytes([8; 8])), denied, "of another swarm");
        let of_two = Notice { node: two.node_id(), ..notice.clone() };
        assert_eq!(refused(&of_two, FED), denied, "in the name of another member");
        let text = notice.text.replace("\"limit\":1", "\"limit\":9");
        assert_ne!(text, notice.text);
        assert_eq!(refused(&Notice { text, ..notice }, FED), denied);
    }

    #[test]
    fn what_is_too_large_is_neither_made_nor_read() {
        let identity = Identity::from_bytes(&[5; 64]);
        let advert = Advert { name: "x".repeat(200 << 10), ..example() };
        let refused = Notice::sign(&advert, FED, &identity).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Exhausted);
        let small = Notice::sign(&example(), FED, &identity).unwrap();
        let large = Notice { text: "x".repeat(200 << 10), ..small };
        assert_eq!(large.open(FED).unwrap_err().kind(), ErrorKind::Exhausted);
    }
}
