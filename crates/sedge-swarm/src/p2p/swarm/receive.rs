//! What becomes of an envelope that arrived: checked, then handed to whoever listens.

use std::sync::Arc;

use bytes::Bytes;
use sedge_net::Conn;
use sedge_trust::envelope::OpenError;
use sedge_trust::seed::Envelope;
use sedge_trust::session::Rekey;

use super::super::envelope::{Heartbeat, Signed, TaskClaim, TaskEnvelope, TaskReceipt};
use super::super::node::{Message, Node, Subscriber};
use super::publish::topic;
use super::{sessions, tasks};

/// Checks an envelope in the safe order (registry, signature, age, nonce, counter, decryption,
/// payload hash) and delivers it; what does not hold is counted and changes nothing else.
pub(super) async fn receive(node: &Arc<Node>, conn: &Conn, bytes: &[u8]) {
    let from = conn.peer();
    let envelope: Envelope = match serde_json::from_slice(bytes) {
        Ok(envelope) => envelope,
        Err(err) => return node.refuse(&from, &err),
    };
    let message = match open(node, conn, envelope) {
        Ok(Some(message)) => message,
        Ok(None) => return node.refuse(&from, &"an envelope of somebody else"),
        Err(err) => return node.refuse(&from, &err),
    };
    if let Err(why) = act(node, &message) {
        node.refuse(&from, &why);
    }
    let subscribers = node.state().topics.get(&message.topic).cloned().unwrap_or_default();
    for subscriber in subscribers {
        match subscriber {
            Subscriber::Handler(handler) => handler(&message),
            // Waiting for room slows this peer; a queue that nobody reads any more is passed over.
            Subscriber::Queue(queue) => drop(queue.send(message.clone()).await),
        }
    }
}

/// Opens an envelope; `None` when it is not of the member at the other end, since nobody carries
/// messages for others.
fn open(node: &Node, conn: &Conn, envelope: Envelope) -> Result<Option<Message>, OpenError> {
    let now = node.clock.now();
    let mut state = node.state();
    let state = &mut *state;
    let sender = state.registry.member(&envelope.sender_id);
    if sender.is_some_and(|it| it.node_id != conn.peer()) {
        return Ok(None);
    }
    let opened = envelope.open(&state.registry, &mut state.window, &node.key, now)?;
    state.heard.insert(opened.sender, now);
    let Envelope { message_id, topic, sender_id, timestamp, .. } = envelope;
    let payload = Bytes::from(opened.payload);
    Ok(Some(Message { message_id, topic, sender_id, timestamp, payload }))
}

/// Does what the swarm itself does with a message; returns why it did not.
fn act(node: &Arc<Node>, message: &Message) -> Result<(), &'static str> {
    const FORM: &str = "a record that cannot be read";
    let (from, payload) = (message.sender_id.as_str(), &message.payload[..]);
    match message.topic.as_str() {
        topic::HEARTBEAT => {
            let beat: Signed<Heartbeat> = serde_json::from_slice(payload).map_err(|_| FORM)?;
            // The envelope that carried it is what counts; a sign of life of somebody else is none.
            if beat.record.agent_id == from { Ok(()) } else { Err("a heartbeat of somebody else") }
        }
        topic::TASKS => {
            let task: TaskEnvelope = serde_json::from_slice(payload).map_err(|_| FORM)?;
            tasks::heard_task(node, from, task)
        }
        topic::CLAIMS => {
            let claim: TaskClaim = serde_json::from_slice(payload).map_err(|_| FORM)?;
            tasks::heard_claim(node, from, claim)
        }
        topic::RECEIPTS => {
            let receipt: TaskReceipt = serde_json::from_slice(payload).map_err(|_| FORM)?;
            tasks::heard_receipt(node, from, receipt)
        }
        topic::SESSION => {
            let rekey = Rekey::decode(payload).map_err(|_| FORM)?;
            sessions::heard(node, from, &rekey)
        }
        _ => Ok(()),
    }
}
