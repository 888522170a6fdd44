//! What a stranger's bytes reach in this crate, for the fuzzer and for its kept inputs (`fuzz/README.md`).

use std::str;

use sedge_base::Timestamp;

use crate::intelligence::{IntelligenceSync, decode};
use crate::memory::VectorEntry;
use crate::p2p::RegisteredMember;
use crate::p2p::envelope::{Heartbeat, Signed, TaskClaim, TaskEnvelope, TaskReceipt};
use crate::protocol::SwarmMessage;

/// The name of a decoder and what feeds it.
type Target = (&'static str, fn(&[u8]) -> bool);

/// The decoders; what feeds one returns whether the input was taken.
pub const TARGETS: &[Target] =
    &[("swarm_message", message), ("swarm_patterns", patterns), ("swarm_record", record)];

fn message(bytes: &[u8]) -> bool {
    drop(serde_json::from_slice::<Vec<VectorEntry>>(bytes));
    let Ok(mut message) = SwarmMessage::decode(bytes) else { return false };
    message.is_expired(std::time::Duration::from_secs(1), Timestamp::from_millis(9));
    message.decrement_ttl();
    let again = message.encode().map(|it| SwarmMessage::decode(&it));
    assert!(again.is_err() || again.is_ok_and(|it| it.is_ok()), "what was read can be said again");
    message.check().is_ok()
}

/// What another agent has learnt, packed, and its merge into what is known here.
fn patterns(bytes: &[u8]) -> bool {
    let Ok(state) = decode(bytes, true) else { return false };
    let from = state.agent_id.clone();
    let known = IntelligenceSync::new("here");
    let merged = known.merge(&from, state.clone());
    let again = known.merge(&from, state);
    assert!(
        again.is_err() || again.is_ok_and(|it| it.new_patterns == 0),
        "a repetition is no news"
    );
    merged.is_ok()
}

/// What envelopes between members carry.
fn record(bytes: &[u8]) -> bool {
    let text = str::from_utf8(bytes).unwrap_or_default();
    crate::agent::url::feed(text);
    let registered = serde_json::from_slice::<RegisteredMember>(bytes).map(|it| it.verify());
    registered.is_ok()
        || serde_json::from_slice::<Signed<Heartbeat>>(bytes).is_ok()
        || serde_json::from_slice::<TaskEnvelope>(bytes).is_ok()
        || serde_json::from_slice::<TaskClaim>(bytes).is_ok()
        || serde_json::from_slice::<TaskReceipt>(bytes).is_ok()
}

#[cfg(test)]
#[path = "../../../fuzz/src/named.rs"]
mod named;

#[cfg(test)]
#[path = "../../../fuzz/src/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use sedge_trust::Identity;

    use super::named::json;
    use super::replay::all;
    use super::*;
    use crate::protocol::{MessagePayload, MessageType};

    #[test]
    fn every_kept_input_is_taken_or_refused_as_its_name_says() {
        let now = Timestamp::from_millis(1_700_000_000_000);
        let ping = SwarmMessage::new(MessageType::Ping, "a", Some("b"), MessagePayload::Empty, now);
        let mut named = json("swarm_message", ping.encode().unwrap());
        let raw = MessagePayload::Raw { bytes: vec![1] };
        let other = SwarmMessage { payload: raw, ..ping }.encode().unwrap();
        named.push(("swarm_message", "other-payload.refused", other));
        let member =
            RegisteredMember::sign(&Identity::from_bytes(&[1; 64]), "a", vec!["b".to_owned()], now);
        named.extend(json("swarm_record", serde_json::to_vec(&member.unwrap()).unwrap()));
        let packed = |text: &str| crate::compress::pack(text.as_bytes());
        let learnt = IntelligenceSync::new("there");
        assert!(learnt.update_pattern("s", "a", 1.0).into_inner());
        let sound = crate::intelligence::encode(&learnt.get_delta(0, 9), true).unwrap();
        named.push(("swarm_patterns", "truncated.refused", sound[..sound.len() - 3].to_vec()));
        named.push(("swarm_patterns", "malformed.refused", packed("{\"agent_id\":1}")));
        named.push(("swarm_patterns", "huge.refused", [&[0xff; 4][..], &sound[4..]].concat()));
        named.push(("swarm_patterns", "deep.refused", packed(&"[".repeat(2000))));
        named.push(("swarm_patterns", "sound.read", sound));
        all(TARGETS, &named);
    }
}
