//! The named inputs of this crate's targets, and the replay of every kept one.

use sedge_base::ContentId;

use super::named::json;
use super::replay::{Named, all};
use super::*;
use crate::Nonce;
use crate::admission::{PairToken, Transcript};
use crate::approval::{Approver, ApproverKey, Decision, Question};
use crate::envelope::Outbox;
use crate::merkle::Frontier;
use crate::receipt::tests::{executor, receipt, requester};
use crate::receipt::{CheckpointVersion, Point, attest, encode_chain};
use crate::registration::tests::{identity, registration};
use crate::revocation::Revoked;
use crate::swarm::{Member, Role, Version};
use crate::token::Limit;

fn text<T: serde::Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).unwrap()
}

/// Leaves out the inputs that a form has no use for.
fn without(named: Vec<Named>, names: &[&str]) -> Vec<Named> {
    named.into_iter().filter(|(_, name, _)| !names.contains(name)).collect()
}

fn admissions() -> Vec<Named> {
    let transcript = Transcript {
        owner: identity(1).node_id(),
        joiner: identity(2).node_id(),
        challenge: [1; 32],
        nonce: [2; 32],
        name: "otter".to_owned(),
    };
    let mut named = json("trust_admission", text(&Answer::new(&identity(2), &transcript, None)));
    let code = Code::from_random([7; 4]).to_string();
    named.push(("trust_admission", "truncated-code.refused", code.as_bytes()[..4].to_vec()));
    named.push(("trust_admission", "huge-code.refused", code.repeat(100).into_bytes()));
    named.push(("trust_admission", "code.read", code.into_bytes()));
    let token = PairToken::from_bytes([3; 32]).text();
    named.push(("trust_admission", "pair-token.read", token.as_str().into()));
    named
}

fn receipts() -> Vec<Named> {
    let mut frontier = Frontier::default();
    frontier.push(crate::merkle::leaf(receipt().id().unwrap().as_bytes()));
    let point = Point {
        version: CheckpointVersion::V1,
        swarm_id: swarm(),
        node: executor().node_id(),
        count: 1,
        root: frontier.root(),
        taken_ms: 1_700_000_000_000,
    };
    let checkpoint = Checkpoint::sign(point, &executor()).unwrap();
    let chain = encode_chain(&Frontier::default(), &[receipt()], &checkpoint).unwrap();
    let anchor = Anchor { checkpoint, path: Vec::new(), since: None };
    let mut named = json("trust_chain_file", chain);
    named.extend(json("trust_receipt", Export::anchored(receipt(), anchor).encode().unwrap()));
    named.extend(json("trust_attestation", attest(&receipt(), Form::InToto, &executor()).unwrap()));
    let cose = attest(&receipt(), Form::Cose, &requester()).unwrap();
    let half = cose.len() / 2;
    named.push(("trust_attestation", "truncated-cose.refused", cose[..half].to_vec()));
    named.push(("trust_attestation", "deep-cose.refused", vec![0x81; 4000]));
    let endless = [&[0x84, 0x5b][..], &[0xff; 8]].concat();
    named.push(("trust_attestation", "huge-cose.refused", endless));
    named.push(("trust_attestation", "cose.read", cose));
    named
}

fn members() -> Vec<Named> {
    let owner = Owner::from_seed(&[1; 32]);
    let member = Member {
        version: Version::V1,
        swarm_id: owner.swarm_id(),
        node_id: identity(7).node_id(),
        name: "otter".to_owned(),
        session_key: identity(7).session_public_key(),
        capabilities: vec!["fn-1".to_owned()],
        joined_at: NOW,
        roles: vec![Role::Executor],
        epoch: 1,
        expires_at: None,
    };
    let mut named = json("trust_membership", text(&owner.admit(member).unwrap()));
    let revoked = Revoked::Node { node_id: identity(7).node_id(), epoch: 1 };
    named.push(("trust_membership", "revocation.read", text(&owner.revoke(revoked, NOW).unwrap())));
    let token = owner.mint(&[]).unwrap().to_text().unwrap();
    let cut = token.as_bytes()[..token.len() / 2].to_vec();
    named.push(("trust_token", "truncated.refused", cut));
    named.push(("trust_token", "malformed.refused", token.replace('.', ".!").into_bytes()));
    named.push(("trust_token", "huge.refused", format!("{token}{}", "A".repeat(20_000)).into()));
    named.push((
        "trust_token",
        "version.refused",
        token.replacen("sedge-token.", "sedge-token2.", 1).into(),
    ));
    named.push(("trust_token", "sound.read", token.into_bytes()));
    named
}

fn approvals() -> Vec<Named> {
    let owner = Owner::from_seed(&[1; 32]);
    let question = Question {
        swarm_id: owner.swarm_id(),
        runs_on: "edge:kitchen".to_owned(),
        capability: "edge:kitchen.camera".to_owned(),
        arguments: canonical_arguments(br#"{"lens":"wide"}"#).unwrap().1,
        asked_by: NodeId::from_bytes([7; 32]),
        nonce: Nonce::from_bytes([9; 16]),
    };
    let key = ApproverKey::from_seed(&[2; 32]);
    let right = owner.mint(&[Limit::Capabilities([key.right()].into())]).unwrap();
    let said = |approver: Approver<'_>, decision| {
        approver.decide(question.clone(), decision, NOW).unwrap().to_bytes().unwrap()
    };
    let mut named = json("trust_approval", said(Approver::Owner(&owner), Decision::Granted));
    let by_name = said(Approver::Named(&key, &right), Decision::Granted);
    named.push(("trust_approval", "by-name.read", by_name));
    let no = said(Approver::Owner(&owner), Decision::Refused);
    named.push(("trust_approval", "no.refused", no));
    named.push(("trust_approval", "arguments.refused", br#"{"b":1.50,"a":[1e3,"\u00e9"]}"#.into()));
    named
}

fn sessions() -> Vec<Named> {
    let [one, two] = [1, 2].map(identity);
    let make = |own: &Identity, peer: &Identity| {
        let peer = (peer.node_id(), peer.session_public_key());
        Session::new(own, peer, swarm(), Duration::from_secs(1)).unwrap()
    };
    let offer = make(&two, &one).offer(&two).unwrap();
    let mut named = json("trust_session", offer.encode().unwrap());
    let message = make(&two, &one).seal(b"Hello, swarm!").unwrap();
    named.push(("trust_session", "message.read", text(&message)));
    let envelope = Outbox::new(one, swarm(), "peer-001".to_owned(), 1)
        .seal("chat", b"Hello, swarm!", &SessionKey::from_bytes([1; 32]), NOW)
        .unwrap();
    named.extend(json("trust_envelope", envelope.encode().unwrap()));
    named.extend(json(
        "trust_registration",
        registration("peer-001", &identity(1)).encode().unwrap(),
    ));
    named
}

fn seeds() -> Vec<Named> {
    let heartbeat = seed::Heartbeat {
        agent_id: "peer-001".to_owned(),
        timestamp: NOW,
        capabilities: vec!["worker".to_owned()],
        load: 0.5,
    };
    let mut named = json("trust_seed", text(&seed::Signed::sign(heartbeat, &identity(1))));
    let signal = seed::Signaling::new(
        seed::SignalType::Offer,
        ("peer-001", "peer-002"),
        "v=0\r\n".to_owned(),
        (NOW, Duration::from_secs(30)),
    );
    named.push(("trust_seed", "signal.read", text(&signal.sign(&identity(1)))));
    let worker = vec!["worker".to_owned()];
    let older = seed::Registration::sign(&identity(1), "peer-001", worker, NOW).unwrap();
    named.push(("trust_seed", "registration.read", text(&older)));
    let header = seed::Header {
        message_id: format!("{}:00000000-0000-4000-8000-000000000001", swarm()),
        topic: "chat".to_owned(),
        timestamp: NOW,
        sender_id: "peer-001".to_owned(),
        nonce: "000102030405060708090a0b0c0d0e0f".parse().unwrap(),
        counter: 1,
    };
    let key = SessionKey::from_bytes([1; 32]);
    let envelope = seed::Envelope::seal(header, b"Hello, swarm!", &key, &identity(1)).unwrap();
    named.push(("trust_seed", "envelope.read", text(&envelope)));
    let content = ContentId::of(b"Q-table data here");
    let pointer = seed::ArtifactPointer {
        artifact_type: seed::ArtifactType::QTable,
        agent_id: "peer-001".to_owned(),
        cid: seed::local_cid(&content),
        version: 1,
        schema_hash: seed::ArtifactType::QTable.schema_hash(),
        dimensions: "100x4".to_owned(),
        checksum: seed::ArtifactPointer::checksum_of(&content),
        timestamp: NOW,
    };
    named.push(("trust_seed", "pointer.read", text(&seed::Signed::sign(pointer, &identity(1)))));
    named
}

/// What is of fixed sizes: messages of a pairing, proofs of a tree.
fn bare() -> Vec<Named> {
    let party = |it: u8| Party { node_id: NodeId::from_bytes([it; 32]), transport_key: [it; 32] };
    let parties = Parties { inviter: party(1), joiner: party(2) };
    let (_, message) = Exchange::start(Side::Joiner, &Code::from_random([1; 4]), parties);
    let proof = |numbers: [u64; 3], hashes: usize| {
        let mut bytes: Vec<u8> = numbers.iter().flat_map(|it| it.to_be_bytes()).collect();
        bytes.extend(vec![1; hashes * 32]);
        bytes
    };
    vec![
        ("trust_pairing", "truncated.refused", message[..20].to_vec()),
        ("trust_pairing", "malformed.refused", vec![0xff; 33]),
        ("trust_pairing", "sound.read", message),
        ("trust_tree", "truncated.refused", vec![1; 20]),
        ("trust_tree", "malformed.refused", proof([3, 3, 5], 2)),
        ("trust_tree", "huge.refused", proof([u64::MAX - 1, u64::MAX - 1, u64::MAX], 65)),
        ("trust_tree", "deep.refused", proof([0, 1, 1 << 63], 130)),
        ("trust_tree", "sound.read", proof([0, 1, 1], 0)),
    ]
}

#[test]
fn every_kept_input_is_taken_or_refused_as_its_name_says() {
    let mut named = without(admissions(), &["huge.refused", "version.refused"]);
    named.extend(receipts());
    named.extend([members(), approvals(), sessions(), seeds(), bare()].concat());
    all(TARGETS, &named);
}
