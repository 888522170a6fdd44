//! What a stranger's bytes reach in this crate, for the fuzzer and for its kept inputs (`fuzz/README.md`).

use std::str;
use std::time::Duration;

use sedge_base::{NodeId, SwarmId, Timestamp};

use crate::admission::{Answer, PairToken};
use crate::approval::{Approval, Run, canonical_arguments};
use crate::envelope::ReplayWindow;
use crate::hybrid::{HybridPublicKey, HybridSignature, PUBLIC_KEY_BYTES};
use crate::merkle::{verify_consistency, verify_inclusion};
use crate::pairing::{Code, Exchange, Parties, Party, Side};
use crate::receipt::{
    Anchor, Checkpoint, Export, Form, Receipt, VerifyKeys, is_chain, verify_attestation,
    verify_chain_file,
};
use crate::session::{Rekey, Session, SessionKey, SessionMessage};
use crate::{
    Envelope, Identity, Membership, Owner, Registration, Registry, Revocation, Sealed, Token,
    TreeHash, seed, verify_membership, verify_revocation,
};

/// The name of a decoder and what feeds it.
type Target = (&'static str, fn(&[u8]) -> bool);

/// The decoders; what feeds one returns whether the input was taken.
pub const TARGETS: &[Target] = &[
    ("trust_admission", admission),
    ("trust_approval", approval),
    ("trust_attestation", attestation),
    ("trust_chain_file", chain_file),
    ("trust_envelope", envelope),
    ("trust_membership", membership),
    ("trust_pairing", pairing),
    ("trust_receipt", receipt),
    ("trust_registration", registration),
    ("trust_seed", seed_records),
    ("trust_session", session),
    ("trust_token", token),
    ("trust_tree", tree),
];

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

fn swarm() -> SwarmId {
    SwarmId::of_key(&[1; 32])
}

fn keys() -> VerifyKeys {
    let [executor, requester] = [1, 2].map(|it| Identity::from_bytes(&[it; 64]).node_id());
    VerifyKeys { executor, requester }
}

/// Codes, pairing tokens and the answer to a challenge.
fn admission(bytes: &[u8]) -> bool {
    let typed = str::from_utf8(bytes)
        .is_ok_and(|it| Code::parse(it).is_ok() || it.parse::<PairToken>().is_ok());
    typed || serde_json::from_slice::<Answer>(bytes).is_ok()
}

/// A person's yes or no, and what it would be about.
fn approval(bytes: &[u8]) -> bool {
    if let Ok((text, id)) = canonical_arguments(bytes) {
        let again = canonical_arguments(&text);
        assert!(again.is_ok_and(|it| it == (text, id)), "one form, whoever writes it");
    }
    let Ok(approval) = Approval::read(bytes) else { return false };
    assert_eq!(approval.to_bytes().ok().as_deref(), Some(bytes), "no other spelling is read");
    let owner = Owner::from_seed(&[1; 32]).public_key();
    let question = &approval.facts.question;
    let run = Run {
        runs_on: &question.runs_on,
        capability: &question.capability,
        arguments: question.arguments,
    };
    approval.permits(run, &owner, NOW).is_ok()
}

/// COSE and in-toto, whatever the file says it is.
fn attestation(bytes: &[u8]) -> bool {
    let named = Form::of(bytes).is_some();
    let holds = Form::ALL.map(|form| verify_attestation(bytes, form, &keys()).is_ok());
    named && holds.contains(&true)
}

fn chain_file(bytes: &[u8]) -> bool {
    let keys = keys();
    let proven = verify_chain_file(bytes, keys.executor, |it| *it == keys.requester, &[]);
    is_chain(bytes) && proven.is_ok()
}

fn envelope(bytes: &[u8]) -> bool {
    let Ok(envelope) = Envelope::decode(bytes) else { return false };
    let key = SessionKey::from_bytes([1; 32]);
    let refused = envelope.open(&Registry::new(swarm()), &mut ReplayWindow::new(), &key, NOW);
    assert!(refused.is_err(), "nobody is registered");
    drop(envelope.sealed.open(&key, b""));
    true
}

/// Memberships and revocations, by the owner of the swarm.
fn membership(bytes: &[u8]) -> bool {
    let owner = Owner::from_seed(&[1; 32]).public_key();
    let admitted = serde_json::from_slice::<Membership>(bytes);
    let revoked = serde_json::from_slice::<Revocation>(bytes);
    admitted.is_ok_and(|it| verify_membership(&it, &owner, NOW).is_ok())
        || revoked.is_ok_and(|it| verify_revocation(&it, &owner).is_ok())
}

/// The other side's message of an exchange, its tag, and a sealed text.
fn pairing(bytes: &[u8]) -> bool {
    drop(serde_json::from_slice::<Sealed>(bytes));
    let party = |it: u8| Party { node_id: NodeId::from_bytes([it; 32]), transport_key: [it; 32] };
    let parties = Parties { inviter: party(1), joiner: party(2) };
    let (message, tag) = bytes.split_at(bytes.len().min(crate::pairing::MESSAGE_BYTES));
    let (exchange, _) = Exchange::start(Side::Inviter, &Code::from_random([1; 4]), parties);
    let Ok((confirming, _)) = exchange.answer(message) else { return false };
    assert!(confirming.confirm(tag).is_err(), "the code was not known");
    true
}

/// An exported file, a single receipt, and where it stands in its chain.
fn receipt(bytes: &[u8]) -> bool {
    let keys = keys();
    drop(serde_json::from_slice::<Receipt>(bytes).map(|it| it.verify(&keys).is_ok()));
    drop(serde_json::from_slice::<Anchor>(bytes).map(|it| it.checkpoint.verify(&keys.executor)));
    let Ok(export) = Export::decode(bytes) else { return false };
    for it in export.receipts() {
        drop(it.verify(&keys));
        drop(it.id());
    }
    true
}

fn registration(bytes: &[u8]) -> bool {
    Registration::decode(bytes).is_ok_and(|it| it.verify(swarm()).is_ok())
}

/// The older protocol's records: read, and their signed text written.
fn seed_records(bytes: &[u8]) -> bool {
    fn record<T>(bytes: &[u8]) -> bool
    where
        T: seed::Record + serde::de::DeserializeOwned,
    {
        let read = serde_json::from_slice::<seed::Signed<T>>(bytes);
        read.is_ok_and(|it| it.verify(&Registry::new(swarm())).is_err())
    }
    let envelope = serde_json::from_slice::<seed::Envelope>(bytes).is_ok_and(|it| {
        let key = SessionKey::from_bytes([1; 32]);
        it.open(&Registry::new(swarm()), &mut ReplayWindow::new(), &key, NOW).is_err()
    });
    let task = serde_json::from_slice::<seed::TaskEnvelope>(bytes).map(|it| it.check());
    let registered = serde_json::from_slice::<seed::Registration>(bytes).map(|it| it.verify());
    let signal = serde_json::from_slice::<seed::Signed<seed::Signaling>>(bytes)
        .map(|it| it.holds("peer-002", &Registry::new(swarm()), NOW));
    let records = [
        record::<seed::Receipt>(bytes),
        record::<seed::Claim>(bytes),
        record::<seed::Heartbeat>(bytes),
        record::<seed::ArtifactPointer>(bytes),
    ];
    let others = task.is_ok() || registered.is_ok() || signal.is_ok();
    envelope || others || records.contains(&true)
}

/// An offer to rotate a key, and a message under one.
fn session(bytes: &[u8]) -> bool {
    let [own, peer] = [1, 2].map(|it| Identity::from_bytes(&[it; 64]));
    let peer = (peer.node_id(), peer.session_public_key());
    let Ok(mut session) = Session::new(&own, peer, swarm(), Duration::from_secs(1)) else {
        return false;
    };
    let message = serde_json::from_slice::<SessionMessage>(bytes);
    let opened = message.map(|it| session.open(&it, NOW).is_ok());
    let rekey = Rekey::decode(bytes).is_ok_and(|it| session.receive(&own, &it, NOW).is_ok());
    rekey || opened.is_ok()
}

fn token(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    let Ok(token) = Token::parse(text) else { return false };
    token.verify(&Owner::from_seed(&[1; 32]).public_key()).is_ok()
}

/// Proofs of a tree's growth, checkpoints, and keys and signatures of two sorts at once.
fn tree(bytes: &[u8]) -> bool {
    drop(serde_json::from_slice::<Checkpoint>(bytes).map(|it| it.verify(&keys().executor)));
    let (first, rest) = bytes.split_at(bytes.len().min(PUBLIC_KEY_BYTES));
    if let (Ok(key), Ok(by)) =
        (HybridPublicKey::from_bytes(first), HybridSignature::from_bytes(rest))
    {
        assert!(key.verify(b"", &by).is_err(), "nobody signed this");
    }
    let Some((numbers, path)) = bytes.split_first_chunk::<24>() else { return false };
    let (parts, _) = numbers.as_chunks::<8>();
    let [index, old, new] =
        [0, 1, 2].map(|it| parts.get(it).map_or(0, |it| u64::from_be_bytes(*it)));
    let (path, _) = path.as_chunks::<32>();
    let path: Vec<TreeHash> = path.iter().take(130).map(|it| TreeHash::from_bytes(*it)).collect();
    let hash = TreeHash::from_bytes([1; 32]);
    let inside = verify_inclusion((&hash, index), (&hash, new), &path);
    let grown = verify_consistency((&hash, old), (&hash, new), &path);
    inside.is_ok() || grown.is_ok()
}

#[cfg(test)]
#[path = "../../../fuzz/src/named.rs"]
mod named;

#[cfg(test)]
#[path = "../../../fuzz/src/replay.rs"]
mod replay;

#[cfg(test)]
mod tests;
