//! What a page and a node say to each other, and what of it is signed.

use sedge_base::{ErrorKind, NodeId};
use sedge_capability::Failure;
use sedge_trust::canonical::jcs;
use sedge_trust::{Nonce, Signature};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What is spoken, told in the first message.
pub(super) const VERSION: &str = "sedge-page/1";

/// The longest name of a page or a topic, in bytes.
const MAX_NAME: usize = 128;

/// The largest number that JavaScript counts to.
const MAX_SEQ: u64 = (1 << 53) - 1;

/// What a page says.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Up {
    /// Who it is.
    Join(Join),
    /// A message for the other pages.
    Message(Signed),
}

/// Who a page is.
#[derive(Debug, Deserialize)]
pub(super) struct Join {
    /// A token that names the right, or the node's key.
    pub(super) token: String,
    /// The page's Ed25519 key.
    pub(super) page: NodeId,
    /// What people call it.
    pub(super) name: String,
    /// Made by the page for this connection.
    pub(super) nonce: Nonce,
    /// Over [`join`].
    pub(super) signature: Signature,
}

/// One message, as the page signed it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Signed {
    /// Higher with every message of a connection.
    pub(super) seq: u64,
    /// What it is about.
    pub(super) topic: String,
    /// What it says.
    pub(super) body: Value,
    /// Over [`message`].
    pub(super) signature: Signature,
}

/// A message that was checked, and whose it is.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Said {
    /// The page's key.
    pub(super) from: NodeId,
    /// The nonce that the node gave that page.
    pub(super) session: Nonce,
    /// The message.
    #[serde(flatten)]
    pub(super) message: Signed,
}

/// What a page is told.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Down<'a> {
    /// Who speaks, and the nonce of this connection.
    Hello { version: &'static str, node: NodeId, nonce: Nonce },
    /// The page is in; the signature is over [`joined`].
    Joined { page: NodeId, signature: Signature },
    /// The message with this number was signed by the page, and is on its way.
    Verified { seq: u64 },
    /// Another page's message.
    Message(&'a Said),
}

/// What the node signs when a page is in.
#[derive(Debug)]
pub(super) struct Joined {
    pub(super) node: NodeId,
    pub(super) session: Nonce,
    pub(super) page: NodeId,
    pub(super) page_nonce: Nonce,
}

/// Reads what a page says; `None` when it is not understood.
pub(super) fn read(text: &str) -> Option<Up> {
    let up: Up = serde_json::from_str(text).ok()?;
    let sound = match &up {
        Up::Join(it) => it.name.len() <= MAX_NAME,
        Up::Message(it) => it.topic.len() <= MAX_NAME && it.seq <= MAX_SEQ,
    };
    sound.then_some(up)
}

pub(super) fn write(down: &Down<'_>) -> Result<String, Failure> {
    serde_json::to_string(down).map_err(unwritable)
}

/// Returns what a page signs to join.
pub(super) fn join(node: NodeId, session: Nonce, join: &Join) -> Result<Vec<u8>, Failure> {
    #[derive(Serialize)]
    struct Facts<'a> {
        context: &'static str,
        node: NodeId,
        session: Nonce,
        page: NodeId,
        page_nonce: Nonce,
        name: &'a str,
    }
    let Join { page, nonce: page_nonce, ref name, .. } = *join;
    let context = "sedge-page/1 join";
    jcs(&Facts { context, node, session, page, page_nonce, name }).map_err(unwritable)
}

/// Returns what a node signs to say that a page is in.
pub(super) fn joined(joined: &Joined) -> Result<Vec<u8>, Failure> {
    #[derive(Serialize)]
    struct Facts {
        context: &'static str,
        node: NodeId,
        session: Nonce,
        page: NodeId,
        page_nonce: Nonce,
    }
    let Joined { node, session, page, page_nonce } = *joined;
    let context = "sedge-page/1 joined";
    jcs(&Facts { context, node, session, page, page_nonce }).map_err(unwritable)
}

/// Returns what a page signs of a message.
pub(super) fn message(node: NodeId, said: &Said) -> Result<Vec<u8>, Failure> {
    #[derive(Serialize)]
    struct Facts<'a> {
        context: &'static str,
        node: NodeId,
        session: Nonce,
        seq: u64,
        topic: &'a str,
        body: &'a Value,
    }
    let Said { session, message: Signed { seq, topic, body, .. }, .. } = said;
    let context = "sedge-page/1 message";
    jcs(&Facts { context, node, session: *session, seq: *seq, topic, body }).map_err(unwritable)
}

fn unwritable(error: impl std::fmt::Display) -> Failure {
    Failure::new(ErrorKind::Invalid, "bad_message", format!("a message cannot be written: {error}"))
}

/// Feeds what a page says to the reader, and writes what it would have signed; returns whether it was understood.
#[cfg(any(test, fuzzing))]
pub(super) fn feed(bytes: &[u8]) -> bool {
    let Some(up) = std::str::from_utf8(bytes).ok().and_then(read) else { return false };
    let node = NodeId::from_bytes([1; 32]);
    let session = Nonce::from_bytes([1; 16]);
    match up {
        Up::Join(it) => join(node, session, &it).is_ok(),
        Up::Message(it) => message(node, &Said { from: node, session, message: it }).is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_message_is_not_understood() {
        let (key, nonce, by) = ("0".repeat(64), "0".repeat(32), "0".repeat(128));
        let of = |topic: &str, seq: &str| {
            format!(
                r#"{{"type":"message","seq":{seq},"topic":"{topic}","body":1,"signature":"{by}"}}"#
            )
        };
        assert!(matches!(read(&of("a", "1")), Some(Up::Message(it)) if it.seq == 1));
        let join = format!(
            r#"{{"type":"join","token":"","page":"{key}","name":"a","nonce":"{nonce}","signature":"{by}"}}"#
        );
        assert!(matches!(read(&join), Some(Up::Join(_))));
        for bad in
            [&of(&"a".repeat(129), "1"), &of("a", "9007199254740992"), &of("a", "-1"), "{}", ""]
        {
            assert!(read(bad).is_none(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_stop(text in "\\PC{0,200}") {
            drop(read(&text));
        }
    }
}
